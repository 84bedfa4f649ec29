"""Judges monitors each minute: reads what changed, writes what that changes."""
