"""The outside world: Redis, Kinesis, DynamoDB and S3 behind the ports that the use cases take."""
