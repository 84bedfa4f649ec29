"""`make run`: the whole system on this machine, until Ctrl-C.

The environment says how: PORT, API_KEY, PARAMETERS ("Name=value Name=value"), LOG=debug.
"""

import contextlib
import json
import logging
import os
import secrets
import signal
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from carbyne import keys
from werkzeug.serving import make_server

from local.aws import Aws
from local.functions import Function, FunctionError
from local.gateway import Gateway
from local.host import HOST_ID, Host
from local.process import ROOT
from local.schedules import Schedule
from local.streams import EventSource
from local.template import FUNCTION, Template, TemplateError, pairs
from local.valkey import Cluster

TENANT = "local"
WORKERS = 4  # of each function at most
READBACK_S = 15.0
ENV_JSON = ROOT / ".carbyne" / "env.json"


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    start_s = time.monotonic()
    print(f"  {what} ...", end="", flush=True)
    yield
    print(f" {time.monotonic() - start_s:.1f} s", flush=True)


def create_stores(template: Template, aws: Aws) -> None:
    for name in template.resources:
        if (kind := template.type(name)) == "AWS::Kinesis::Stream":
            stream = template.values(name, "ShardCount", "StreamModeDetails")
            stream |= {"ShardCount": int(stream["ShardCount"])} if "ShardCount" in stream else {}
            aws.client("kinesis").create_stream(StreamName=template.reference(name), **stream)
        elif kind == "AWS::DynamoDB::Table":
            wanted = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
            table = template.values(name, *wanted)
            aws.client("dynamodb").create_table(TableName=template.reference(name), **table)
        elif kind == "AWS::S3::Bucket":
            aws.client("s3").create_bucket(Bucket=template.reference(name))


def create_account(template: Template, aws: Aws, api_key: str) -> None:
    for item in ({"pk": keys.tenant_item(TENANT)}, {"pk": keys.api_key_item(api_key), "tenant": TENANT}):
        typed = {name: {"S": value} for name, value in item.items()}
        aws.client("dynamodb").put_item(TableName=template.reference("AccountsTable"), Item=typed)


def start_function(template: Template, aws: Aws, name: str) -> Function:
    """With the environment that Lambda would give it, plus the address of the embedded AWS."""
    wanted = template.values(name, "CodeUri", "Handler", "Timeout", "MemorySize", "Environment")
    layers = [template.values(layer.value, "ContentUri") for layer in template.properties(name)["Layers"].value]
    folders = [wanted["CodeUri"], *(layer["ContentUri"] for layer in layers)]
    environment = {
        **{"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": ":UTC", "_HANDLER": wanted["Handler"]},
        "PYTHONPATH": os.pathsep.join(str(template.path.parent / folder) for folder in folders),
        **{"AWS_LAMBDA_FUNCTION_NAME": name, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(wanted["MemorySize"])},
        **{"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"},
        **{key: str(value) for key, value in wanted.get("Environment", {}).get("Variables", {}).items()},
    }
    return Function(name, {**aws.environment, **environment}, wanted["Timeout"], WORKERS)


def connect(
    template: Template, aws: Aws, functions: dict[str, Function], gateway: Gateway
) -> list[EventSource | Schedule]:
    """The event sources and schedules of all functions, and their routes into the gateway."""
    sources: list[EventSource | Schedule] = []
    for name, function in functions.items():
        for event in template.events(name).values():
            kind, properties = pairs(event)["Type"].value, pairs(pairs(event)["Properties"])
            if kind == "HttpApi":
                gateway.add(f"{properties['Method'].value} {properties['Path'].value}", function)
            elif kind == "Kinesis":
                settings = {key: template.value(node) for key, node in properties.items()}
                sources.append(EventSource(aws, function, settings))
            else:
                try:
                    sources.append(Schedule(function, template.value(properties["ScheduleExpression"])))
                except ValueError as error:
                    raise template.error(event, f"the local runtime does not know {error} of {name}") from None
    return sources


