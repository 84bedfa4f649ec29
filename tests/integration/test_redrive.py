"""``carbyne redrive`` between the real ingester, Redis and an AWS on loopback: what was set aside is read back."""

import subprocess
import sys
import time
import uuid
from functools import cache
from pathlib import Path

import pytest
from botocore.stub import Stubber
from carbyne.adapters.dynamodb.accounts import DynamoAccounts, add_key, add_tenant
from carbyne.adapters.dynamodb.table import DynamoTable, WarmBlocks
from carbyne.adapters.kinesis import KinesisStream
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.adapters.s3.quarantine import S3Quarantine
from carbyne.adapters.s3.redrive import S3Failures
from carbyne.archive.archiver import Archiver
from carbyne.cli import main, redrive
from carbyne.cli.desk import Desk
from carbyne.core import keys, stamps
from carbyne.core.items import Item
from carbyne.core.keys import SourceKey
from carbyne.intake.packing import entries_of
from carbyne.samples import blocks
from carbyne.samples.columns import merge
from carbyne.samples.markers import Marker
from carbyne.store.catalogue import Catalogue
from carbyne.stream.arrived import Image

from harness.pipeline import LENGTH_S, Pipeline, flush
from local.sources import shards_of
from local.template import ARNS
from servers.lambdas import FunctionError
from tests.support.blocks import KEY, ONE, TWO, Meter, everything
from tests.support.stores import create_blocks_table, create_table

ROOT = Path(__file__).resolve().parents[2]
START_S = 1_700_006_400  # where a window begins
MINUTES = [START_S + 60 * minute for minute in range(3)]
assert START_S % LENGTH_S == 0


@cache
def client_of(aws, service):
    """Made once, since that takes longer than its calls."""
    return aws.client(service)


class TestDesk(Desk):
    """Writes into lists; the stack ``carbyne`` names all that a redrive needs."""

    __test__ = False

    def __init__(self, aws, outputs):
        self.aws, self.outputs = aws, outputs
        self.said, self.remarks = [], []
        self.say, self.remark = self.said.append, self.remarks.append

    def client(self, service):
        if service != "cloudformation":
            return client_of(self.aws, service)
        client = self.aws.client(service)
        stubber = Stubber(client)
        stack = {"StackName": "carbyne", "CreationTime": 0, "StackStatus": "UPDATE_COMPLETE"}
        stack["Outputs"] = [{"OutputKey": key, "OutputValue": value} for key, value in self.outputs.items()]
        stack["Parameters"] = [{"ParameterKey": "StreamEpoch", "ParameterValue": "1"}]
        stubber.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": "carbyne"})
        stubber.activate()
        return client


@pytest.fixture
def outputs(aws):
    """What the stack has, new for each test; tenant acme has the key ``secret``."""
    name = uuid.uuid4().hex
    aws.client("kinesis").create_stream(StreamName=name, ShardCount=1)
    create_table(aws.client("dynamodb"), "pk", name=name)
    add_tenant(aws.client("dynamodb"), name, "acme")
    add_key(aws.client("dynamodb"), name, "secret", "acme")
    buckets = {output: f"{output.lower()}-{name}" for output in ("FailureBucketName", "ArchiveFailureBucketName")}
    buckets["BlocksBucketName"] = f"blocks-{name}"
    for bucket in buckets.values():
        aws.client("s3").create_bucket(Bucket=bucket)
    table = create_blocks_table(aws.client("dynamodb"))
    return {"StreamName": name, "AccountsTableName": name, "BlocksTableName": table, **buckets}


OPTIONS = {
    "--stream": "StreamName",
    "--accounts-table": "AccountsTableName",
    "--failure-bucket": "FailureBucketName",
    "--archive-failure-bucket": "ArchiveFailureBucketName",
    "--table": "BlocksTableName",
    "--bucket": "BlocksBucketName",
}
STACK = ("--stack", "carbyne")


def named(outputs):
    return ["--epoch", "1", *(part for option, output in OPTIONS.items() for part in (option, outputs[output]))]


@pytest.fixture
def run(aws, outputs):
    """Runs ``redrive`` with all names given, or as ``where`` says; what it said."""

    def run(*options, status=0, where=None):
        desk = TestDesk(aws, outputs)
        assert main(["redrive", *(named(outputs) if where is None else where), *options], desk) == status, desk.remarks
        return desk.said if status == 0 else desk.said + desk.remarks

    return run


def objects(aws, bucket):
    return [listed["Key"] for listed in aws.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]


