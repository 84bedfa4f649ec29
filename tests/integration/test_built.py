"""The template passes SAM's and cfn-lint's checks, what `sam build` makes fits Lambda, and it works as it was built."""

import base64
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest
from carbyne.core.keys import SourceKey, Window, lane_due

from harness.pipeline import master_of
from harness.template import template
from tests.support.expansion import Expansion, transform
from tests.support.lambda_rie import BuiltFunction, build_for_here, environment, pythons

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
TEXT = (ROOT / "template.yaml").read_text()
RESOURCES = template()["Resources"]
EXPANSION = Expansion(transform(TEXT))
FUNCTIONS = {
    name: body["Properties"] for name, body in RESOURCES.items() if body["Type"] == "AWS::Serverless::Function"
}
LAYER_BYTES_MAX = 61_000_000
"""Half of it is OpenBLAS, to which numpy's core is linked: see docs/benchmarks.md."""
FUNCTION_BYTES_MAX = 1024 * 1024
FLOW = ("Writer", "Ingester", "Sealer", "Archiver", "Reconciler", "Reader", "Registry")
AARCH64 = b"\xb7\x00"  # e_machine of an ELF header


def run(*command, cwd=ROOT):
    """Output of a tool of our environment; it must succeed."""
    environ = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SAM_CLI_TELEMETRY": "0",
    }
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def size(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_sam_validate():
    assert "is a valid SAM Template" in run("sam", "validate", "--lint")


def test_cfn_lint():
    """In several regions: what one of them lacks would fail there alone."""
    regions = ("--regions", "us-east-1", "eu-west-1", "ap-northeast-1", "--template", "template.yaml")
    assert run("cfn-lint", *regions) == ""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """.aws-sam/build of a copy of what a build needs."""
    if not shutil.which("make"):
        pytest.skip("sam build needs make on PATH")
    if not (ROOT / "web" / "dist" / "index.html").exists():
        pytest.skip("sam build needs the page's files: make web")
    copy = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT / "web" / "dist", copy / "web" / "dist")
    for folder in ("layers", "functions", "lua"):
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("template.yaml", "samconfig.toml", "pyproject.toml"):
        shutil.copy(ROOT / file, copy)
    run("sam", "build", cwd=copy)
    return copy / ".aws-sam" / "build"


def test_layer_has_the_code_the_scripts_and_libraries_for_lambda(built):
    python = built / "CarbyneLayer" / "python"
    scripts = {script.name for script in (ROOT / "lua").glob("*.lua")}
    assert {script.name for script in (python / "lua").glob("*.lua")} == scripts != set()
    assert (python / "carbyne" / "core" / "settings.py").exists()
    assert not (python / "boto3").exists()
    binaries = list(python.rglob("*.so"))
    assert binaries
    assert {binary.read_bytes()[18:20] for binary in binaries} == {AARCH64}
    assert size(python) < LAYER_BYTES_MAX


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_their_folders(built, name):
    source = ROOT / FUNCTIONS[name]["CodeUri"]
    assert (built / name / "app.py").read_text() == (source / "app.py").read_text()
    assert size(built / name) < FUNCTION_BYTES_MAX
    assert not list((built / name).glob("requirements*"))


def stores(aws):
    """The template's stores in the embedded AWS: logical name -> physical name."""
    names = {}
    for name, body in RESOURCES.items():
        physical = f"built-{name.lower()}-{uuid.uuid4().hex[:8]}"
        if body["Type"] == "AWS::Kinesis::Stream":
            aws.client("kinesis").create_stream(StreamName=physical, ShardCount=1)
        elif body["Type"] == "AWS::DynamoDB::Table":
            kept = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
            properties = {key: body["Properties"][key] for key in kept if key in body["Properties"]}
            aws.client("dynamodb").create_table(TableName=physical, **properties)
        elif body["Type"] == "AWS::S3::Bucket":
            aws.client("s3").create_bucket(Bucket=physical)
        else:
            continue
        names[name] = physical
    return names


