"""What a source has: its series with first and last seen, and the windows that were ever sealed.

Both live in the blocks table and are written by the sealer before rows leave Redis.  The series are kept in pages,
since a source may have more names than an item holds; a name that two sealers put on two pages is read as one.  Beside
the windows are what the blocks lack still, put by the ingester: markers of deletes, each with how far the sealer has
cleaned the blocks, and late rows.  What hangs on a window in either way is computed from raw samples by readers.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Final

from carbyne.core.errors import RetryableError
from carbyne.core.items import Item, Table
from carbyne.core.keys import BACKLOG, CLOSED, MARKERS, RAW, SourceKey, Window, late_sort, marker_sort
from carbyne.core.limits import DAY_S, RAW_WINDOW_S_MAX, SEAL_TRIES_MAX
from carbyne.samples import blocks
from carbyne.samples.columns import Columns
from carbyne.samples.markers import Marker, Markers
from carbyne.store.catalogue_items import (
    CHANGE,
    HOURLY,
    LateRows,
    OpenDelete,
    Pending,
    SeriesPage,
    SeriesSpan,
    Spans,
    Windows,
    delete_item,
    joined,
    marker_in,
    open_days_in,
    page_in,
    page_item,
    pending_in,
    room_for,
    sealed_in,
    spans_in,
    windows_in,
    windows_item,
)

_NOTE_BYTES: Final = 8
"""Of each half of a note: the chain of all changes, and the last one."""
_AFTER_MARKERS: Final = MARKERS + "~"
_PAGE_SORT: Final = "{:06d}"
"""Sort key of a page of series, by its number."""


class Catalogue:
    """The catalogue of all sources, in the blocks table.  Methods raise RetryableError if it can't be asked."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def of(self, source: SourceKey) -> "SourceCatalogue":
        """The catalogue of one source; nothing is asked yet."""
        return SourceCatalogue(self._table, source)

    def series_each(self, sources: Sequence[SourceKey]) -> dict[SourceKey, Spans]:
        """``series`` of each source."""
        return {source: spans for source, (_, spans) in self.kept_each(sources, lambda _: True).items()}

    def kept_each(
        self, sources: Sequence[SourceKey], keep: Callable[[str], bool]
    ) -> dict[SourceKey, tuple[int, Spans]]:
        """How many series each source has, and those that ``keep`` takes; in one call but for large sources."""
        pages = self._table.get_each([(source.series_item, _PAGE_SORT.format(0)) for source in sources])
        answers: dict[SourceKey, tuple[int, Spans]] = {}
        for source in sources:
            item = pages.get((source.series_item, _PAGE_SORT.format(0)))
            page = page_in(item) if item else SeriesPage(b"", [], [])
            if page.may_be_full:
                of_all = self.of(source).series()
                answers[source] = len(of_all), {name: span for name, span in of_all.items() if keep(name)}
            else:
                answers[source] = len(page.first_ms), page.kept(keep) if item else {}
        return answers

    def add_late(self, late: Iterable[tuple[SourceKey, Window, Columns]]) -> None:
        """Note late rows, of each source and window once: from now on their windows count as not sealed."""
        items = [
            (source.windows_item, late_sort(window, item.version), item)
            for source, window, columns in late
            for item in (Item(data) for _, data in blocks.encode_parts(columns))
        ]
        self._table.write(items, [])


