"""Stores what the system tells of its own parts, as samples."""
