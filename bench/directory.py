"""What listings cost at many targets: time, memory, and what the directory and the catalogue cost to write.

    python -m bench.directory [sources] [series of each]

Real adapters: a Redis of this machine that has a row of each source, and boto3, whose requests a table in memory
answers after the time that DynamoDB takes.  Cold is the first request of an instance, without its imports; warm are
further ones, each third of which reads the directory again.  Every answer is compared with a plain one.  Memory is that
of a process of its own, with the table in it.
"""

import gc
import json
import pickle
import resource
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import boto3
import numpy as np
from botocore.awsrequest import AWSResponse
from carbyne.adapters import aws
from carbyne.adapters.dynamodb.table import DynamoTable, attributes
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.core import labels, stamps
from carbyne.core.keys import SourceKey, Window, join_series, list_identity
from carbyne.core.limits import BATCH_READERS, DAY_S, FOUND_SOURCES_MAX
from carbyne.core.settings import RedisSettings
from carbyne.http import message
from carbyne.read import api
from carbyne.samples.rows import HotRow, RowGroup
from carbyne.store.catalogue_items import SeriesSpan, page_item
from carbyne.store.directory import Directory
from carbyne.tenants.accounts import BOTH, Accounts, Grant
from carbyne.wiring import reader as wiring_reader
from carbyne.wiring.redis import nodes

from harness.wired import reader_settings
from servers.memory import MemoryTable, write_units
from servers.valkey import Cluster

LENGTH_S: Final = 14_400
KEEP_S: Final = 460 * DAY_S
NOW_S: Final = 1_700_000_000 // DAY_S * DAY_S + 7_200
TARGETS_OF_JOB: Final = 100
COMMON: Final = 20
"""Names that all targets have, each with one series: what the client library says of its process."""
QUERY_S, BATCH_S = 0.006, 0.015
"""What DynamoDB takes for a Query or GetItem, and for a BatchGetItem of 100 items."""
UNIT_USD: Final = 0.625e-6
COLD_RUNS, WARM_RUNS = 6, 18
KEY: Final = "of no account"


class Target(NamedTuple):
    job: int
    labels: Mapping[str, str]
    source: SourceKey


class Case(NamedTuple):
    """``path``: what is asked; ``answers``: the number of elements of its answer, or 422."""

    name: str
    path: str
    answers: int


class Figures(NamedTuple):
    """Milliseconds."""

    cold_p95: float
    warm_p50: float
    warm_p95: float


