"""``carbyne reconcile`` and the function behind the hourly schedule, on the embedded AWS."""

import importlib.util
import subprocess
import sys
import time
import uuid
from functools import partial
from pathlib import Path

import pytest
from carbyne.adapters.dynamodb.table import DynamoTable, WarmBlocks, expiring
from carbyne.adapters.s3.objects import ColdBlocks
from carbyne.archive.reconciler import Reconciled
from carbyne.cli import main
from carbyne.cli.desk import Desk
from carbyne.core.items import Item
from carbyne.core.keys import RESOLUTIONS, SourceKey
from carbyne.core.limits import DAY_S
from carbyne.samples import blocks
from carbyne.store.catalogue import Catalogue
from carbyne.store.catalogue_items import spans_of
from carbyne.wiring import reconciler as wiring_reconciler

from harness.wired import reconciler_settings
from tests.support import dynamodb_local
from tests.support.blocks import KEY, ONE, TWO, Meter
from tests.support.stores import create_blocks_table

ROOT = Path(__file__).resolve().parents[2]
HOSTS = 5


@pytest.fixture
def table(aws):
    return create_blocks_table(aws.client("dynamodb"))


@pytest.fixture
def bucket(aws):
    name = f"archive-{uuid.uuid4().hex}"
    aws.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def warm(aws, table):
    return DynamoTable(aws.client("dynamodb"), table)


@pytest.fixture
def cold(aws, bucket):
    return ColdBlocks(aws.client("s3"), bucket)


def keys():
    return [KEY._replace(source=SourceKey("acme", f"host/{number}")) for number in range(HOSTS)]


def fill(warm, now_s):
    """Blocks of some hosts that expire tomorrow, one that stays for long, and a catalogue."""
    for key in keys():
        assert WarmBlocks(warm).put(key, Item(blocks.encode(ONE), now_s + DAY_S), None)
    later = KEY._replace(source=SourceKey("acme", "host/later"))
    assert WarmBlocks(warm).put(later, Item(blocks.encode(TWO), now_s + 30 * DAY_S), None)
    Catalogue(warm).of(KEY.source).add_series(spans_of(ONE))


class TestDesk(Desk):
    """Writes into lists."""

    __test__ = False

    def __init__(self, aws):
        self.client = aws.client
        self.said, self.remarks = [], []
        self.say, self.remark = self.said.append, self.remarks.append


def test_the_command_copies_what_is_missing_and_says_so(aws, table, bucket, warm, cold):
    desk = TestDesk(aws)
    fill(warm, desk.now_s())
    command = ["reconcile", "--table", table, "--bucket", bucket]
    assert main(command, desk) == 0
    assert desk.said == [f"compared {HOSTS}, copied {HOSTS}, failed 0"] == desk.remarks
    assert all(blocks.decode(cold.get(key).data) == ONE for key in keys())
    assert main(command, desk) == 0
    assert desk.said[-1] == f"compared {HOSTS}, copied 0, failed 0"


def test_a_run_that_could_not_compare_everything_fails_and_has_copied_the_rest(aws, table, bucket, warm, cold):
    desk = TestDesk(aws)
    fill(warm, desk.now_s())
    bad, *good = keys()
    cold.put(bad, Item(b"\1nonsense"), None)
    assert main(["reconcile", "--table", table, "--bucket", bucket], desk) == 1
    assert desk.said == [] and f"1 of {HOSTS} blocks could not be compared" in desk.remarks[-1]
    assert all(blocks.decode(cold.get(key).data) == ONE for key in good)


@pytest.mark.parametrize(("missing", "status"), [("table", 1), ("bucket", 1)])
def test_a_store_that_is_not_there_is_said_so(aws, table, bucket, warm, missing, status):
    desk = TestDesk(aws)
    fill(warm, desk.now_s())
    names = {"table": table, "bucket": bucket} | {missing: f"no-such-{missing}"}
    assert main(["reconcile", "--table", names["table"], "--bucket", names["bucket"]], desk) == status
    assert desk.said == [] and "carbyne: " in desk.remarks[-1]


