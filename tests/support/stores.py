"""Stores as the template makes them, in an embedded or local AWS."""

import uuid

from harness.template import template

TABLE = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")


def create_table(client, *keys, name=None):
    """A table whose keys are these attributes of text; its name, a new one unless given."""
    name = name or uuid.uuid4().hex
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"), strict=False)],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


def create_blocks_table(client):
    """A blocks table with its index of expiries; its name."""
    name = f"blocks-{uuid.uuid4().hex}"
    properties = template()["Resources"]["BlocksTable"]["Properties"]
    client.create_table(TableName=name, **{property: properties[property] for property in TABLE})
    return name
