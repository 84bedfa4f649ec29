"""What every room uses: errors, limits, keys, names, stamps, frames, settings."""
