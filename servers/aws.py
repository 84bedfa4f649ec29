"""The embedded AWS: moto in a process of its own, one request at a time.

moto loses acknowledged records when PutRecords calls overlap, so a lock serialises its requests, while a thread for
each connection keeps one client's connection from starving the others.  It also keeps times to live without applying
them: a thread does that, and tells it to the table's stream as AWS does.  Of Lambda it has functions and event source
mappings by name alone: whoever runs functions runs the mappings, where moto would ask Docker.
"""

import json
import logging
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from functools import cache, cached_property
from typing import Any, Self

import boto3

from servers.process import LISTEN, spawn

REGION = "us-east-1"
SWEEP_S = 2.0
TWICE = 0.25
_MAKING = threading.Lock()
BY_TTL = {"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"}


class Aws:
    """The running server: ``endpoint``, ``environment`` for processes that use it, ``client`` for us."""

    def start(self) -> Self:
        self.process = spawn([sys.executable, "-m", "servers.aws"], stdout=subprocess.PIPE)
        return self

    __enter__ = start

    def stop(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    __exit__ = stop

    @cached_property
    def endpoint(self) -> str:
        """The URL, once it serves; RuntimeError if it can't."""
        if self.process.stdout is None or not (port := self.process.stdout.readline().strip()):
            raise RuntimeError("the embedded AWS (moto) did not start; its error is above")
        return f"http://{LISTEN}:{port}"

    @property
    def environment(self) -> dict[str, str]:
        """What makes any AWS client in a process use this server."""
        keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_EC2_METADATA_DISABLED": "true"}
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, **keys}

    def client(self, service: str) -> Any:  # noqa: ANN401 - one class per service, made at run time
        """A boto3 client, for example ``client("kinesis")``."""
        with _MAKING:  # a session makes one client at a time
            return _session().client(service, endpoint_url=self.endpoint)  # type: ignore[call-overload]

    def register(self, functions: Iterable[str]) -> None:
        """Give Lambda functions of these names, so that event source mappings can be made for them."""
        trusted = json.dumps({"Version": "2012-10-17", "Statement": []})
        iam, lambdas = self.client("iam"), self.client("lambda")
        for name in functions:
            role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
            lambdas.create_function(FunctionName=name, Role=role, Code={"ZipFile": b""})


@cache
def _session() -> boto3.Session:
    """One for the process: it reads the description of a service once, which takes ten times as long as a client."""
    return boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name=REGION)  # noqa: S106


def serve() -> None:
    """Serve until killed; the port is the only line on stdout."""
    from moto import backends  # noqa: PLC0415
    from moto.moto_server import werkzeug_app  # noqa: PLC0415 - two seconds that only this process pays
    from werkzeug.serving import make_server  # noqa: PLC0415

    keep_mappings_by_name()
    answer_percentiles()
    modules = tuple(backends.list_of_moto_modules())  # moto lists its folder twice for each request
    backends.list_of_moto_modules = lambda: modules
    moto = werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app)
    lock = threading.Lock()

    def one_at_a_time(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401
        with lock:
            reply: Iterable[bytes] = moto(environ, start_response)
            return reply

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    handler = werkzeug_app.MotoRequestHandler
    threading.Thread(target=sweep, args=(lock,), daemon=True).start()
    server = make_server(LISTEN, 0, one_at_a_time, threaded=True, request_handler=handler)
    os.write(1, f"{server.port}\n".encode())
    server.serve_forever()


def keep_mappings_by_name() -> None:
    """Mappings call nothing, there is one of a stream and a function at most, and each tells where it starts, as on
    AWS."""
    from moto.awslambda.models import EventSourceMapping, LambdaBackend  # noqa: PLC0415 - see above
    from moto.core.exceptions import JsonRESTError  # noqa: PLC0415

    create = LambdaBackend.create_event_source_mapping

    def create_once(lambdas: LambdaBackend, spec: dict[str, Any]) -> Any:  # noqa: ANN401 - moto's own
        if lambdas.list_event_source_mappings(spec["EventSourceArn"], spec["FunctionName"]):
            raise JsonRESTError("ResourceConflictException", "An event source mapping of both exists already.")
        return create(lambdas, spec)

    told = EventSourceMapping.get_configuration

    def told_with_start(mapping: Any) -> dict[str, Any]:  # noqa: ANN401 - moto's own
        start = mapping.starting_position_timestamp
        return told(mapping) | ({"StartingPositionTimestamp": start} if start else {})

    EventSourceMapping.get_configuration = told_with_start  # type: ignore[assignment,method-assign]
    LambdaBackend.create_event_source_mapping = create_once  # type: ignore[assignment,method-assign]
    LambdaBackend.send_kinesis_message = lambda *_, **__: None  # type: ignore[method-assign]


def answer_percentiles() -> None:
    """moto's GetMetricData knows the five plain statistics alone, and fails at p95."""
    from moto.cloudwatch.models import Statistics  # noqa: PLC0415 - see above

    plain = Statistics.get_statistics_for_type

    def with_percentiles(statistics: Statistics, stat: str) -> Any:  # noqa: ANN401 - moto's own
        if not stat.startswith("p"):
            return plain(statistics, stat)
        values = sorted(statistics.metric_single_values_list)
        return values[min(len(values) - 1, int(len(values) * float(stat[1:]) / 100))]

    Statistics.get_statistics_for_type = with_percentiles  # type: ignore[assignment,method-assign]


def sweep(lock: threading.Lock) -> None:
    """Remove expired items for ever: some seconds late and in any order; now and then the stream says it twice."""
    from moto.dynamodb.models import dynamodb_backends  # noqa: PLC0415 - see above

    while True:
        time.sleep(SWEEP_S)
        for regions in list(dynamodb_backends.values()):
            with lock:
                for table in regions[REGION].tables.values():
                    late = [item for item in table.all_items() if has_expired(item, table.ttl)]
                    for item in random.sample(late, (len(late) + 1) // 2):
                        remove(table, item)


def has_expired(item: Any, ttl: dict[str, str]) -> bool:  # noqa: ANN401 - moto has no types
    value = item.attrs.get(ttl.get("AttributeName")) if ttl["TimeToLiveStatus"] == "ENABLED" else None
    return value is not None and value.type == "N" and float(value.value) < time.time()


def remove(table: Any, item: Any) -> None:  # noqa: ANN401
    """An item goes, and the stream says who did it."""
    table.delete_item(item.hash_key, item.range_key)
    if table.stream_shard:
        table.stream_shard.items[-1].record["userIdentity"] = BY_TTL
        if random.random() < TWICE:
            table.stream_shard.add(item, None)
            table.stream_shard.items[-1].record["userIdentity"] = BY_TTL


if __name__ == "__main__":
    serve()