def variables(function, names, given):
    """A function's variables as a deployment with default parameters has them, but for those that are ``given``."""
    deployed = EXPANSION.resources[function]["Properties"]["Environment"]["Variables"]
    return {
        name: given[name] if name in given else names.get(value["Ref"], "") if isinstance(value, dict) else str(value)
        for name, value in deployed.items()
    }


def let_in(cluster, user, password):
    """The template's own Redis user on every node, with a password in the place of IAM."""
    rights = RESOURCES["RedisAppUser"]["Properties"]["AccessString"]
    for node in cluster.nodes:
        node.ask("ACL", "SETUSER", user, "reset", f">{password}", *rights.split())
        assert f"user {user} on" in node.ask("ACL", "LIST")


def recorded(name):
    return json.loads((ROOT / "events" / f"{name}.json").read_text())


def typed(item):
    """An item as JSON has it: bytes as base64."""
    return {
        name: {kind: base64.b64encode(value).decode() if kind == "B" else value for kind, value in body.items()}
        for name, body in item.items()
    }


class Stack:
    """All functions as built, on local stores, for one Python."""

    def __init__(self, stack, built, layer, python, aws, cluster):
        self.names, self.aws = stores(aws), aws
        self.user, self.layer, self.python = f"app-{uuid.uuid4().hex[:8]}", layer, python
        let_in(cluster, self.user, "pass-word")
        given = {
            **{"REDIS_ENDPOINT": cluster.endpoint, "REDIS_TLS": "false", "REDIS_IAM_CACHE": ""},
            **{"REDIS_USER": self.user, "REDIS_PASSWORD": "pass-word"},
            **{"SEAL_GRACE_S": "0", "SEAL_JITTER_S": "0", "HOT_S": "0"},
        }
        self.functions = {}
        for name in FLOW:
            seen = {**aws.environment, **variables(name, self.names, given)}
            function = BuiltFunction(
                name, built / name, layer, python, seen, EXPANSION.resources[name]["Properties"]["Timeout"]
            )
            self.functions[name] = stack.enter_context(function)

    def command(self, *words):
        """stdout of ``python -m carbyne`` out of the built layer."""
        seen = environment(self.layer, self.layer, self.aws.environment)
        call = [self.python, "-m", "carbyne", *words, "--accounts-table", self.names["AccountsTable"]]
        done = subprocess.run(call, env=seen, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def request(self, name, file, api_key, **more):
        """The answer of an HTTP function to a recorded event with this key: (status, parsed body)."""
        event = recorded(file)
        event["headers"]["x-api-key"] = api_key
        answer = self.functions[name].invoke({**event, **more})
        return answer["statusCode"], json.loads(answer["body"])

    def records(self):
        """A recorded Kinesis event with what is in the stream."""
        event = recorded("records")
        [like] = event["Records"]
        event["Records"] = [
            {**like, "kinesis": {**like["kinesis"], "sequenceNumber": sequence, "partitionKey": key, "data": data}}
            for sequence, key, data in self._stream()
        ]
        return event

    def _stream(self):
        kinesis, where = self.aws.client("kinesis"), {"StreamName": self.names["Stream"]}
        [shard] = kinesis.list_shards(**where)["Shards"]
        start = kinesis.get_shard_iterator(**where, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        for record in kinesis.get_records(ShardIterator=start["ShardIterator"])["Records"]:
            yield record["SequenceNumber"], record["PartitionKey"], base64.b64encode(record["Data"]).decode()

    def changes(self, *, removed):
        """A recorded DynamoDB event with what is in the blocks table, put or removed by its TTL."""
        event, image = recorded("changes"), "OldImage" if removed else "NewImage"
        like = event["Records"][removed]
        assert image in like["dynamodb"]
        event["Records"] = [
            {**like, "dynamodb": {**like["dynamodb"], "Keys": {"pk": item["pk"], "sk": item["sk"]}, image: typed(item)}}
            for item in self.items()
        ]
        return event

    def items(self):
        return self.aws.client("dynamodb").scan(TableName=self.names["BlocksTable"])["Items"]

    def blocks(self):
        """Items that expire, which the catalogue's don't."""
        return [item for item in self.items() if "ttl" in item]

    def expire(self):
        for item in self.blocks():
            key = {"pk": item["pk"], "sk": item["sk"]}
            self.aws.client("dynamodb").delete_item(TableName=self.names["BlocksTable"], Key=key)


@pytest.mark.parametrize("version", ["own", "3.13"])
def test_one_post_goes_through_all_tiers_and_back(built, tmp_path, aws, cluster, version):
    python = pythons()
    own = next(iter(python))
    if version == "own" and own != "3.13" and "3.13" in python:
        pytest.skip("Lambda's own Python, 3.13, is here: the other case has it")
    if version == "3.13" and version == own:
        pytest.skip("our own Python is 3.13")
    if version == "3.13" and version not in python:
        pytest.skip("there is no python3.13 on PATH or among the versions of pyenv")
    version = own if version == "own" else version
    build_for_here(version, tmp_path)
    print(f"the built functions run under Python {version}")
    for name in FUNCTIONS.keys() - set(FLOW):
        imports("import app; app.handler", built / name, tmp_path, python[version])
    imports(EVERYTHING, tmp_path, tmp_path, python[version])
    with ExitStack() as stack:
        through_all_tiers(Stack(stack, built, tmp_path, python[version], aws, cluster), cluster)


EVERYTHING = """
import importlib, pkgutil, carbyne, numpy
for module in pkgutil.walk_packages(carbyne.__path__, "carbyne."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from carbyne.intake import protobuf
protobuf.message("Request1")(timeseries=[]).SerializeToString()
assert numpy.linalg.det(numpy.eye(2)) == 1
"""


def imports(code, folder, layer, python):
    """Run ``code`` with nothing but what was built on the path."""
    call = [python, "-c", code]
    done = subprocess.run(call, env=environment(folder, layer, {}), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def fall_due(cluster, source, times_s):
    """The windows of late samples would wait for more of them."""
    for time_s in times_s:
        member = source.member(Window.holding(time_s * 1000, 14_400))
        master_of(cluster, source.lane).ask("ZADD", lane_due(source.lane), "XX", "0", member)


def through_all_tiers(stack, cluster):
    stack.command("tenants", "create", "--tenant", "acme")
    api_key = stack.command("keys", "create", "--tenant", "acme", "--name", "agents")
    now_s = int(time.time())
    times_s = [now_s - now_s % 60 - 86_400 + 60 * minute for minute in range(3)]
    expected = [{"time": time_s, "value": 0.1 * (index + 1)} for index, time_s in enumerate(times_s)]
    samples = [{"hostId": "web1", "name": "loadavg5", **point} for point in expected]
    query = f"name=loadavg5&from={times_s[0]}&to={times_s[-1]}"

    def read():
        return stack.request("Reader", "host-metrics", api_key, rawQueryString=query)

    assert stack.request("Writer", "post", "cb_unknown")[0] in (401, 403)
    assert stack.request("Writer", "post", api_key, body=json.dumps(samples)) == (200, {"success": True})
    assert stack.functions["Ingester"].invoke(stack.records()) == {"batchItemFailures": []}
    assert read() == (200, {"metrics": expected})
    assert stack.blocks() == []
    assert any(f"user={stack.user}" in node.ask("CLIENT", "LIST") for node in cluster.nodes)

    fall_due(cluster, SourceKey("acme", "host/web1"), times_s)
    stack.functions["Sealer"].invoke(recorded("schedule"))
    assert stack.blocks()
    assert read() == (200, {"metrics": expected})

    assert stack.functions["Archiver"].invoke(stack.changes(removed=False)) == {"batchItemFailures": []}
    assert stack.functions["Archiver"].invoke(stack.changes(removed=True)) == {"batchItemFailures": []}
    stack.functions["Reconciler"].invoke(recorded("schedule"))
    stack.expire()
    assert stack.blocks() == []
    assert read() == (200, {"metrics": expected})

    assert stack.request("Registry", "hosts", api_key) == (200, {"hosts": []})
