"""Rollups: exactly what a plain computation over the raw samples gives."""

import math
import struct

import numpy as np
import pytest
from carbyne.core import stamps
from carbyne.core.keys import Window
from carbyne.samples import blocks
from carbyne.samples.columns import EMPTY, Columns, Rows, between, from_rows, merge, restamped, restrict
from carbyne.samples.rollups import BY_NAME, NANS, ROLLUPS, aggregate, buckets_of, choose, each_series, keys_of, roll
from carbyne.stream.records import TS_MS_MAX
from hypothesis import given
from hypothesis import strategies as st

from servers import plain
from tests.support.strategies import ODD_BITS, columns_of, records

DAY_S = 86_400
STALE = struct.unpack("<d", struct.pack("<Q", ODD_BITS["stale marker"]))[0]
NAN = math.nan


def columns(**series):
    """Columns of ``series``: {ts_ms: value} each, every time a stream record of its own."""
    batches = []
    for name, samples in series.items():
        ts_ms = np.array(list(samples), np.int64)
        values = np.array(list(samples.values()), np.float64).view(np.uint64).reshape(-1, 1)
        batches.append(Rows((name,), ts_ms, [stamps.pack(1, str(t)) for t in range(len(samples))], values))
    return from_rows(batches)


def all_rolled(raw):
    """{resolution: Columns}, each of the one before it, through the bytes of a block."""
    by_resolution = {"raw": raw}
    for resolution in ROLLUPS:
        rolled = roll(by_resolution[resolution.finer], resolution.bucket_s)
        by_resolution[resolution.name] = blocks.decode(blocks.encode(rolled)) if rolled.groups else rolled
    return by_resolution


def seen(rolled, series, name):
    """{start_ms: bits} of an aggregate, as a reader takes it."""
    try:
        buckets = buckets_of(rolled, series)
    except KeyError:
        return {}
    values = aggregate(buckets, name)[0].tolist()
    return dict(zip(buckets.start_ms.tolist(), map(plain.bits, values), strict=True))


def assert_exact(raw: Columns):
    by_resolution = all_rolled(raw)
    for group in raw.groups:
        for series, row in zip(group.series, group.values.view(np.float64).tolist(), strict=True):
            samples = dict(zip(group.ts_ms.tolist(), row, strict=True))
            for resolution in BY_NAME:
                for name in plain.AGGREGATES:
                    want = plain.view(samples, resolution, name, -TS_MS_MAX, TS_MS_MAX)
                    assert seen(by_resolution[resolution], series, name) == want, (series, resolution, name)


MINUTE_MS = 60_000
CASES = {
    "one sample": {0: 1.5},
    "left to right, not by pairs": {i * MINUTE_MS: v for i, v in enumerate([1e16, 1.0, 1.0, -1e16, 0.1])},
    "hours add the sums of their 5 minutes": {i * MINUTE_MS: 0.1 * (i % 7) for i in range(240)},
    "days add the sums of their hours": {i * MINUTE_MS: 0.1 * (i % 11) for i in range(2 * 1440)},
    "NaN is left out": {0: NAN, MINUTE_MS: 2.0, 2 * MINUTE_MS: NAN},
    "a stale marker is a NaN": {0: 1.0, MINUTE_MS: STALE, 300_000: STALE, 360_000: 4.0},
    "nothing but NaN": {0: NAN, MINUTE_MS: STALE},
    "NaN first": {0: NAN, MINUTE_MS: -5.0},
    "NaN buckets before, between and behind": {0: NAN, 300_000: 1.0, 600_000: NAN, 900_000: 3.0, 3_600_000: NAN},
    "infinity": {0: math.inf, MINUTE_MS: 1.0},
    "both infinities": {0: math.inf, MINUTE_MS: -math.inf, 300_000: 1.0, 3_600_000: 7.0},
    "overflow": {0: 1.7e308, MINUTE_MS: 1.7e308, 2 * MINUTE_MS: -1.7e308},
    "minus zero alone": {0: -0.0},
    "minus zeros": {0: -0.0, MINUTE_MS: -0.0, 300_000: 0.0},
    "zero, minus zero": {0: 0.0, MINUTE_MS: -0.0},
    "minus zero, zero": {0: -0.0, MINUTE_MS: 0.0},
    "zeros over buckets": {0: -0.0, 300_000: 0.0, 3_600_000: -0.0},
    "denormals": {0: 5e-324, MINUTE_MS: 5e-324},
    "buckets without a sample": {0: 1.0, 3 * DAY_S * 1000: 2.0},
    "times of any millisecond": {1: 1.0, 299_999: 2.0, 300_000: 3.0, 86_399_999: 4.0, 86_400_000: 5.0},
    "before 1970": {-1: 1.0, -300_000: 2.0, -300_001: 3.0},
}


