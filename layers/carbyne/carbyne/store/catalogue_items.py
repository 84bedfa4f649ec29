"""The items of the catalogue: what each means, and how its bytes are written and read.

A source has pages of its series, an index of its windows for each resolution, and beside the raw one what the blocks
lack still: markers of deletes and late rows.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, islice, takewhile
from typing import Final, NamedTuple, TypeVar

import msgspec

from carbyne.core import frame
from carbyne.core.documents import Document
from carbyne.core.items import Item
from carbyne.core.keys import BACKLOG, CLOSED, MARKERS, RAW, Window, join_series, split_series, window_of_late
from carbyne.core.limits import (
    CATALOGUE_INFLATED_BYTES_MAX,
    CATALOGUE_NAMES_BYTES_MAX,
    CATALOGUE_PAGE_BYTES_MAX,
    CATALOGUE_PAGE_SERIES_MAX,
    SERIES_KEY_BYTES_MAX,
)
from carbyne.samples.columns import Columns
from carbyne.samples.markers import Marker

VERSION: Final = 1
MARKER_VERSION: Final = 2
"""Markers have ``left_ms`` since 2; earlier ones were cleaned by rows in each window."""
ZSTD_LEVEL: Final = 9
HOURLY: Final = "1h"
"""The resolution whose blocks are a day each."""
CHANGE: Final = "note"
"""Sort key of the note of a source's last change, behind the markers, so that one query reads both."""
assert HOURLY < BACKLOG < CLOSED < MARKERS < CHANGE < RAW


class SeriesSpan(NamedTuple):
    """When a series was seen: times of its first and last sample, ms.  In the catalogue the latter is the end of its
    day: pages are rewritten once a day, and not with each seal."""

    first_ms: int
    last_ms: int

    def joined(self, other: "SeriesSpan") -> "SeriesSpan":
        return SeriesSpan(min(self.first_ms, other.first_ms), max(self.last_ms, other.last_ms))

    def touches(self, window: Window) -> bool:
        return window.overlaps(self.first_ms, self.last_ms)


class Windows(NamedTuple):
    """``sealed``: the windows that ever had a block.  ``again``: those whose block was made again after it had been
    removed, or after an unknown history; what an earlier block held may lie in the archive alone."""

    sealed: set[Window]
    again: set[Window]


class LateRows(NamedTuple):
    """Late rows of one window: ``data`` is a block; ``sort``: of their item."""

    window: Window
    sort: str
    data: bytes


class OpenDelete(NamedTuple):
    """A delete that is not cleaned everywhere: blocks of windows from ``left_ms`` on may still hold its samples."""

    marker: Marker
    left_ms: int
    item: Item


class Pending(NamedTuple):
    """What the blocks of a source lack.  ``open_days``: with hourly blocks, but not yet all daily buckets."""

    late: list[LateRows]
    deletes: list[OpenDelete]
    open_days: set[Window]


Spans = dict[str, SeriesSpan]
KeptBody = TypeVar("KeptBody")


class SeriesPage(msgspec.Struct, frozen=True, array_like=True):
    """``names``: one a line; ``first_ms`` and ``last_ms``: one for each."""

    names: bytes
    first_ms: list[int]
    last_ms: list[int]

    @property
    def may_be_full(self) -> bool:
        """Whether it may have had no room for a name, so that another page was begun."""
        bytes_left = CATALOGUE_NAMES_BYTES_MAX - len(self.names)
        return bytes_left <= SERIES_KEY_BYTES_MAX + 1 or len(self.first_ms) >= CATALOGUE_PAGE_SERIES_MAX

    def kept(self, keep: Callable[[str], bool]) -> Spans:
        """The spans of the series that ``keep`` takes."""
        rows = zip(split_series(self.names), self.first_ms, self.last_ms, strict=True)
        return {name: SeriesSpan(first_ms, last_ms) for name, first_ms, last_ms in rows if keep(name)}


class _WindowRun(msgspec.Struct, frozen=True, array_like=True):
    """``count`` successive windows of ``length_s`` from ``start_s``."""

    start_s: int
    count: int
    length_s: int


class _Index(msgspec.Struct, frozen=True, array_like=True):
    """``Windows`` as runs."""

    sealed: list[_WindowRun]
    again: list[_WindowRun]


class _Noted(msgspec.Struct, frozen=True, array_like=True):
    """A ``Marker``; ``left_ms``: start of the first window that the sealer has to clean; None if none is left."""

    stamp: bytes
    series: str
    from_ms: int
    to_ms: int
    left_ms: int | None = None

    @property
    def marker(self) -> Marker:
        return Marker(self.stamp, self.series, self.from_ms, self.to_ms)


