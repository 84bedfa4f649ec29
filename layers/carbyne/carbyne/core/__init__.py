"""Words that every room speaks: errors, bounds, keys, names, stamps, frames, settings."""
