"""From the stream into Redis, and back to whole after a loss."""
