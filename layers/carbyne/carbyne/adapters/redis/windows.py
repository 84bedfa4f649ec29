"""The sealer's side of the hot tier: due windows, their rows, and freeing those rows."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from carbyne.adapters.redis.commands import Command, Reply, Script, checked, mapping
from carbyne.adapters.redis.nodes import MasterMemory, Nodes
from carbyne.adapters.redis.replication import Followed, Replication
from carbyne.core.errors import CorruptDataError, RetryableError
from carbyne.core.keys import (
    SourceKey,
    Window,
    lane_claims,
    lane_due,
    lane_since,
    lane_state,
)
from carbyne.core.limits import (
    CONFIRM_ROWS_MAX,
    DUE_PER_LANE,
    LANES,
    READ_BYTES_MAX,
    SEAL_LEASE_MS,
    SIZED_PER_CALL,
)
from carbyne.core.stamps import STAMP_BYTES, ZERO
from carbyne.samples.columns import Columns
from carbyne.samples.decoded import columns_of
from carbyne.samples.markers import Marker, of_row
from carbyne.samples.rows import DELETED, STATE_BYTES, WHOLE

_log = logging.getLogger(__name__)

FIRST_CHUNK = 16
EVER_S = 2**40
"""After the end of every window."""
TICK = "tick"
"""What ``lane_since`` has it under; no window's member is like it."""


class Arrivals(NamedTuple):
    """When records of a lane came to the stream, ms.  ``first_ms``: the first row that no block holds, 0 if unknown and
    None if there is none; ``tick_ms``: one before which the ingester has done all of the lane, None if unknown;
    ``unsealed_s``: start of the first window that has rows which no block holds, None if there is none."""

    first_ms: int | None
    tick_ms: int | None
    unsealed_s: int | None = None


class Due(NamedTuple):
    """``windows``: (due_ms, source, window), earliest first; ``tokens``: of the last replay of each lane that answered,
    empty for none; ``rebuilding``: those of lanes that must be replayed first; ``arrivals``: of the others."""

    windows: list[tuple[int, SourceKey, Window]]
    tokens: dict[int, str]
    rebuilding: dict[int, str]
    arrivals: dict[int, Arrivals]


class WindowRows(NamedTuple):
    """What a window holds: ``pairs`` of (field, stamp), one for each row, their samples, deleted ones as well, the
    deletes, and the bytes of it all."""

    pairs: list[tuple[bytes, bytes]]
    columns: Columns
    markers: list[Marker]
    size: int


