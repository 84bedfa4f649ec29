"""Blocks and their catalogue over the tiers behind Redis."""
