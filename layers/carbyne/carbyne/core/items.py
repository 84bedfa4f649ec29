"""Items of the stores behind Redis: bytes with a version.  Every change is conditional on the version that was read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Protocol

from carbyne.core.keys import BlockKey, SourceKey
from carbyne.core.limits import RAW_WINDOW_S_MAX


@dataclass(frozen=True)
class Item:
    """``data``: a block, the stub of one that was split, or a page of the catalogue.

    ``expires_s``: when the table may remove it, seconds since the epoch, 0 for never.  ``token``: the store's own name
    of this version (an ETag); equality ignores it.
    """

    data: bytes
    expires_s: int = 0
    token: str = field(default="", compare=False)

    @property
    def version(self) -> bytes:
        """8 bytes of BLAKE2b of the content: an item that was removed and made again with the same content is equal."""
        return blake2b(self.data, digest_size=8).digest()


class Table(Protocol):
    """The blocks table.  All reads are consistent and complete.  Every method raises RetryableError on an outage."""

    def get(self, partition: str, sort: str) -> Item | None:
        """The item, None if there is none."""

    def put(self, partition: str, sort: str, item: Item, replaces: Item | None) -> bool:
        """Put ``item`` if the table still has ``replaces`` there (None: no item); returns whether it was put.

        False may also mean that a repeated call found its own success.  After RetryableError the result is unknown.
        """

    def remove(self, partition: str, sort: str, item: Item) -> bool:
        """Remove the item if it is ``item`` still; whether it was removed.  False as of ``put``."""

    def write(self, puts: Sequence[tuple[str, str, Item]], removals: Sequence[tuple[str, str]]) -> None:
        """Put and remove items, by partition and sort key, whatever the table holds there; each key once.

        In no order, and some of it may be done after an error.
        """

    def get_each(self, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Item]:
        """Those items that are there, by partition and sort key; each place once."""

    def query(self, partition: str, first: str, last: str) -> list[tuple[str, Item]]:
        """(sort key, item) from ``first`` to ``last``, both included and not empty, ascending."""


class Blocks(Protocol):
    """A store of blocks, warm or cold, with the ``get`` and ``put`` of a Table."""

    def get(self, key: BlockKey) -> Item | None: ...
    def put(self, key: BlockKey, item: Item, replaces: Item | None) -> bool: ...


class RangedBlocks(Blocks, Protocol):
    """A store that also finds the blocks of a span of time."""

    def between(
        self, source: SourceKey, resolution: str, from_ms: int, to_ms: int, raw_s: int = RAW_WINDOW_S_MAX
    ) -> list[tuple[BlockKey, Item]]:
        """The blocks, or stubs of split ones, whose windows overlap the span (both ends included), oldest first; of
        longer raw windows than ``raw_s`` those alone that begin less than that before the span."""
