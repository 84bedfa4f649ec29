"""Rows onto the stream: the rows of a body, of any protocol, as records by lane."""

from collections.abc import Iterator, Mapping
from itertools import count
from struct import pack
from typing import Final

from carbyne.core import keys
from carbyne.core.limits import RECORD_RAW_BYTES_MAX, ROW_RAW_BYTES_MAX, ROW_SERIES_MAX
from carbyne.stream import records
from carbyne.stream.putter import Entry

FLOATS: Final = "d"
BITS: Final = "Q"
"""Forms of a row's values: float64, or their 64 bits as an integer, which keeps the payload of a NaN."""

RowValues = Mapping[tuple[str, int], Mapping[str, float]]
"""(source, ts_ms) -> series key -> value, in either form."""

PackedRow = tuple[str, int, bytes, bytes]
"""source, ts_ms, series blob, float64 little-endian values."""


def entries_of(tenant: str, rows: RowValues, form: str = FLOATS) -> list[Entry]:
    """Stream records of the rows, by lane."""
    lanes: dict[int, list[PackedRow]] = {}
    for (source, ts_ms), values in rows.items():
        lanes.setdefault(keys.lane_of(tenant, source), []).extend(pack_row(source, ts_ms, values, form))
    return [
        (keys.lane_tag(lane), data)
        for lane, packed in lanes.items()
        for data in records.pack(tenant, packed, RECORD_RAW_BYTES_MAX)
    ]


def pack_row(source: str, ts_ms: int, values: Mapping[str, float], form: str = FLOATS) -> Iterator[PackedRow]:
    """The row in as many parts as its size asks for; the same set of series gives the same parts each time."""
    for series in split_series(sorted(values)):
        packed = pack(f"<{len(series)}{form}", *map(values.__getitem__, series))
        yield source, ts_ms, keys.join_series(series), packed


def split_series(series: list[str]) -> list[list[str]]:
    """2**k parts (less empty ones) by the leading k bits of each key's hash, with the least k for which all fit."""
    if _fits(series):
        return [series]
    hashes = [keys.series_hash(name) for name in series]
    for bits in count(1):
        parts: dict[int, list[str]] = {}
        for name, name_hash in zip(series, hashes, strict=True):
            parts.setdefault(name_hash >> (64 - bits), []).append(name)
        if all(map(_fits, parts.values())):
            break
    return list(parts.values())


def _fits(series: list[str]) -> bool:
    return len(series) <= ROW_SERIES_MAX and len(keys.join_series(series)) + 8 * len(series) <= ROW_RAW_BYTES_MAX
