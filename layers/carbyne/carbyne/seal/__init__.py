"""Turns rows in Redis into blocks and rollups."""
