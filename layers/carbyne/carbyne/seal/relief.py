"""A full Redis empties itself: windows are sealed early, and the tenants that fill it have to wait.

Nothing but a seal frees memory, and a window is due only after its end.  So when a shard is fuller than EARLY_FILL_MAX,
the sealer takes its windows whether or not they are due, the largest first.  Their rows leave at once, and later ones
open the window again as a partial one.

Above ADMIT_FILL_MAX the tenants are refused that hold more than an equal share of what that bound leaves for unsealed
rows.  The sealer notes that beside their limits, where the writer looks; a tenant below its share is never refused for
memory.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window
from carbyne.core.limits import (
    ADMIT_FILL_MAX,
    ADMIT_TENANTS_MAX,
    EARLY_FILL_GOAL,
    EARLY_FILL_MAX,
    EARLY_FILL_MAX_REPLAY,
    EARLY_SLICE_S,
    SEAL_RESERVE_S,
)
from carbyne.core.meter import Meter

_log = logging.getLogger(__name__)

Sized = tuple[int, SourceKey, Window]
"""Bytes of a window with unsealed rows."""


class ShardMemory(Protocol):
    """``fill``: ``used_bytes`` as a part of ``max_bytes``, 0 if there is no such limit."""

    @property
    def lanes(self) -> Collection[int]: ...
    @property
    def used_bytes(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def fill(self) -> float: ...


class HotMemory(Protocol):
    """Memory of the hot tier; both methods raise RetryableError if it can't be asked."""

    def shards(self) -> Sequence[ShardMemory]: ...
    def sizes(self) -> Sequence[Sized]: ...


class Admission(Protocol):
    """Has the writer refuse a tenant's posts for ADMIT_MINUTES: it holds ``used_bytes`` of a full shard, and may hold
    ``allowed_bytes``.  RetryableError if that can't be noted."""

    def refuse(self, tenant: str, used_bytes: int, allowed_bytes: int, now_s: int) -> None: ...


class ReliefPorts(NamedTuple):
    """``seal``: seals a window early; whether it has no unsealed row left.  ``now_ms``: the clock."""

    hot: HotMemory
    admission: Admission
    seal: Callable[[SourceKey, Window], bool]
    now_ms: Callable[[], int]
    meter: Meter


class Relieved(NamedTuple):
    """The lanes of the shards that were full, and how many of their windows were sealed early."""

    lanes: Collection[int] = ()
    sealed: int = 0


class Relief:
    """Empties full shards."""

    def __init__(self, ports: ReliefPorts) -> None:
        self._hot, self._admission, self._seal, self._now_ms, self._meter = ports

    def run(self, seconds_left: Callable[[], float], *, replaying: bool) -> Relieved:
        """Seal windows of full shards early for a slice of time.

        ``replaying``: lanes are replayed, which needs room.  What can't be asked or noted now is left to the next run.
        """
        bound = EARLY_FILL_MAX_REPLAY if replaying else EARLY_FILL_MAX
        try:
            full = [shard for shard in self._hot.shards() if shard.fill > bound]
            windows = self._hot.sizes() if full else []
        except RetryableError as error:
            _log.warning("nothing is sealed early in this run: %s", error)
            return Relieved()
        if not full:
            return Relieved()
        reserve_s = max(SEAL_RESERVE_S, seconds_left() - EARLY_SLICE_S)
        sealed = 0
        for shard in sorted(full, key=lambda shard: -shard.fill):
            mine = [sized for sized in windows if sized[1].lane in shard.lanes]
            if shard.fill > ADMIT_FILL_MAX:
                self._refuse(shard, mine)
            sealed += self._empty(shard, mine, bound - EARLY_FILL_GOAL, lambda: seconds_left() >= reserve_s)
        self._meter.add("WindowsSealedEarly", sealed)
        return Relieved({lane for shard in full for lane in shard.lanes}, sealed)

    def _empty(self, shard: ShardMemory, windows: Sequence[Sized], goal: float, has_time: Callable[[], bool]) -> int:
        """Seal windows until the shard is as empty as ``goal`` or time is up; how many were sealed."""
        left, sealed = shard.used_bytes - goal * shard.max_bytes, 0
        for size, source, window in sorted(windows, key=lambda sized: -sized[0]):
            if left <= 0 or not has_time():
                break
            if self._seal(source, window):
                left -= size
                sealed += 1
        _log.warning("a shard of Redis is %.0f%% full: %d windows were sealed early", 100 * shard.fill, sealed)
        return sealed

    def _refuse(self, shard: ShardMemory, windows: Sequence[Sized]) -> None:
        """Refuse the tenants that hold more than an equal share of what there is for unsealed rows."""
        used_bytes = Counter[str]()
        for size, source, _ in windows:
            used_bytes[source.tenant] += size
        others_bytes = max(0, shard.used_bytes - used_bytes.total())
        allowed = max(0, int(ADMIT_FILL_MAX * shard.max_bytes) - others_bytes) // max(1, len(used_bytes))
        for tenant, tenant_bytes in used_bytes.most_common(ADMIT_TENANTS_MAX):
            if tenant_bytes <= allowed:
                return
            try:
                self._admission.refuse(tenant, tenant_bytes, allowed, self._now_ms() // 1000)
            except RetryableError as error:
                _log.warning("posts of %s are let in though it fills Redis: %s", tenant, error)
