"""Turns the body of a request into records on the stream, one module per protocol."""
