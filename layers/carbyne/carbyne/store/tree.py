"""Putting samples into a store of blocks, warm or cold: read, merge, put on what was read, and again if that changed.

The same steps serve sealer and archiver; ``columns.merge`` decides between samples, never the store.  A reader walks
from a stub to the parts it names, which were there before it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from typing import NamedTuple

from carbyne.core.errors import RetryableError
from carbyne.core.items import Blocks, Item
from carbyne.core.keys import BlockKey
from carbyne.core.limits import SEAL_TRIES_MAX, STUB_EXTRA_S
from carbyne.samples import blocks
from carbyne.samples.columns import EMPTY, Columns, merge, restrict
from carbyne.samples.markers import Marker, Markers, erase

Change = Callable[[str, Columns], Columns]
"""What is to stand in a part: called with the part and what it holds, after that was read."""


class Target(NamedTuple):
    """Where samples are put.  ``expires_s``: of what is put; ``creating`` is called before an item is put where there
    is none."""

    store: Blocks
    expires_s: int
    creating: Callable[[], None] = lambda: None


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

    ``markers`` of deletes are asked for after the stored block was read, so that a call that began before a delete does
    not bring back what was deleted meanwhile; and once more after a put, to take out what was deleted in between.
    Returns only when a put succeeded or a consistent read showed every sample that is not deleted; errors as of
    ``rewrite``.
    """
    target, obeyed = Target(store, expires_s, creating), list[set[Marker]]()

    def merged(part: str, stored: Columns) -> Columns:
        obeyed.append(set(markers()))
        return erase(merge([stored, restrict(columns, partial(blocks.in_part, part=part))]), obeyed[-1])

    if not rewrite(target, key, merged, columns.series):
        return False
    known = set.intersection(*obeyed)
    while later := set(markers()) - known:  # the sealer may have cleaned this block for them before it was put
        rewrite(target, key, partial(_without, later), columns.series)
        known |= later
    return True


def _without(markers: Iterable[Marker], part: str, stored: Columns) -> Columns:
    return erase(stored, markers)


def clean(target: Target, key: BlockKey, markers: Callable[[], Markers]) -> bool:
    """Take what was deleted out of the block under ``key`` and its parts; whether anything had to change."""
    return rewrite(target, key, lambda _, stored: erase(stored, markers()), None)


def rewrite(target: Target, key: BlockKey, change: Change, series: Collection[str] | None) -> bool:
    """Put what ``change`` makes of each part under ``key`` that may hold one of ``series``, None for all parts; whether
    anything changed.

    What a part holds is read first, then ``change`` is asked, then its answer is put on the version that was read; if
    that has changed, it begins again.  RetryableError if somebody else changes the item time and again.
    """
    if series is not None and not series:
        return False
    split = False
    for _ in range(SEAL_TRIES_MAX):
        item = target.store.get(key)
        if item and (parts := blocks.parts_of(item.data)):
            if item.expires_s < target.expires_s and not target.store.put(key, _stub(target, item.data), item):
                continue
            return _rewrite_parts(target, key, change, series, parts) or split
        stored = blocks.decode(item.data) if item else EMPTY
        changed = change(key.part, stored)
        if changed == stored:
            return split
        if item is None:
            target.creating()
        leaves = blocks.encode_parts(changed, key.part) or [(key.part, blocks.encode(EMPTY))]
        if [part for part, _ in leaves] != [key.part]:
            _split(target, key, stored, blocks.encode_stub([part for part, _ in leaves], key.part), item)
            split = True  # and once more, so that each part is changed on its own version
        elif target.store.put(key, Item(leaves[0][1], target.expires_s), item):
            return True
    raise RetryableError(f"block {key} keeps changing under us")


def read_blocks(
    store: Blocks, key: BlockKey, item: Item | None, series: Collection[str] | None, part: str = blocks.WHOLE
) -> Iterator[Columns | None]:
    """The wanted series of the block ``item`` under ``key``, all those of ``part`` if ``series`` is None, from its
    parts if it was split; None for each part that the store does not hold."""
    parts = blocks.parts_of(item.data) if item else ()
    if not parts:
        yield _series_of(item.data, series, part) if item else None
    for child in (key._replace(part=name) for name in parts):
        if _may_hold(child.part, series, part):
            yield from read_blocks(store, child, store.get(child), series, part)


def _series_of(data: bytes, series: Collection[str] | None, part: str) -> Columns:
    if series is not None:
        return blocks.decode_series(data, series)
    return restrict(blocks.decode(data), partial(blocks.in_part, part=part))


def _may_hold(child: str, series: Collection[str] | None, part: str) -> bool:
    if series is not None:
        return any(blocks.in_part(name, child) for name in series)
    return child.startswith(part) or part.startswith(child)


def _rewrite_parts(
    target: Target, key: BlockKey, change: Change, series: Collection[str] | None, parts: Iterable[str]
) -> bool:
    changed = False
    for part in parts:
        mine = None if series is None else [name for name in series if blocks.in_part(name, part)]
        changed |= rewrite(target, key._replace(part=part), change, mine)
    return changed


def _split(target: Target, key: BlockKey, stored: Columns, stub: bytes, replaces: Item | None) -> None:
    """Put ``stored`` into the parts of ``stub``, then try to put the stub in place of ``replaces``, which holds it.

    Nothing that was computed from what others may change goes along: a part may have newer of it already.
    """
    for part in blocks.parts_of(stub):
        mine = restrict(stored, partial(blocks.in_part, part=part))
        child = key._replace(part=part)
        merge_into(target.store, child, mine, expires_s=target.expires_s, creating=target.creating)
    target.store.put(key, _stub(target, stub), replaces)


def _stub(target: Target, data: bytes) -> Item:
    """A stub outlives its parts, which could not be found without it."""
    return Item(data, target.expires_s + STUB_EXTRA_S if target.expires_s else 0)
