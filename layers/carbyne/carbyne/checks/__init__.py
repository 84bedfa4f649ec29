"""External checks: which URLs are due, asking them, and what an answer means."""
