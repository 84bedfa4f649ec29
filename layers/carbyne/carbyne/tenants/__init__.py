"""API keys, permissions, limits and usage of tenants."""
