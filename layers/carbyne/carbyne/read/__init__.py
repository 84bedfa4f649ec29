"""Merges hot, warm and cold samples into one answer."""
