"""Grafana's Prometheus data source from npm: a peer in tests, never shipped (its licence is AGPL)."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGES = ("@grafana/prometheus@13.2.1", "@grafana/data@13.2.3")
KEPT = Path("~/.cache/carbyne/grafana-prometheus-13.2.1").expanduser()
FOLDER = Path(os.environ.get("GRAFANA_PROMETHEUS", KEPT)).expanduser()
SCRIPT = Path(__file__).with_suffix(".cjs")
INSTALL_S, RUN_S = 600, 120


def folder():
    """Where node_modules is, installed if need be; the test is skipped where that can't be done."""
    if not shutil.which("node"):
        pytest.skip("no node to run Grafana's data source with")
    if not (FOLDER / "node_modules/@grafana/data").exists():
        if not shutil.which("npm"):
            pytest.skip(
                "no npm to install @grafana/prometheus with, and GRAFANA_PROMETHEUS names no folder that has it"
            )
        FOLDER.mkdir(parents=True, exist_ok=True)
        (FOLDER / "package.json").write_text("{}\n")
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps", *PACKAGES]
        subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, timeout=INSTALL_S)
    return FOLDER


def run(url, key):
    """What its calls gave, and its requests with their statuses."""
    command = ["node", SCRIPT, folder(), url, key]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=RUN_S)
    lines = done.stdout.splitlines()
    assert lines, done.stderr[-2000:]
    return json.loads(lines[-1])
