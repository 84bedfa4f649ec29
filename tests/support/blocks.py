"""A block's key, some samples for it, and a meter: what tests of the archive share."""

from collections import Counter

import numpy as np
from carbyne.core import stamps
from carbyne.core.keys import BlockKey, SourceKey, Window
from carbyne.samples.columns import Rows, from_rows, merge
from carbyne.store.tiers import read_blocks

KEY = BlockKey(SourceKey("acme", "host/a"), "raw", Window(1_699_992_000, 14_400))
START_MS = KEY.window.start_s * 1000


def samples(by_time, sequence=1, series=("m",)):
    """Columns of some series that have the same values; ``by_time``: {minute: value}."""
    times = np.array([START_MS + 60_000 * minute for minute in by_time], np.int64)
    bits = np.repeat(np.array(list(by_time.values())).view(np.uint64).reshape(-1, 1), len(series), axis=1)
    return from_rows([Rows(tuple(sorted(series)), times, [stamps.pack(1, str(sequence))] * len(times), bits)])


def everything(store, key=KEY):
    """All samples under a key, out of its parts if there are some."""
    return merge([part for part in read_blocks(store, key, store.get(key), None) if part])


class Meter:
    def __init__(self):
        self.counts = Counter()

    def add(self, name, amount=1):
        self.counts[name] += amount

    def flush_due(self):
        pass


ONE, TWO = samples({0: 1.0, 1: 2.0}, 1), samples({1: -0.0, 2: 3.0}, 2)
