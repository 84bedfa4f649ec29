"""From Redis into blocks and rollups."""