@pytest.mark.parametrize("samples", CASES.values(), ids=CASES)
def test_buckets_are_what_a_plain_computation_gives(samples):
    assert_exact(columns(m=samples))


def test_the_oracle_is_not_indifferent_to_order():
    samples = CASES["left to right, not by pairs"]
    assert plain.rolled(samples, "5m")[0].sum == 0.1 + ((1e16 + 1.0 + 1.0) - 1e16) != math.fsum(samples.values())


def test_means_are_of_samples_and_not_of_means():
    samples = {0: 1.0, MINUTE_MS: 1.0, 2 * MINUTE_MS: 1.0, 300_000: 5.0}
    hour = buckets_of(all_rolled(columns(m=samples))["1h"], "m")
    assert aggregate(hour, "avg").tolist() == [[2.0]] and aggregate(hour, "max").tolist() == [[5.0]]


def test_series_of_different_times_are_groups_of_their_own():
    raw = columns(a=CASES["one sample"], b=CASES["NaN first"], c=CASES["buckets without a sample"], d=CASES["overflow"])
    assert len(raw.groups) > 2
    assert_exact(raw)


@given(records())
def test_any_samples_of_any_series(some):
    """Times of the strategy are a few ms apart: spread over buckets of every length."""
    spread = {-2: -1, -1: 0, 0: 60_000, 1: 300_000, 2: 3_600_000, 3: 86_400_000, 4: 86_460_000}
    moved = [(stamp, {(name, spread[ts]): bits for (name, ts), bits in samples.items()}) for stamp, samples in some]
    assert_exact(columns_of(moved))


@given(st.lists(st.floats(), min_size=1, max_size=60), st.integers(0, 2**20))
def test_any_values_in_a_row(values, start):
    assert_exact(columns(m={start * 7_000 + i * 61_000: value for i, value in enumerate(values)}))


def test_a_bucket_of_nothing_but_nan_is_held_so_that_it_replaces_an_earlier_one():
    rolled = roll(columns(m={0: NAN, 300_000: 1.0}), 300)
    assert rolled.groups[0].ts_ms.tolist() == [0, 300_000]
    assert rolled.groups[0].values.view(np.float64)[:, 0].tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert buckets_of(rolled, "m").start_ms.tolist() == [300_000]


def test_the_same_buckets_are_the_same_columns():
    first, second = columns(a={0: 1.0, 1: 2.0}, b={0: 1.0}), columns(b={0: 1.0}, a={1: 2.0, 0: 1.0})
    assert roll(first, 300) == roll(second, 300)


def test_nothing_has_no_buckets():
    assert roll(EMPTY, 300) == EMPTY
    with pytest.raises(KeyError):
        buckets_of(EMPTY, "m")


def test_all_that_is_kept_of_a_series_is_in_one_part():
    rolled = roll(columns(**{f"m{i}": {0: 1.0} for i in range(40)}), 300)
    for part in ("0", "10", "110"):
        names_in_part = {name for name in rolled.series if blocks.in_part(name, part)}
        assert names_in_part == set(
            keys_of(name for name in (f"m{i}" for i in range(40)) if blocks.in_part(name, part))
        )


POINTS = 241
BORDERS = [("raw", "5m", 300 * POINTS), ("5m", "1h", 3_600 * POINTS), ("1h", "1d", DAY_S * POINTS)]


@pytest.mark.parametrize(("finer", "coarser", "border_s"), BORDERS)
def test_the_coarsest_resolution_of_more_than_240_points(finer, coarser, border_s):
    assert choose(0, border_s * 1000 - 1) == finer
    assert choose(0, border_s * 1000) == coarser
    assert choose(1_700_000_123_456, 1_700_000_123_456 + border_s * 1000) == coarser


