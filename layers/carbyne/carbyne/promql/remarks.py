"""What an answer has to say beside its values: warnings and infos, with the place in the query that they are about."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from carbyne.promql.numbers import rounded, short

WARNING: Final = "PromQL warning"
INFO: Final = "PromQL info"
QUANTILE_DOCS: Final = "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile"
COUNTER_ENDINGS: Final = ("_total", "_sum", "_count", "_bucket")


@dataclass(frozen=True)
class Remark:
    """``start``: offset in the query of what it is about, None if unknown."""

    kind: str
    message: str
    start: int | None

    @property
    def key(self) -> str:
        """Notes with one key are one note."""
        return f"{self.kind}: {self.message}"

    def joined(self, earlier: "Remark") -> "Remark":
        """One note of two with the same key."""
        return earlier if self.start is None else self

    def details(self) -> str:
        """What is known only when all of them are joined."""
        return ""

    def text(self, query: str) -> str:
        """The message with line and column of its place."""
        return f"{self.key}{self.details()}{place(query, self.start)}"


@dataclass(frozen=True)
class Repaired(Remark):
    """Buckets of a histogram that had to be made monotonic: which, by how much, how often and when."""

    first_ms: int
    last_ms: int
    least: float
    greatest: float
    difference: float
    times: int

    def joined(self, earlier: Remark) -> Remark:
        """The widest bounds of both."""
        assert isinstance(earlier, Repaired)
        return replace(
            earlier,
            first_ms=min(self.first_ms, earlier.first_ms),
            last_ms=max(self.last_ms, earlier.last_ms),
            least=min(self.least, earlier.least),
            greatest=max(self.greatest, earlier.greatest),
            difference=max(self.difference, earlier.difference),
            times=self.times + earlier.times,
        )

    def details(self) -> str:
        """The figures."""
        return (
            f", from buckets {short(self.least)} to {short(self.greatest)}, with a max diff of"
            f" {rounded(self.difference, 2)}, over {self.times} samples from {_date(self.first_ms)} to"
            f" {_date(self.last_ms)}"
        )


class Remarks:
    """Notes of one query, each once."""

    def __init__(self) -> None:
        self._notes: dict[str, Remark] = {}

    def add(self, note: Remark) -> None:
        """Keep a note, joined with what is known under its key."""
        earlier = self._notes.get(note.key)
        self._notes[note.key] = note.joined(earlier) if earlier else note

    def texts(self, kind: str, query: str) -> list[str]:
        """The notes of one kind, in the order in which they came."""
        return [note.text(query) for note in self._notes.values() if note.kind == kind]


def place(query: str, start: int | None) -> str:
    """`` (line:column)`` of an offset, counted from 1; empty if it is unknown."""
    if start is None:
        return ""
    line = query.count("\n", 0, start) + 1
    return f" ({line}:{start - (query.rfind(chr(10), 0, start) + 1) + 1})"


def _date(ts_ms: int) -> str:
    try:
        return datetime.fromtimestamp(ts_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError):
        return f"{ts_ms} ms"


def bad_quantile(value: float, start: int | None) -> Remark:
    """A quantile outside of [0, 1]."""
    return Remark(WARNING, f"quantile value should be between 0 and 1, got {short(value)}", start)


def bad_ratio(value: float, capped: float, start: int | None) -> Remark:
    """A ratio outside of [-1, 1]."""
    ratio = f"ratio value should be between -1 and 1, got {short(value)}, capping to {short(capped)}"
    return Remark(WARNING, ratio, start)


def bad_bucket(label: str, metric: str, start: int | None) -> Remark:
    """A series without a number in ``le``."""
    quoted = f' of "{label}"' + (f' for metric name "{metric}"' if metric else "")
    return Remark(WARNING, f'bucket label "le" is missing or has a malformed value{quoted}', start)


def sort_in_range(start: int | None) -> Remark:
    """Answers of range queries are ordered by labels."""
    about = "sort is ineffective for range queries since results are always ordered by labels"
    return Remark(WARNING, about, start)


def no_counter(metrics: Iterable[str], start: int | None) -> list[Remark]:
    """Rates of what is not named as counters are."""
    about = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:"
    strange = [metric for metric in metrics if metric and not metric.endswith(COUNTER_ENDINGS)]
    return [Remark(INFO, f'{about} "{metric}"', start) for metric in dict.fromkeys(strange)]


def repaired(metric: str, start: int | None, ts_ms: int, bounds: tuple[float, float, float]) -> Repaired:
    """``bounds``: least and greatest bucket that was raised, and the greatest difference."""
    about = f"input to histogram_quantile needed to be fixed for monotonicity (see {QUANTILE_DOCS})"
    named = about + (f' for metric name "{metric}"' if metric else "")
    return Repaired(INFO, named, start, ts_ms, ts_ms, *bounds, 1)
