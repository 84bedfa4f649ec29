"""Mackerel's own Go programs: mkr's files come back byte for byte, and its client library decodes every answer."""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.support.client_pairs import plain, recorded
from tests.support.go_forms import GoChannel, decoded, monitor_of, pulled
from tests.support.served import KEY, served
from tests.unit.test_monitors_api import GOLDEN, HOOK, MAIL, PULLED, SLACK, with_places

pytestmark = pytest.mark.nightly
CLIENT = "github.com/mackerelio/mackerel-client-go"
VERSION = "v0.46.0"
MKR = "github.com/mackerelio/mkr@latest"
PROGRAM = Path(__file__).with_name("clients") / "monitoring.go"
DOCUMENTS = ("downtimes", "channels", "notification_groups", "alert_group_settings", "dashboards", "graph_annotation")
FILES = ("monitors", "alerts", *DOCUMENTS)
GO = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")


@pytest.fixture
def url():
    """Where the whole surface is served on loopback."""
    with served() as address:
        yield address


@pytest.fixture(scope="module")
def mkr(tmp_path_factory):
    """On PATH, or built by Go."""
    if installed := shutil.which("mkr"):
        return installed
    if not GO:
        pytest.skip("neither mkr nor Go is installed here")
    folder = tmp_path_factory.mktemp("go")
    built = go(["install", MKR], folder, GOBIN=str(folder))
    if built.returncode:
        pytest.skip(f"mkr is not on PATH and can't be built here: {built.stderr.strip().splitlines()[-1]}")
    return str(folder / "mkr")


def go(arguments, folder, **environment):
    command, given = [GO, *arguments], {**os.environ, "GOFLAGS": "-mod=mod", **environment}
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=500, check=False)


def said(mkr, url, folder, *arguments, code=0):
    environment = {**os.environ, "MACKEREL_APIKEY": KEY}
    command = [mkr, "--apibase", url, *arguments]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == code, (arguments, ran.stdout, ran.stderr)
    return ran.stdout


def test_a_pull_of_what_mkr_pushed_is_byte_for_byte_what_it_wrote(mkr, url, tmp_path):
    """And what is recorded of mkr, and what our own writer of its files makes of our answer."""
    file = tmp_path / "monitors.json"
    file.write_text(json.dumps({"monitors": PULLED}))
    said(mkr, url, tmp_path, "monitors", "push", "--file-path", str(file))
    said(mkr, url, tmp_path, "monitors", "pull", "--file-path", str(file))
    first = file.read_bytes()
    assert len(json.loads(first)["monitors"]) == len(PULLED)
    said(mkr, url, tmp_path, "monitors", "diff", "--exit-code", "--file-path", str(file))
    said(mkr, url, tmp_path, "monitors", "push", "--file-path", str(file))
    said(mkr, url, tmp_path, "monitors", "pull", "--file-path", str(file))
    assert file.read_bytes() == first
    answer = asked(url, "/api/v0/monitors")["monitors"]
    assert first.decode() == pulled("monitors", [monitor_of(json.dumps(each)) for each in answer])
    assert with_places(first.decode()) == (GOLDEN / "mkr-monitors.json").read_text()


def test_channels_that_mkr_pulls(mkr, url, tmp_path):
    for body in (SLACK, MAIL, HOOK):
        asked(url, "/api/v0/channels", body)
    said(mkr, url, tmp_path, "channels", "pull", "--file-path", "channels.json")
    text = (tmp_path / "channels.json").read_text()
    answer = asked(url, "/api/v0/channels")["channels"]
    assert text == pulled("channels", [decoded(json.dumps(each), GoChannel) for each in answer])
    assert with_places(text) == (GOLDEN / "mkr-channels.json").read_text()


def test_what_mkr_lists_closes_and_annotates(mkr, url, tmp_path):
    host = json.loads(said(mkr, url, tmp_path, "create", "web1") or "{}")
    host = host.get("id") or json.loads(said(mkr, url, tmp_path, "hosts"))[0]["id"]
    report = {"source": {"type": "host", "hostId": host}, "name": "http", "status": "CRITICAL", "message": "down"}
    asked(url, "/api/v0/monitoring/checks/report", {"reports": [{**report, "occurredAt": int(time.time())}]})
    [alert] = json.loads(said(mkr, url, tmp_path, "alerts"))
    assert (alert["status"], alert["hostId"]) == ("CRITICAL", host)
    assert alert["id"] in said(mkr, url, tmp_path, "alerts", "list")
    said(mkr, url, tmp_path, "alerts", "close", "--reason", "restarted", alert["id"])
    assert [each["status"] for each in json.loads(said(mkr, url, tmp_path, "alerts", "logs", alert["id"]))] == [
        "OK",
        "CRITICAL",
    ]
    assert json.loads(said(mkr, url, tmp_path, "alerts", "--with-closed"))[0]["reason"] == "restarted"
    asked(url, "/api/v0/channels", {"type": "email", "name": "mail", "emails": ["ops@example.com"]})
    said(mkr, url, tmp_path, "channels", "pull", "--file-path", "channels.json")
    assert "ops@example.com" in (tmp_path / "channels.json").read_text()
    assert json.loads(said(mkr, url, tmp_path, "users")) == []
    asked(url, "/api/v0/services", {"name": "shop"})
    when = ("--from", "1700000000", "--to", "1700000060", "--service", "shop")
    said(mkr, url, tmp_path, "annotations", "create", "--title", "deploy", *when)
    [note] = json.loads(said(mkr, url, tmp_path, "annotations", "list", *when))
    assert note["title"] == "deploy"
    said(mkr, url, tmp_path, "annotations", "delete", "--id", note["id"])
    board = {"title": "Shop", "memo": "", "urlPath": "shop", "widgets": []}
    (tmp_path / "board.json").write_text(json.dumps(board))
    said(mkr, url, tmp_path, "dashboards", "push", "--file-path", "board.json")
    said(mkr, url, tmp_path, "dashboards", "pull")
    [pulled] = tmp_path.glob("dashboard-*.json")
    assert json.loads(pulled.read_text())["title"] == "Shop"


def asked(url, path, body=None):
    """The answer to a POST of a body, or to a GET without one."""
    headers = {"X-Api-Key": KEY, "Content-Type": "application/json"}
    request = urllib.request.Request(url + path, None if body is None else json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def test_every_method_of_the_client_library_decodes_our_answers(tmp_path):
    """What it asks and is answered is what is recorded, which a unit test replays."""
    if not GO:
        pytest.skip("Go is not installed here")
    (tmp_path / "main.go").write_text(PROGRAM.read_text())
    go(["mod", "init", "monitoring"], tmp_path)
    got = go(["get", f"{CLIENT}@{VERSION}"], tmp_path)
    if got.returncode:
        pytest.skip(f"the client library can't be had here: {got.stderr.strip().splitlines()[-1]}")
    folder = go(["list", "-m", "-f", "{{.Dir}}", CLIENT], tmp_path).stdout.strip()
    pairs = []
    with served(pairs) as url:
        ran = go(["run", "."], tmp_path, URL=url, KEY=KEY)
    assert plain(pairs) == recorded()
    assert (ran.returncode, ran.stdout) == (0, "all agree\n"), ran.stdout + ran.stderr
    methods = {
        name
        for file in FILES
        for name in re.findall(r"(?m)^func \(c \*Client\) ([A-Z]\w+)\(", Path(folder, f"{file}.go").read_text())
        if not name.endswith("Context")
    }
    assert len(methods) == 39
    assert methods == {name for name in methods if f"client.{name}(" in PROGRAM.read_text()}
