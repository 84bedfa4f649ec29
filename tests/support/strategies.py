"""Every strategy of the property tests, and the named shapes of series that codecs are tried on."""

from collections.abc import Callable

import numpy as np
from carbyne.core import stamps
from carbyne.core.keys import join_series
from carbyne.samples.columns import Columns, Rows, from_rows
from carbyne.stream.records import TS_MS_MAX, Row, SamplesRecord
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

settings.register_profile("carbyne", deadline=None)  # a busy machine is no bug
settings.load_profile("carbyne")

ODD_BITS = {
    "zero": 0,
    "minus zero": 1 << 63,
    "least denormal": 1,
    "one": 0x3FF0000000000000,
    "infinity": 0x7FF0000000000000,
    "minus infinity": 0xFFF0000000000000,
    "stale marker": 0x7FF0000000000002,
    "quiet NaN": 0x7FF8000000000000,
    "negative NaN with payload": 0xFFF8DEADBEEF0001,
    "greatest finite": 0x7FEFFFFFFFFFFFFF,
    "2**53": 0x4340000000000000,
}
"""float64 bits that codecs like to lose."""

bits = (
    st.sampled_from(sorted(ODD_BITS.values()))
    | st.integers(0, 2**64 - 1)
    | st.integers(-50, 50).map(lambda tenths: int(np.float64(tenths / 10).view(np.uint64)))
)
series_keys = st.sampled_from(["a", "b", "c.d", "loadavg5"]) | st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\n"), min_size=1, max_size=12
)
part_texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
"""Tenants and sources: anything that may come from outside, separators included."""

epochs = st.integers(0, stamps.EPOCH_MAX)
sequences = st.integers(0, stamps.SEQUENCE_MAX) | st.integers(0, 3)

Sample = tuple[str, int]
Record = tuple[bytes, dict[Sample, int]]
"""What one stream record says: its stamp, and the bits of each (series, ts_ms)."""


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    """Stream records about one source, with stamps of their own, that overlap in series and times."""
    names = draw(st.lists(series_keys, min_size=1, max_size=5, unique=True))
    samples = st.dictionaries(st.tuples(st.sampled_from(names), st.integers(-2, 4)), bits, max_size=8)
    numbers = draw(st.lists(st.integers(0, 2**192 - 1) | st.integers(0, 300), max_size=6, unique=True))
    return [(stamps.pack(draw(st.integers(0, 1)), str(number)), draw(samples)) for number in numbers]


def rows_of(record: Record) -> list[Rows]:
    """The rows of a record: one for each of its times."""
    stamp, samples = record
    return [_row(stamp, ts_ms, samples) for ts_ms in sorted({ts_ms for _, ts_ms in samples})]


def _row(stamp: bytes, ts_ms: int, samples: dict[Sample, int]) -> Rows:
    series = tuple(sorted(name for name, at in samples if at == ts_ms))
    values = np.array([[samples[name, ts_ms] for name in series]], np.uint64)
    return Rows(series, np.array([ts_ms], np.int64), [stamp], values)


def columns_of(some: list[Record]) -> Columns:
    """The columns of records."""
    return from_rows([rows for record in some for rows in rows_of(record)])


def _counter(rng: np.random.Generator, times: int) -> NDArray[np.float64]:
    return np.cumsum(rng.integers(0, 10**6, times)).astype(np.float64)


def _with_odd_bits(rng: np.random.Generator, times: int) -> NDArray[np.float64]:
    values = np.round(rng.normal(50, 10, times), 2)
    at = rng.integers(0, times, max(1, times // 8))
    values.view(np.uint64)[at] = rng.choice(np.array(list(ODD_BITS.values()), np.uint64), len(at))
    return values


SHAPES: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "constant": lambda rng, times: np.full(times, rng.normal()),
    "all stale": lambda rng, times: np.full(times, ODD_BITS["stale marker"], np.uint64).view(np.float64),
    "zeros of both signs": lambda rng, times: np.where(rng.random(times) < 0.5, 0.0, -0.0),
    "counter": _counter,
    "counter that resets": lambda rng, times: _counter(rng, times) % 7_000_001,
    "gauge of two decimals": lambda rng, times: np.round(rng.normal(50, 10, times), 2),
    "gauge of nine decimals": lambda rng, times: np.round(rng.normal(0, 1, times), 9),
    "integers, later decimals": lambda rng, times: np.where(
        np.arange(times) < times - 1, rng.integers(0, 9, times), 0.1
    ),
    "pages of 4096": lambda rng, times: rng.integers(0, 10**6, times) * 4096.0,
    "around 2**53": lambda rng, times: 2.0**53 + rng.integers(-4, 4, times),
    "noise": lambda rng, times: rng.normal(size=times),
    "any bits": lambda rng, times: rng.integers(0, 2**64, times, np.uint64).view(np.float64),
    "odd bits among decimals": _with_odd_bits,
    "huge and tiny": lambda rng, times: 10.0 ** rng.uniform(-300, 300, times),
}
"""Values of one series over ``times`` rows."""


def shaped(names: list[str], times: int, seed: int, records_each: int = 1) -> Columns:
    """Columns of one series per named shape, a row a minute; each stream record holds ``records_each`` rows."""
    rng = np.random.default_rng(seed)
    values = np.array([SHAPES[name](rng, times) for name in names]).view(np.uint64)
    return from_rows(
        [Rows(tuple(sorted(names)), minutes(times), row_stamps(times, records_each), _by_name(names, values))]
    )


def _by_name(names: list[str], values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return values[np.argsort(names)].T


def minutes(times: int) -> NDArray[np.int64]:
    """``times`` timestamps, a minute apart."""
    return np.arange(times, dtype=np.int64) * 60_000 + 1_700_006_400_000


def row_stamps(times: int, records_each: int = 1) -> list[bytes]:
    """A stamp for each row, greater every ``records_each`` rows."""
    base = 49590338271490256608559692538361571095921575989136588898
    return [stamps.pack(1, str(base + row // records_each * 2564131663402632534000926720)) for row in range(times)]


@st.composite
def sample_records(draw: st.DrawFn) -> SamplesRecord:
    """Stream records with rows of several sources and lists."""
    lists = draw(
        st.lists(st.lists(series_keys, min_size=1, max_size=4, unique=True).map(sorted), max_size=3, unique_by=tuple)
    )
    chosen = draw(st.lists(st.integers(0, len(lists) - 1), max_size=4)) if lists else []
    rows = [
        Row(
            draw(part_texts),
            draw(st.integers(-TS_MS_MAX, TS_MS_MAX)),
            at,
            draw(st.binary(min_size=size, max_size=size)),
        )
        for at in chosen
        for size in [8 * len(lists[at])]
    ]
    return SamplesRecord(draw(part_texts), [join_series(series) for series in lists], rows)
