"""From the table into S3, and what was set aside back onto the stream."""
