"""Alerts: what samples and silence mean for a monitor, and what was said about it."""
