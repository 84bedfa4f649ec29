"""Rates: metrics of a monitor that are shares of what agents post, in percent, as Mackerel has them.

A rate has a value at each time at which all that it is made of has one.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from carbyne.alerts.judging import SamplePairs
from carbyne.core.limits import FILESYSTEMS_MAX

NAMED_RATE: Final = "disk%"
RATES: Final = ("cpu%", "memory%", "swap%", NAMED_RATE)
_IDLE: Final = "cpu.idle.percentage"
_BUSY: Final = tuple(
    f"cpu.{name}.percentage" for name in ("user", "nice", "system", "iowait", "irq", "softirq", "steal", "guest")
)
_USED: Final = re.compile(r"(filesystem\.[^.]+)\.used")

SamplesByName = Mapping[str, SamplePairs]


def parts_of(metric: str, filesystems: Sequence[str]) -> list[str]:
    """The series that a metric is computed of, itself alone if it is no rate; ``filesystems``: those of the host."""
    if metric == "cpu%":
        return [_IDLE, *_BUSY]
    if metric == "memory%":
        return ["memory.used", "memory.total"]
    if metric == "swap%":
        return ["memory.swap_used", "memory.swap_free", "memory.swap_total"]
    if metric == NAMED_RATE:
        return [f"{each}.{part}" for each in filesystems for part in ("used", "size")]
    return [metric]


def pairs_of(metric: str, samples: SamplesByName, operator: str) -> SamplePairs:
    """Of ``disk%`` the fullest file system counts at each time, with ``<`` the emptiest."""
    if metric == "cpu%":
        return sorted(_busy(samples).items())
    if metric == "memory%":
        return sorted(_shares(_at(samples, "memory.used"), _at(samples, "memory.total")).items())
    if metric == "swap%":
        total, free = _at(samples, "memory.swap_total"), _at(samples, "memory.swap_free")
        used = {ts_ms: total[ts_ms] - free[ts_ms] for ts_ms in free.keys() & total.keys()}
        return sorted(_shares(used | _at(samples, "memory.swap_used"), total).items())
    if metric == NAMED_RATE:
        return sorted(_worst(samples, operator).items())
    return samples.get(metric, ())


def filesystems_of(names: Collection[str]) -> list[str]:
    """As series name them, without what is behind the name."""
    return sorted(match[1] for name in names if (match := _USED.fullmatch(name)))[:FILESYSTEMS_MAX]


def _busy(samples: SamplesByName) -> dict[int, float]:
    """What is not idle, of all cores together."""
    idle = _at(samples, _IDLE)
    total = dict(idle)
    for name in _BUSY:
        for ts_ms, value in samples.get(name, ()):
            if ts_ms in total:
                total[ts_ms] += value
    return _shares({ts_ms: total[ts_ms] - value for ts_ms, value in idle.items()}, total)


def _worst(samples: SamplesByName, operator: str) -> dict[int, float]:
    worse, result = (max if operator == ">" else min), dict[int, float]()
    for used, size in _pairs_of_filesystems(samples):
        for ts_ms, share in _shares(used, size).items():
            result[ts_ms] = worse(result.get(ts_ms, share), share)
    return result


def _pairs_of_filesystems(samples: SamplesByName) -> Iterator[tuple[dict[int, float], dict[int, float]]]:
    return ((_at(samples, f"{each}.used"), _at(samples, f"{each}.size")) for each in filesystems_of(samples))


def _at(samples: SamplesByName, name: str) -> dict[int, float]:
    return dict(samples.get(name, ()))


def _shares(part: Mapping[int, float], whole: Mapping[int, float]) -> dict[int, float]:
    """In percent; none where nothing is there to have a share of."""
    shares = {ts_ms: 100.0 * value / whole[ts_ms] for ts_ms, value in part.items() if whole.get(ts_ms, 0.0) > 0}
    return {ts_ms: share for ts_ms, share in shares.items() if math.isfinite(share)}
