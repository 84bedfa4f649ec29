"""The first start of a stack: every lane is called whole once, before anything is written.

After that a lane without a state has lost it, and only a replay makes it whole again.
"""

from typing import Protocol


class Mark(Protocol):
    """A durable mark outside Redis; both methods raise RetryableError if the store can't be asked."""

    def is_set(self) -> bool: ...
    def set(self) -> None: ...


class NewLanes(Protocol):
    """``init`` calls every lane whole that has no state; RetryableError if one of them can't be asked."""

    def init(self) -> None: ...


def ensure_initialised(mark: Mark, lanes: NewLanes) -> None:
    """Initialise the lanes unless that was done before; safe to repeat and to run twice at once.

    The mark follows the lanes: a crash in between repeats the work, and nothing is written before the mark is set.
    """
    if not mark.is_set():
        lanes.init()
        mark.set()
