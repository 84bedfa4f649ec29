"""Rows as Redis stores them.

    field                              value
    +----------------+---------------+ +-------+------+--------------------------------------------------------+
    | ts_ms          | list identity | | stamp | kind | runs (3) and bitmap (4): which series it has, as          |
    | i64 big-endian | 8 bytes       | | 26 B  | u8   |   ``indexes`` lays it out, then float64 LE for each of them |
    +----------------+---------------+ +-------+------+ delete (2): from, to (ms, i64 BE), series key              |
                                                      +--------------------------------------------------------+

A row is a pure function of one stream record, so it needs its stamp once.  Its series are indexes into the window's
dictionary; that this is the row's own one shows in the identity of its list.  A delete has a time after all others, and
the identity of its payload.  Older code stored rows of two more kinds, which are read until they are sealed: dense (0),
float64 LE for each series of the list, and sparse (1), u32 LE index for each, then float64 LE.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from carbyne.core.keys import SourceKey, Window
from carbyne.core.stamps import STAMP_BYTES

DENSE: Final = 0
SPARSE: Final = 1
DELETED: Final = 2
RUNS: Final = 3
BITMAP: Final = 4
WHOLE: Final = b"w"
"""First byte of the state of a whole lane."""
STATE_BYTES: Final = 1 + STAMP_BYTES
"""Of a lane's state: that byte and the highest stamp; what follows is the token of the lane's last replay."""
HEAD_BYTES: Final = STAMP_BYTES + 1
LIST_BYTES: Final = 8
"""Of the identity of a list; other fields of a window's lists are digests of its dictionary."""


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
        """The value of a delete, and of a row as older code stored it."""
        return self.stamp + bytes((self.kind,)) + self.values


class HotQuery(NamedTuple):
    """Asks the hot tier for the samples of ``series`` from ``from_ms`` to ``to_ms``, both included.  ``length_s``:
    today's window length; ``newest``: of each series only those of its newest ts."""

    from_ms: int
    to_ms: int
    length_s: int
    series: Sequence[str]
    newest: bool = False


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
