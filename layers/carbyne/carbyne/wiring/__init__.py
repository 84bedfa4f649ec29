"""Builds each function's dependencies from its settings: one module per function, so that none imports another's."""
