"""Copies blocks from the table to S3, and redrives what was set aside."""
