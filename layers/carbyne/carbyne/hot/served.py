"""Reads from Redis that no lost tail can be missing from.

The sealer takes the lanes of a replaced master out of service within a minute.  Until then a read sees it by itself:
the note of masters is taken before Redis is asked, and the answer says under which replication id it was given.  Ids
never come back, so a note may be as old as it likes while they agree.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Generic, Protocol, Self, TypeVar

from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey
from carbyne.hot.followers import Serving
from carbyne.samples.rows import HotQuery


class ServedAnswer(Protocol):
    """``master``: the replication id of the node that gave it.  ``unproven``: the same, of a lane that is not whole."""

    @property
    def master(self) -> str: ...
    def unproven(self) -> Self: ...


Known = TypeVar("Known", bound=ServedAnswer)
Given_co = TypeVar("Given_co", bound=ServedAnswer, covariant=True)


class HotReads(Protocol[Given_co]):
    """The hot tier.  ``read_each`` has a RetryableError for a source that can't be asked, ``series`` raises it."""

    def read_each(
        self, sources: Iterable[SourceKey], query: HotQuery
    ) -> Mapping[SourceKey, Given_co | RetryableError]: ...
    def series(self, source: SourceKey) -> set[str]: ...
    def series_each(self, sources: Sequence[SourceKey]) -> Mapping[SourceKey, Mapping[str, tuple[int, int]]]: ...


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

    def read_each(self, sources: Iterable[SourceKey], query: HotQuery) -> dict[SourceKey, Known | RetryableError]:
        """See ``reader.HotReader``."""

        def ask(some: Iterable[SourceKey]) -> dict[SourceKey, Known | RetryableError]:
            return dict(self._hot.read_each(some, query)) if some else {}

        sources, noted = list(sources), self._noted  # other threads read as well
        answers = ask([source for source in sources if source.lane in noted])
        again = [source for source in sources if source not in answers or _doubts(answers[source], noted[source.lane])]
        if not again:
            return answers
        try:
            # Before Redis is asked again: it may be noted for another answer.
            self._noted = noted = self._notes.masters()
            return answers | self._proven(ask(again), noted)
        except RetryableError as error:
            return answers | dict.fromkeys(again, error)

    def series(self, source: SourceKey) -> set[str]:
        """See ``reader.HotReader``."""
        return self._hot.series(source)

    def series_each(self, sources: Sequence[SourceKey]) -> Mapping[SourceKey, Mapping[str, tuple[int, int]]]:
        """See ``known.HotSeries``."""
        return self._hot.series_each(sources)

    def _proven(
        self, answers: dict[SourceKey, Known | RetryableError], noted: Mapping[int, str]
    ) -> dict[SourceKey, Known | RetryableError]:
        """Answers of another master than the noted one as those of a lane that is not whole, unless the lane moved to
        another shard, or was handed over by the tool, and the master is the same still."""
        doubted = {
            source: answer
            for source, answer in answers.items()
            if not isinstance(answer, RetryableError) and _doubts(answer, noted.get(source.lane, answer.master))
        }
        if not doubted:
            return answers
        seen = self._lanes.masters()
        lost = self._notes.lost(noted, seen)
        unproven = {
            source: answer.unproven()
            for source, answer in doubted.items()
            if source.lane in lost or source.lane not in seen or seen[source.lane].id != answer.master
        }
        return answers | unproven


def _doubts(answer: ServedAnswer | RetryableError, noted: str) -> bool:
    """Whether this is the answer of another master than the noted one."""
    return not isinstance(answer, RetryableError) and answer.master != noted
