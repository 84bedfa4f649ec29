"""Every benchmark in its small form: it runs, its answers are right, and its last line has the figures."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS = ("series", "again", "host")
VIEWS = ("1h", "6h", "1day", "1week", "1month", "1year")
FIGURES = {
    "hot": {"redis_cpu_ratio_vs_multihmset", "bytes_per_sample", "samples_per_core_s"},
    "size": {"warm_raw", "cold_raw", "hot", "vm", "prometheus"},
    "query": {f"{kind}_{view}_{percentile}_ms" for kind in KINDS for view in VIEWS for percentile in ("p50", "p99")},
    "replay": {"times_real_time"},
    "cost": {"total", "floor", "door", "per_million_samples", "amp", "cloudwatch", "timestream", "victoria_metrics"},
    "labelled": {"cpu_us_per_sample", "vm_cpu_us_per_sample", "ratio", "warm_raw", "warm_all", "vm_bytes"},
    "start": {"layer_mb", "reader_ms", "writer_ms"},
    "promql": {"sources_p95_ms", "sources_cpu_ms", "host_p95_ms", "host_rates_p95_ms", "times_fewer_bytes"},
    "sources": {"spread", "of_20_us_per_sample", "of_200_us_per_sample"},
    "ingest": {"cpu_us_per_sample", "vm_cpu_us_per_sample", "ratio", "writer_ms_per_request"},
}
OF_PEERS = re.compile(r"vm|prometheus|ratio")
"""Figures that need a peer; null where it is not installed."""


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_a_benchmark_in_small_ends_with_its_figures(name):
    environment = {**os.environ, "PYTHONPATH": "layers/carbyne"}
    command = [sys.executable, "-m", f"bench.{name}", "--small"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert FIGURES[name] <= figures.keys()
    for figure in FIGURES[name]:
        value = figures[figure]
        assert (value is None and OF_PEERS.search(figure)) or (math.isfinite(value) and value > 0), figure


def test_make_bench_runs_them_all():
    line = re.search(r"^BENCHES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(line[1].split()) == {f"bench-{name}" for name in FIGURES} - {"bench-cost"}
