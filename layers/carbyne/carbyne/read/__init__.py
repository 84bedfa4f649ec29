"""One answer over all tiers."""
