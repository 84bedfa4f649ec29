"""Stores as the template makes them, in an embedded or local AWS."""

import uuid
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

TEMPLATE = yaml_parse((Path(__file__).resolve().parents[2] / "template.yaml").read_text())
TABLE = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")


def create_blocks_table(client):
    """A blocks table with its index of expiries; its name."""
    name = f"blocks-{uuid.uuid4().hex}"
    properties = TEMPLATE["Resources"]["BlocksTable"]["Properties"]
    client.create_table(TableName=name, **{property: properties[property] for property in TABLE})
    return name
