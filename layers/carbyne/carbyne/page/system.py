"""How the system does, for its operators: Redis nodes, lanes, windows to seal, the replay that runs."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec


class RedisNode(msgspec.Struct, frozen=True, rename="camel"):
    """A node of the Redis cluster.  ``max_bytes``: 0 without a limit; both are None of a node that does not answer."""

    node: str
    role: str
    is_healthy: bool
    slots: int
    replicas: int
    used_bytes: int | None
    max_bytes: int | None


class Lanes(msgspec.Struct, frozen=True):
    """Lanes by state; ``unset`` ones were never written."""

    whole: int
    rebuilding: int
    unset: int


class Seals(msgspec.Struct, frozen=True, rename="camel"):
    """``open``: windows that are not sealed; ``due``: those of them that should be."""

    open: int
    due: int
    oldest_due_seconds: int | None


class Replay(msgspec.Struct, frozen=True, rename="camel"):
    """``lanes``: that it is not done with; ``began_at``: seconds since 1970."""

    running: bool
    lanes: int
    began_at: int


class Cache(msgspec.Struct, frozen=True):
    """Of reads, since Redis started or the numbers were lost."""

    hits: int
    misses: int


class SystemState(msgspec.Struct, frozen=True):
    """All of it."""

    redis: list[RedisNode]
    lanes: Lanes
    seals: Seals
    replay: Replay | None
    cache: Cache


class RunningReplay(Protocol):
    """``hot.replay.Job``."""

    @property
    def left(self) -> int: ...
    @property
    def begun_s(self) -> int: ...
    @property
    def reader(self) -> str: ...


class RedisView(Protocol):
    """Raises RetryableError if Redis can't be asked."""

    def nodes(self) -> list[RedisNode]: ...
    def lanes(self, now_ms: int) -> tuple[Lanes, Seals]: ...
    def cache(self) -> Cache: ...


class System(NamedTuple):
    """``job``: the replay that there is, if any."""

    redis: RedisView
    job: Callable[[], RunningReplay | None]
    now_ms: Callable[[], int]

    def state(self) -> SystemState:
        """RetryableError if Redis or the table can't be asked."""
        lanes, seals = self.redis.lanes(self.now_ms())
        job = self.job()
        replay = Replay(job.left > 0 or bool(job.reader), job.left, job.begun_s) if job else None
        return SystemState(self.redis.nodes(), lanes, seals, replay, self.redis.cache())
