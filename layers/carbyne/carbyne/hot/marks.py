"""Where the replay of a lane begins: a mark for each lane, as the time at which records came to the stream.

Everything of the lane that came before its mark is in blocks, or said nothing, whatever Redis loses later.  That stays
true for ever, so a mark only advances; it is not moved on while the lane is not whole, nor by a look at another master
than the one that was noted before: what these hold may lack what came earlier.  The first row that no block holds has
its arrival in Redis.  So does the newest tick that the ingester has passed: a record which the supervisor puts into
each lane every TICK_MINUTES, so that the mark of a quiet lane advances as well.

Beside it stands until when the lane's windows are sealed: all of those that end by then are in blocks, and every row
that comes for them is late, which Redis never has alone.  So reads of them need no lane that is whole.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from math import inf
from typing import Final, Protocol

import msgspec

from carbyne.core.documents import Document
from carbyne.core.errors import RetryableError
from carbyne.core.items import Item, Table
from carbyne.core.keys import REPLAY_ITEM, lane_of_tag
from carbyne.core.limits import JOB_BYTES_MAX, LANES, MARK_MARGIN_S, MARK_STEP_S, SEAL_GRACE_S_MAX
from carbyne.samples.schedule import LaneArrivals
from carbyne.stream.arrived import Arrived
from carbyne.stream.records import is_fence

_log = logging.getLogger(__name__)

_SORT: Final = "marks"
UNKNOWN: Final = 0


class _Marks(msgspec.Struct, frozen=True, array_like=True):
    """``lanes``: the mark of each lane, ``sealed``: until when its windows are; both in seconds, UNKNOWN for none."""

    lanes: list[int]
    sealed: list[int] = []


_NONE: Final = _Marks([UNKNOWN] * LANES)


_DOCUMENT = Document("marks", _Marks, version=1, level=3, bytes_max=JOB_BYTES_MAX, inflated_max=JOB_BYTES_MAX)


class Marks:
    """The marks, in the blocks table.  Methods raise RetryableError if it can't be asked.

    ``grace_s``: how long after a window's end its rows are not late; only ``advance`` needs it.
    """

    def __init__(self, table: Table, grace_s: int = SEAL_GRACE_S_MAX) -> None:
        self._table = table
        self._grace_s = grace_s

    def load(self) -> tuple[list[int], Item | None]:
        """The mark of each lane, and the item that they are in."""
        marks, item = self._load()
        return marks.lanes, item

    def sealed_s(self, lane: int) -> int:
        """Windows of the lane that end by then are sealed, whatever Redis has lost; UNKNOWN if none are for sure."""
        sealed = self._load()[0].sealed
        return sealed[lane] if sealed else UNKNOWN

    def _load(self) -> tuple[_Marks, Item | None]:
        item = self._table.get(REPLAY_ITEM, _SORT)
        return (_DOCUMENT.unpack(item.data), item) if item else (_NONE, None)

    def start_s(self, lanes: Iterable[int]) -> int:
        """Where a replay of these lanes begins, UNKNOWN for the oldest record that the stream has."""
        marks, _ = self.load()
        return min((marks[lane] for lane in lanes), default=UNKNOWN)

    def advance(self, arrivals: Mapping[int, LaneArrivals], steady: Collection[int]) -> None:
        """Move on the marks of lanes that are whole and steady: looked at while the noted master served them."""
        marks, item = self._load()
        before = [*marks.lanes, *(marks.sealed or [UNKNOWN] * LANES)]
        moved = list(before)
        for lane, lane_arrivals in arrivals.items():
            if lane in steady:
                moved[lane] = max(before[lane], mark_s(lane_arrivals))
                moved[LANES + lane] = max(before[LANES + lane], sealed_s(lane_arrivals, self._grace_s))
        if any(new >= old + MARK_STEP_S for new, old in zip(moved, before, strict=True)):
            self._table.put(REPLAY_ITEM, _SORT, Item(_DOCUMENT.pack(_Marks(moved[:LANES], moved[LANES:]))), item)


def mark_s(arrivals: LaneArrivals) -> int:
    """The mark of a lane, UNKNOWN if it can't be said."""
    if arrivals.tick_ms is None:
        return UNKNOWN
    first_ms = arrivals.tick_ms if arrivals.first_ms is None else min(arrivals.first_ms, arrivals.tick_ms)
    return max(UNKNOWN, first_ms // 1000 - MARK_MARGIN_S)


def sealed_s(arrivals: LaneArrivals, grace_s: int) -> int:
    """Until when the windows of a lane are sealed, UNKNOWN if it can't be said: what came for them in time was done
    before the tick, and none of them has rows left that no block holds."""
    if arrivals.tick_ms is None or arrivals.first_ms == 0:
        return UNKNOWN
    done_s = arrivals.tick_ms // 1000 - MARK_MARGIN_S - grace_s
    return max(UNKNOWN, done_s if arrivals.unsealed_s is None else min(done_s, arrivals.unsealed_s))


class BatchIngester(Protocol):
    """See ``ingester.Ingester``."""

    def ingest(self, entries: Sequence[Arrived], seconds_left: Callable[[], float]) -> str | None: ...


class TickLanes(Protocol):
    """Notes in Redis when the newest tick of each lane came, ms; RetryableError if it can't."""

    def note_ticks(self, ticks: Mapping[int, int]) -> None: ...


class Ticking:
    """The live ingester, which notes the ticks that it passes."""

    def __init__(self, ingester: BatchIngester, lanes: TickLanes) -> None:
        self._ingester = ingester
        self._lanes = lanes

    def ingest(self, entries: Sequence[Arrived], seconds_left: Callable[[], float] = lambda: inf) -> str | None:
        """Store a batch in stream order; the lowest sequence number that is not done, None if all are."""
        failed = self._ingester.ingest(entries, seconds_left)
        ticks = ticks_of(entry for entry in entries if failed is None or int(entry.sequence) < int(failed))
        if ticks:
            try:
                self._lanes.note_ticks(ticks)
            except RetryableError as error:
                _log.warning("the marks of %d lanes wait for the next tick: %s", len(ticks), error)
        return failed


def ticks_of(done: Iterable[Arrived]) -> dict[int, int]:
    """{lane: arrival of its newest tick or fence, ms}."""
    return {
        lane: int(entry.arrived_s * 1000)
        for entry in done
        if is_fence(entry.data) and entry.arrived_s and (lane := lane_of_tag(entry.key)) is not None
    }
