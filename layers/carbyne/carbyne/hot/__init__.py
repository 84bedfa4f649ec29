"""Writes records of the stream into Redis, and refills Redis after a loss."""
