"""Stores as the template makes them, in an embedded or local AWS."""

import uuid

from harness.template import template

TABLE = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")


def create_blocks_table(client):
    """A blocks table with its index of expiries; its name."""
    name = f"blocks-{uuid.uuid4().hex}"
    properties = template()["Resources"]["BlocksTable"]["Properties"]
    client.create_table(TableName=name, **{property: properties[property] for property in TABLE})
    return name
