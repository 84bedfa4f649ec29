"""`sam local` on this machine: every function in Lambda's container against `make run`, and posts through start-api."""

import base64
import contextlib
import json
import os
import platform
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.support import lambda_image
from tests.support.lambda_rie import ARCHITECTURES
from tests.support.make_run import running

ROOT = Path(__file__).resolve().parents[2]
SAM = Path(sys.executable).parent / "sam"
WHICH = ["--config-env", "x86_64"] if ARCHITECTURES[platform.machine().lower()] == "x86_64" else []
EVENTS = ROOT / ".carbyne" / "events"
READY_S = 60
INVOKED = set()
pytestmark = pytest.mark.nightly


def environment():
    """No credentials, and no search for any: SAM would ask STS for the account, which costs seconds."""
    keys = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_MAX_ATTEMPTS": "1"}
    path = f"{SAM.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **keys, "PATH": path, "AWS_DEFAULT_REGION": "us-east-1", "SAM_CLI_TELEMETRY": "0"}


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """`make run` where containers reach it; the functions are built for this machine."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lambda_image.engine())
            lambda_image.base_image(tmp_path_factory.mktemp("image"))
            address = lambda_image.bridge()
        except lambda_image.Missing as missing:
            pytest.skip(str(missing))
        built = subprocess.run([SAM, "build", *WHICH], cwd=ROOT, env=environment(), capture_output=True, check=False)
        assert built.returncode == 0, built.stderr.decode()
        yield stack.enter_context(running(API_KEY="local", LISTEN=address))


def invoke(function, event):
    INVOKED.add(function)
    command = [SAM, "local", "invoke", *WHICH, "--skip-pull-image", function, "--event", EVENTS / f"{event}.json"]
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def body(answer):
    assert answer["statusCode"] == 200, answer
    assert not [name for name in answer["headers"] if name.lower() == "carbyne-skipped"], answer
    return json.loads(answer["body"])


def html(answer):
    text = base64.b64decode(answer["body"]).decode() if answer["isBase64Encoded"] else answer["body"]
    return text.lower()


def test_every_function_answers(system):
    """In the order of a sample: it is posted, ingested, read; the values are those of the events."""
    assert body(invoke("Writer", "post")) == {"success": True}
    assert invoke("Ingester", "records") == {"batchItemFailures": []}
    values = {point["value"] for point in body(invoke("Reader", "host-metrics"))["metrics"]}
    assert values == {0.25, 0.75}, "one came through the writer and the stream, one through the ingester"
    latest = body(invoke("Reader", "latest"))
    assert latest["tsdbLatest"]["web1"]["loadavg5"]["value"] == 0.25, "the post is of the later minute"
    hosts = body(invoke("Registry", "hosts"))["hosts"]
    assert {host["customIdentifier"].partition("/")[0] for host in hosts} <= {"make-run"}, (
        "its own agent, if it was there"
    )
    assert invoke("Replayer", "records") == {"batchItemFailures": []}
    assert invoke("Archiver", "changes") == {"batchItemFailures": []}
    for function in ("Sealer", "Supervisor", "Reconciler"):
        assert invoke(function, "schedule") is None
    assert invoke("Queue", "schedule") == {"swept": 0}
    assert invoke("Scheduler", "schedule") == {"due": 0, "integrations": 0}
    assert invoke("Worker", "schedule") == invoke("Worker", "clouds") == {"made": 0}, "nothing is due"
    assert invoke("Evaluator", "schedule") == {"tenants": 0}, "no tenant has monitors"
    assert invoke("Notifier", "schedule") == {"sent": 0}
    page = invoke("Page", "page")
    assert page["statusCode"] == 200 and page["headers"]["Content-Type"].startswith("text/html")
    assert html(page).startswith("<!doctype html>")
    nodes = invoke("Probe", "schedule")["nodes"]
    assert Counter((role, is_away) for _, role, _, is_away, _ in nodes) == {("master", False): 3, ("replica", False): 3}
    assert invoke("Monitor", "probed") == {"samples": 2}
    resources = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
    assert {name for name, body in resources.items() if body["Type"] == "AWS::Serverless::Function"} == INVOKED


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def api(system):
    """The URL of `sam local start-api`."""
    port = free_port()
    command = [SAM, "local", "start-api", *WHICH, "--skip-pull-image", "--port", str(port)]
    log = (ROOT / ".carbyne" / "start-api.log").open("w")
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=log, stderr=subprocess.STDOUT)
    end_s = time.monotonic() + READY_S
    with contextlib.suppress(OSError):
        while process.poll() is None and time.monotonic() < end_s:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.2)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def ask(url, data=None):
    request = urllib.request.Request(url, data, {"X-Api-Key": "local", "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_post_through_start_api_is_readable(system, api):
    now_s = int(time.time()) // 60 * 60
    sample = {"hostId": "through-sam", "name": "loadavg5", "time": now_s, "value": 1.5}
    assert ask(f"{api}/api/v0/tsdb", json.dumps([sample]).encode()) == (200, {"success": True})
    url = f"{api}/api/v0/hosts/through-sam/metrics?name=loadavg5&from={now_s}&to={now_s}"
    end_s = time.monotonic() + READY_S
    expected = (200, {"metrics": [{"time": now_s, "value": 1.5}]})
    while (got := ask(url)) != expected and time.monotonic() < end_s:
        time.sleep(0.5)
    assert got == expected
    status, answer = ask(f"{api}/nowhere")
    assert status == 404 and answer["error"]["message"].startswith("no such call: GET /nowhere;")
