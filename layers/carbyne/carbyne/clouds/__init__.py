"""Integrations of clouds: the hosts and metrics of an account, read in a budget."""
