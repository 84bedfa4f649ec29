"""The oracle: one pinned Prometheus with its promtool and its test files, built out of Go's module proxy.

PROMETHEUS_ORACLE names a folder that has a ready one: ``prometheus``, ``promtool`` and, if the files are to be run,
``testdata``.  Without it the first nightly test builds one, in about 11 minutes of two cores, and keeps it.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from functools import cache
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

VERSION = "v0.315.1"
"""Of the Go module: Prometheus 3.15.1."""
MODULE = "github.com/prometheus/prometheus"
KEPT = Path("~/.cache/carbyne").expanduser() / f"prometheus-{VERSION}"
FOLDER = Path(os.environ.get("PROMETHEUS_ORACLE", KEPT)).expanduser()
PROGRAMS = ("prometheus", "promtool")
GO = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
BUILD_S = 3600
CONFIG = "storage: {tsdb: {out_of_order_time_window: 100d}}\n"
FLAGS = (
    "--web.enable-remote-write-receiver",
    "--enable-feature=promql-experimental-functions,promql-binop-fill-modifiers",
    "--storage.tsdb.path=data",
    "--storage.tsdb.retention.time=100y",
    "--log.level=warn",
)


@cache
def programs():
    """The folder of the programs, built if need be; the test is skipped where that can't be done."""
    if all((FOLDER / name).exists() for name in PROGRAMS):
        return FOLDER
    if "PROMETHEUS_ORACLE" in os.environ:
        pytest.skip(f"{FOLDER}, the folder of PROMETHEUS_ORACLE, has no prometheus and promtool")
    if not GO:
        pytest.skip("no oracle: PROMETHEUS_ORACLE names no folder with a Prometheus, and there is no go to build one")
    _build()
    return FOLDER


def files():
    """The test files of the same version."""
    paths = sorted((programs() / "testdata").glob("*.test"))
    if not paths:
        pytest.skip(f"{FOLDER} has no testdata, the *.test files of {MODULE}/promql/promqltest")
    return paths


def _build():
    part = KEPT.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    (part / "go.mod").write_text("module oracle\n\ngo 1.25.0\n")
    commands = [f"{MODULE}/cmd/{name}" for name in PROGRAMS]
    for command in commands:
        _go(part, "get", f"{command}@{VERSION}")
    _go(part, "build", "-tags", "remove_all_sd", "-o", f"{part}/", *commands)
    sources = json.loads(_go(part, "mod", "download", "-json", f"{MODULE}@{VERSION}"))["Dir"]
    shutil.copytree(f"{sources}/promql/promqltest/testdata", part / "testdata", copy_function=shutil.copyfile)
    part.rename(KEPT)


def _go(folder, *arguments):
    flags = {"GOFLAGS": "-mod=mod -buildvcs=false", "PATH": f"{Path(GO).parent}:{os.environ['PATH']}"}
    command = [GO, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | flags, check=False, capture_output=True, text=True, timeout=BUILD_S
    )
    assert not done.returncode, f"{' '.join(command)} failed:\n{done.stderr[-2000:]}"
    return done.stdout


@contextlib.contextmanager
def running(folder):
    """The URL of an oracle without samples, whose files are in ``folder``."""
    prometheus = programs() / "prometheus"
    (folder / "oracle.yml").write_text(CONFIG)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["--config.file=oracle.yml", f"--web.listen-address={address}", *FLAGS]
    with (
        (folder / "oracle.log").open("wb") as log,
        subprocess.Popen([prometheus, *options], cwd=folder, stdout=log, stderr=log) as server,
    ):
        try:
            _wait_for(f"http://{address}/-/ready", folder / "oracle.log")
            yield f"http://{address}"
        finally:
            server.terminate()


def _wait_for(url, log):
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(URLError), urlopen(url) as answer:
            if answer.status == 200:
                return
        assert time.monotonic() < deadline, f"the oracle did not become ready:\n{log.read_text()}"
        time.sleep(0.1)


def write(url, packed):
    """Post one body of remote write 1.0."""
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    with urlopen(Request(f"{url}/api/v1/write", packed, headers)) as answer:
        assert answer.status == 204


def ask(url, path, **given):
    """(status, body) of a call of the API."""
    try:
        with urlopen(f"{url}/api/v1/{path}", urlencode(given).encode()) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)
