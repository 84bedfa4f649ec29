"""How a Redis cluster looks: what each node says of itself and of the others, put together as one topology."""

import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, NamedTuple

from redis import RedisError

from carbyne.cluster.topology import Newcomer, Node, NodeVitals, OpenSlot, Topology
from carbyne.core.errors import RetryableError

Client = Any
"""redis-py's client of one node, whose methods are only half typed."""
Connect = Callable[[str, int], Client]
"""Makes one, by host and port."""
Info = Mapping[str, str]
"""INFO's lines: name -> value."""

SERVICE: Final = "Amazon ElastiCache"
"""What ElastiCache gives as operating system."""
_FAILED: Final = {"fail", "noaddr"}
_RUNNING: Final = 16


class Account(NamedTuple):
    """What one node says.  ``ip`` and ``port``: where it was asked; ``view``: redis-py's form of CLUSTER NODES;
    ``exports``: moves of slots under way."""

    ip: str
    port: int
    info: Info
    view: Mapping[str, Mapping[str, Any]]
    exports: int = 0

    @property
    def me(self) -> Mapping[str, Any]:
        """Its entry of itself."""
        return next(entry for entry in self.view.values() if "myself" in entry["flags"].split(","))


class View:
    """Clients of all nodes of a cluster, and what they say.  ``endpoint``: (host, port) of any node; ``exports``: ask
    for atomic moves of slots as well, which takes an operator's rights."""

    def __init__(self, connect: Connect, endpoint: tuple[str, int], *, exports: bool = False) -> None:
        self._connect = connect
        self._with_exports = exports
        self._seeds = [endpoint]
        self._clients: dict[tuple[str, int], Client] = {}
        self._threads = ThreadPoolExecutor(_RUNNING)

    def close(self) -> None:
        """Close the threads and the connections."""
        self._threads.shutdown()
        for client in self._clients.values():
            client.close()

    def client(self, host: str, port: int) -> Client:
        """The client of one node, made at its first use."""
        if (host, port) not in self._clients:
            self._clients[host, port] = client = self._connect(host, port)
            client.response_callbacks.pop("INFO", None)  # which turns a hexadecimal id of digits into a number
        return self._clients[host, port]

    def look(self) -> Topology:
        """The cluster as it is now; RetryableError if none of the nodes known so far answers."""
        return topology(self.accounts())

    def accounts(self) -> dict[str, Account | None]:
        """What every node says, by id, None for one that does not answer; RetryableError if none of those known so far
        does."""
        first = self._first()
        accounts: dict[str, Account | None] = {first.me["node_id"]: first}
        while addresses := _unasked(accounts):
            asked = self._threads.map(lambda address: self._ask(*address), addresses.values())
            accounts |= dict(zip(addresses, asked, strict=True))
        self._seeds = list(dict.fromkeys([*_addresses(accounts).values(), *self._seeds]))
        return accounts

    def leave_out(self, address: tuple[str, int]) -> None:
        """From now on do not ask this node what the cluster is: it has left."""
        self._seeds = [seed for seed in self._seeds if seed != address]

    def newcomer(self, host: str, port: int) -> Newcomer:
        """A server outside of the cluster; RetryableError if it does not answer."""
        account = self._ask(host, port)
        if account is None:
            raise RetryableError(f"{host}:{port} does not answer as a Redis node in cluster mode")
        keys = sum(int(line.split(",")[0].partition("=")[2]) for name, line in account.info.items() if _is_db(name))
        announced = account.me["hostname"] or account.ip
        return Newcomer(announced, port, len(account.view) - 1, keys, frozenset(_slots(account.me)))

    def _first(self) -> Account:
        for seed in self._seeds:
            if account := self._ask(*seed):
                return account
        names = ", ".join(f"{host}:{port}" for host, port in self._seeds)
        raise RetryableError(f"no node answers as one of a Redis cluster: {names} (address, TLS, password?)")

    def _ask(self, host: str, port: int) -> Account | None:
        try:
            client = self.client(host, port)
            info = parse_info(client.execute_command("INFO"))
            view = client.cluster("NODES")
            return Account(ip_of(host), port, info, view, _exports(client, info) if self._with_exports else 0)
        except (RedisError, OSError):
            return None


def ip_of(host: str) -> str:
    """The IP address of a host; OSError if it has none."""
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])


def parse_info(text: bytes) -> Info:
    """INFO's reply as name -> value."""
    lines = (line.partition(":") for line in text.decode(errors="replace").split("\r\n") if ":" in line)
    return {name: value for name, _, value in lines if not name.startswith("#")}


def topology(accounts: Mapping[str, Account | None]) -> Topology:
    """One topology out of what all nodes say; about itself, a node is believed before others."""
    living = {node_id: account for node_id, account in accounts.items() if account}
    nodes = tuple(_node(node_id, account, living.values()) for node_id, account in accounts.items())
    signatures = {_signature(account.view, living) for account in living.values()}
    systems = {account.info.get("os", "") for account in living.values()}
    return Topology(nodes, agreed=len(signatures) == 1, service=SERVICE if SERVICE in systems else "")


