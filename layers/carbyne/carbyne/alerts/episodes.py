"""The history of a monitor on one source: turns of its status, and the episodes in which it was not OK.

Turns of the last hour are replaced by what its samples say now; older ones stay as they are.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from carbyne.alerts.judging import OK, Judgement


class Turn(msgspec.Struct, frozen=True, array_like=True):
    """From ``ts_ms`` on the status is this one; ``value``: what the sample of that time says."""

    ts_ms: int
    status: str
    value: float = 0.0


class Episode(NamedTuple):
    """Turns in a row that are not OK; ``closed_ms``: None while it lasts."""

    turns: tuple[Turn, ...]
    closed_ms: int | None

    @property
    def opened_ms(self) -> int:
        return self.turns[0].ts_ms

    @property
    def last(self) -> Turn:
        return self.turns[-1]

    def overlaps(self, other: "Episode") -> bool:
        """Whether both lasted at one time."""
        starts_before_end = other.closed_ms is None or self.opened_ms < other.closed_ms
        return starts_before_end and (self.closed_ms is None or other.opened_ms < self.closed_ms)


def overlay(
    known: Sequence[Turn], judged: Iterable[Judgement], from_ms: int, closed_by_hand_ms: Iterable[int] = ()
) -> tuple[Turn, ...]:
    """The turns after all samples from ``from_ms`` on were judged again: of an earlier time those that are known.

    A person who closes an alert makes the status OK at that time; the next bad sample is a new episode.
    """
    turns = [turn for turn in known if turn.ts_ms < from_ms]
    status = turns[-1].status if turns else OK
    closed = [Judgement(ts_ms, OK, 0.0) for ts_ms in closed_by_hand_ms if ts_ms >= from_ms]
    for each in sorted([*judged, *closed], key=lambda each: each.ts_ms):  # stable: of one time the person is last
        if each.status != status:
            status = each.status
            turns.append(Turn(*each))
    return _trimmed(turns, from_ms)


def episodes(turns: Sequence[Turn]) -> list[Episode]:
    """The spans in which the status was not OK, in their order."""
    result: list[Episode] = []
    row: list[Turn] = []
    for turn in turns:
        if turn.status != OK:
            row.append(turn)
        elif row:
            result.append(Episode(tuple(row), turn.ts_ms))
            row = []
    return [*result, Episode(tuple(row), None)] if row else result


def _trimmed(turns: Sequence[Turn], from_ms: int) -> tuple[Turn, ...]:
    """Without turns that no later call needs: of those before ``from_ms`` the last one, and the one that opened the
    episode that it is in."""
    before = [turn for turn in turns if turn.ts_ms < from_ms]
    opened = [turn for last, turn in pairwise([Turn(0, OK), *before]) if last.status == OK and turn.status != OK]
    kept = {before[-1].ts_ms} if before else set()
    if before and before[-1].status != OK:
        kept.add(opened[-1].ts_ms)
    return tuple(turn for turn in turns if turn.ts_ms >= from_ms or turn.ts_ms in kept)
