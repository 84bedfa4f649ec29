"""Tells channels of alerts: which of them, in which words, until they took it."""
