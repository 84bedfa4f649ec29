"""Hosts, services, roles and their metadata, as Mackerel's API has them."""
