"""Who asks, what it may do, and how much it uses."""
