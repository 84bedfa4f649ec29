"""Message queues: order and leases in Redis, the messages themselves in a table."""
