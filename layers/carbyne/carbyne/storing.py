"""Putting samples into a store of blocks, warm or cold: read, merge, put on what was read, and again if that changed.

The same steps serve sealer and archiver; ``columns.merge`` decides between samples, never the store.  A reader walks
from a stub to the parts it names, which were there before it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial

from carbyne import blocks
from carbyne.columns import EMPTY, Columns, merge, restrict
from carbyne.errors import RetryableError
from carbyne.items import Blocks, Item
from carbyne.keys import BlockKey
from carbyne.limits import SEAL_TRIES_MAX, STUB_EXTRA_S


def merge_into(
    store: Blocks, key: BlockKey, columns: Columns, *, expires_s: int, creating: Callable[[], None] = lambda: None
) -> bool:
    """Make sure that the store holds ``columns`` under ``key`` or its parts; whether anything had to change.

    ``expires_s``: of what is put.  ``creating`` is called before an item is put where there is none.  Returns only when
    a put succeeded or a consistent read showed every sample; else RetryableError, also when somebody else changes the
    item time and again.
    """
    if not columns.groups:
        return False
    for _ in range(SEAL_TRIES_MAX):
        item = store.get(key)
        if item and (parts := blocks.parts_of(item.data)):
            if item.expires_s < expires_s and not store.put(key, _stub(item.data, expires_s), item):
                continue
            return _merge_parts(store, key, columns, parts, expires_s=expires_s, creating=creating)
        held = blocks.decode(item.data) if item else EMPTY
        merged = merge([held, columns])
        if item and merged == held:
            return False
        if item is None:
            creating()
        if _put(store, key, merged, item, expires_s=expires_s, creating=creating):
            return True
    raise RetryableError(f"block {key} keeps changing under us")


def read_series(store: Blocks, key: BlockKey, item: Item | None, series: Collection[str]) -> Iterator[Columns | None]:
    """The wanted series of the block ``item`` under ``key``, from its parts if it was split; None for each that the
    store does not hold."""
    parts = blocks.parts_of(item.data) if item else ()
    if not parts:
        yield blocks.decode_series(item.data, series) if item else None
    for part in parts:
        mine = [name for name in series if blocks.in_part(name, part)]
        child = key._replace(part=part)
        if mine:
            yield from read_series(store, child, store.get(child), mine)


def _put(
    store: Blocks,
    key: BlockKey,
    merged: Columns,
    replaces: Item | None,
    *,
    expires_s: int,
    creating: Callable[[], None],
) -> bool:
    """Put ``merged`` in place of ``replaces``; if it is too large, its parts come first and then a stub."""
    leaves = blocks.encode_parts(merged, key.part)
    if [part for part, _ in leaves] == [key.part]:
        return store.put(key, Item(leaves[0][1], expires_s), replaces)
    stub = blocks.encode_stub([part for part, _ in leaves], key.part)
    _merge_parts(store, key, merged, blocks.parts_of(stub), expires_s=expires_s, creating=creating)
    return store.put(key, _stub(stub, expires_s), replaces)


def _stub(data: bytes, expires_s: int) -> Item:
    """A stub outlives its parts, which could not be found without it."""
    return Item(data, expires_s + STUB_EXTRA_S if expires_s else 0)


def _merge_parts(
    store: Blocks,
    key: BlockKey,
    columns: Columns,
    parts: Iterable[str],
    *,
    expires_s: int,
    creating: Callable[[], None],
) -> bool:
    """Merge the series of each part into it; whether anything had to change."""
    changed = False
    for part in parts:
        mine = restrict(columns, partial(blocks.in_part, part=part))
        if mine.groups:
            changed |= merge_into(store, key._replace(part=part), mine, expires_s=expires_s, creating=creating)
    return changed