class HotWindows:
    """Finds, claims, reads and confirms windows.  Every method raises RetryableError if a node can't be asked."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._due = Script.load("due")
        self._claim = Script.load("claim")
        self._confirm = Script.load("confirm")
        self._begin = Script.load("begin")
        self._whole = Script.load("whole")

    def due(self, now_ms: int, closed_s: int | None = None) -> Due:
        """The windows that are due over all lanes.

        Lanes that are not whole have none until they are replayed, when Redis must be emptied again: then those that
        end by ``closed_s`` (default: now).  Those of a node that is away wait.  Raises RetryableError if no lane can be
        asked.
        """
        args = [now_ms, now_ms // 1000 if closed_s is None else closed_s, DUE_PER_LANE]
        calls = [self._due.call(lane, keys, args) for lane, keys in enumerate(_due_keys(LANES))]
        asked = self._nodes.run(calls)
        replies = {lane: reply for lane, reply in enumerate(asked) if not isinstance(reply, RetryableError)}
        if not replies:
            checked(asked[0])
        if len(replies) < LANES:
            _log.warning("%d lanes can't be asked what is due", LANES - len(replies))
        windows = [
            (int(float(due_ms)), *SourceKey.of_member(member.decode()))
            for _, _, _, _, *listed in replies.values()
            for member, due_ms in zip(listed[::2], listed[1::2], strict=True)
        ]
        tokens = {lane: state[STATE_BYTES:].decode() for lane, (state, *_) in replies.items()}
        rebuilding = {lane: token for lane, token in tokens.items() if replies[lane][0][:1] != WHOLE}
        arrivals = {
            lane: Arrivals(_number(first), _number(tick), _number(unsealed))
            for lane, (state, first, tick, unsealed, *_) in replies.items()
            if state[:1] == WHOLE
        }
        return Due(sorted(windows, key=lambda due: due[0]), tokens, rebuilding, arrivals)

    def begin(self, known: Mapping[int, str], token: str, *, force: bool = False) -> list[int]:
        """Take lanes that are not whole, or with ``force`` any, into the replay with this token.

        ``known``: the lanes, each with the token that it had when the caller looked at it; those that have another one
        meanwhile are left as they are, and returned.
        """
        calls = [
            self._begin.call(lane, [lane_state(lane)], [ZERO, before, token, int(force)])
            for lane, before in known.items()
        ]
        replies = self._nodes.run(calls, replicated=True)
        return [lane for lane, reply in zip(known, replies, strict=True) if not checked(reply)]

    def make_whole(self, lane: int, token: str) -> bool:
        """Whether the lane is whole now: not if it was lost again since the replay with this token began."""
        call = self._whole.call(lane, [lane_state(lane)], [token])
        return bool(checked(self._nodes.run([call], replicated=True)[0]))

    def in_replay(self, lanes: Iterable[int]) -> set[int]:
        """Those of the lanes that are not whole."""
        asked = list(lanes)
        replies = self._nodes.run([Command(lane, ("GET", lane_state(lane))) for lane in asked])
        return {lane for lane, reply in zip(asked, replies, strict=True) if (checked(reply) or b"")[:1] != WHOLE}

    def note_ticks(self, ticks: Mapping[int, int]) -> None:
        """Note when the newest record came (ms) before which all of a lane is done.  A tick that is lost again makes a
        mark older, so no replica has to have it."""
        calls = [Command(lane, ("ZADD", lane_since(lane), "GT", ms, TICK)) for lane, ms in ticks.items()]
        for reply in self._nodes.run(calls):
            checked(reply)

    def masters(self) -> dict[int, Replication]:
        """The master of each lane; lanes of a node that does not answer are left out."""
        return self._nodes.masters()

    def followers(self, names: Collection[str]) -> dict[str, Followed]:
        """By name, what the replicas that answer say of themselves."""
        return self._nodes.followers(names)

    def fill(self) -> float:
        """The fullest master's used memory as a part of its limit, 0 where there is none."""
        return self._nodes.fill()

    def shards(self) -> list[MasterMemory]:
        """Every master, with its lanes and its memory."""
        return self._nodes.shards()

    def sizes(self) -> list[tuple[int, SourceKey, Window]]:
        """The bytes of each window with unsealed rows, due or not; DUE_PER_LANE windows of a lane at most.  Lanes that
        can't be sealed have none."""
        windows = [(source, window) for _, source, window in self.due(EVER_S * 1000, EVER_S).windows]
        return [
            (size, source, window)
            for first in range(0, len(windows), SIZED_PER_CALL)
            for size, source, window in self._sized(windows[first : first + SIZED_PER_CALL])
        ]

    def _sized(self, windows: Sequence[tuple[SourceKey, Window]]) -> Iterator[tuple[int, SourceKey, Window]]:
        calls = [
            Command(source.lane, ("MEMORY USAGE", key))
            for source, window in windows
            for key in (source.rows(window), source.lists(window), source.dictionary(window))
        ]
        sizes = [int(checked(reply) or 0) for reply in self._nodes.run(calls)]
        for number, (source, window) in enumerate(windows):
            yield sum(sizes[3 * number : 3 * number + 3]), source, window

    def claim(self, source: SourceKey, window: Window) -> bool:
        """Whether the window is due still and no other sealer has claimed it."""
        keys = [lane_due(source.lane), lane_claims(source.lane)]
        call = self._claim.call(source.lane, keys, [source.member(window), SEAL_LEASE_MS])
        return bool(checked(self._nodes.run([call])[0]))

    def rows(self, source: SourceKey, window: Window) -> WindowRows:
        """Every row of the window.  Raises CorruptDataError if a row is not what the write script stores, of that
        UnknownVersionError if it is of a kind that only later code knows."""
        try:
            return self._rows(source, window)
        except CorruptDataError:  # or another sealer let go of the window, lists and all, between two calls of ours
            return self._rows(source, window)

    def _rows(self, source: SourceKey, window: Window) -> WindowRows:
        """Rows are read in chunks, then the lists, so that the list of each row that is still there is among them."""
        values = dict(self._values(source, window))
        lists, dictionary = (
            mapping(self._ask(source, "HGETALL", key)) for key in (source.lists(window), source.dictionary(window))
        )
        return WindowRows(
            [(field, value[:STAMP_BYTES]) for field, value in values.items()],
            columns_of(values, lists, dictionary),
            [of_row(value) for value in values.values() if value[STAMP_BYTES] == DELETED],
            sum(len(key) + len(value) for pairs in (values, lists, dictionary) for key, value in pairs.items()),
        )

    def windows(self, source: SourceKey) -> list[Window]:
        """The windows of the source that have rows, or had them until they expired."""
        return [Window.parse(token.decode()) for token in self._ask(source, "HKEYS", source.windows)]

    def confirm(
        self,
        source: SourceKey,
        window: Window,
        pairs: Sequence[tuple[bytes, bytes]],
        *,
        expiry_ms: int,
        again_ms: int,
        early: bool = False,
    ) -> bool:
        """Let go of the rows that still have these stamps, all at once at ``expiry_ms``, or now if that is 0.

        ``early``: now in any case; until ``expiry_ms`` the window is known as one that Redis may not have all of.  True
        if the window has no unsealed row left; else it is due again at ``again_ms``.  Safe to repeat.
        """
        frees = early or not expiry_ms or len(pairs) > CONFIRM_ROWS_MAX  # which can't be judged together
        done = False
        for first in range(0, max(1, len(pairs)), CONFIRM_ROWS_MAX):
            part = pairs[first : first + CONFIRM_ROWS_MAX]
            call = self._confirm_call(source, window, part, [expiry_ms, again_ms, int(frees)])
            done = bool(checked(self._nodes.run([call], replicated=True)[0]))
        return done

    def _confirm_call(
        self, source: SourceKey, window: Window, pairs: Sequence[tuple[bytes, bytes]], how: Sequence[int]
    ) -> Command:
        keys = [source.rows(window), source.lists(window), source.dictionary(window), source.windows]
        keys += [lane_due(source.lane), lane_claims(source.lane), lane_since(source.lane)]
        args = [source.member(window), window.token, *how, *(item for pair in pairs for item in pair)]
        return self._confirm.call(source.lane, keys, args)

    def _values(self, source: SourceKey, window: Window) -> Iterator[tuple[bytes, bytes]]:
        """(field, value) of every row; chunks of about READ_BYTES_MAX, so that no call holds a Redis thread."""
        key = source.rows(window)
        fields: list[bytes] = self._ask(source, "HKEYS", key)
        first, size = 0, FIRST_CHUNK
        while first < len(fields):
            chunk = fields[first : first + size]
            values = self._ask(source, "HMGET", key, *chunk)
            present = [(field, value) for field, value in zip(chunk, values, strict=True) if value is not None]
            yield from present
            first += size
            longest = max((len(value) for _, value in present), default=1)
            size = max(FIRST_CHUNK, READ_BYTES_MAX // longest)

    def _ask(self, source: SourceKey, *command: str | bytes) -> Reply:
        return checked(self._nodes.run([Command(source.lane, command)])[0])


@cache
def _due_keys(lanes: int) -> list[list[str]]:
    """The keys of due.lua, of each lane: a sealer's run asks all of them, whatever there is to do."""
    return [[lane_state(lane), lane_due(lane), lane_since(lane)] for lane in range(lanes)]


def _number(score: bytes) -> int | None:
    return int(float(score)) if score else None
