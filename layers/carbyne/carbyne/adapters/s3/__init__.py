"""Buckets: the archive, and what was set aside."""
