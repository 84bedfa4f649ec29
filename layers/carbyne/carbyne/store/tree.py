"""Putting samples into a store of blocks, warm or cold: read, merge, put on what was read, and again if that changed.

The same steps serve sealer and archiver; ``columns.merge`` decides between samples, never the store.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

from carbyne.core.errors import RetryableError
from carbyne.core.items import Blocks, Item
from carbyne.core.keys import BlockKey
from carbyne.core.limits import SEAL_TRIES_MAX, STUB_EXTRA_S
from carbyne.samples import blocks
from carbyne.samples.blocks import Stub
from carbyne.samples.columns import EMPTY, Columns, merge
from carbyne.samples.markers import Marker, Markers, erase

Change = Callable[[str, Columns], Columns]
"""What is to stand in a part: called with the part and what it holds, after that was read."""


class Target(NamedTuple):
    """Where samples are put.  ``expires_s``: of what is put; ``creating`` is called before an item is put where there
    is none."""

    store: Blocks
    expires_s: int
    creating: Callable[[], None] = lambda: None

    def item(self, data: bytes, stub: Stub | None) -> Item:
        """A stub outlives its parts, which could not be found without it."""
        return Item(data, self.expires_s + STUB_EXTRA_S if stub and self.expires_s else self.expires_s)


def merge_into(
    store: Blocks,
    key: BlockKey,
    columns: Columns,
    *,
    expires_s: int,
    creating: Callable[[], None] = lambda: None,
    markers: Callable[[], Markers] = lambda: (),
) -> bool:
    """Make sure that the store holds ``columns`` under ``key`` or its parts; whether anything had to change.

    ``markers`` of deletes are asked for before, and again at the end until no new one is there: one that was noted in
    between may have cleaned the block before this put, or that of another merge which died behind it, or whose answer
    was lost.  One that is noted later cleans what the put left.  Returns only
    when a put succeeded or a consistent read showed every sample that is not deleted; errors as of ``rewrite``.
    """
    target, known = Target(store, expires_s, creating), set(markers())

    def merged(part: str, stored: Columns) -> Columns:
        return erase(merge([stored, blocks.of_part(columns, part)]), known)

    is_written = rewrite(target, key, merged, columns.series)
    while later := set(markers()) - known:
        is_written |= rewrite(target, key, partial(_without, later), columns.series)
        known |= later
    return is_written


def _without(markers: Collection[Marker], part: str, stored: Columns) -> Columns:
    return erase(stored, markers)


def clean(target: Target, key: BlockKey, markers: Markers) -> bool:
    """Take what was deleted out of the block under ``key`` and its parts; whether anything had to change."""
    return rewrite(target, key, partial(_without, markers), None)


def rewrite(target: Target, key: BlockKey, change: Change, series: Collection[str] | None) -> bool:
    """Put what ``change`` makes of each part under ``key`` that may hold one of ``series``, None for all parts; whether
    anything changed.

    What a part holds is read first, then ``change`` is asked, then its answer is put on the version that was read; if
    that has changed, it begins again.  RetryableError if other writers keep changing the item.
    """
    if series is not None and not series:
        return False
    written = False
    for _ in range(SEAL_TRIES_MAX):
        item = target.store.get(key)
        stored: Columns | Stub = blocks.read(item.data) if item else EMPTY
        if isinstance(stored, Stub):
            if not _outlives(target, key, item, stored):
                continue
            for part, share in stored.shares(series):
                written |= rewrite(target, key._replace(part=part), change, share)
            return written
        columns = change(key.part, stored)
        if columns == stored:
            return written
        if item is None:
            target.creating()
        data, stub = blocks.encode_item(columns, len(key.part))
        for part, share in stub.shares(stored.series) if stub else ():  # of what was read, and of nothing else
            rewrite(target, key._replace(part=part), partial(_merged, stored), share)
        if target.store.put(key, target.item(data, stub), item) and not stub:
            return True
        written |= bool(stub)  # and once more, so that each part is changed on its own version
    raise RetryableError(f"block {key} keeps changing under us")


def _outlives(target: Target, key: BlockKey, item: Item | None, stub: Stub) -> bool:
    """Whether a stub lives longer than what is put into its parts; else it is put with a longer life, if possible."""
    if item is None or item.expires_s >= target.expires_s:
        return True
    return target.store.put(key, target.item(item.data, stub), item)


def _merged(columns: Columns, part: str, stored: Columns) -> Columns:
    return merge([stored, blocks.of_part(columns, part)])
