"""Which source a series of a divided target has: a function of the target, the series and the time of a sample.

The rows of a source are read and sealed as a whole, so a target with too many series is divided into several sources:
by the leading bits of the hash of the metric's name, as far as these tell its series apart, and of the labels, as one
metric may be most of them.  The ingester sees how many series a source has.  It stores a finer division ahead, to hold
from an hour on that no sample can lie behind yet, as of the lengths of windows (``tenants.windows``): so writers that
learn of it a minute apart give a sample to the same source, also when it is sent again.  A division never becomes
coarser.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from carbyne.core.keys import PART_NAME_BITS, part_hash
from carbyne.core.labels import PART
from carbyne.core.limits import (
    DIVIDED_KEYS_REMEMBERED,
    DIVISION_BITS_MAX,
    SHORT_WINDOW_S,
    STEP_AHEAD_S,
    UNDIVIDED_SOURCES,
)

ROOM: Final = 4
"""A division leaves at least one in so many of a source's series free, or the next one would soon follow."""


class Division(NamedTuple):
    """From ``from_s`` on a target is divided by so many bits of the hash of names, and of labels."""

    from_s: int
    name_bits: int
    label_bits: int

    @property
    def bits(self) -> int:
        return self.name_bits + self.label_bits


Divisions = Mapping[str, tuple[Division, ...]]
"""Source of an undivided target -> its divisions, ascending by time."""
UNDIVIDED: Final[Divisions] = {}
"""Of a tenant without such a target."""
_Fits = tuple[int, int]
"""Bits of the hashes of names and of labels."""


def source_at(source: str, key: str, divisions: Sequence[Division], ts_ms: int) -> str:
    """The source of a sample of a series whose target has these divisions; ``source``: of the undivided target."""
    division = _at(divisions, ts_ms // 1000)
    if division is None:
        return source
    name, of_labels = _hashes(key)
    return f"{source}{PART}{name[: division.name_bits]}-{of_labels[: division.label_bits]}"


def series_max(divisions: Sequence[Division], per_source: int, at_s: int) -> int:
    """How many series each source of a target may have at a time: fewer where no division, or only one, can follow."""
    division = _at(divisions, at_s)
    bits = division.bits if division else 0
    return per_source * min(UNDIVIDED_SOURCES << bits, 1 << DIVISION_BITS_MAX) >> bits


def divided(
    divisions: tuple[Division, ...], names: Collection[bytes], per_source: int, begins_s: int
) -> tuple[Division, ...]:
    """The divisions that a target should have with these series in one of its sources, to hold from ``begins_s`` or
    after the last one: as they are if these do, or no division is fine enough."""
    cells = Counter(_hashes(name.decode()) for name in names)
    last = divisions[-1] if divisions else Division(0, 0, 0)
    bits = last.name_bits, last.label_bits
    if _largest(cells, bits) <= per_source:
        return divisions
    best = min(_finer(last), key=lambda fits: _badness(cells, fits, per_source), default=bits)
    helps = _largest(cells, best) < _largest(cells, bits)
    return (*divisions, Division(max(begins_s, last.from_s), *best)) if helps else divisions


def begins_s(now_s: int) -> int:
    """When a division that is stored now may begin: with a short window, of whichever length the tenant's are.

    To wait for the end of a long one would make a window of a source that is too large three times as long.
    """
    return -(-(now_s + STEP_AHEAD_S) // SHORT_WINDOW_S) * SHORT_WINDOW_S


def _at(divisions: Sequence[Division], at_s: int) -> Division | None:
    return next((division for division in reversed(divisions) if division.from_s <= at_s), None)


@lru_cache(DIVIDED_KEYS_REMEMBERED)
def _hashes(key: str) -> tuple[str, str]:
    """The leading bits of the hash of a key's name, and of its labels, as text."""
    hashed = part_hash(key)
    parts = hashed >> 64 - DIVISION_BITS_MAX, hashed >> 64 - PART_NAME_BITS - DIVISION_BITS_MAX
    name, of_labels = (f"{part % (1 << DIVISION_BITS_MAX):0{DIVISION_BITS_MAX}b}" for part in parts)
    return name, of_labels


def _finer(last: Division) -> list[_Fits]:
    """All finer divisions: more bits of one hash, and no fewer of the other."""
    return [
        (name_bits, label_bits)
        for name_bits in range(last.name_bits, DIVISION_BITS_MAX + 1)
        for label_bits in range(last.label_bits, DIVISION_BITS_MAX + 1 - name_bits)
        if name_bits + label_bits > last.bits
    ]


def _badness(cells: Counter[tuple[str, str]], fits: _Fits, per_source: int) -> tuple[int, int, int]:
    """Those are best whose largest source has room, with the fewest sources, and of these with the most bits of names:
    a query of one metric then reads the fewest.  If no source has room: the smallest largest one."""
    largest = _largest(cells, fits)
    has_room = largest <= per_source - per_source // ROOM
    return (0, sum(fits), fits[1]) if has_room else (largest, sum(fits), fits[1])


def _largest(cells: Counter[tuple[str, str]], fits: _Fits) -> int:
    """How many series the largest source has then."""
    sizes = Counter[tuple[str, str]]()
    for (name, of_labels), number in cells.items():
        sizes[name[: fits[0]], of_labels[: fits[1]]] += number
    return max(sizes.values(), default=0)
