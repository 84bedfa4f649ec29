"""What a deployment costs a month, from counted units of a simulated day through the real code and list prices.

    python -m bench.cost [--hosts 1000] [--metrics 100] [--interval 60] [--door api|url] [--profile standard]

One host's day goes through writer, ingester, sealer, roller and archiver: requests, records, CPU, write and read units,
requests and bytes of S3 are counted there, and multiplied by the hosts.  Memory, replicas and alarms are those of
template.yaml; prices and what is assumed stand in core/prices.toml.  Reads and pages are not in the sum: a dashboard's
are a cent.  Beside it stand other stores for the same samples.  The last line is one JSON object.
"""

import argparse
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from carbyne.core.items import Item
from carbyne.core.keys import RESOLUTIONS, Window
from carbyne.core.prices import prices
from carbyne.core.settings import SealerSettings

from bench import ingest, plot
from bench.common import ROOT, day_of, machine, report
from bench.query import BASE_MS, DAY_MS, WINDOW_S, Host, World, settings_of
from bench.size import hot_bytes
from harness.template import template
from servers.valkey import Cluster

PRICES = prices()
TEMPLATE = template()
HOURS, DAYS = 730, 30.4
DAY_S = 86_400
BLOCKS_COMPARED_MS = 4.9
"""Of CPU for the reconciler to compare a block with its object: decision 0090."""
CURVE = (10, 30, 100, 300, 1000, 3000, 10_000)


class HostDay(NamedTuple):
    """What one host takes in a day; CPU in seconds; ``table`` and ``objects``: bytes of a day by resolution; ``hot``:
    bytes of a sample in Redis; ``metrics``: that the functions count on a day without faults."""

    samples: int
    posts: int
    record_bytes: float
    post_cpu: float
    ingest_cpu: float
    seal_cpu: float
    write_units: float
    read_units: float
    table_calls: float
    puts: float
    gets: float
    table: dict[str, float]
    objects: dict[str, float]
    hot: float
    metrics: int


class Plan(NamedTuple):
    """``door``: api or url; ``profile``: of the template."""

    hosts: int
    metrics: int
    interval_s: int
    door: str
    profile: str


