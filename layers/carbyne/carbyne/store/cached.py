"""What blocks said to earlier reads, kept in Redis under what they were made of: a ``tiers.Tiers`` in front of another.

A key carries the source, since sources of a lane share a slot and may have the same version, and the version of its
blocks (``SourceCatalogue.version``), so that nothing stale is ever taken: the entry of an older version is never asked
for again, and expires.  Rows in Redis are merged, and deletes applied, after the entry was taken.  A cache that is
away, full or damaged is a slower read and nothing else.
"""

from functools import partial
from hashlib import blake2b
from typing import Final, Protocol

import msgspec
import numpy as np

from carbyne.core.documents import Document
from carbyne.core.errors import CorruptDataError, RetryableError
from carbyne.core.keys import RAW, SourceKey
from carbyne.core.limits import CACHE_ENTRY_BYTES_MAX, CACHE_INFLATED_BYTES_MAX
from carbyne.samples.columns import EMPTY, Columns, Group, merge
from carbyne.samples.markers import Markers, erase
from carbyne.samples.rollups import ROLLUPS
from carbyne.store.catalogue import Catalogue
from carbyne.store.tiers import BlockQuery, BlockTiers, Gaps, ReadBlocks, Taken


class BlockCache(Protocol):
    """Entries in the slot of a source; neither method raises."""

    def get(self, source: SourceKey, key: str) -> bytes | None: ...
    def put(self, source: SourceKey, key: str, value: bytes) -> None: ...


class _KeptGroup(msgspec.Struct, frozen=True, array_like=True):
    """A ``columns.Group``: names one a line, then the arrays as little-endian bytes."""

    series: list[str]
    ts_ms: bytes
    stamps: bytes
    values: bytes


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """``Columns``."""

    stamps: list[bytes]
    groups: list[_KeptGroup]


_ENTRY: Final = Document(
    "cached part of a read",
    _Kept,
    version=1,
    level=1,
    bytes_max=CACHE_ENTRY_BYTES_MAX,
    inflated_max=CACHE_INFLATED_BYTES_MAX,
)


class CachedTiers:
    """Reads series out of blocks, or out of the cache what an earlier read found in the same ones.

    ``length_s``: of a raw window today.
    """

    def __init__(self, tiers: BlockTiers, catalogue: Catalogue, cache: BlockCache, length_s: int) -> None:
        self._windows_ms = {RAW: length_s * 1000, **{rollup.name: rollup.window_s * 1000 for rollup in ROLLUPS}}
        self._tiers = tiers
        self._catalogue = catalogue
        self._cache = cache

    def noted(self, source: SourceKey) -> ReadBlocks:
        """``read`` of a source by its version now: Redis and what is pending must have been read before, or a change
        could be missed."""
        try:
            version, markers = self._catalogue.of(source).version()
        except RetryableError:  # the tiers below know what to make of it
            version, markers = b"", []
        return partial(self._read, version, markers)

    def read(self, query: BlockQuery, gaps: Gaps, hot: Columns = EMPTY) -> Columns:
        """As of ``BlockTiers``; see ``noted``."""
        return self.noted(query.source)(query, gaps, hot)

    def _read(self, version: bytes, markers: Markers, query: BlockQuery, gaps: Gaps, hot: Columns) -> Columns:
        if not version:  # nor is anything kept of blocks whose changes were never noted
            return self._tiers.read(query, gaps, hot)
        # Blocks are read whole.  The next read has the same windows, but another end if it ends now.
        window_ms = self._windows_ms[query.resolution]
        whole = query._replace(
            from_ms=query.from_ms // window_ms * window_ms, to_ms=-(-(query.to_ms + 1) // window_ms) * window_ms - 1
        )
        key = _key(version, whole)
        value = self._cache.get(query.source, key)
        columns = _columns(value)
        if columns is None:
            columns = self._of_blocks(whole, gaps, key)
        elif value:
            gaps.taken.append(Taken("cache", len(value)))
        return erase(merge([hot, columns]), markers) if query.resolution == RAW else merge([hot, columns])

    def _of_blocks(self, query: BlockQuery, gaps: Gaps, key: str) -> Columns:
        """What the blocks say, kept for the next read unless something is missing in it."""
        own = gaps.apart()
        columns = self._tiers.read(query, own)
        gaps.join(own)
        if not own.warnings and (value := _value(columns)):
            self._cache.put(query.source, key, value)
        return columns


def _key(version: bytes, query: BlockQuery) -> str:
    names = "*" if query.series is None else "\n".join(sorted(query.series))
    asked = f"{query.source.path}:{query.resolution}:{query.from_ms}:{query.to_ms}:{query.part}:{names}".encode()
    return blake2b(version + asked, digest_size=16).hexdigest()


def _value(columns: Columns) -> bytes | None:
    """The bytes of an entry, None if it would be too large."""
    size = sum(group.values.nbytes + 12 * len(group.ts_ms) for group in columns.groups)
    if size > CACHE_INFLATED_BYTES_MAX // 2:
        return None
    groups = [
        _KeptGroup(
            list(group.series),
            group.ts_ms.astype("<i8").tobytes(),
            group.stamps.astype("<u4").tobytes(),
            group.values.astype("<u8").tobytes(),
        )
        for group in columns.groups
    ]
    packed = _ENTRY.pack(_Kept(list(columns.stamps), groups))
    return packed if len(packed) <= CACHE_ENTRY_BYTES_MAX else None


def _columns(value: bytes | None) -> Columns | None:
    """The mirror of ``_value``; None for nothing, and for what is damaged."""
    if value is None:
        return None
    try:
        entry = _ENTRY.unpack(value)
        return Columns(tuple(entry.stamps), tuple(map(_group, entry.groups)))
    except (CorruptDataError, ValueError):
        return None


def _group(group: _KeptGroup) -> Group:
    return Group(
        tuple(group.series),
        np.frombuffer(group.ts_ms, "<i8").astype(np.int64),
        np.frombuffer(group.stamps, "<u4").astype(np.uint32),
        np.frombuffer(group.values, "<u8").astype(np.uint64).reshape(len(group.series), -1),
    )
