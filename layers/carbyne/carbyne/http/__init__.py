"""Requests in, answers out: messages, routes and the description of the API."""
