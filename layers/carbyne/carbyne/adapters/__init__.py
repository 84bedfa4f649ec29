"""Implements the ports of the use cases: Redis, DynamoDB, S3, Kinesis, Lambda."""
