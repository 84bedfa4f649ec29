"""Writing rows of lanes into the hot tier, as ingester and deletes ask for it."""

from collections.abc import Mapping
from typing import Protocol

from carbyne.core.errors import RetryableError
from carbyne.samples.rows import RowGroup


class LaneOutcome(Protocol):
    """What a lane's write did: rows that changed, and whether the lane had lost its state or its tail."""

    @property
    def stored(self) -> int: ...
    @property
    def lost(self) -> bool: ...


class HotWriter(Protocol):
    """The hot tier: each lane either has all of its rows acknowledged or an error."""

    def write(self, lanes: dict[int, list[RowGroup]]) -> Mapping[int, LaneOutcome | RetryableError]: ...
