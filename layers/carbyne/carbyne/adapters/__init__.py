"""What fulfils the ports: Redis, DynamoDB, S3, Kinesis, Lambda."""
