"""What rollups must be, in plain Python over raw samples: the oracle of tests and benchmarks."""

import math
from collections.abc import Mapping
from typing import NamedTuple

BUCKET_MS = {"5m": 300_000, "1h": 3_600_000, "1d": 86_400_000}
FINER = {"5m": "raw", "1h": "5m", "1d": "1h"}
AGGREGATES = ("avg", "min", "max", "sum", "count")


class Bucket(NamedTuple):
    count: float  # type: ignore[assignment]
    sum: float
    min: float
    max: float

    @property
    def avg(self) -> float:
        return self.sum / self.count


def rolled(samples: Mapping[int, float], resolution: str) -> dict[int, Bucket]:
    """{start_ms: Bucket} of one series; ``samples``: {ts_ms: value}."""
    if resolution == "raw":
        return {ts_ms: Bucket(1.0, value, value, value) for ts_ms, value in samples.items() if not math.isnan(value)}
    buckets: dict[int, Bucket] = {}
    for ts_ms, more in sorted(rolled(samples, FINER[resolution]).items()):
        start_ms = ts_ms // BUCKET_MS[resolution] * BUCKET_MS[resolution]
        buckets[start_ms] = _added(buckets[start_ms], more) if start_ms in buckets else more
    return buckets


def _added(bucket: Bucket, more: Bucket) -> Bucket:
    low = more.min if more.min < bucket.min else bucket.min
    high = more.max if more.max > bucket.max else bucket.max
    return Bucket(bucket.count + more.count, bucket.sum + more.sum, low, high)


def view(
    samples: Mapping[int, float],
    resolution: str,
    aggregate: str,
    from_ms: int,
    to_ms: int,
    buckets: Mapping[str, Mapping[int, Bucket]] | None = None,
) -> dict[int, str]:
    """{ts_ms: bits} of every sample from ``from_ms`` to ``to_ms``, or of every bucket that overlaps them; ``buckets``:
    those of each resolution, if they are known."""
    if resolution == "raw":
        return {ts_ms: bits(value) for ts_ms, value in samples.items() if from_ms <= ts_ms <= to_ms}
    first_ms = from_ms // BUCKET_MS[resolution] * BUCKET_MS[resolution]
    rolled_up = buckets[resolution] if buckets else rolled(samples, resolution)
    return {
        start: bits(getattr(bucket, aggregate)) for start, bucket in rolled_up.items() if first_ms <= start <= to_ms
    }


def bits(value: float) -> str:
    """What tells two values apart: -0.0 from 0.0 as well; every NaN is alike."""
    return "nan" if math.isnan(value) else float(value).hex()