def test_a_deployment_must_be_named(aws):
    desk = TestDesk(aws)
    assert main(["reconcile", "--table", "t"], desk) == 1
    assert "--stack, or --bucket" in desk.remarks[-1]


def test_as_a_command(aws, table, bucket, warm):
    fill(warm, TestDesk(aws).now_s())
    environment = {**aws.environment, "PYTHONPATH": str(ROOT / "layers/carbyne"), "PATH": ""}
    command = [sys.executable, "-m", "carbyne", "reconcile", "--table", table, "--bucket", bucket]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"compared {HOSTS}, copied {HOSTS}, failed 0\n"), done.stderr
    assert "compared" in done.stderr


def test_the_function_does_the_same(aws, table, bucket, warm, cold):
    spec = importlib.util.spec_from_file_location("reconciler_app", ROOT / "functions/reconciler/app.py")
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    fill(warm, TestDesk(aws).now_s())
    dynamodb = aws.client("dynamodb")
    settings = reconciler_settings(dict.fromkeys(RESOLUTIONS, 7 * DAY_S))
    ports = wiring_reconciler.ReconcilerPorts(
        partial(expiring, dynamodb, table), warm, cold, lambda: time.time_ns() // 1_000_000, Meter()
    )
    reconciler = wiring_reconciler.assemble(settings, ports)
    assert app.handle(lambda: reconciler, lambda: 900.0) == Reconciled(HOSTS, HOSTS, HOSTS)
    assert all(blocks.decode(cold.get(key).data) == ONE for key in keys())
    assert app.handle(lambda: reconciler, lambda: 900.0) == Reconciled()


@pytest.fixture(params=["moto", "dynamodb-local"])
def client(request):
    if request.param == "moto":
        yield request.getfixturevalue("aws").client("dynamodb")
    else:
        with dynamodb_local.start() as running:
            yield running.client()


def test_the_index_has_each_block_under_the_day_of_its_expiry(client):
    name = create_blocks_table(client)
    warm = WarmBlocks(DynamoTable(client, name))
    day = 20_000
    expected = {key._replace(part=part) for key in keys() for part in ("", "0")}
    for key in expected:
        warm.put(key, Item(b"x", day * DAY_S), None)
    moved, other = KEY._replace(part="10"), KEY._replace(part="11")
    warm.put(moved, Item(b"x", (day - 1) * DAY_S), None)
    warm.put(moved, Item(b"y", (day + 1) * DAY_S - 1), Item(b"x"))
    warm.put(other, Item(b"x", (day + 1) * DAY_S), None)
    DynamoTable(client, name).put("series:a:b", "000000", Item(b"x"), None)
    assert set(expiring(client, name, day)) == expected | {moved}
    assert set(expiring(client, name, day + 1)) == {other}
    assert list(expiring(client, name, day - 1)) == []
    listed = list(expiring(client, name, day))
    for number, key in enumerate(listed):
        assert list(expiring(client, name, day, after=key)) == listed[number + 1 :]
    client.delete_item(TableName=name, Key={"pk": {"S": listed[0].partition}, "sk": {"S": listed[0].sort}})
    assert list(expiring(client, name, day, after=listed[0])) == listed[1:]


def test_all_pages_of_a_day_are_read(aws):
    """1 MB a page: long names make one of a few hundred keys."""
    client = aws.client("dynamodb")
    name, day = create_blocks_table(client), 20_000
    sources = [SourceKey("acme", f"host/{number:04d}{'x' * 1_900}") for number in range(1_000)]
    rows = [{"pk": {"S": KEY._replace(source=source).partition}, "sk": {"S": KEY.sort}} for source in sources]
    for first in range(0, len(rows), 25):
        puts = [{"PutRequest": {"Item": {**row, "d": {"N": str(day)}}}} for row in rows[first : first + 25]]
        client.batch_write_item(RequestItems={name: puts})
    assert {key.source for key in expiring(client, name, day)} == set(sources)
