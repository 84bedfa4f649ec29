"""Blocks and their catalogue in the tiers behind Redis: DynamoDB and S3."""
