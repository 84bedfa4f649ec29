"""A real Alertmanager takes what the notifier posts: Debian's package prometheus-alertmanager."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from tests.support.ruled import Ruled

PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
CONFIG = "route: {receiver: none}\nreceivers: [{name: none}]\n"
SUMMARY = "'{{ $value }} of {{ $labels.h }}'"
RULES = f"  - {{alert: High, expr: m > 5, labels: {{severity: page}}, annotations: {{summary: {SUMMARY}}}}}"


@contextlib.contextmanager
def running(folder):
    """The URL of an Alertmanager."""
    (folder / "alertmanager.yml").write_text(CONFIG)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ["--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]
    command = [PROGRAM, *options, f"--web.listen-address={address}"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as server,
    ):
        try:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(URLError), urlopen(f"http://{address}/-/ready") as answer:
                    if answer.status == 200:
                        break
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
            yield f"http://{address}"
        finally:
            server.terminate()


def post(url, body, headers):
    with urlopen(Request(url, body, headers)) as answer:
        return "" if answer.status == 200 else str(answer.status)


def alerts(url):
    """Those that are active there, by their labels."""
    with urlopen(f"{url}/api/v2/alerts?active=true") as answer:
        return {json.dumps(each["labels"], sort_keys=True): each for each in json.load(answer)}


@pytest.mark.nightly
@pytest.mark.skipif(PROGRAM is None, reason="needs an Alertmanager: Debian's package prometheus-alertmanager")
def test_alerts_fire_there_are_told_again_and_end(tmp_path):
    with running(tmp_path) as url:
        system = Ruled(RULES)
        system.now_s = int(time.time()) // 60 * 60 - 300
        system.ok("PUT", "/carbyne/v1/rules/web.yml", f"groups:\n- name: g\n  rules:\n{RULES}")
        system.channel({"type": "alertmanager", "name": "am", "url": "https://am.example/"})
        system.notifier._ways = system.notifier._ways._replace(
            post=lambda to, body, headers: post(to.replace("https://am.example", url), body, headers)
        )
        for value in (6, 7):
            system.put_sample(value, h="a")
            system.step()
        [alert] = alerts(url).values()
        assert alert["labels"] == {"alertname": "High", "h": "a", "severity": "page"}
        assert alert["annotations"] == {"summary": "7 of a"}
        first = alert["startsAt"]
        system.put_sample(8, h="a")
        system.put_sample(9, h="b")
        system.step()
        now = alerts(url)
        assert len(now) == 2
        assert next(each for each in now.values() if each["labels"]["h"] == "a")["startsAt"] == first
        system.put_sample(1, h="a")
        system.put_sample(9, h="b")
        system.step()
        [left] = alerts(url).values()
        assert left["labels"]["h"] == "b"
