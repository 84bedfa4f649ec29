"""What one query cost: series and samples, calls and bytes of each tier, and their price."""

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from carbyne.core.keys import RAW, RESOLUTIONS
from carbyne.core.prices import prices
from carbyne.read.reader import Many

TIERS: Final = ("hot", "cache", "warm", "cold")
READ_UNIT_BYTES: Final = 4096
"""What one read unit of DynamoDB pays for in a consistent read; a query's items are added up first."""


class Spent:
    """Of one query; reads of several threads may be added."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._units = 0
        self._resolutions: set[str] = set()
        self._lock = threading.Lock()

    def add(self, many: Many) -> None:
        """One read of one source."""
        with self._lock:
            self._resolutions.add(many.resolution)
            for taken in many.taken:
                self._calls[taken.tier] += 1
                self._bytes[taken.tier] += taken.bytes
            warm = sum(taken.bytes for taken in many.taken if taken.tier == "warm")
            self._units += -(-warm // READ_UNIT_BYTES)

    def dollars(self) -> float:
        """Of the read units and GETs of S3; Redis is paid by the hour, and the function's time is not in it."""
        per_million = prices()["dynamodb"]["per_million_read_units"], prices()["s3"]["per_million_gets"]
        return float(self._units * per_million[0] + self._calls["cold"] * per_million[1]) / 1e6

    def of_tiers(self) -> Mapping[str, Mapping[str, int]]:
        """Tier -> its calls and bytes."""
        return {tier: {"calls": self._calls[tier], "bytes": self._bytes[tier]} for tier in TIERS}

    def infos(self) -> list[str]:
        """What the answer was made of, where that is not raw samples alone."""
        rolled = [resolution for resolution in RESOLUTIONS if resolution in self._resolutions - {RAW}]
        return [f"Carbyne info: computed from rollups of {', '.join(rolled)}, exactly"] if rolled else []


def as_stats(spent: Spent, read: tuple[int, int]) -> dict[str, Any]:
    """The ``stats`` of an answer; ``read``: series and samples."""
    return {
        "seriesRead": read[0],
        "samples": {"totalQueryableSamples": read[1]},
        "tiers": spent.of_tiers(),
        "dollars": spent.dollars(),
    }
