"""The store watches its own parts with itself."""
