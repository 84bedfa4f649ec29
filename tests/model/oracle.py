"""The model: plain dicts of what the stream took, and what every read of it must say."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

BUCKETS = {"5m": (300, "raw"), "1h": (3_600, "5m"), "1d": (86_400, "1h")}
"""Length of a bucket in seconds, and what it is made of."""

AGAIN = 10**9
"""Added to the number of a record that is delivered when it is not refused any more."""

Series = tuple[str, str, str]
"""tenant, source, series"""


class Bucket(NamedTuple):
    """What a bucket says of the samples in it; ``sum`` from left to right."""

    count: float
    sum: float
    min: float
    max: float

    def of(self, name: str) -> float:
        return self.sum / self.count if name == "avg" else getattr(self, name)

    def joined(self, other: "Bucket") -> "Bucket":
        return Bucket(
            self.count + other.count, self.sum + other.sum, min(self.min, other.min), max(self.max, other.max)
        )


class Expected(NamedTuple):
    """``values``: {ts_ms: value} of what is certain; ``open``: {ts_ms: values that a read may give, None for none} of
    samples that are on their way."""

    values: dict[int, float]
    open: dict[int, set[float | None]]


class Oracle:
    """``taken``: {(tenant, source, series, ts_ms): value}, updated whenever the stream takes a record; the rest says
    how much of it must be readable by now.  Records are numbered in the order of the stream; what a delete concerns has
    from then on the version None.  One that was set aside counts from when a record that holds it is done, in its old
    place."""

    def __init__(self):
        self.taken = {}
        self.records = []
        self.delivered = set()
        self.done = set()
        self.deletes = []
        self.admitted = False
        self._carriers = {}
        self._versions = {}

    def take(self, samples: Mapping[tuple[str, str, str, int], float]) -> int:
        """The stream has taken a record; its number."""
        number = len(self.records)
        self.records.append(dict(samples))
        self.taken.update(samples)
        self._add(number, samples)
        return number

    def refuse(self, samples: Mapping[tuple[str, str, str, int], float]) -> int:
        """The stream has taken a record that is set aside, perhaps to be redriven later; its number."""
        number = len(self.records)
        self.records.append({})
        self._carriers[number] = set()
        self._add(number, samples)
        return number

    def redrive(self, refused: int) -> int:
        """The stream has taken a record that holds the refused one; its number."""
        number = len(self.records)
        self.records.append({})
        self._carriers[refused].add(number)
        for series, versions in self._versions.items():
            for ts_ms, at in versions.items():
                if at and max(at) == refused:
                    self.taken[*series, ts_ms] = at[refused]
        return number

    def refused(self) -> list[int]:
        """The records that were set aside, and that no other record holds."""
        return [number for number, carriers in self._carriers.items() if not carriers]

    def _add(self, number: int, samples: Mapping[tuple[str, str, str, int], float]) -> None:
        for (*series, ts_ms), value in samples.items():
            self._versions.setdefault(tuple(series), {}).setdefault(ts_ms, {})[number] = value

    def _is(self, number: int, among: set[int]) -> bool:
        """Whether a record, or one that holds it, is among these."""
        return not among.isdisjoint(self._carriers.get(number, {number}))

    def delete(self, series: Series, span: tuple[int, int]) -> int:
        """The stream has taken a delete of the span (ms, both included) of a series, or of all of its source if its
        name is empty; its number."""
        number = len(self.records)
        self.records.append({})
        self.deletes.append(number)
        for name, versions in self._versions.items():
            if name == series or (*name[:2], "") == series:
                for ts_ms in versions:
                    if span[0] <= ts_ms <= span[1]:
                        versions[ts_ms][number] = None
                        self.taken.pop((*name, ts_ms), None)
        return number

    def deliver(self, numbers: Iterable[int]) -> None:
        """The ingester gets these records."""
        self.delivered |= self._now(numbers)

    def acknowledge(self, numbers: Iterable[int]) -> None:
        """The ingester is done with these records."""
        done = self._now(numbers)
        self.delivered |= done
        self.done |= done

    def _now(self, numbers: Iterable[int]) -> set[int]:
        """The numbers; a record that would have been refused, and now is not, counts as one that holds it."""
        result = set(numbers)
        for number in result & self._carriers.keys() if self.admitted else ():
            result.add(AGAIN + number)
            self._carriers[number].add(AGAIN + number)
        return result

    def series(self) -> list[Series]:
        return list(self._versions)

    def is_known(self, series: Series, done: set[int]) -> bool:
        """Whether a record of ``done`` has a sample of the series."""
        return any(
            self._is(number, done) and value is not None
            for at in self._versions.get(series, {}).values()
            for number, value in at.items()
        )

    def expected(self, series: Series, done: set[int]) -> Expected:
        """What a read may say that began when the records of ``done`` were done, and ends now."""
        values, unsure = {}, {}
        for ts_ms, versions in self._versions.get(series, {}).items():
            newest = max((number for number in versions if self._is(number, done)), default=-1)
            may = {versions[newest]} if newest >= 0 else {None}
            may |= {value for number, value in versions.items() if number > newest and self._is(number, self.delivered)}
            if len(may) > 1:
                unsure[ts_ms] = may
            elif None not in may:
                values[ts_ms] = may.pop()
        return Expected(values, unsure)


def rolled(values: Mapping[int, float], resolution: str) -> dict[int, Bucket]:
    """{start_ms: bucket} of all samples."""
    length_s, finer = BUCKETS[resolution]
    if finer == "raw":
        parts = {ts_ms: Bucket(1.0, value, value, value) for ts_ms, value in sorted(values.items())}
    else:
        parts = rolled(values, finer)
    result: dict[int, Bucket] = {}
    for ts_ms, part in sorted(parts.items()):
        start_ms = start_of(ts_ms, length_s)
        result[start_ms] = result[start_ms].joined(part) if start_ms in result else part
    return result


def start_of(ts_ms: int, length_s: int) -> int:
    return ts_ms - ts_ms % (length_s * 1000)


def differences(
    expected: Expected, got: Mapping[int, float], resolution: str, aggregate: str, span: tuple[int, int]
) -> list[str]:
    """What is wrong with the points of a read of ``span`` (ms, both ends included); nothing if it is right."""
    right: dict[int, float]
    if resolution == "raw":
        right, unsure = expected.values, expected.open
        first, last = span
    else:
        length_s, _ = BUCKETS[resolution]
        unsure = {start_of(ts_ms, length_s): set() for ts_ms in expected.open}
        right = {start_ms: bucket.of(aggregate) for start_ms, bucket in rolled(expected.values, resolution).items()}
        first, last = start_of(span[0], length_s), span[1]
    wrong = []
    for ts_ms in sorted({*right, *got, *unsure}):
        want, have = right.get(ts_ms) if first <= ts_ms <= last else None, got.get(ts_ms)
        if ts_ms in unsure and first <= ts_ms <= last:
            if resolution == "raw" and have not in unsure[ts_ms]:
                wrong.append(f"{ts_ms}: {have} is none of {unsure[ts_ms]}")
        elif want != have or (want is not None and math.copysign(1, want) != math.copysign(1, have)):
            wrong.append(f"{ts_ms}: {have} instead of {want}")
    return wrong
