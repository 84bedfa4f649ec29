"""Redis in memory: the project's own scripts on Lua 5.1, over the few commands that they and the adapters use.

``MemoryNodes`` takes the place of ``carbyne.adapters.redis.nodes.Nodes``, so that ``HotStore`` and ``HotWindows`` are
the real ones.
"""

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any

from carbyne.adapters.redis.commands import Command
from carbyne.adapters.redis.replication import Followed, Replication
from carbyne.core.keys import lane_of_tag
from lupa import lua51

SHARDS = 16
"""The first lanes, which the model uses."""


def _first_id(lane: int) -> str:
    return f"{'5e' * 16}{lane:08x}"


class MemoryRedis:
    """Commands on keys in memory.  ``now_ms``: the server's clock, which decides what has expired."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.values: dict[bytes, Any] = {}
        self.expiries_ms: dict[bytes, int] = {}
        self._now_ms = now_ms

    def call(self, name: str, *args: Any) -> Any:
        """The reply of a command as RESP2 has it; arguments as bytes."""
        key = args[0] if args else b""
        if key in self.expiries_ms and self.expiries_ms[key] <= self._now_ms():
            self.drop(key)
        reply = getattr(self, f"_{name.lower().replace(' ', '_')}")(*args)
        if key in self.values and isinstance(self.values[key], dict) and not self.values[key]:
            self.drop(key)
        return reply

    def drop(self, key: bytes) -> None:
        self.values.pop(key, None)
        self.expiries_ms.pop(key, None)

    def _hash(self, key: bytes) -> dict[bytes, bytes]:
        return self.values.get(key, {})

    def _time(self) -> list[bytes]:
        seconds, ms = divmod(self._now_ms(), 1000)
        return [b"%d" % seconds, b"%d" % (ms * 1000)]

    def _get(self, key: bytes) -> bytes | None:
        return self.values.get(key)

    def _set(self, key: bytes, value: bytes, get: bytes = b"") -> bytes | None:
        assert get in (b"", b"GET")
        before = self.values.get(key)
        self.values[key] = value
        self.expiries_ms.pop(key, None)
        return before if get else b"OK"

    def _del(self, *keys: bytes) -> int:
        there = [key for key in keys if key in self.values]
        for key in there:
            self.drop(key)
        return len(there)

    def _memory_usage(self, key: bytes) -> int | None:
        if (fields := self.values.get(key)) is None:
            return None
        return len(key) + sum(len(field) + len(value) for field, value in fields.items())

    def _exists(self, key: bytes) -> int:
        return int(key in self.values)

    def _persist(self, key: bytes) -> int:
        return int(self.expiries_ms.pop(key, None) is not None)

    def _pexpireat(self, key: bytes, at_ms: bytes) -> int:
        if key not in self.values:
            return 0
        self.expiries_ms[key] = int(at_ms)
        if int(at_ms) <= self._now_ms():
            self.drop(key)
        return 1

    def _hset(self, key: bytes, *pairs: bytes) -> int:
        fields = self.values.setdefault(key, {})
        before = len(fields)
        fields.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(fields) - before

    def _hsetnx(self, key: bytes, field: bytes, value: bytes) -> int:
        return 0 if field in self._hash(key) else self._hset(key, field, value)

    def _hget(self, key: bytes, field: bytes) -> bytes | None:
        return self._hash(key).get(field)

    def _hmget(self, key: bytes, *fields: bytes) -> list[bytes | None]:
        return [self._hash(key).get(field) for field in fields]

    def _hgetall(self, key: bytes) -> list[bytes]:
        return [item for pair in self._hash(key).items() for item in pair]

    def _hkeys(self, key: bytes) -> list[bytes]:
        return list(self._hash(key))

    def _hlen(self, key: bytes) -> int:
        return len(self._hash(key))

    def _hexists(self, key: bytes, field: bytes) -> int:
        return int(field in self._hash(key))

    def _hdel(self, key: bytes, *fields: bytes) -> int:
        return sum(self._hash(key).pop(field, None) is not None for field in fields)

    def _zadd(self, key: bytes, flag: bytes, score: bytes, member: bytes) -> int:
        is_member = member in self._hash(key)
        better = {b"NX": False, b"XX": True, b"LT": is_member and float(score) < self._hash(key)[member],
                  b"GT": is_member and float(score) > self._hash(key)[member]}[flag]  # fmt: skip
        if better if is_member else flag != b"XX":
            self.values.setdefault(key, {})[member] = float(score)
        return int(flag != b"XX" and not is_member)

    def _zcard(self, key: bytes) -> int:
        return len(self._hash(key))

    def _zcount(self, key: bytes, least: bytes, most: bytes) -> int:
        assert least == b"-inf"
        return sum(score <= float(most) for score in self._hash(key).values())

    def _zscore(self, key: bytes, member: bytes) -> bytes | None:
        score = self.values.get(key, {}).get(member)
        return None if score is None else b"%.17g" % score

    def _zrem(self, key: bytes, member: bytes) -> int:
        return self._hdel(key, member)

    def _zrange(self, key: bytes, least: bytes, most: bytes, *how: bytes) -> list[bytes]:
        assert least == b"-inf" and how[:2] == (b"BYSCORE", b"LIMIT") and how[4:] == (b"WITHSCORES",)
        low = sorted((score, member) for member, score in self._hash(key).items() if score <= float(most))
        return [item for score, member in low[int(how[2]) :][: int(how[3])] for item in (member, b"%.17g" % score)]


class MemoryNodes:
    """``Nodes`` over one MemoryRedis that has every slot."""

    def __init__(self, redis: MemoryRedis) -> None:
        self.redis = redis
        self._lua = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self._scripts = cache(self._compiled)
        self._allowed: Sequence[bytes] = ()
        self._promoted: dict[int, Replication] = {}
        self._promotions = 0
        self.processes: dict[int, str] = {}
        self.hangs = True
        names = self._lua.globals()
        names[b"redis"] = self._lua.table_from({b"call": self._of_script})
        names[b"struct"] = self._lua.table_from({b"pack": _pack, b"unpack": _unpack})

    def run(self, calls: Sequence[Command], *, replicated: bool = False) -> list[Any]:
        return [self._run(call) for call in calls]

    def masters(self) -> dict[int, Replication]:
        """Each lane is a shard of its own, with one replica, of which the master knows while it follows."""
        return {lane: self.master(lane) for lane in range(SHARDS)}

    def master(self, lane: int) -> Replication:
        replicas = frozenset[str]() if self.hangs else frozenset({f"replica:{lane}"})
        return self._promoted.get(lane, Replication(_first_id(lane), "", "first"))._replace(replicas=replicas)

    def followers(self, names: Collection[str]) -> dict[str, Followed]:
        lanes = [int(name.partition(":")[2]) for name in names]
        states = [Followed(self.processes.get(lane, "replica"), self.master(lane).id, 0) for lane in lanes]
        return {} if self.hangs else dict(zip(names, states, strict=True))

    def promote(self, lane: int) -> None:
        """The lane's replica is its master from now on, and has a new replica."""
        self._promotions += 1
        process = self.processes.get(lane, "replica")
        self._promoted[lane] = Replication(f"{self._promotions:08x}{lane:032x}", self.master(lane).id, process)
        self.restart(lane)

    def restart(self, lane: int) -> None:
        """The lane's replica is another process from now on."""
        self._promotions += 1
        self.processes[lane] = f"process {self._promotions}"

    def fill(self) -> float:
        return 0.0

    def close(self) -> None:
        pass

    def _run(self, call: Command) -> Any:
        if call.script is None:
            name, *args = call.words
            reply = self.redis.call(name, *map(_bytes, args))
            return dict(zip(reply[::2], reply[1::2], strict=True)) if name == "HGETALL" else reply
        _, _, count, *args = call.words
        packed = [_bytes(arg) for arg in args]
        self._allowed = packed[:count]
        assert len({_slot(key) for key in self._allowed}) == 1, f"CROSSSLOT: {self._allowed}"
        names = self._lua.globals()
        names[b"KEYS"] = self._lua.table_from(packed[:count])
        names[b"ARGV"] = self._lua.table_from(packed[count:])
        return self._reply(self._scripts(call.script.text)())

    def _compiled(self, text: str) -> Any:
        return self._lua.compile(b"--" + text.encode())  # the first line is for Redis

    def _of_script(self, name: bytes, *args: Any) -> Any:
        packed = [_bytes(arg) for arg in args]
        if name == b"INFO":
            lane = lane_of_tag(_slot(self._allowed[0]).decode()) or 0
            return b"role:master\r\nmaster_replid:%s\r\n" % self.master(lane).id.encode()
        if packed:
            assert packed[0] in self._allowed, f"a key that was not declared: {packed[0]!r}"
        reply = self.redis.call(name.decode(), *packed)
        if isinstance(reply, list):
            return self._lua.table_from([False if item is None else item for item in reply])
        return False if reply is None else reply

    def _reply(self, value: Any) -> Any:
        """What Redis makes of a script's result: numbers are cut to integers, arrays end before the first nil."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return int(value)
        if lua51.lua_type(value) != "table":
            return {True: 1, False: None}[value] if isinstance(value, bool) else value
        return [self._reply(value[index]) for index in range(1, len(value) + 1)]


def _slot(key: bytes) -> bytes:
    return key.partition(b"{")[2].partition(b"}")[0]


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return b"%.17g" % value if isinstance(value, float) else str(value).encode()


@cache
def _fields(layout: bytes) -> tuple[str, tuple[tuple[bool, int], ...]]:
    """Endianness and (signed, bytes) of each field of a layout like ``>I6I2``."""
    text = layout.decode()
    order = {">": "big", "<": "little"}[text[0]]
    return order, tuple((text[at] == "i", int(text[at + 1])) for at in range(1, len(text), 2))


def _unpack(layout: bytes, data: bytes, first: float = 1) -> tuple[int, ...]:
    order, fields = _fields(layout)
    values, at = [], int(first) - 1
    for signed, size in fields:
        assert at + size <= len(data), "data string too short"
        values.append(int(float(int.from_bytes(data[at : at + size], order, signed=signed))))
        at += size
    return (*values, at + 1)


def _pack(layout: bytes, *values: float) -> bytes:
    order, fields = _fields(layout)
    return b"".join(
        int(value).to_bytes(size, order, signed=signed) for (signed, size), value in zip(fields, values, strict=True)
    )
