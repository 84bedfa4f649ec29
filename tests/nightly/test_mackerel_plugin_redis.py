"""The real mackerel-plugin-redis, pointed at a node, gives the names and values that the probe gives."""

import os
import shutil
import subprocess
import time

import pytest
from carbyne.adapters.redis.probe import RedisNodes
from carbyne.adapters.redis.view import View
from carbyne.cluster.figures import FIGURES, PREFIX, metrics
from carbyne.core.limits import REDIS_TIMEOUT_S
from carbyne.wiring.redis import one_node

from harness.pipeline import with_role

MODULE = "github.com/mackerelio/mackerel-agent-plugins/mackerel-plugin-redis@latest"
OURS = {"operations", "sync", "fork", "spread", "cpu", "latency", "latency_events", "link"}
"""Graphs that the plugin has not."""
STEADY = ("memory.used_memory_lua", "clients.connected_slaves", "cluster.", "cluster_state.", "cluster_slots.", "lag.")
APART_S = 5.0


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """Its path: on PATH, or built by Go."""
    if path := shutil.which("mackerel-plugin-redis"):
        return path
    if not (go := shutil.which("go")):
        pytest.skip("neither mackerel-plugin-redis nor Go is installed here")
    folder = tmp_path_factory.mktemp("go")
    environment = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod", "GOPATH": str(folder / "path")}
    command = [go, "install", "-modcacherw", MODULE]
    built = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
    if built.returncode:
        pytest.skip(f"mackerel-plugin-redis can't be built here: {built.stderr.strip().splitlines()[-1]}")
    return str(folder / "mackerel-plugin-redis")


@pytest.mark.nightly
@pytest.mark.parametrize("role", ["master", "slave"])
def test_names_and_values_are_those_of_the_plugin(plugin, cluster, tmp_path, role):
    node = with_role(cluster, role)[0]
    view = View(one_node(False, None, REDIS_TIMEOUT_S), ("127.0.0.1", node.port))
    nodes = RedisNodes(view)
    ask = [plugin, "-port", str(node.port), "-tempfile", str(tmp_path / "plugin")]
    name = f"127.0.0.1:{node.port}"

    def both():
        said = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
        lines = (line.split("\t") for line in said.splitlines())
        figures = next(reading.figures for reading in nodes.readings() if reading.name == name)
        return {f"custom.{line[0]}": float(line[1]) for line in lines}, figures

    _, before = both()
    for number in range(200):
        node.ask("SET" if role == "master" else "GET", f"{{l0000}}:plugin{number}", "x")
    time.sleep(APART_S)
    theirs, now = both()
    view.close()
    ours = {key: value for key, value in metrics(now, before).items() if key.split(".")[2] not in OURS}
    if "valkey" in node.ask("INFO", "server"):  # whose sixth field of a replica's line hides the lag from the plugin
        ours = {key: value for key, value in ours.items() if key.split(".")[2] != "lag"}
    assert ours.keys() == theirs.keys()
    assert {key.split(".")[2] for key in theirs} <= FIGURES.keys() - OURS
    for key, value in theirs.items():
        if key.removeprefix(f"{PREFIX}.").startswith(STEADY):
            assert ours[key] == value, key
        else:
            assert ours[key] == pytest.approx(value, rel=0.3, abs=120), key
