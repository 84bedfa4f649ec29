"""The bodies of the answers to reads."""

from msgspec import UNSET, UnsetType

from carbyne.http.answers import Answer


class Point(Answer, frozen=True):
    """A sample, or the aggregate of a bucket; ``time`` in seconds, ``value`` null if it is no number."""

    time: int
    value: float | None


class Points(Answer, frozen=True):
    """Samples, oldest first."""

    metrics: list[Point]


class Names(Answer, frozen=True):
    """Names of metrics, sorted."""

    names: list[str]
    next: str | UnsetType = UNSET


class Latest(Answer, frozen=True):
    """Host -> metric -> its newest sample."""

    tsdb_latest: dict[str, dict[str, Point]]


class StoredWindow(Answer, frozen=True):
    """A span of time, in seconds."""

    start: int
    length: int


class Stored(Answer, frozen=True):
    """What one tier holds of a window; ``sealed_at``: when the last seal changed it, seconds, null before."""

    resolution: str
    window: StoredWindow
    tier: str
    samples: int
    bytes: int
    sealed_at: int | None
