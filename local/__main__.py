"""`make run`: the whole system on this machine, until Ctrl-C.

The environment says how: PORT, API_KEY, PARAMETERS ("Name=value Name=value"), LOG=debug, LISTEN (an address),
SCHEDULE_MINUTE_S (how long a minute of the schedules lasts, so that a test of several need not wait for them).
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from carbyne.core import keys
from carbyne.core.names import OPERATOR
from werkzeug.serving import make_server

from local import events
from local.gateway import DEFAULT, Gateway
from local.invoke import Invocations
from local.nodes import Nodes
from local.sources import Mappings, Schedule, Source, shards_of
from local.template import FUNCTION, Template, TemplateError, pairs, reference
from servers.agent import Agent
from servers.aws import Aws
from servers.lambdas import Function, FunctionError, stop_all
from servers.process import LISTEN, LOOPBACK, ROOT
from servers.valkey import Cluster

TENANT = "local"
TABLE = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "StreamSpecification")
ENV_JSON = ROOT / ".carbyne" / "env.json"  # for `sam local invoke --env-vars`; of several systems the last one's
MINUTE_S = float(os.environ.get("SCHEDULE_MINUTE_S") or 60)
PHASE_S = 3.0
DEBUG = os.environ.get("LOG", "").lower() == "debug"


def create_stores(template: Template, aws: Aws) -> None:
    kinesis, dynamodb, s3 = map(aws.client, ("kinesis", "dynamodb", "s3"))
    for name in template.of_type("AWS::Kinesis::Stream"):
        stream = template.values(name, "ShardCount", "StreamModeDetails")
        kinesis.create_stream(StreamName=reference(name), **stream)
    for name in template.of_type("AWS::DynamoDB::Table"):
        table = template.values(name, *TABLE)
        if view := table.get("StreamSpecification"):
            view["StreamEnabled"] = True
        made = dynamodb.create_table(TableName=reference(name), **table)["TableDescription"]
        template.known[f"{name}.StreamArn"] = made.get("LatestStreamArn", "")
        for ttl in template.values(name, "TimeToLiveSpecification").values():
            dynamodb.update_time_to_live(TableName=reference(name), TimeToLiveSpecification=ttl)
    for name in template.of_type("AWS::S3::Bucket"):
        s3.create_bucket(Bucket=reference(name))
    aws.register(map(reference, template.of_type(FUNCTION)))


def create_account(aws: Aws, tenant: str, api_key: str) -> None:
    for item in ({"pk": keys.tenant_item(tenant)}, {"pk": keys.api_key_item(api_key), "tenant": tenant}):
        typed = {name: {"S": value} for name, value in item.items()}
        aws.client("dynamodb").put_item(TableName=reference("AccountsTable"), Item=typed)


def start_function(template: Template, aws: Aws, name: str, redis_password: str, invocations_url: str) -> Function:
    """With the environment that Lambda would give it, plus the addresses of the embedded AWS and of our Invoke."""
    properties = template.values(name, "CodeUri", "Handler", "Timeout", "MemorySize", "Environment")
    layers = [template.values(layer.value, "ContentUri") for layer in template.properties(name)["Layers"].value]
    folders = [properties["CodeUri"], *(layer["ContentUri"] for layer in layers)]
    environment = {
        **{"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": ":UTC", "_HANDLER": properties["Handler"]},
        "PYTHONPATH": os.pathsep.join(str(template.path.parent / folder) for folder in folders),
        **{"AWS_LAMBDA_FUNCTION_NAME": name, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(properties["MemorySize"])},
        **{"AWS_LAMBDA_LOG_LEVEL": "INFO" if DEBUG else "WARN", "POWERTOOLS_METRICS_DISABLED": str(not DEBUG).lower()},
        **{key: str(value) for key, value in properties.get("Environment", {}).get("Variables", {}).items()},
    }
    if redis_password and "REDIS_PASSWORD" in environment:
        environment["REDIS_PASSWORD"] = redis_password
    calls = {"AWS_ENDPOINT_URL_LAMBDA": invocations_url}
    return Function(name, {**aws.environment, **calls, **environment}, properties["Timeout"])


def start_functions(stack: contextlib.ExitStack, template: Template, aws: Aws, redis_password: str) -> list[Function]:
    """All of the template's, and an Invoke by which they call each other."""
    invocations = Invocations(aws.endpoint)
    server = make_server(LISTEN, 0, invocations, threaded=True)
    stack.callback(server.server_close)
    url = f"http://{LISTEN}:{server.port}"
    start = partial(start_function, template, aws, redis_password=redis_password, invocations_url=url)
    with ThreadPoolExecutor() as threads:
        functions = list(threads.map(start, template.of_type(FUNCTION)))
    invocations.functions = {reference(function.name): function for function in functions}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return functions


