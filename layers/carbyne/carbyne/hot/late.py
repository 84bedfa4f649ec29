"""Late rows: of windows that were past their end and grace when their record arrived.

They do not go into Redis, where one sample in each of 2,700 windows would take keys of its own for each, and a loss
would make every old read uncertain.  They are noted beside the source's index of windows, which every read that needs
blocks asks for before them, and the sealer merges them from there.  A window with late rows counts as not sealed until
its rollups stand.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window, split_series
from carbyne.core.limits import LISTED_REMEMBERED_MAX
from carbyne.samples.columns import Columns, Rows, from_rows
from carbyne.samples.rows import HotRow
from carbyne.samples.schedule import RawTimes

Noted = TypeVar("Noted")
LateGroups = Mapping[tuple[SourceKey, Window], Sequence[HotRow]]


class PartialWindows(Protocol):
    """No read takes Redis to have all of these windows afterwards; the sources for which that failed."""

    def make_partial(self, windows: Mapping[SourceKey, Collection[Window]]) -> Mapping[SourceKey, RetryableError]: ...


class WorkTokens(Protocol):
    """See ``Worklist``: ``add`` has the sealer work on a source, and ``holds`` says whether it has not begun since."""

    def add(self, source: SourceKey, due_ms: int) -> str: ...
    def holds(self, source: SourceKey, token: str) -> bool: ...


class LateStore(Protocol):
    """The durable side; RetryableError if it can't be asked."""

    def add_late(self, late: Iterable[tuple[SourceKey, Window, Columns]]) -> None: ...


class LateLog:
    """Notes late rows."""

    def __init__(self, hot: PartialWindows, store: LateStore, work: WorkTokens, times: RawTimes) -> None:
        self._hot = hot
        self._store = store
        self._work = work
        self._times = times
        self._tokens: dict[SourceKey, str] = {}

    def put(self, groups: LateGroups) -> Mapping[SourceKey, RetryableError]:
        """Note rows, all of one window each, for good; the sources of which some may not be noted.  Safe to repeat.

        Before a row is noted, Redis lets go of its claim to have all of a window, and the source is on the sealer's
        list; if the sealer has taken the source off the list meanwhile, it is put there again.  Raises
        RetryableError if none is noted for sure.
        """
        windows: dict[SourceKey, set[Window]] = {}
        for source, window in groups:
            windows.setdefault(source, set()).add(window)
        failed = dict(self._hot.make_partial(windows))
        tokens = self._each(windows, failed, self._listed)
        self._store.add_late(
            (source, window, _columns(rows)) for (source, window), rows in groups.items() if source in tokens
        )
        self._each(tokens, failed, self._listed)
        return failed

    def _each(
        self,
        sources: Iterable[SourceKey],
        failed: dict[SourceKey, RetryableError],
        ask: Callable[[SourceKey], Noted],
    ) -> dict[SourceKey, Noted]:
        """What is answered for each source that has not failed; those for which this one does fail from then on."""
        answers: dict[SourceKey, Noted] = {}
        for source in sources:
            if source not in failed:
                try:
                    answers[source] = ask(source)
                except RetryableError as error:
                    failed[source] = error
        return answers

    def _listed(self, source: SourceKey) -> str:
        """The token under which the sealer has the source on its list, and has not begun: the last one if it still has,
        since a backlog comes in many batches."""
        token = self._tokens.pop(source, "")
        if not token or not self._work.holds(source, token):
            token = self._list(source)
        if len(self._tokens) < LISTED_REMEMBERED_MAX:
            self._tokens[source] = token
        return token

    def _list(self, source: SourceKey) -> str:
        return self._work.add(source, self._times.schedule.late_ms(source, self._times.length_s, self._times.now_ms()))


def _columns(rows: Sequence[HotRow]) -> Columns:
    by_list: dict[bytes, list[HotRow]] = {}
    for row in rows:
        by_list.setdefault(row.series, []).append(row)
    return from_rows(_of_list(tuple(split_series(series)), mine) for series, mine in by_list.items())


def _of_list(series: tuple[str, ...], rows: Sequence[HotRow]) -> Rows:
    """The rows of one list of series."""
    bits = np.frombuffer(b"".join([row.values for row in rows]), "<u8").astype(np.uint64)
    ts_ms = np.array([row.ts_ms for row in rows], np.int64)
    return Rows(series, ts_ms, [row.stamp for row in rows], bits.reshape(len(rows), len(series)))
