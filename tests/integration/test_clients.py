"""Client libraries that others wrote, as the registries have them, against the handlers behind a real socket.

Of the npm client, ``getHostMetric``, ``getServiceMetrics`` and ``getLatestMetric`` are left out: it appends ``?{}`` to
their queries or asks for a path that Mackerel never had, so they can't work with any server.
"""

import json
import logging
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from mackerel.client import Client, MackerelClientError

from tests.support.served import KEY, served

ROOT = Path(__file__).resolve().parents[2]
NPM_CACHE = ROOT / ".carbyne" / "npm"
NPM_CLIENT = "mackerel@0.1.1"


@pytest.fixture(scope="module")
def url():
    """Where the whole surface is served on loopback."""
    with served() as address:
        yield address


@pytest.fixture(scope="module")
def modules():
    """Where the npm client is installed; it stays there for the next run."""
    if not shutil.which("npm") or not shutil.which("node"):
        pytest.skip("npm and node are not on PATH")
    installed = NPM_CACHE / "node_modules"
    if not (installed / "mackerel").is_dir():
        command = [
            "npm",
            "install",
            "--prefix",
            str(NPM_CACHE),
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            NPM_CLIENT,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            pytest.skip(f"npm could not install {NPM_CLIENT}: {done.stderr.strip().splitlines()[-1:]}")
    return installed


@pytest.fixture
def client(url):
    return Client(mackerel_origin=url, mackerel_api_key=KEY, logger=logging.getLogger("quiet"))


@pytest.fixture
def host(client):
    """Registered as an agent does it, since this client can't."""
    spec = {
        "name": "web-pypi",
        "meta": {"memory": {"total": "16000kB"}},
        "interfaces": [{"name": "eth0", "ipAddress": "10.0.0.1", "macAddress": "00:16:3e:00:00:01"}],
        "roleFullnames": ["shop:web"],
    }
    return client._request("/api/v0/hosts", "POST", {"Content-Type": "application/json"}, json.dumps(spec))["id"]


def test_pypi_client_hosts(client, host):
    host_now = client.get_host(host)
    assert (host_now.id, host_now.name, host_now.status, host_now.is_retired) == (host, "web-pypi", "working", False)
    assert host_now.roles == {"shop": ["web"]} and host_now.meta == {"memory": {"total": "16000kB"}}
    assert (host_now.ip_addr(), host_now.mac_addr()) == ("10.0.0.1", "00:16:3e:00:00:01")
    assert client.update_host_status(host, "maintenance") == {"success": True}
    assert host not in [known.id for known in client.get_hosts(service="shop", role="web", name="web-pypi")]
    assert host in [known.id for known in client.get_hosts(service="shop", status="maintenance")]
    assert client.retire_host(host) == {"success": True}
    assert client.get_host(host).is_retired


def test_pypi_client_metrics(client, host):
    time_s = int(time.time()) // 60 * 60
    samples = [{"hostId": host, "name": name, "time": time_s, "value": value} for name, value in (("a", 1.5), ("b", 2))]
    assert client.post_metrics(samples) == {"success": True}
    latest = {"a": {"time": time_s, "value": 1.5}, "b": {"time": time_s, "value": 2}}
    assert client.get_latest_metrics([host], ["a", "b", "c"]) == {"tsdbLatest": {host: latest}}
    assert client.post_service_metrics("shop", [{"name": "orders", "time": time_s, "value": 7}]) == {"success": True}


def test_pypi_client_errors(url, client):
    with pytest.raises(MackerelClientError, match="failed: 404"):
        client.get_host("nobody")
    with pytest.raises(MackerelClientError, match="failed: 403"):
        Client(mackerel_origin=url, mackerel_api_key="wrong", logger=logging.getLogger("quiet")).get_hosts()


def test_npm_client(url, modules):
    time_s = int(time.time()) // 60 * 60
    script = Path(__file__).with_name("clients") / "mackerel.js"
    done = subprocess.run(
        ["node", "--no-deprecation", str(script), url, KEY, str(time_s)],
        env={"PATH": os.environ["PATH"], "NODE_PATH": str(modules)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    host_id, done_well = got["made"]["id"], {"success": True}
    assert got["host"]["host"]["roles"] == {"shop": ["web"]}
    assert host_id in [entry["id"] for entry in got["hosts"]["hosts"]]
    for call in ("status", "roles", "posted", "postedOfService", "graphs", "checks", "put", "deleted", "retired"):
        assert got[call] == done_well, call
    assert got["names"] == {"names": ["loadavg5"]}
    assert "shop" in [entry["name"] for entry in got["services"]["services"]]
    assert {"web", "db"} <= {entry["name"] for entry in got["rolesOfService"]["roles"]}
    assert got["metadata"] == {"a": [1, None]}
    assert got["org"] == {"name": "a", "displayName": None}
    assert host_id not in [entry["id"] for entry in got["left"]["hosts"]]
    assert (got["unknownHost"], got["unknownKey"]) == ("refused", "refused")