def connect(template: Template, aws: Aws, function: Function, gateway: Gateway) -> Iterator[Source]:
    """A function's routes go into the gateway; its other event sources are the answer."""
    for event in pairs(template.properties(function.name).get("Events")).values():
        kind, properties = pairs(event)["Type"].value, pairs(pairs(event)["Properties"])
        settings = {key: template.value(node) for key, node in properties.items() if key != "ApiId"}
        try:
            if kind == "HttpApi":
                gateway.add(f"{settings['Method']} {settings['Path']}" if "Path" in settings else DEFAULT, function)
            elif kind == "ScheduleV2":
                yield Schedule(function, settings["ScheduleExpression"])
            else:
                yield from shards_of(aws, function, settings)
        except ValueError as error:
            raise template.error(event, f"the local runtime does not know {error} of {function.name}") from None


def destination_of(template: Template, name: str) -> str:
    """The name of the function that gets the answers of another, empty if none does."""
    settings = template.values(name, "EventInvokeConfig").get("EventInvokeConfig", {})
    arn = settings.get("DestinationConfig", {}).get("OnSuccess", {}).get("Destination", "")
    return str(arn).rpartition(":")[2]


def plan(schedules: list[Schedule], template: Template, functions: dict[str, Function]) -> None:
    """When each schedule comes, and which of ``functions``, by name, gets its answer."""
    for number, schedule in enumerate(reversed(schedules)):
        schedule.period_s *= MINUTE_S / 60
        schedule.phase_s = PHASE_S * number * MINUTE_S / 60  # so that the supervisor sees what the sealer did
        schedule.destination = functions.get(destination_of(template, schedule.function.name))


def run(stack: contextlib.ExitStack, path: Path, port: int) -> None:
    """Start everything, say so, and post this machine's metrics each minute until interrupted."""
    api_key, gateway = os.environ.get("API_KEY") or secrets.token_urlsafe(24), Gateway()
    template = Template(path, f"RedisEndpoint=local:0 RedisTls=false {os.environ.get('PARAMETERS') or ''}")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(LISTEN, port, gateway, threaded=True)
    stack.callback(server.server_close)
    template.known["HttpApi.ApiEndpoint"] = url = f"http://{LISTEN}:{server.port}"
    aws = stack.enter_context(Aws())
    sources, redis_password = list[Source](), ""
    if template.known["RedisEndpoint"] == "local:0":
        print("  Redis cluster: 3 masters, 3 replicas ...", flush=True)
        redis_password = "" if LISTEN == LOOPBACK else secrets.token_urlsafe(24)
        cluster = stack.enter_context(Cluster(host=LISTEN, password=redis_password))
        template.known["RedisEndpoint"] = cluster.endpoint
        sources.append(Nodes(cluster))
    print("  AWS: stream, tables, buckets ...", flush=True)
    create_stores(template, aws)
    create_account(aws, TENANT, api_key)
    create_account(aws, OPERATOR, operator_key := f"operator-{api_key}")
    print("  functions ...", flush=True)
    functions = start_functions(stack, template, aws, redis_password)
    sources += [source for function in functions for source in connect(template, aws, function, gateway)]
    by_name = {reference(function.name): function for function in functions}
    plan([source for source in sources if isinstance(source, Schedule)], template, by_name)
    sources.append(Mappings(aws, by_name))
    for source in sources:
        stack.callback(source.stopping.set)
        source.start()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        stack.callback(signal.signal, number, signal.SIG_IGN)  # a second Ctrl-C does not disturb the end
    ENV_JSON.parent.mkdir(exist_ok=True)
    ENV_JSON.write_text(json.dumps({function.name: function.environment for function in functions}, indent=2))
    ENV_JSON.chmod(0o600)  # it has the password of Redis
    events.write(ENV_JSON.parent / "events", TENANT, int(time.time()))
    agent = Agent(url, api_key)
    print("  first sample, there and back ...", flush=True)
    agent.register()
    if agent.post():
        agent.await_sample()
    query = f"{url}/api/v0/hosts/{agent.host_id}/metrics?name=loadavg5&from=$(($(date +%s)-3600))&to=$(date +%s)"
    print(f"Carbyne is ready: {url}  API key: {api_key}")
    print("Open the URL in a browser and sign in with the key: graphs of this machine are there.")
    print(f"API key of the system's own tenant, which has the figures of its Redis nodes: {operator_key}")
    print("This machine posts its own metrics each minute. Read one back:")
    print(f'  curl -H "X-Api-Key: {api_key}" "{query}"', flush=True)
    while True:
        time.sleep(60 - time.time() % 60)
        agent.post()


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "template.yaml"
    try:
        with contextlib.ExitStack() as stack:
            run(stack, path, int(os.environ.get("PORT") or 8080))
    except KeyboardInterrupt:
        print("\nCarbyne has stopped. Its data was in memory and is gone.", flush=True)
        return 0
    except (TemplateError, FunctionError, RuntimeError) as error:
        print(f"\nmake run: {error}", file=sys.stderr)
    finally:
        stop_all()
    return 1


if __name__ == "__main__":
    sys.exit(main())