def measured(metrics: int, interval_s: int, data: str, days: int, load: ingest.Load) -> HostDay:
    """A host's day: counts of all days but the first, so that there is something of the days before; ``load``: of which
    the CPU of a post and of its record are measured."""
    world, host = World(), Host(data, metrics, interval_s)
    windows = range(BASE_MS // 1000, (BASE_MS + days * DAY_MS) // 1000, WINDOW_S)
    for start_s in windows[: DAY_S // WINDOW_S]:
        world.seal(Window(start_s, WINDOW_S), host.window(start_s * 1000, (start_s + WINDOW_S) * 1000))
    before, cpu = counts(world), time.process_time()
    for start_s in windows[DAY_S // WINDOW_S :]:
        world.seal(Window(start_s, WINDOW_S), host.window(start_s * 1000, (start_s + WINDOW_S) * 1000))
    seal_cpu = (time.process_time() - cpu) / (days - 1)
    counted = {name: (after - before[name]) / (days - 1) for name, after in counts(world).items()}
    posts = DAY_S // interval_s
    post_cpu, ingest_cpu, record_bytes, hot, metrics_of_path = path_costs(load)
    return HostDay(
        samples=posts * metrics,
        posts=posts,
        record_bytes=record_bytes,
        post_cpu=post_cpu,
        ingest_cpu=ingest_cpu,
        seal_cpu=seal_cpu,
        **counted,
        table=sizes(((partition.partition(":")[0], item) for (partition, _), item in world.table.items.items()), days),
        objects=sizes(((key.resolution, item) for key, item in world.cold.items.items()), days),
        hot=hot,
        metrics=len(metrics_of_path | world.counted),
    )


def counts(world: World) -> dict[str, float]:
    table, cold = world.table, world.cold
    return {
        "write_units": table.units_of.total() + table.index_units,
        "read_units": table.read_units,
        "table_calls": table.calls.total(),
        "puts": cold.calls["put"],
        "gets": cold.calls["get"],
    }


def sizes(items: Iterable[tuple[str, Item]], days: int) -> dict[str, float]:
    """Bytes a day by resolution, of blocks alone."""
    of: dict[str, float] = {}
    for kind, item in items:
        if kind in RESOLUTIONS:
            of[kind] = of.get(kind, 0.0) + len(item.data) / days
    return of


def path_costs(load: ingest.Load) -> tuple[float, float, float, float, set[str]]:
    """CPU seconds of a post and of ingesting its record, bytes of the record, and of a sample in Redis, and metrics."""
    with Cluster(masters=1, replicas=1) as cluster:
        used = ingest.ours(cluster, load)
        post_ms, _ = ingest.as_billed(cluster, load, 300)
        size, counted = ingest.passed(cluster, load)
    cpu_s = used.ingester * len(load.day.names) / 1e6
    return post_ms / 1000, cpu_s, size, hot_bytes(load.day, load.hosts), counted


def monthly(plan: Plan, day: HostDay) -> dict[str, float]:
    """Dollars a month by service."""
    month = DAYS * plan.hosts
    profile = TEMPLATE["Mappings"]["Profiles"][plan.profile]
    posts = day.posts * month
    dynamodb, s3, kinesis, cloudwatch = (PRICES[name] for name in ("dynamodb", "s3", "kinesis", "cloudwatch"))
    return {
        "door": door(posts) if plan.door == "api" else 0.0,
        "lambda": functions(plan, day, profile),
        "kinesis": shards(plan, day) * kinesis["per_shard_hour"] * HOURS
        + posts * math.ceil(day.record_bytes / 25_600) / 1e6 * kinesis["per_million_units"],
        "redis": redis(plan, day, profile),
        "dynamodb": (day.write_units * month + ticks()[0] * DAYS * 2) / 1e6 * dynamodb["per_million_write_units"]
        + day.read_units * month / 1e6 * dynamodb["per_million_read_units"]
        + kept(day.table, "warm") * plan.hosts / 1e9 * dynamodb["per_gb_month"],
        "s3": day.puts * month / 1e6 * s3["per_million_puts"]
        + (day.gets * month + blocks_a_day(day) * month) / 1e6 * s3["per_million_gets"]
        + kept(day.objects, "cold") * plan.hosts / 1e9 * s3["per_gb_month"],
        "alarms": max(0, alarm_metrics() - cloudwatch["free_alarm_metrics"]) * cloudwatch["per_alarm_metric"],
        "metrics": max(0, day.metrics - cloudwatch["free_metrics"]) * cloudwatch["per_metric"],
    }


def door(requests: float) -> float:
    millions, price = requests / 1e6, PRICES["http_api"]
    return min(millions, 300) * price["per_million"] + max(0.0, millions - 300) * price["per_million_past_300"]


def functions(plan: Plan, day: HostDay, profile: dict[str, Any]) -> float:
    """Invocations and GB-seconds of all functions: CPU by the share of one that the memory buys, and waits."""
    assumed = PRICES["assumed"]
    month = DAYS * plan.hosts

    def gb_s(memory_mb: int, cpu_s: float, waited_ms: float) -> float:
        return memory_mb / 1024 * (cpu_s / min(1.0, memory_mb / assumed["mb_per_cpu"]) + waited_ms / 1000)

    posts = day.posts * month
    batches = min(posts, DAY_S * DAYS * shards(plan, day))
    windows = DAY_S / WINDOW_S * month
    table_s, client_s = assumed["table_call_cpu_ms"] / 1000, assumed["client_call_cpu_ms"] / 1000
    compared = blocks_a_day(day) * month
    minutes, hours = (number * DAYS for number in ticks())
    invocations = posts + batches + windows + minutes + hours
    used = [
        gb_s(profile["Writer"], day.post_cpu * posts, assumed["kinesis_put_ms"] * posts),
        gb_s(
            profile["Ingester"],
            day.ingest_cpu * posts + client_s * batches,
            2 * assumed["redis_round_ms"] * batches,
        ),
        gb_s(
            profile["Sealer"],
            day.seal_cpu * month + (day.table_calls * table_s + (day.puts + day.gets) * client_s) * month,
            (assumed["dynamodb_call_ms"] * day.table_calls + assumed["s3_call_ms"] * (day.puts + day.gets)) * month,
        ),
        gb_s(
            profile["Archiver"],
            BLOCKS_COMPARED_MS / 1000 * compared,
            (assumed["dynamodb_call_ms"] + assumed["s3_call_ms"]) * compared,
        ),
        gb_s(
            256,
            assumed["tick_cpu_ms"] / 1000 * (minutes + hours),
            2 * assumed["dynamodb_call_ms"] * (minutes + hours),
        ),
    ]
    return invocations / 1e6 * PRICES["lambda"]["per_million"] + sum(used) * PRICES["lambda"]["per_gb_s"]


def ticks() -> tuple[int, int]:
    """Invocations a day by the schedules of the template: those of a minute, those of an hour."""
    schedules = [
        event["Properties"]["ScheduleExpression"]
        for body in TEMPLATE["Resources"].values()
        for event in (body.get("Properties", {}).get("Events") or {}).values()
        if body["Type"] == "AWS::Serverless::Function" and event["Type"] == "ScheduleV2"
    ]
    return schedules.count("rate(1 minute)") * 1440, schedules.count("rate(1 hour)") * 24


def shards(plan: Plan, day: HostDay) -> int:
    """As many as take the samples with room for a quarter more; a power of two, as the template has them."""
    records_per_s = plan.hosts / plan.interval_s
    needed = max(1.25 * records_per_s / 1000, 1.25 * records_per_s * day.record_bytes / 1e6, 1)
    return int(2 ** math.ceil(math.log2(needed)))


def redis(plan: Plan, day: HostDay, profile: dict[str, Any]) -> float:
    """Nodes of the profile's type, as many as hold all rows: a window and a half, at three quarters of the memory that
    ElastiCache leaves."""
    node = PRICES["redis"][profile["NodeType"]]
    samples = plan.hosts * plan.metrics * (WINDOW_S * 1.125 + settings_of("Sealer", SealerSettings).hot_s)
    needed = samples / plan.interval_s * day.hot / (node["gib"] * 2**30 * 0.75 * 0.75)
    return max(1, math.ceil(needed)) * (1 + profile["Replicas"]) * node["per_hour"] * HOURS


def kept(sizes_of_day: dict[str, float], tier: str) -> float:
    """Bytes of a host, when all is there that retention keeps; ``tier``: warm or cold."""
    retention = TEMPLATE["Mappings"]["Retentions"]["standard"]
    warm_raw_s = int(TEMPLATE["Parameters"]["WarmRawSeconds"]["Default"])
    seconds = {f"warm_{name}": retention[f"Warm{name}"] for name in RESOLUTIONS[1:]} | {"warm_raw": warm_raw_s}
    days = {"raw": retention["RawDays"]} | {name: retention[f"{name}Days"] for name in RESOLUTIONS[1:]}
    seconds |= {f"cold_{name}": DAY_S * number for name, number in days.items()}
    return sum(size * seconds[f"{tier}_{name}"] / DAY_S for name, size in sizes_of_day.items())


def blocks_a_day(day: HostDay) -> float:
    """Blocks of a host that the reconciler compares once."""
    return 2 * DAY_S / WINDOW_S + 1 + 1 / 30


def alarm_metrics() -> int:
    """Metrics that alarms look at, each of which is charged."""
    alarms = [body["Properties"] for body in TEMPLATE["Resources"].values() if body["Type"] == "AWS::CloudWatch::Alarm"]
    return sum(sum("MetricStat" in part for part in alarm.get("Metrics", [{"MetricStat": 1}])) for alarm in alarms)


def tiered(amount: float, tiers: Sequence[tuple[float, float]]) -> float:
    """The price of an amount whose tiers are (size, price of each)."""
    total = 0.0
    for size, price in tiers:
        total += min(amount, size) * price
        amount = max(0.0, amount - size)
    return total


def others(plan: Plan) -> dict[str, float]:
    """Dollars a month of other stores for the same samples, without queries."""
    series = plan.hosts * plan.metrics
    samples = series * DAYS * DAY_S / plan.interval_s
    amp, custom, otel, timestream, victoria = (
        PRICES[name] for name in ("amp", "cloudwatch_custom", "cloudwatch_otel", "timestream", "victoria_metrics")
    )
    posts = samples / plan.metrics
    day_gb = samples / DAYS * timestream["bytes_per_sample"] / 1e9
    node = next((size for size, most in victoria["hosts_at_most"].items() if series / 100 <= most), "huge")
    return {
        "amp": tiered(max(0.0, samples - amp["free_samples"]), amp["per_10_million"]) / 1e7
        + samples * amp["bytes_per_sample"] * amp["months"] / 1e9 * amp["per_gb_month"],
        "cloudwatch": tiered(series, custom["per_metric"]) + posts / 1000 * custom["per_thousand_calls"],
        "cloudwatch_otel": samples * otel["bytes_per_sample"] / 1e9 * otel["per_gb"],
        "timestream": posts * math.ceil(plan.metrics * 12 / 1024) / 1e6 * timestream["per_million_writes"]
        + day_gb * timestream["memory_hours"] / 24 * timestream["memory_per_gb_hour"] * HOURS
        + day_gb * DAYS * timestream["months"] * timestream["magnetic_per_gb_month"],
        "victoria_metrics": victoria["per_node_hour"][node] * HOURS
        + samples * victoria["bytes_per_sample"] * victoria["months"] / 1e9 * victoria["gp3_per_gb_month"],
    }


def draw(plan: Plan, day: HostDay) -> Path:
    """The curve from 10 to 10,000 hosts, as a picture of the documentation."""
    doors = {"Carbyne": ("api", "standard"), "Carbyne, URL and lean": ("url", "lean")}
    lines = {
        title: [sum(monthly(plan._replace(hosts=hosts, door=door, profile=profile), day).values()) for hosts in CURVE]
        for title, (door, profile) in doors.items()
    }
    peers = {"amp": "AMP", "cloudwatch": "CloudWatch", "victoria_metrics": "VictoriaMetrics on a VM"}
    for name, title in peers.items():
        lines[title] = [others(plan._replace(hosts=hosts))[name] for hosts in CURVE]
    path = ROOT / "docs" / "images" / "cost.svg"
    path.write_text(plot.logarithmic("Dollars a month by hosts of 100 metrics a minute", CURVE, lines))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in (("hosts", 1000), ("metrics", 100), ("interval", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--door", choices=["api", "url"], default="api")
    parser.add_argument("--profile", choices=list(TEMPLATE["Mappings"]["Profiles"]), default="standard")
    parser.add_argument("--data", default="", help="rows of one machine; made up without it")
    parser.add_argument("--small", action="store_true", help="count less of a day, as make test does")
    parser.add_argument("--json", action="store_true", help="nothing but the last line")
    parser.add_argument("--draw", action="store_true", help="the curve into docs/images/cost.svg")
    given = parser.parse_args()
    if given.interval < 60 or given.interval % 60 or min(given.hosts, given.metrics) < 1:
        parser.error("--interval is a multiple of 60 seconds; --hosts and --metrics are 1 or more")
    plan = Plan(given.hosts, 20 if given.small else given.metrics, given.interval, given.door, given.profile)
    days, hosts, minutes = (2, 3, 10) if given.small else (4, 20, 40)
    load = ingest.Load(day_of(given.data, plan.metrics), hosts, minutes)
    day = measured(plan.metrics, plan.interval_s, given.data, days, load)
    parts, nothing = monthly(plan, day), monthly(plan._replace(hosts=0), day)
    total, floor, beside = sum(parts.values()), sum(nothing.values()), others(plan)
    millions = day.samples * plan.hosts * DAYS / 1e6
    if not given.json:
        show(plan, day, parts, nothing, beside, millions)
    if given.draw:
        print(draw(plan, day))
    report(
        total=total,
        floor=floor,
        door=parts["door"],
        per_million_samples=total / millions,
        next_host=(sum(monthly(plan._replace(hosts=2 * plan.hosts), day).values()) - total) / plan.hosts,
        **{f"of_{name}": dollars for name, dollars in parts.items() if name != "door"},
        **beside,
    )


def show(
    plan: Plan,
    day: HostDay,
    parts: dict[str, float],
    nothing: dict[str, float],
    beside: dict[str, float],
    millions: float,
) -> None:
    print(
        f"{plan.hosts} hosts x {plan.metrics} metrics each {plan.interval_s} s, door {plan.door}, "
        f"profile {plan.profile}"
    )
    print(f"{millions:,.0f} million samples a month; {machine()}")
    print(
        f"a host and day: {day.posts} posts, {day.write_units:.0f} write and {day.read_units:.0f} read units, "
        f"{day.puts:.0f} PUT, {day.gets:.0f} GET, CPU of seals {day.seal_cpu * 1000:.0f} ms; a post "
        f"{day.post_cpu * 1000:.2f} ms, its record {day.record_bytes:.0f} bytes and {day.ingest_cpu * 1e6:.0f} us"
    )
    print("\n| $ a month | all | at rest |\n|---|---|---|")
    for name, dollars in parts.items():
        print(f"| {name} | {dollars:.2f} | {nothing[name]:.2f} |")
    print(f"| total | {sum(parts.values()):.2f} | {sum(nothing.values()):.2f} |")
    print("\n| what a million samples cost | $ |\n|---|---|")
    for name, dollars in {"carbyne": sum(parts.values()), **beside}.items():
        print(f"| {name} | {dollars / millions:.4f} |")


if __name__ == "__main__":
    main()
