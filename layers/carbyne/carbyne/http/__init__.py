"""Requests, answers, routes, and the description of the API."""