def write_env_json(functions: dict[str, Function]) -> None:
    """For `sam local invoke --env-vars`; of several systems the one that started last has it."""
    ENV_JSON.parent.mkdir(exist_ok=True)
    ENV_JSON.write_text(json.dumps({name: each.environment for name, each in functions.items()}, indent=2))


def call(url: str, api_key: str, body: object = None) -> bytes:
    """The body of a successful answer; OSError for another."""
    headers = {"X-Api-Key": api_key, "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)  # noqa: S310 - our own
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return bytes(answer.read())


def post_metrics(host: Host, url: str, api_key: str) -> bool:
    """Post this machine's metrics as an agent would; say so if they are not taken."""
    now_s = int(time.time())
    body = [{"hostId": HOST_ID, "name": name, "time": now_s, "value": value} for name, value in host.read().items()]
    try:
        call(f"{url}/api/v0/tsdb", api_key, body)
    except OSError as error:
        print(f"this machine's metrics were not taken: {error}", file=sys.stderr, flush=True)
        return False
    return True


def first_sample(host: Host, url: str, api_key: str) -> None:
    """Post, and wait until a sample comes back: the first batch also prepares the lanes."""
    end_s = time.monotonic() + READBACK_S
    taken = post_metrics(host, url, api_key)
    while taken and time.monotonic() < end_s:
        time.sleep(1.5)  # a batch has to fill and its function to warm up; asking earlier only makes warnings
        with contextlib.suppress(OSError):
            if b"loadavg5" in call(f"{url}/api/v0/tsdb/latest?hostId={HOST_ID}&name=loadavg5", api_key):
                return
    print("this machine's metrics can't be read back yet", file=sys.stderr, flush=True)


def run(stack: contextlib.ExitStack, path: Path, port: int) -> None:
    """Start everything, say so, and post this machine's metrics each minute until interrupted."""
    host, api_key, gateway = Host(), os.environ.get("API_KEY") or secrets.token_urlsafe(24), Gateway()
    template = Template(path, os.environ.get("PARAMETERS") or "")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", port, gateway, threaded=True)
    stack.callback(server.server_close)
    aws = stack.enter_context(Aws())
    if "RedisEndpoint" not in template.overrides:
        with step("Redis cluster, 3 masters and 3 replicas"):
            cluster = stack.enter_context(Cluster())
        template.overrides = {"RedisEndpoint": cluster.endpoint, "RedisTls": "false", **template.overrides}
    with step("AWS: stream, table, bucket"):
        create_stores(template, aws)
        create_account(template, aws, api_key)
    with step("functions"), ThreadPoolExecutor() as threads:
        names = [name for name in template.resources if template.type(name) == FUNCTION]
        started = threads.map(lambda name: start_function(template, aws, name), names)
        functions = dict(zip(names, started, strict=True))
        for function in functions.values():
            stack.callback(function.stop)
    for source in connect(template, aws, functions, gateway):
        stack.callback(source.stop)
        source.start()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    write_env_json(functions)
    url = f"http://127.0.0.1:{server.port}"
    with step("first sample, there and back"):
        first_sample(host, url, api_key)
    query = f"{url}/api/v0/hosts/{HOST_ID}/metrics?name=loadavg5&from=$(($(date +%s)-3600))&to=$(date +%s)"
    print(f"Carbyne is ready: {url}  API key: {api_key}")
    print("This machine posts its own metrics each minute. Read one back:")
    print(f'  curl -H "X-Api-Key: {api_key}" "{query}"', flush=True)
    while True:
        time.sleep(60 - time.time() % 60)
        post_metrics(host, url, api_key)


def interrupt(*_: object) -> None:
    """The first signal stops us; further ones don't disturb that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "template.yaml"
    try:
        with contextlib.ExitStack() as stack:
            run(stack, path, int(os.environ.get("PORT") or 8080))
    except KeyboardInterrupt:
        print("\nCarbyne has stopped. Its data was in memory and is gone.", flush=True)
        return 0
    except (TemplateError, FunctionError, RuntimeError) as error:
        print(f"\nmake run: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