class System(Pipeline):
    """The pipeline with a stream, accounts and quarantine in AWS."""

    def __init__(self, cluster, aws, outputs):
        self.aws, self.outputs, self.taken = aws, outputs, 0
        super().__init__(
            cluster, START_S + 600, quarantine=S3Quarantine(aws.client("s3"), outputs["FailureBucketName"])
        )

    def reconnect(self):
        self.stream = KinesisStream(self.aws.client("kinesis"), self.outputs["StreamName"])
        self.accounts = DynamoAccounts(self.aws.client("dynamodb"), self.outputs["AccountsTableName"])
        super().reconnect()

    def put(self, tenant, host, values):
        """Past the writer, which knows tenants; values by second."""
        rows = {(f"host/{host}", time_s * 1000): {"m": value} for time_s, value in values.items()}
        assert self.stream.put(entries_of(tenant, rows)) == []

    def new(self):
        """What the stream has got since the last call."""
        client, name = self.aws.client("kinesis"), self.outputs["StreamName"]
        [shard] = client.list_shards(StreamName=name)["Shards"]
        where = {"StreamName": name, "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        records = client.get_records(ShardIterator=client.get_shard_iterator(**where)["ShardIterator"])["Records"]
        records, self.taken = records[self.taken :], len(records)
        return [(record["SequenceNumber"], record["PartitionKey"], record["Data"]) for record in records]

    def ingest_new(self):
        records = self.new()
        if records:
            self.deliver(records)
        return records

    def read(self, host, api_key="secret"):
        status, _, points = self.get_metric(host, "m", api_key=api_key)
        return points if status == 200 else status

    def give_up(self, count):
        """Lambda's event source hands ``count`` records to an ingester that fails, and gives them up."""
        destination = {"Destination": f"arn:aws:s3:::{self.outputs['FailureBucketName']}"}
        settings = {
            "Stream": ARNS["AWS::Kinesis::Stream"] + self.outputs["StreamName"],
            "DestinationConfig": {"OnFailure": {"Type": "S3", **destination}},
            "MaximumRetryAttempts": "0",
        }
        [shard] = shards_of(self.aws, Failing(), settings)
        shard.work()
        assert len(self.new()) == count


class Failing:
    """A function that always fails."""

    name = "Failing"

    def invoke(self, event):
        raise FunctionError("told so")


@pytest.fixture
def system(cluster, aws, outputs):
    flush(cluster)
    running = System(cluster, aws, outputs)
    yield running
    running.close()


def test_an_unknown_tenants_samples_are_read_when_it_is_known_and_newer_ones_stay(system, run, aws, outputs):
    bucket = outputs["FailureBucketName"]
    system.put("shop", "web1", {MINUTES[0]: 1.0, MINUTES[1]: 2.0})
    [(sequence, *_)] = system.ingest_new()
    name = keys.corrupt_record_object(stamps.pack(1, sequence))
    assert objects(aws, bucket) == [name]
    said = run(status=1)
    assert said[:2] == [
        f"{name}\tleft: unknown tenant 'shop'",
        "redriven 0 records and blocks of 0 objects, left 1 objects",
    ]
    assert objects(aws, bucket) == [name] and system.ingest_new() == []

    add_tenant(aws.client("dynamodb"), outputs["AccountsTableName"], "shop")
    add_key(aws.client("dynamodb"), outputs["AccountsTableName"], "of-shop", "shop")
    body = [("web1", "m", MINUTES[1], 20.0), ("web1", "m", MINUTES[2], 30.0)]
    assert system.post(body, "of-shop")["statusCode"] == 200
    system.ingest_new()

    assert run("--dry-run") == [
        f"{name}\tcan be redriven",
        "dry run: redriven 1 records and blocks of 1 objects, left 0 objects",
    ]
    assert objects(aws, bucket) == [name] and system.ingest_new() == []
    assert run(where=STACK) == ["redriven 1 records and blocks of 1 objects, left 0 objects"]
    assert objects(aws, bucket) == []
    assert len(system.ingest_new()) == 1
    expected = [(MINUTES[0], 1.0), (MINUTES[1], 20.0), (MINUTES[2], 30.0)]
    assert system.read("web1", "of-shop") == expected
    assert system.read("web1") == 404
    assert run() == ["redriven 0 records and blocks of 0 objects, left 0 objects"]


def test_what_was_sealed_and_deleted_meanwhile_stays_so(system, run, aws, outputs):
    """The old stamp loses against blocks and against deletes."""
    system.put("shop", "web1", dict.fromkeys(MINUTES, 1.0))
    system.ingest_new()
    add_tenant(aws.client("dynamodb"), outputs["AccountsTableName"], "shop")
    add_key(aws.client("dynamodb"), outputs["AccountsTableName"], "of-shop", "shop")
    system.post([("web1", "m", MINUTES[1], 20.0)], "of-shop")
    assert system.delete("host/web1", "of-shop", from_s=MINUTES[2], to_s=MINUTES[2])["statusCode"] == 200
    system.ingest_new()
    system.now_s = START_S + LENGTH_S + 2_000
    assert system.seal() == 1
    run()
    system.ingest_new()
    expected = [(MINUTES[0], 1.0), (MINUTES[1], 20.0)]
    assert system.read("web1", "of-shop") == expected
    system.now_s += 2 * LENGTH_S
    assert system.seal() == 1
    assert system.read("web1", "of-shop") == expected


def test_batches_that_lambda_gave_up_are_read_and_newer_samples_stay(system, run, aws, outputs):
    system.post([("web1", "m", time_s, 1.0) for time_s in MINUTES])
    system.post([("web2", "m", MINUTES[0], 5.0)])
    system.give_up(2)
    system.post([("web1", "m", MINUTES[1], 20.0)])
    system.ingest_new()
    assert system.read("web1") == [(MINUTES[1], 20.0)]
    [name] = objects(aws, outputs["FailureBucketName"])
    assert name.startswith("aws/lambda/")
    assert run() == ["redriven 2 records and blocks of 1 objects, left 0 objects"]
    assert objects(aws, outputs["FailureBucketName"]) == []
    system.ingest_new()
    assert system.read("web1") == [(MINUTES[0], 1.0), (MINUTES[1], 20.0), (MINUTES[2], 1.0)]
    assert system.read("web2") == [(MINUTES[0], 5.0)]


def test_of_a_given_up_batch_the_ingester_sets_the_corrupt_aside_with_its_stamp(system, run, aws, outputs):
    system.put("shop", "web1", {MINUTES[0]: 1.0})
    system.post([("web2", "m", MINUTES[0], 5.0)])
    system.give_up(2)
    run()
    system.ingest_new()
    assert system.read("web2") == [(MINUTES[0], 5.0)]
    [name] = objects(aws, outputs["FailureBucketName"])
    assert name.startswith("corrupt/")
    add_tenant(aws.client("dynamodb"), outputs["AccountsTableName"], "shop")
    add_key(aws.client("dynamodb"), outputs["AccountsTableName"], "of-shop", "shop")
    system.post([("web1", "m", MINUTES[0], 10.0)], "of-shop")
    system.ingest_new()
    run()
    system.ingest_new()
    assert system.read("web1", "of-shop") == [(MINUTES[0], 10.0)] and not objects(aws, outputs["FailureBucketName"])


def test_batches_of_a_replaced_stream_need_its_epoch(system, run, aws, outputs):
    system.post([("web1", "m", MINUTES[0], 1.0)])
    system.give_up(1)
    old = outputs["StreamName"]
    outputs["StreamName"] = f"{old}-new"
    aws.client("kinesis").create_stream(StreamName=outputs["StreamName"], ShardCount=1)
    assert f"records of the stream '{old}': give it as --origin" in run(status=1)[0]
    assert "give --epoch with --origin" in run("--origin", old, status=1, where=STACK)[-1]
    assert run("--origin", old, "--epoch", "0") == ["redriven 1 records and blocks of 1 objects, left 0 objects"]
    system.taken = 0
    system.reconnect()
    system.ingest_new()
    assert system.read("web1") == [(MINUTES[0], 1.0)]


class Archived:
    """Archiver and table of the stack."""

    def __init__(self, aws, outputs):
        self.cold = ColdBlocks(aws.client("s3"), outputs["BlocksBucketName"])
        self.table = DynamoTable(aws.client("dynamodb"), outputs["BlocksTableName"])
        quarantine = S3Quarantine(aws.client("s3"), outputs["ArchiveFailureBucketName"])
        self.catalogue = Catalogue(self.table)
        now_ms = KEY.window.end_s * 1000
        self.archiver = Archiver(self.cold, self.catalogue, quarantine, lambda: now_ms, Meter())


@pytest.fixture
def archived(aws, outputs):
    return Archived(aws, outputs)


def test_a_block_is_archived_when_the_archive_is_mended(archived, run, aws, outputs):
    archived.cold.put(KEY, Item(b"\1nonsense"), None)
    assert archived.archiver.take([Image("1", KEY, blocks.encode(ONE), removed=True)]) is None
    [name] = objects(aws, outputs["ArchiveFailureBucketName"])
    assert "what the archive has of its window is not" in run(status=1)[0]
    assert objects(aws, outputs["ArchiveFailureBucketName"]) == [name]
    aws.client("s3").put_object(Bucket=outputs["BlocksBucketName"], Key=KEY.object, Body=blocks.encode(TWO))
    assert run("--dry-run")[0] == f"{name}\tcan be redriven"
    assert run() == ["redriven 1 records and blocks of 1 objects, left 0 objects"]
    assert objects(aws, outputs["ArchiveFailureBucketName"]) == []
    assert everything(archived.cold) == merge([ONE, TWO])


def test_changes_that_lambda_gave_up_are_archived_without_what_was_deleted(aws, outputs, run, archived):
    """The real event source on the table's stream, with an archiver that fails."""
    client = aws.client("dynamodb")
    made = client.update_table(
        TableName=outputs["BlocksTableName"],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    warm, other = WarmBlocks(archived.table), KEY._replace(source=SourceKey("acme", "host/b"))
    for key in (KEY, other):
        assert warm.put(key, Item(blocks.encode(ONE), 4_000_000_000), None)
    destination = {"Destination": f"arn:aws:s3:::{outputs['ArchiveFailureBucketName']}"}
    settings = {
        "Stream": made["TableDescription"]["LatestStreamArn"],
        "DestinationConfig": {"OnFailure": {"Type": "S3", **destination}},
        "MaximumRetryAttempts": "0",
    }
    for shard in shards_of(aws, Failing(), settings):
        shard.work()
    assert len(objects(aws, outputs["ArchiveFailureBucketName"])) == 1
    archived.catalogue.of(other.source).add_marker(Marker(b"\xff" * 26, "", 0, 2**52), 4_000_000_000)
    assert run() == ["redriven 2 records and blocks of 1 objects, left 0 objects"]
    assert objects(aws, outputs["ArchiveFailureBucketName"]) == []
    assert blocks.decode(archived.cold.get(KEY).data) == ONE
    assert archived.cold.get(other) is None


def test_what_is_put_while_it_runs_waits_for_the_next_run(aws, outputs):
    """Else what is redriven in vain, and put again by the ingester, would be redriven for ever."""
    client, bucket = aws.client("s3"), outputs["FailureBucketName"]
    for number in range(3):
        client.put_object(Bucket=bucket, Key=f"corrupt/{number}", Body=b"x")
    paged = S3Failures(client, bucket)
    real = client.get_paginator("list_objects_v2")
    client.get_paginator = lambda _: Pages(real)
    failures = paged.kept("corrupt/")
    names = [next(failures).name]
    time.sleep(1.1)  # S3 and its Date know seconds
    client.put_object(Bucket=bucket, Key="corrupt/9", Body=b"x")
    names += [failure.name for failure in failures]
    assert names == ["corrupt/0", "corrupt/1", "corrupt/2"]
    assert [failure.name for failure in S3Failures(client, bucket).kept("corrupt/")][-1] == "corrupt/9"


class Pages:
    """A paginator of one object a page."""

    def __init__(self, paginator):
        self.paginator = paginator

    def paginate(self, **of):
        return self.paginator.paginate(**of, PaginationConfig={"PageSize": 1})


def test_progress_is_shown_while_it_takes_long(system, aws, outputs, monkeypatch):
    monkeypatch.setattr(redrive, "REMARK_S", 0.0)
    system.post([("web1", "m", MINUTES[0], 1.0)])
    system.give_up(1)
    desk = TestDesk(aws, outputs)
    assert main(["redrive", *named(outputs)], desk) == 0
    assert desk.remarks[0] == (
        "redriven 0 records and blocks of 0 objects, left 0 objects; 1 records and blocks are safe"
    )


STORES = ("StreamName", "AccountsTableName", "FailureBucketName", "ArchiveFailureBucketName", "BlocksTableName")


def test_a_store_that_is_not_there_is_said_so_and_nothing_is_removed(system, run, aws, outputs):
    system.put("shop", "web1", {MINUTES[0]: 1.0})
    system.ingest_new()
    add_tenant(aws.client("dynamodb"), outputs["AccountsTableName"], "shop")
    block = keys.corrupt_block_object(KEY, Item(blocks.encode(ONE)).version)
    aws.client("s3").put_object(Bucket=outputs["ArchiveFailureBucketName"], Key=block, Body=blocks.encode(ONE))
    names = dict(outputs)
    for missing in STORES:
        outputs |= names | {missing: "no-such-thing"}
        assert "NotFound" in (said := run(status=1))[-1] or "NoSuchBucket" in said[-1], said
        assert objects(aws, names["ArchiveFailureBucketName"]) == [block]
    outputs |= names
    assert run() == ["redriven 1 records and blocks of 1 objects, left 0 objects"]


def test_a_deployment_must_be_named(run, outputs):
    assert "--stack, or --" in run(status=1, where=())[-1]
    with pytest.raises(SystemExit):
        run("--epoch", "70000")


def test_as_a_command(aws, outputs, system):
    system.post([("web1", "m", MINUTES[0], 1.0)])
    system.give_up(1)
    environment = {**aws.environment, "PYTHONPATH": str(ROOT / "layers/carbyne"), "PATH": ""}
    command = [sys.executable, "-m", "carbyne", "redrive", *named(outputs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "redriven 1 records and blocks of 1 objects, left 0 objects\n"), (
        done.stderr
    )
