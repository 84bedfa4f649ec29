"""Reads from Redis that no lost tail can be missing from.

The sealer takes the lanes of a replaced master out of service within a minute.  Until then a read sees it by itself:
the note of masters is taken before Redis is asked, and the answer says under which replication id it was given.  Ids
never come back, so a note may be as old as it likes while they agree.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Generic, Protocol, Self, TypeVar

from carbyne.core.keys import SourceKey
from carbyne.hot.followers import Serving


class ServedAnswer(Protocol):
    """``master``: the replication id of the node that gave it.  ``unproven``: the same, of a lane that is not whole."""

    @property
    def master(self) -> str: ...
    def unproven(self) -> Self: ...


Known = TypeVar("Known", bound=ServedAnswer)
Given_co = TypeVar("Given_co", bound=ServedAnswer, covariant=True)


class HotReads(Protocol[Given_co]):
    """The hot tier; both methods raise RetryableError if it can't be asked."""

    def read(
        self, source: SourceKey, from_ms: int, to_ms: int, length_s: int, series: Sequence[str], *, newest: bool = False
    ) -> Given_co: ...
    def series(self, source: SourceKey) -> set[str]: ...


class MasterNotes(Protocol):
    """See ``failovers.Failovers``; RetryableError if the table can't be asked."""

    def masters(self) -> Mapping[int, str]: ...
    def lost(self, noted: Mapping[int, str], seen: Mapping[int, Serving]) -> Collection[int]: ...


class MasterLanes(Protocol):
    """The lanes whose master answers."""

    def masters(self) -> Mapping[int, Serving]: ...


class ServedReads(Generic[Known]):
    """The hot tier for a reader: an answer of another master than the noted one is that of a lane that is not whole."""

    def __init__(self, hot: HotReads[Known], notes: MasterNotes, lanes: MasterLanes) -> None:
        self._hot = hot
        self._notes = notes
        self._lanes = lanes
        self._noted: Mapping[int, str] = {}

    def read(
        self, source: SourceKey, from_ms: int, to_ms: int, length_s: int, series: Sequence[str], *, newest: bool = False
    ) -> Known:
        """See ``reader.Hot``."""
        lane, noted = source.lane, self._noted  # other threads read as well
        if lane in noted:
            answer = self._hot.read(source, from_ms, to_ms, length_s, series, newest=newest)
            if answer.master == noted[lane]:
                return answer
        self._noted = noted = self._notes.masters()  # before Redis is asked again: it may be noted for another answer
        answer = self._hot.read(source, from_ms, to_ms, length_s, series, newest=newest)
        if answer.master == noted.get(lane, answer.master) or self._lacks_nothing(lane, noted, answer.master):
            return answer
        return answer.unproven()

    def series(self, source: SourceKey) -> set[str]:
        """See ``reader.Hot``."""
        return self._hot.series(source)

    def _lacks_nothing(self, lane: int, noted: Mapping[int, str], master: str) -> bool:
        """Whether the lane moved to another shard, or was handed over by the tool, and the master is the same still."""
        seen = self._lanes.masters()
        return lane in seen and seen[lane].id == master and lane not in self._notes.lost(noted, seen)