def targets_of(count: int) -> list[Target]:
    named = [{"job": f"job{n // TARGETS_OF_JOB:03d}", "instance": f"host-{n:05d}:9100"} for n in range(count)]
    return [
        Target(n // TARGETS_OF_JOB, target, SourceKey("acme", labels.source_of(target)))
        for n, target in enumerate(named)
    ]


def keys_of(job: int, series: int) -> list[str]:
    """Of each target of a job: some names of all jobs, and names of its own with labels."""
    common = [f"process_metric_{n:02d}" for n in range(COMMON)]
    own = [
        f"job{job:03d}_requests_{n // 10:02d}_total{{code={200 + n % 10},mode=m{n % 3}}}"
        for n in range(series - COMMON)
    ]
    return [*common, *own]


def filled(targets: Sequence[Target], series: int) -> MemoryTable:
    """The table of a tenant that had these targets for ten days."""
    table = MemoryTable()
    directory = Directory(table, KEEP_S, lambda: NOW_S)
    pages: dict[int, Any] = {}
    for target in targets:
        names = keys_of(target.job, series)
        source = target.source.source
        directory.note("acme", {source: labels.text(target.labels)}, {}, {source: set(names)})
        if target.job not in pages:
            span = SeriesSpan((NOW_S - 10 * DAY_S) * 1000, (NOW_S // DAY_S * DAY_S + DAY_S) * 1000 - 1)
            pages[target.job] = page_item(dict.fromkeys(names, span))
        table.items[target.source.series_item, "000000"] = pages[target.job]
    return table


def posted(store: HotStore, targets: Sequence[Target], series: int) -> None:
    """A row of each target in Redis."""
    store.init()
    window = Window.holding(NOW_S * 1000, LENGTH_S)
    values = np.arange(series, dtype="<f8").tobytes()
    for first in range(0, len(targets), 200):
        lanes: dict[int, list[RowGroup]] = {}
        for number, target in enumerate(targets[first : first + 200], start=first):
            blob = join_series(sorted(keys_of(target.job, series)))
            row = HotRow(NOW_S * 1000, list_identity(blob), blob, stamps.pack(1, str(number + 1)), values)
            group = RowGroup(target.source, window, NOW_S * 1000, True, [row], NOW_S * 1000)
            lanes.setdefault(target.source.lane, []).append(group)
        outcomes = store.write(lanes)
        assert not any(isinstance(outcome, Exception) for outcome in outcomes.values()), "a lane was not written"


class Answering:
    """Answers the requests of a boto3 client out of a table that does not change."""

    def __init__(self, table: MemoryTable) -> None:
        self._rows = {place: json.dumps(_row(place, item)) for place, item in table.items.items()}
        self._sorts: dict[str, list[str]] = {}
        for partition, sort in sorted(self._rows):
            self._sorts.setdefault(partition, []).append(sort)

    def client(self) -> Any:
        options = aws.config(1, 2, tries=2, connections=2 * BATCH_READERS)
        client = boto3.client("dynamodb", "us-east-1", aws_access_key_id="a", aws_secret_access_key=KEY, config=options)
        client.meta.events.register("before-send.dynamodb", self._answer)
        return client

    def _answer(self, request: Any, **_: Any) -> AWSResponse:
        target = request.headers["X-Amz-Target"]
        asked = json.loads(request.body)
        operation = (target.decode() if isinstance(target, bytes) else target).partition(".")[2]
        body = getattr(self, f"_{operation}")(asked)
        headers = {"Content-Type": "application/x-amz-json-1.0"}
        return AWSResponse(request.url, 200, headers, _Raw(body.encode()))

    def _GetItem(self, asked: Any) -> str:
        time.sleep(QUERY_S)
        row = self._rows.get((asked["Key"]["pk"]["S"], asked["Key"]["sk"]["S"]))
        return f'{{"Item":{row}}}' if row else "{}"

    def _Query(self, asked: Any) -> str:
        time.sleep(QUERY_S)
        values = asked["ExpressionAttributeValues"]
        partition, first, last = (values[name]["S"] for name in (":pk", ":first", ":last"))
        rows = [self._rows[partition, sort] for sort in self._sorts.get(partition, ()) if first <= sort <= last]
        return f'{{"Items":[{",".join(rows)}]}}'

    def _BatchGetItem(self, asked: Any) -> str:
        time.sleep(BATCH_S)
        [(table, request)] = asked["RequestItems"].items()
        places = [(key["pk"]["S"], key["sk"]["S"]) for key in request["Keys"]]
        rows = [self._rows[place] for place in places if place in self._rows]
        return f'{{"Responses":{{"{table}":[{",".join(rows)}]}},"UnprocessedKeys":{{}}}}'


class _Raw(BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        while chunk := self.read(65_536):
            yield chunk


def _row(place: tuple[str, str], item: Any) -> dict[str, Any]:
    row = {"pk": {"S": place[0]}, "sk": {"S": place[1]}, **attributes(item)}
    return {
        name: {kind: b64encode(value).decode() if isinstance(value, bytes) else value for kind, value in given.items()}
        for name, given in row.items()
    }


class _Keys:
    def grant_of(self, api_key: str) -> Grant:
        return Grant("acme", BOTH)

    def standing_of(self, tenant: str) -> None:
        return None


class Instance:
    """A reader that has asked nothing yet."""

    def __init__(self, answering: Answering, endpoint: str) -> None:
        self._nodes = nodes(RedisSettings(endpoint, False))
        begun_s = time.monotonic()
        ports = wiring_reader.ReaderPorts(
            hot=HotStore(self._nodes),
            windows=HotWindows(self._nodes),
            table=DynamoTable(answering.client(), "blocks"),
            cold=None,
            accounts=Accounts(_Keys(), time.monotonic),
            now_ms=lambda: int(1000 * (NOW_S + 60 + time.monotonic() - begun_s)),
            cache=None,
        )
        self._deps = wiring_reader.assemble(reader_settings(LENGTH_S, KEEP_S), ports)

    def ask(self, case: Case) -> float:
        """Milliseconds; AssertionError for another answer."""
        path, _, query = case.path.partition("?")
        request = message.parse(
            {"requestContext": {"http": {"method": "GET"}}, "rawPath": path, "rawQueryString": query, "headers": {}}
        )
        begun_s = time.perf_counter()
        answer = api.route(message.Request(request.method, path, request.query, {"x-api-key": "k"}, b""), *self._deps)
        ms = 1000 * (time.perf_counter() - begun_s)
        body = json.loads(answer.body)
        got = answer.status if answer.status != 200 else len(body["data"])
        assert got == case.answers, f"{case.name}: {got} instead of {case.answers}: {answer.body[:300]}"
        return ms

    def close(self) -> None:
        self._nodes.close()


def cases(targets: Sequence[Target], series: int) -> list[Case]:
    def matching(selector: str, what: str = "series") -> str:
        return f"/api/v1/{what}?match[]={quote(selector)}&start={NOW_S - 3_600}&end={NOW_S + 60}"

    jobs, each = len(targets) // TARGETS_OF_JOB, series - COMMON
    few = min(jobs, 10)
    of_mode = sum(n % 3 == 0 for n in range(each))
    beyond = 422 if len(targets) > FOUND_SOURCES_MAX else len(targets)
    some = "|".join(f"job{n:03d}" for n in range(few))
    return [
        Case("one target", matching('{job="job000",instance="host-00042:9100"}'), series),
        Case("a name of one target", matching('process_metric_00{instance="host-00042:9100"}'), 1),
        Case("a name that 100 targets have", matching("job000_requests_00_total"), 100 * min(10, each)),
        Case(f"a name of {few} jobs, {100 * few} targets", matching(f'process_metric_00{{job=~"{some}"}}'), 100 * few),
        Case("a regex on a label inside 100 targets", matching('{job="job000",mode=~"m0|x.*"}'), 100 * of_mode),
        Case(
            "a regex on a label inside all",
            matching('{mode=~"m0|x.*"}', "series"),
            422 if len(targets) > FOUND_SOURCES_MAX else 100 * jobs * of_mode,
        ),
        Case("a name that all have", matching("process_metric_00"), beyond),
        Case("values of instance, of all", matching('{job=~"job.*"}', "label/instance/values"), len(targets)),
        Case(
            "names of metrics, of all",
            matching('{job=~"job.*"}', "label/__name__/values"),
            COMMON + jobs * -(-each // 10),
        ),
        Case("names of labels, of all", matching('{job=~"job.*"}', "labels"), 5),
        Case("the report on cardinality", "/api/v1/status/tsdb", 6),
    ]


def measured(
    table: MemoryTable, endpoint: str, targets: Sequence[Target], series: int, runs: tuple[int, int]
) -> dict[str, Figures]:
    answering = Answering(table)
    figures = {}
    for case in cases(targets, series):
        cold = []
        for _ in range(runs[0]):
            instance = Instance(answering, endpoint)
            cold.append(instance.ask(case))
            instance.close()
        instance, warm = Instance(answering, endpoint), []
        instance.ask(case)
        for number in range(runs[1]):
            if number % 3 == 0 and runs[1] > 10:
                time.sleep(0.3)
            warm.append(instance.ask(case))
        instance.close()
        figures[case.name] = Figures(_percentile(cold or warm, 95), _percentile(warm, 50), _percentile(warm, 95))
    return figures


def _percentile(ms: Sequence[float], rank: int) -> float:
    return round(float(np.percentile(ms, rank)), 1)


def written(table: MemoryTable, targets: Sequence[Target], series: int) -> dict[str, float]:
    """Dollars a month, by what is written; a day of 5 % new series is counted, and taken 30 times."""
    day = Directory(table, KEEP_S, lambda: NOW_S + DAY_S)
    table.units_of.clear()
    for target in targets:
        day.note("acme", {target.source.source: labels.text(target.labels)}, {}, {})
    daily = table.units_of.total()
    fresh = [
        {"job": f"job{n % (len(targets) // TARGETS_OF_JOB):03d}", "instance": f"new-{n:05d}:9100"}
        for n in range(len(targets) // 20)
    ]
    table.units_of.clear()
    for number, target in enumerate(fresh):
        source = labels.source_of(target)
        names = set(keys_of(number % (len(targets) // TARGETS_OF_JOB), series))
        day.note("acme", {source: labels.text(target)}, {}, {source: names})
    churn = table.units_of.total()
    source = targets[0].source
    page = write_units(source.series_item, "000000", table.items[source.series_item, "000000"])
    month = {
        "entries, once a day": daily,
        "5 % new targets a day": churn + page * len(fresh),
        "pages of the catalogue, once a day": page * len(targets),
        "in the place of that, pages with each seal of 4 h": page * len(targets) * 6,
    }
    return {what: round(30 * units * UNIT_USD, 2) for what, units in month.items()}


def run(
    sources: int, series: int, runs: tuple[int, int], measure: Callable[..., Any] = measured
) -> tuple[Any, dict[str, float]]:
    targets = targets_of(sources)
    table = filled(targets, series)
    with Cluster(masters=1, replicas=0) as cluster:
        endpoint = f"127.0.0.1:{cluster.nodes[0].port}"
        writer = nodes(RedisSettings(endpoint, False))
        posted(HotStore(writer), targets, series)
        writer.close()
        figures = measure(table, endpoint, targets, series, runs)
    return figures, written(table, targets, series)


def apart(table: MemoryTable, endpoint: str, targets: Sequence[Target], series: int, runs: tuple[int, int]) -> Any:
    """``measured`` in a process of its own, and the MB that this had at most."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "table"
        path.write_bytes(pickle.dumps(table.items))
        arguments = [str(path), endpoint, str(len(targets)), str(series), *map(str, runs)]
        command = [sys.executable, "-m", "bench.directory", "--measure", *arguments]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def _measure(path: str, endpoint: str, sources: str, series: str, *runs: str) -> None:
    table = MemoryTable()
    table.items = pickle.loads(Path(path).read_bytes())  # noqa: S301 - written by the process that began this one
    gc.freeze()
    figures = measured(table, endpoint, targets_of(int(sources)), int(series), (int(runs[0]), int(runs[1])))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"figures": figures, "peak_mb": round(peak_mb)}))


def main(sources: int = 10_000, series: int = 200) -> None:
    result, month = run(sources, series, (COLD_RUNS, WARM_RUNS), apart)
    print(f"{sources} sources of {series} series; at most {result['peak_mb']} MB, the table's items included\n")
    print("| request | cold p95, ms | warm p50 | warm p95 |\n|---|---|---|---|")
    for name, figures in result["figures"].items():
        print(f"| {name} | {' | '.join(f'{ms:.0f}' for ms in figures)} |")
    print("\n| written | $ a month |\n|---|---|")
    for what, dollars in month.items():
        print(f"| {what} | {dollars:.2f} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        _measure(*sys.argv[2:])
    else:
        main(*map(int, sys.argv[1:]))
