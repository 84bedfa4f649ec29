"""Rows as Redis stores them.

    field                              value
    +----------------+---------------+ +-------+------+--------------------------------------------------+
    | ts_ms          | list identity | | stamp | kind | dense (0):  float64 LE for each series of the list |
    | i64 big-endian | 8 bytes       | | 26 B  | u8   | sparse (1): u32 LE index for each, then float64 LE |
    +----------------+---------------+ +-------+------+ delete (2): from, to (ms, i64 BE), series key      |
                                                      +--------------------------------------------------+

A row is a pure function of one stream record, so it needs its stamp once.  A sparse row belongs to a list past
``LISTS_PER_WINDOW_MAX``; its indexes point into the window's dictionary.  A delete has a time after all others, and
the identity of its payload.
"""

from typing import Final, NamedTuple

from carbyne.core.keys import SourceKey, Window
from carbyne.core.stamps import STAMP_BYTES

DENSE: Final = 0
SPARSE: Final = 1
DELETED: Final = 2
WHOLE: Final = b"w"
"""First byte of the state of a whole lane."""
STATE_BYTES: Final = 1 + STAMP_BYTES
"""Of a lane's state: that byte and the highest stamp; what follows is the token of the lane's last replay."""
HEAD_BYTES: Final = STAMP_BYTES + 1


class HotRow(NamedTuple):
    """A row on its way into Redis.

    ``series`` is the list's blob (``keys.join_series``) and ``identity`` its ``keys.list_identity``; ``values`` are
    float64 little-endian, one for each key of the list.  ``markers.row_of`` says what a delete has there.
    """

    ts_ms: int
    identity: bytes
    series: bytes
    stamp: bytes
    values: bytes
    kind: int = DENSE

    @property
    def field(self) -> bytes:
        """The field of the row in its window's hash."""
        return self.ts_ms.to_bytes(8, "big", signed=True) + self.identity

    @property
    def value(self) -> bytes:
        """The row as a value; the write script turns a dense row into a sparse one if it must."""
        return self.stamp + bytes((self.kind,)) + self.values


class RowGroup(NamedTuple):
    """Rows of one source and window.  ``due_ms``: when the window is to be sealed if these are its first rows.
    ``fresh``: the window has only begun, so that no earlier rows of it can have been sealed.  ``arrived_ms``: when the
    first of the rows came to the stream, 0 if that is not known."""

    source: SourceKey
    window: Window
    due_ms: int
    fresh: bool
    rows: list[HotRow]
    arrived_ms: int = 0