def address_of(key: str, entry: Mapping[str, Any]) -> tuple[str, str, int]:
    """(host, ip, port) of an entry of CLUSTER NODES."""
    ip, _, port = key.rpartition(":")
    return entry["hostname"] or ip, ip, int(port or 0)


def _node(node_id: str, account: Account | None, others: Iterable[Account]) -> Node:
    entries = [(key, entry) for other in others for key, entry in other.view.items() if entry["node_id"] == node_id]
    named = [address_of(key, entry) for key, entry in entries]
    if account:  # a node that is alone does not know its own address
        named.append((account.me["hostname"] or account.ip, account.ip, account.port))
    host, ip, port = next((address for address in named if address[1]), named[0])
    flags = {flag for _, entry in entries for flag in entry["flags"].split(",")}
    entry = account.me if account else max((told for _, told in entries), key=_knowledge)
    return Node(
        id=node_id,
        host=host,
        ip=ip,
        port=port,
        master_id="" if entry["master_id"] == "-" else entry["master_id"],
        slots=frozenset(_slots(entry)),
        failed=bool(flags & _FAILED),
        open_slots=tuple(_open_slots(entry)) if account else (),
        exports=account.exports if account else 0,
        figures=_figures(account.info) if account else None,
    )


def _knowledge(entry: Mapping[str, Any]) -> tuple[int, int]:
    """Of several entries of a silent node the highest is the newest: a node that just joined knows no slots of it."""
    return int(entry["epoch"]), len(entry["slots"])


def _figures(info: Info) -> NodeVitals:
    role_is_master = info["role"] == "master"
    version = info.get("valkey_version") or info["redis_version"]
    return NodeVitals(
        version=f"{info.get('server_name', 'redis').capitalize()} {version}",
        memory_bytes=int(info["used_memory"]),
        memory_max_bytes=int(info.get("maxmemory", 0)),
        ops_per_s=int(info["instantaneous_ops_per_sec"]),
        offset=int(info["master_repl_offset"] if role_is_master else info.get("slave_repl_offset", 0)),
        link_up=role_is_master or info.get("master_link_status") == "up",
    )


def _addresses(accounts: Mapping[str, Account | None]) -> dict[str, tuple[str, int]]:
    """(host, port) of every node that some node knows, by id."""
    addresses: dict[str, tuple[str, int]] = {}
    for account in accounts.values():
        for key, entry in account.view.items() if account else ():
            host, _, port = address_of(key, entry)
            if host and "handshake" not in entry["flags"]:
                addresses.setdefault(entry["node_id"], (host, port))
    return addresses


def _unasked(accounts: Mapping[str, Account | None]) -> dict[str, tuple[str, int]]:
    return {node_id: address for node_id, address in _addresses(accounts).items() if node_id not in accounts}


def _slots(entry: Mapping[str, Any]) -> Iterable[int]:
    for first, *last in entry["slots"]:
        yield from range(int(first), int(last[0] if last else first) + 1)


def _open_slots(entry: Mapping[str, Any]) -> Iterable[OpenSlot]:
    for move in entry["migrations"]:
        yield OpenSlot(int(move["slot"]), move["state"] == "importing", move["node_id"])


def _signature(view: Mapping[str, Mapping[str, Any]], living: Collection[str]) -> frozenset[tuple[object, ...]]:
    """Which living nodes there are, whom they follow and what they serve, as one node sees it: a new one never learns
    of those that are dead."""
    return frozenset(
        (entry["node_id"], entry["master_id"] in living and entry["master_id"], frozenset(_slots(entry)))
        for entry in view.values()
        if entry["node_id"] in living
    )


def _exports(client: Client, info: Info) -> int:
    """Atomic moves of slots that a node has under way; only Valkey 9 and later have them."""
    if info.get("server_name") != "valkey" or int(info["valkey_version"].partition(".")[0]) < 9:
        return 0
    with suppress(RedisError):  # a replica has none
        return len(running(client.execute_command("CLUSTER GETSLOTMIGRATIONS")))
    return 0


def running(jobs: Sequence[Any]) -> list[dict[str, str]]:
    """Those of GETSLOTMIGRATIONS' jobs that export slots and have not ended."""
    return [job for job in map(as_job, jobs) if job["operation"] == "EXPORT" and job["state"] not in ENDED]


ENDED: Final = {"success", "failed", "cancelled"}
"""States of a move that will not change any more."""


def as_job(reply: Any) -> dict[str, str]:  # noqa: ANN401 - redis-py's raw reply
    """A job of GETSLOTMIGRATIONS, which comes as a map or as a list of names and values."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _is_db(name: str) -> bool:
    return name.startswith("db") and name[2:].isdecimal()
