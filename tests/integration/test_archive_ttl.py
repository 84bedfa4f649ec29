"""Real TTL removals of AWS's own DynamoDB Local drive the archiver; it sweeps about each ten seconds."""

import base64
import time
import uuid

import pytest
from carbyne.adapters.dynamodb.table import DynamoTable, WarmBlocks
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.adapters.s3.quarantine import S3Quarantine
from carbyne.archive.archiver import Archiver
from carbyne.core.items import Item
from carbyne.core.keys import SourceKey
from carbyne.samples import blocks
from carbyne.store.catalogue import Catalogue
from carbyne.store.catalogue_items import spans_of

from harness.pipeline import load_app
from tests.support import dynamodb_local
from tests.support.blocks import KEY, ONE, TWO, Meter
from tests.support.fakes import NoMarkers
from tests.support.stores import create_blocks_table

ARCHIVER = load_app("archiver")
SWEEP_S = 90
EXPIRED, DELETED, KEPT = (KEY._replace(source=SourceKey("acme", f"host/{name}")) for name in ("old", "bin", "new"))


@pytest.fixture(scope="module")
def local():
    with dynamodb_local.start() as running:
        yield running


@pytest.fixture
def table(local):
    """The blocks table as the template makes it, with its stream and TTL."""
    client = local.client()
    name = create_blocks_table(client)
    client.update_table(
        TableName=name, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    )
    client.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})
    return name


@pytest.fixture
def cold(aws):
    bucket = f"archive-{uuid.uuid4().hex}"
    aws.client("s3").create_bucket(Bucket=bucket)
    return ColdBlocks(aws.client("s3"), bucket)


def stream(local, name):
    """Reads on each call what came since the last one, as Lambda shows it."""
    client = local.client("dynamodbstreams")
    [listed] = client.list_streams(TableName=name)["Streams"]
    [shard] = client.describe_stream(StreamArn=listed["StreamArn"])["StreamDescription"]["Shards"]
    where = {"StreamArn": listed["StreamArn"], "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
    iterator = [client.get_shard_iterator(**where)["ShardIterator"]]

    def read():
        page = client.get_records(ShardIterator=iterator[0])
        iterator[0] = page["NextShardIterator"]
        return [as_lambda_shows(record) for record in page["Records"]]

    return read


def as_lambda_shows(record):
    """Binaries in base64, and the identity with small letters."""
    change = dict(record["dynamodb"])
    for image in ("Keys", "NewImage", "OldImage"):
        if image in change:
            change[image] = {name: _text(value) for name, value in change[image].items()}
    change["ApproximateCreationDateTime"] = change["ApproximateCreationDateTime"].timestamp()
    shown = {**record, "dynamodb": change}
    if identity := record.get("userIdentity"):
        shown["userIdentity"] = {"type": identity["Type"], "principalId": identity["PrincipalId"]}
    return shown


def _text(value):
    return {kind: base64.b64encode(content).decode() if kind == "B" else content for kind, content in value.items()}


def test_a_removal_by_ttl_is_archived_and_a_deliberate_delete_is_not(local, table, aws, cold):
    client, read = local.client(), stream(local, table)
    warm, now_s = WarmBlocks(DynamoTable(client, table)), int(time.time())
    warm.put(EXPIRED, Item(blocks.encode(ONE), now_s - 5), None)
    warm.put(DELETED, Item(blocks.encode(ONE), now_s + 9_999), None)
    warm.put(KEPT, Item(blocks.encode(TWO), now_s + 9_999), None)
    Catalogue(DynamoTable(client, table)).of(KEY.source).add_series(spans_of(ONE))
    client.delete_item(TableName=table, Key={"pk": {"S": DELETED.partition}, "sk": {"S": DELETED.sort}})
    removals, end_s = [], time.monotonic() + SWEEP_S
    while len(removals) < 2:
        assert time.monotonic() < end_s, f"no removal by TTL within {SWEEP_S} s; so far {removals}"
        removals += [record for record in read() if record["eventName"] == "REMOVE"]  # the copies at INSERT were missed
        time.sleep(0.5)
    quarantine = S3Quarantine(aws.client("s3"), "nowhere")
    archiver = Archiver(cold, NoMarkers(), quarantine, lambda: now_s * 1000, Meter())
    assert ARCHIVER.handle({"Records": removals}, lambda: archiver) == {"batchItemFailures": []}
    assert warm.get(EXPIRED) is None and blocks.decode(cold.get(EXPIRED).data) == ONE
    assert cold.get(DELETED) is None
    assert cold.get(KEPT) is None and warm.get(KEPT) is not None


def test_what_is_put_is_archived_at_once(local, table, cold):
    read, warm = stream(local, table), WarmBlocks(DynamoTable(local.client(), table))
    assert warm.put(KEPT, Item(blocks.encode(ONE), 4_000_000_000), None)
    assert warm.put(KEPT, Item(blocks.encode(TWO), 4_000_000_000), warm.get(KEPT))
    records = read()
    assert [record["eventName"] for record in records] == ["INSERT", "MODIFY"]
    archiver = Archiver(cold, NoMarkers(), None, lambda: 0, Meter())
    assert ARCHIVER.handle({"Records": records[:1]}, lambda: archiver) == {"batchItemFailures": []}
    assert blocks.decode(cold.get(KEPT).data) == ONE
    assert ARCHIVER.handle({"Records": records}, lambda: archiver) == {"batchItemFailures": []}
    assert set(blocks.decode(cold.get(KEPT).data).stamps) == {*ONE.stamps, *TWO.stamps}
