"""The queries of PromQL's compliance tests, expanded from their files, and samples like those they are about.

The files are not part of this repository: PROMQL_COMPLIANCE names the folder ``promql`` of prometheus/compliance.
"""

import os
import re
from itertools import product
from pathlib import Path

import numpy as np
import yaml
from carbyne.promql.labels import NAME, made

FOLDER = Path(os.environ.get("PROMQL_COMPLIANCE", "~/.cache/carbyne/compliance/promql")).expanduser()
TEMPLATES, ARGUMENTS = FOLDER / "promql-test-queries.yml", FOLDER / "testcases" / "expand.go"
SCRAPE_MS = 5_000
INSTANCES = [f"demo.promlabs.com:{port}" for port in (10_000, 10_001, 10_002)]
BOUNDS = ["0.0001", "0.001", "0.01", "0.1", "1", "10", "+Inf"]


def queries():
    """All of them, those that must fail included."""
    arguments = dict(re.findall(r'"(\w+)":\s*\{([^}]*)\}', ARGUMENTS.read_text()))
    values = {name: re.findall(r'"([^"]*)"', listed) for name, listed in arguments.items()}
    cases = yaml.safe_load(TEMPLATES.read_text())["test_cases"]
    return [
        _filled(str(case["query"]), dict(zip(names, chosen, strict=True)))
        for case in cases
        for names in [case.get("variant_args", [])]
        for chosen in product(*(values[name] for name in names))
    ]


def _filled(template, chosen):
    return re.sub(r"\{\{\.(\w+)\}\}", lambda match: chosen[match[1]], template)


def samples(start_ms, end_ms):
    """Labels -> {ts_ms: value} of three instances that are scraped every 5 s, the first one on time."""
    random, series = np.random.default_rng(1), {}
    for nth, instance in enumerate(INSTANCES):
        times = np.arange(start_ms, end_ms, SCRAPE_MS) + 1_237 * nth
        times = times + (random.integers(0, 3, len(times)) if nth else 0)
        for labels, values, there in _of_instance(random, times, nth):
            pairs = zip(times[there].tolist(), values[there].tolist(), strict=True)
            series[made({**labels, "job": "demo", "instance": instance})] = dict(pairs)
    return series


def _of_instance(random, times, nth):
    size, always = len(times), np.ones(len(times), bool)
    for kind, middle in (("used", 3e9), ("free", 2e9), ("buffers", 4e8), ("cached", 9e8)):
        values = (middle * (1 + 0.2 * np.sin(times / 3e5 + nth)) + random.normal(0, 1e6, size)).round()
        yield {NAME: "demo_memory_usage_bytes", "type": kind}, values, always
    for mode, share in (("idle", 3.1), ("user", 0.7), ("system", 0.2)):
        counter = np.cumsum(random.exponential(share * SCRAPE_MS / 1000, size))
        counter[size * 2 // 3 :] -= counter[size * 2 // 3] if nth == 1 else 0
        yield {NAME: "demo_cpu_usage_seconds_total", "mode": mode}, counter, always
    yield {NAME: "demo_num_cpus"}, np.full(size, 4.0), always
    yield {NAME: "demo_disk_usage_bytes"}, 1e10 + np.cumsum(random.normal(2e4, 1e4, size)).round(), always
    yield {NAME: "demo_disk_total_bytes"}, np.full(size, 2e11), always
    runs = times // 60_000 * 60.0 - 7.25 * nth
    yield {NAME: "demo_batch_last_success_timestamp_seconds"}, runs, always
    yield {NAME: "demo_intermittent_metric"}, np.ones(size), times // 120_000 % 3 != nth
    for method, path, status in (("GET", "/api/foo", "200"), ("POST", "/api/bar", "200"), ("GET", "/api/bar", "500")):
        about = {"method": method, "path": path, "status": status}
        grown = random.poisson(3, (len(BOUNDS), size)).cumsum(axis=1).cumsum(axis=0).astype(float)
        for bound, counts in zip(BOUNDS, grown, strict=True):
            yield {NAME: "demo_api_request_duration_seconds_bucket", "le": bound, **about}, counts, always
        yield {NAME: "demo_api_request_duration_seconds_count", **about}, grown[-1], always
        yield {NAME: "demo_api_request_duration_seconds_sum", **about}, grown[-1] * 0.0173, always