def test_the_borders_are_those_of_the_documents():
    assert [border_s for *_, border_s in BORDERS] == [20 * 3_600 + 5 * 60, 241 * 3_600, 241 * DAY_S]


@pytest.mark.parametrize(
    ("days", "resolution"), [(1 / 24, "raw"), (0.25, "raw"), (1, "5m"), (7, "5m"), (30, "1h"), (365, "1d"), (0, "raw")]
)
def test_what_people_look_at(days, resolution):
    assert choose(0, int(days * DAY_S * 1000)) == resolution


@pytest.mark.parametrize(
    ("resolution", "span", "aligned"),
    [
        ("5m", (0, 1), (0, 300_000)),
        ("5m", (299_999, 300_000), (0, 300_000)),
        ("5m", (299_999, 300_001), (0, 600_000)),
        ("1h", (-1, 1), (-3_600_000, 3_600_000)),
        ("1d", (86_400_000, 172_800_000), (86_400_000, 172_800_000)),
    ],
)
def test_a_span_is_widened_to_whole_buckets(resolution, span, aligned):
    assert BY_NAME[resolution].aligned(*span) == aligned


def test_windows_are_those_that_overlap():
    day = BY_NAME["1h"]
    assert day.windows(0, 86_400_000) == [Window(0, DAY_S)]
    assert day.windows(86_399_999, 86_400_001) == [Window(0, DAY_S), Window(DAY_S, DAY_S)]
    assert between(EMPTY, 0, 1) == EMPTY


def nans_of(rolled, series="a"):
    """{start_ms: number of NaN} as a reader takes it, None where it is not known."""
    (buckets,) = [each for each in each_series(rolled, "max") if each.series == series]
    numbers = [None if math.isnan(number) else number for number in buckets.nans.tolist()]
    return dict(zip(buckets.starts.tolist(), numbers, strict=True))


def without(rolled, *keys):
    return restrict(rolled, lambda key: key not in keys)


def test_nan_is_counted_but_for_stale_markers():
    raw = columns(a={0: NAN, MINUTE_MS: 2.0, 2 * MINUTE_MS: STALE, 300_000: STALE, 600_000: NAN, 660_000: -NAN})
    rolled = all_rolled(raw)
    assert nans_of(rolled["5m"]) == {0: 1, 300_000: 0, 600_000: 2}
    assert nans_of(rolled["1h"]) == nans_of(rolled["1d"]) == {0: 3}


def test_what_earlier_code_rolled_up_may_have_had_any_number_of_nan():
    raw = columns(a={0: NAN, 300_000: 1.0, 3_600_000: 2.0}, b={0: 1.0})
    older = without(roll(raw, 300), "a" + NANS)
    assert nans_of(older) == {0: None, 300_000: None, 3_600_000: None} and nans_of(older, "b") == {0: 0}
    hours = roll(older, 3600)
    assert nans_of(hours) == {0: None, 3_600_000: None} and nans_of(hours, "b") == {0: 0}
    assert keys_of("ab") == sorted(hours.series, key=keys_of("ab").index)


def test_buckets_of_both_codes_in_one_block_are_told_apart():
    raw = columns(a={0: NAN, 300_000: 1.0, 3_600_000: NAN, 3_900_000: NAN})
    fresh = roll(raw, 300)
    older = without(between(fresh, 0, 3_600_000), "a" + NANS)
    both = merge([older, between(fresh, 3_600_000, 7_200_000)])
    assert len(both.groups) == 2
    assert nans_of(both) == {0: None, 300_000: None, 3_600_000: 1, 3_900_000: 1}
    assert nans_of(roll(both, 3600)) == {0: None, 3_600_000: 2}
    assert seen(both, "a", "count") == seen(fresh, "a", "count")


def test_a_number_of_nan_beside_a_bucket_that_earlier_code_computed_again_is_not_believed():
    rolled = roll(columns(a={0: 1.0, 300_000: 1.0}), 300)
    later = restamped(without(between(rolled, 0, 300_000), "a" + NANS), stamps.pack(0, "9"))
    assert nans_of(merge([rolled, later])) == {0: None, 300_000: 0}