def _kind(body: type[KeptBody], version: int = VERSION) -> Document[KeptBody]:
    return Document(
        "page of the catalogue",
        body,
        version=version,
        level=ZSTD_LEVEL,
        bytes_max=CATALOGUE_PAGE_BYTES_MAX,
        inflated_max=CATALOGUE_INFLATED_BYTES_MAX,
    )


_MARKERS, _PAGES, _INDEXES = _kind(_Noted, MARKER_VERSION), _kind(SeriesPage), _kind(_Index)


def spans_of(columns: Columns) -> Spans:
    """First and last time of every series."""
    return {
        series: SeriesSpan(int(group.ts_ms[0]), int(group.ts_ms[-1]))
        for group in columns.groups
        for series in group.series
    }


def joined(pages: Iterable[Spans]) -> Spans:
    result: Spans = {}
    for spans in pages:
        for name, span in spans.items():
            result[name] = result[name].joined(span) if name in result else span
    return result


def page_in(item: Item) -> SeriesPage:
    return _PAGES.unpack(item.data)


def page_item(spans: Spans) -> Item:
    names = sorted(spans)
    page = SeriesPage(join_series(names), [spans[n].first_ms for n in names], [spans[n].last_ms for n in names])
    return Item(_PAGES.pack(page))


def spans_in(item: Item) -> Spans:
    page = _PAGES.unpack(item.data)
    try:
        return dict(zip(split_series(page.names), map(SeriesSpan, page.first_ms, page.last_ms), strict=True))
    except ValueError as error:
        raise frame.corrupt(item.data, f"not a page of the catalogue: {error}") from None


def room_for(spans: Spans, names: Sequence[str]) -> int:
    """How many of ``names`` fit a page that has ``spans``; one at least fits an empty page."""
    bytes_left = CATALOGUE_NAMES_BYTES_MAX - len(join_series(list(spans)))
    series_left = max(0, CATALOGUE_PAGE_SERIES_MAX - len(spans))
    sizes = accumulate(len(name.encode()) + 1 for name in islice(names, series_left))
    return sum(1 for _ in takewhile(lambda size: size < bytes_left, sizes))


def windows_item(windows: Windows) -> Item:
    """The item of an index of windows."""
    return Item(_INDEXES.pack(_Index(_runs(sorted(windows.sealed)), _runs(sorted(windows.again)))))


def _runs(windows: list[Window]) -> list[_WindowRun]:
    """Windows in ascending order as runs of successive ones of one length."""
    runs: list[_WindowRun] = []
    for start_s, length_s in windows:
        last = runs[-1] if runs else None
        if last and last.length_s == length_s and last.start_s + last.count * length_s == start_s:
            runs[-1] = _WindowRun(last.start_s, last.count + 1, length_s)
        else:
            runs.append(_WindowRun(start_s, 1, length_s))
    return runs


def windows_in(item: Item) -> Windows:
    index = _INDEXES.unpack(item.data)
    return Windows(_in_runs(index.sealed), _in_runs(index.again))


def _in_runs(runs: Iterable[_WindowRun]) -> set[Window]:
    return {Window(run.start_s + i * run.length_s, run.length_s) for run in runs for i in range(run.count)}


def sealed_in(items: Iterable[tuple[str, Item]]) -> Windows:
    """The windows of raw blocks, out of items beside each other."""
    return next((windows_in(item) for sort, item in items if sort == RAW), Windows(set(), set()))


def marker_in(item: Item) -> Marker:
    return _MARKERS.unpack(item.data).marker


def delete_item(marker: Marker, left_ms: int | None, expires_s: int) -> Item:
    return Item(_MARKERS.pack(_Noted(*marker, left_ms)), expires_s)


def by_window(late: Iterable[LateRows]) -> dict[Window, list[LateRows]]:
    """Late rows by the window that they lie in."""
    result: dict[Window, list[LateRows]] = {}
    for rows in late:
        result.setdefault(rows.window, []).append(rows)
    return result


def pending_in(items: Sequence[tuple[str, Item]]) -> Pending:
    late = [LateRows(window_of_late(sort), sort, item.data) for sort, item in items if sort.startswith(BACKLOG)]
    noted = [(_MARKERS.unpack(item.data), item) for sort, item in items if sort.startswith(MARKERS)]
    deletes = [OpenDelete(delete.marker, delete.left_ms, item) for delete, item in noted if delete.left_ms is not None]
    return Pending(late, deletes, open_days_in(items))


def open_days_in(items: Iterable[tuple[str, Item]]) -> set[Window]:
    index = dict(items)
    hours, closed = (windows_in(index[name]).sealed if name in index else set() for name in (HOURLY, CLOSED))
    return hours - closed