class SourceCatalogue:
    """What the catalogue has of one source.  Methods raise RetryableError if it can't be asked."""

    def __init__(self, table: Table, source: SourceKey) -> None:
        self._table = table
        self.source: Final = source

    def series(self) -> Spans:
        """Every series that was ever sealed, with when it was seen."""
        return joined(spans for _, _, spans in self._pages())

    def add_series(self, seen: Spans) -> None:
        """Extend the spans of the series in ``seen``, adding those that are new."""
        seen = {name: SeriesSpan(span.first_ms, _end_of_day_ms(span.last_ms)) for name, span in seen.items()}
        for _ in range(SEAL_TRIES_MAX):
            if self._try_add_series(seen):
                return
        raise RetryableError(f"the series of {self.source.source} keep changing under us")

    def windows(self, resolution: str) -> Windows:
        """The windows of this resolution that were ever sealed."""
        item = self._table.get(self.source.windows_item, resolution)
        return windows_in(item) if item else Windows(set(), set())

    def windows_and_markers(self, resolution: str) -> tuple[Windows, Markers]:
        """The windows of this resolution that were ever sealed, and the markers of deletes, which raw blocks alone
        obey; in one query."""
        if resolution != RAW:
            return self.windows(resolution), ()
        items = self._table.query(self.source.windows_item, MARKERS, RAW)
        markers = [marker_in(item) for sort, item in items if sort not in (CHANGE, RAW)]
        return sealed_in(items), markers

    def markers(self) -> list[Marker]:
        """The markers of deletes."""
        return [marker_in(item) for _, item in self._table.query(self.source.windows_item, MARKERS, _AFTER_MARKERS)]

    def add_marker(self, marker: Marker, expires_s: int) -> None:
        """Note a delete, all blocks still to be cleaned, unless another delete covers it; remove deletes that it
        covers."""
        for _ in range(SEAL_TRIES_MAX):
            items = dict(self._table.query(self.source.windows_item, MARKERS, _AFTER_MARKERS))
            noted = {sort: marker_in(item) for sort, item in items.items()}
            if any(other.covers(marker) for other in noted.values()):
                return
            sort = marker_sort(marker.identity)
            item = delete_item(marker, _first_ms(marker), expires_s)
            if not self._table.put(self.source.windows_item, sort, item, items.get(sort)):
                continue
            for covered in (of for of, other in noted.items() if of != sort and marker.covers(other)):
                self._table.remove(self.source.windows_item, covered, items[covered])
            return
        raise RetryableError(f"the deletes of {self.source.source} keep changing under us")

    def advance(self, deletes: Iterable[OpenDelete], left_ms: int | None) -> list[OpenDelete]:
        """Note that blocks of windows that begin before ``left_ms``, with None all blocks, are clean of deletes.

        Those that are left.  RetryableError if one was repeated or covered meanwhile: then the work begins again.
        """
        result: list[OpenDelete] = []
        for delete in deletes:
            rest_ms = None if left_ms is None or left_ms > delete.marker.to_ms else max(delete.left_ms, left_ms)
            item = delete_item(delete.marker, rest_ms, delete.item.expires_s)
            if not self._table.put(self.source.windows_item, marker_sort(delete.marker.identity), item, delete.item):
                raise RetryableError(f"the deletes of {self.source.source} changed under us")
            if rest_ms is not None:
                result.append(OpenDelete(delete.marker, rest_ms, item))
        return result

    def pending(self, *, days: bool = False) -> Pending:
        """What the blocks lack, in one query; the open days only if ``days`` are asked for."""
        return pending_in(self._table.query(self.source.windows_item, HOURLY if days else BACKLOG, _AFTER_MARKERS))

    def work(self) -> tuple[Windows, Pending]:
        """The windows of raw blocks and what the blocks lack, in one query."""
        items = self._table.query(self.source.windows_item, BACKLOG, RAW)
        return sealed_in(items), pending_in(items)

    def remove_late(self, rows: Iterable[LateRows]) -> None:
        """Remove late rows that their block holds.  Equal rows that are noted again meanwhile go as well: the block has
        them."""
        self._table.write([], [(self.source.windows_item, late.sort) for late in rows])

    def making(self, resolution: str, window: Window) -> Callable[[], None]:
        """Note that the window is about to have a block; returns what must be called before one is made.

        Unless it is the very first of its window, an earlier one may lie in the archive, and readers must know before
        they see the new one.
        """
        if self.add_window(resolution, window):
            return lambda: None
        return partial(self.mark_again, resolution, window)

    def version(self) -> tuple[bytes, list[Marker]]:
        """The note of the source's last change, empty before the first, and the markers of deletes; one query.

        What blocks say may be kept under the note if it was read before them.  A reader that takes what is kept under a
        note must have read Redis and what is pending before the note: it finds a change that is noted later there.
        """
        items = self._table.query(self.source.windows_item, MARKERS, CHANGE)
        note = next((item.data for sort, item in items if sort == CHANGE), b"")
        return note, [marker_in(item) for sort, item in items if sort != CHANGE]

    def note_change(self, change: bytes) -> None:
        """Note that blocks of the source changed; ``change``: an identity of this change.

        Call it when the blocks of a change are written, and before their rows leave.  The notes are a chain, so no
        earlier version comes again; a change that is noted twice at once is one.  A put may fail: then another note
        came after our blocks were written, which serves as well.
        """
        item = self._table.get(self.source.windows_item, CHANGE)
        before, last = (item.data[:_NOTE_BYTES], item.data[_NOTE_BYTES:]) if item else (b"", b"")
        ours = _digest(change)
        if ours != last:
            self._table.put(self.source.windows_item, CHANGE, Item(_digest(before + ours) + ours), item)

    def add_window(self, resolution: str, window: Window) -> bool:
        """Note that the window is about to have a block; whether it never had one."""
        return self._change(resolution, lambda windows: _added(windows.sealed, window))

    def mark_again(self, resolution: str, window: Window) -> None:
        """Note that the window is about to have a block again, so that the archive may hold what this one lacks."""
        self._change(resolution, lambda windows: _added(windows.again, window))

    def days_to_close(self, closed_ms: int) -> list[tuple[Window, list[str]]]:
        """Each open day that ends by ``closed_ms``, ascending, with the series that were seen in it."""
        days = sorted(day for day in self.open_days() if day.end_s * 1000 <= closed_ms)
        spans = self.series() if days else {}
        return [(day, [name for name, span in spans.items() if span.touches(day)]) for day in days]

    def open_days(self) -> set[Window]:
        """The days of which hourly blocks exist, but not yet all daily buckets."""
        return open_days_in(self._table.query(self.source.windows_item, HOURLY, CLOSED))

    def close_day(self, day: Window) -> None:
        """Note that every series has its bucket of this day; later changes bring their own."""
        self.add_window(CLOSED, day)

    def _change(self, resolution: str, change: Callable[[Windows], bool]) -> bool:
        """Whether ``change``, made to the windows as they are, changed anything."""
        for _ in range(SEAL_TRIES_MAX):
            item = self._table.get(self.source.windows_item, resolution)
            windows = windows_in(item) if item else Windows(set(), set())
            if not change(windows):
                return False
            if self._table.put(self.source.windows_item, resolution, windows_item(windows), item):
                return True
        raise RetryableError(f"the windows of {self.source.source} keep changing under us")

    def _pages(self) -> list[tuple[str, Item, Spans]]:
        pages = self._table.query(self.source.series_item, "0", "9")
        return [(sort, item, spans_in(item)) for sort, item in pages]

    def _try_add_series(self, seen: Spans) -> bool:
        """False if another sealer changed a page meanwhile."""
        pages = self._pages()
        left = dict(seen)
        for sort, item, spans in pages:
            changed = {name: spans[name].joined(left.pop(name)) for name in spans.keys() & left.keys()}
            if any(spans[name] != span for name, span in changed.items()):
                spans.update(changed)
                if not self._table.put(self.source.series_item, sort, page_item(spans), item):
                    return False
        return not left or self._add_new(pages, left)

    def _add_new(self, pages: list[tuple[str, Item, Spans]], new: Spans) -> bool:
        """Fill the last page, then further ones; False if another sealer changed one of them meanwhile."""
        number, item, spans, names = len(pages), None, Spans(), list(new)
        if pages and room_for(pages[-1][2], names):
            number, item = number - 1, self._table.get(self.source.series_item, pages[-1][0])
            spans = spans_in(item) if item else Spans()
        while names:
            room = room_for(spans, names)
            spans = joined([spans, {name: new[name] for name in names[:room]}])
            if not self._table.put(self.source.series_item, _PAGE_SORT.format(number), page_item(spans), item):
                return False
            names, number, item, spans = names[room:], number + 1, None, Spans()
        return True


def _end_of_day_ms(ts_ms: int) -> int:
    return ts_ms - ts_ms % (1000 * DAY_S) + 1000 * DAY_S - 1


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_NOTE_BYTES).digest()


def _added(windows: set[Window], window: Window) -> bool:
    """Add the window; whether it was missing."""
    missing = window not in windows
    windows.add(window)
    return missing


def _first_ms(marker: Marker) -> int:
    """Before the beginning of every window that a delete concerns."""
    return marker.from_ms - RAW_WINDOW_S_MAX * 1000
