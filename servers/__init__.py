"""Real servers on loopback: a Redis-protocol cluster and an embedded AWS, for `make run`, the tests and bench."""
