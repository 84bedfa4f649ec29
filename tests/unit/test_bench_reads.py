"""The benchmark of reads in a small form: it runs, and compares every view with a plain computation on its way."""

import gzip
import importlib.util
import json
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "bench/reads.py"
MINUTES = 1440


@pytest.fixture
def reads():
    spec = importlib.util.spec_from_file_location("bench_reads", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def metrics(tmp_path):
    """The path of a day of three metrics."""
    rows = [{"load": minute % 60 / 8, "memory": 2**30 + minute * 4096, "up": 1} for minute in range(MINUTES)]
    path = tmp_path / "metrics.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(json.dumps([at, row]) for at, row in enumerate(rows)).encode()))
    return path


def test_a_day_of_a_host_reads_back_in_every_view(reads, metrics, capsys):
    reads.main(str(metrics), 1)
    report = capsys.readouterr().out
    assert report.startswith("1 days of 6 metrics")
    assert all(f"\n| {view} |" in report for view in reads.VIEWS_MS)
    assert all(f"\n| {kind} |" in report for kind in ("raw", "5m", "1h", "1d", "series", "windows"))


def test_a_view_that_differs_ends_the_run(reads, metrics, monkeypatch):
    monkeypatch.setattr(reads.plain, "view", lambda *_: {})
    with pytest.raises(AssertionError, match="differs"):
        reads.main(str(metrics), 1)
