"""From a request's body to records on the stream, one module a protocol."""
