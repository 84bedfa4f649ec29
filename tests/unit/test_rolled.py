"""A range selector over rollups gives what it gives over raw samples, and reads less."""

import numpy as np
import pytest
from carbyne.core.keys import RAW, SourceKey
from carbyne.core.labels import STALE_BITS
from carbyne.promql import query
from carbyne.promql.labels import NAME, made
from carbyne.promql.scope import QuerySpan
from carbyne.promql.select import Selection
from carbyne.read.reader import Many
from carbyne.read.rolled import EXACT, SelectionRead, planned
from carbyne.read.spent import Spent
from carbyne.samples.columns import Columns, Group, between, restrict
from carbyne.samples.rollups import BY_NAME, NANS, roll
from carbyne.store.tiers import Taken

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START_MS = 20_000 * DAY
END_MS = START_MS + 40 * DAY
SOURCE = SourceKey("acme", "host/h1")
STALE = np.array([STALE_BITS], np.uint64).view(np.float64)[0]
OPTIONS = query.Options(lambda: 0.0)


class RolledReader:
    """Raw samples, ``series``: name -> (ts_ms, values), and their rollups; counts samples and buckets that it gives."""

    def __init__(self, series, keep=lambda key: True, stamp=0):
        groups = tuple(
            Group((name,), ts_ms, np.zeros(len(ts_ms), np.uint32), values.view(np.uint64)[None, :])
            for name, (ts_ms, values) in sorted(series.items())
        )
        self.columns = {RAW: Columns((stamp.to_bytes(26, "big"),), groups)}
        for rollup in BY_NAME.values():
            self.columns[rollup.name] = restrict(roll(self.columns[rollup.finer], rollup.bucket_s), keep)
        self.given = dict.fromkeys(self.columns, 0)

    def read_many(self, source, keys, from_ms, to_ms, how):
        assert source == SOURCE and from_ms <= to_ms
        span = BY_NAME[how.resolution].aligned(from_ms, to_ms + 1) if how.resolution != RAW else (from_ms, to_ms + 1)
        columns = between(self.columns[how.resolution], *span)
        self.given[how.resolution] += columns.samples
        return Many(columns, how.resolution, [], [Taken("warm", 10)])


class Reads:
    """A Selector of one source, by rollups or by raw samples alone."""

    def __init__(self, reader, *, rolled):
        self.reader, self.rolled, self.spent = reader, rolled, Spent()

    def select(self, selection):
        chosen = selection if self.rolled else selection._replace(function="")
        read = SelectionRead(self.reader, {SOURCE: ["x", "y"]}, chosen, self.spent)
        return sorted(read.series(lambda key: made({NAME: "m", "series": key})), key=lambda series: series.labels)


def noisy(seed, days, every_ms):
    """Two series with gaps, NaN, stale markers, and samples at the edges of buckets."""
    random, series = np.random.default_rng(seed), {}
    for name in ("x", "y"):
        ts_ms = START_MS + np.arange(0, days * DAY, every_ms)
        ts_ms = ts_ms + random.choice([0, 0, 1, every_ms - 1], len(ts_ms))
        values = random.normal(0, 1, len(ts_ms)).round(2)
        for at in random.integers(0, len(ts_ms), 6):
            values[at : at + random.integers(1, len(ts_ms) // 6)] = random.choice([np.nan, STALE, np.inf, -0.0])
        kept = random.random(len(ts_ms)) > 0.2
        gap = random.integers(0, len(ts_ms))
        kept[gap : gap + len(ts_ms) // 5] = False
        series[name] = ts_ms[kept], values[kept]
    return RolledReader(series)


def answers(reader, text, span):
    """By rollups and by raw samples."""
    for rolled in (True, False):
        yield shown(query.over(text, span, Reads(reader, rolled=rolled), OPTIONS))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("function", sorted(EXACT))
def test_the_answer_is_that_of_raw_samples(seed, function):
    random = np.random.default_rng(seed)
    reader = noisy(seed, 40, 20 * MINUTE)
    start = START_MS + int(random.integers(0, 40)) * DAY + int(random.choice([0, 1, 17 * MINUTE, HOUR - 1, 7 * HOUR]))
    step = int(random.choice([DAY, 7 * DAY, DAY + 5 * MINUTE]))
    steps = int(random.integers(0, 4))
    window = random.choice(["30d", "17d", "9d13h", "12d1ms"])
    text = f"{function}(m[{window}])" if seed % 2 else f"{function}(m[{window}] offset 3h)"
    by_rollups, by_samples = answers(reader, text, QuerySpan(start, start + steps * step, step))
    assert repr(by_rollups) == repr(by_samples)


class DividedReader:
    """The same samples in three sources, as a divided target has them: each at one time in one of them, or by mistake
    in two, of which that with the greater stamp counts."""

    def __init__(self, seed, whole, twice=0.002):
        random = np.random.default_rng(seed)
        cuts = START_MS + np.sort(random.integers(0, 40 * DAY, 2))
        cuts -= random.choice([0, HOUR, DAY]) and cuts % random.choice([HOUR, DAY])
        parts = [{}, {}, {}]
        for group in whole.columns[RAW].groups:
            ts_ms, values = group.ts_ms, group.values.view(np.float64)[0]
            home = np.searchsorted(cuts, ts_ms, "right")
            for number, part in enumerate(parts):
                also = (home == number + 1) & (random.random(len(ts_ms)) < twice)
                shown = np.where(also, 7.5, values)
                part[group.series[0]] = ts_ms[(home == number) | also], shown[(home == number) | also]
        self.parts = {SourceKey("acme", f"prom/a.{n}"): RolledReader(part, stamp=n) for n, part in enumerate(parts)}

    def read_many(self, source, keys, from_ms, to_ms, how):
        return self.parts[source].read_many(SOURCE, keys, from_ms, to_ms, how)


class Divided(Reads):
    def select(self, selection):
        keys = {source: ["x", "y"] for source in self.reader.parts}
        read = SelectionRead(self.reader, keys, selection, self.spent)
        return sorted(read.series(lambda key: made({NAME: "m", "series": key})), key=lambda series: series.labels)


def of_divided(seed, function):
    """By the sources of a divided target, and by one source that has all."""
    whole = noisy(seed, 40, 20 * MINUTE)
    span = QuerySpan(START_MS + 39 * DAY, START_MS + 40 * DAY, DAY)
    text = f"{function}(m[{'39d' if function in EXACT else '3d7h'}])"
    divided = query.over(text, span, Divided(DividedReader(seed, whole), rolled=True), OPTIONS)
    return shown(divided), shown(query.over(text, span, Reads(whole, rolled=False), OPTIONS))


def shown(answer):
    frame = answer.frame
    return [
        (labels, values[there].tolist(), answer.times_ms[there].tolist())
        for labels, values, there in zip(frame.labels, frame.values, frame.there, strict=True)
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("function", [*sorted(EXACT), "sum_over_time", "last_over_time", "resets"])
def test_a_divided_target_answers_as_one_source_would(seed, function):
    of_parts, of_one = of_divided(seed, function)
    assert repr(of_parts) == repr(of_one)


def test_rollups_serve_a_divided_target_but_for_the_buckets_of_its_divisions():
    ts_ms = START_MS + np.arange(0, 40 * DAY, 20 * MINUTE)
    whole = RolledReader({"x": (ts_ms, np.sin(ts_ms / 1e7))})
    reader, span = DividedReader(1, whole, twice=0), QuerySpan(START_MS + 40 * DAY, START_MS + 40 * DAY, 1)
    answer = query.over("max_over_time(m[40d])", span, Divided(reader, rolled=True), OPTIONS)
    assert answer.frame.values[0, 0] == np.sin(ts_ms / 1e7).max()
    assert 2 * sum(sum(part.given.values()) for part in reader.parts.values()) < len(ts_ms)


@pytest.mark.parametrize("bug", ["buckets of two sources add up", "the last source has all"])
def test_a_bug_in_uniting_sources_is_found(bug, monkeypatch):
    """Else the test above would show nothing."""
    if bug == "buckets of two sources add up":
        monkeypatch.setattr("carbyne.read.rolled._shared", lambda read: [])
    else:
        monkeypatch.setattr("carbyne.read.rolled.merge", lambda parts: parts[-1])
    answered = [of_divided(seed, "count_over_time") for seed in range(4)]
    assert any(repr(of_parts) != repr(of_one) for of_parts, of_one in answered)


NINETY_DAYS = START_MS + np.arange(0, 90 * DAY, MINUTE) + 7


@pytest.mark.parametrize(
    ("function", "value"), [("max", np.sin(NINETY_DAYS / 1e7).max()), ("count", float(len(NINETY_DAYS)))]
)
def test_ninety_days_take_a_twentieth_of_the_samples(function, value):
    reader = RolledReader({"x": (NINETY_DAYS, np.sin(NINETY_DAYS / 1e7))})
    asked = QuerySpan(START_MS + 90 * DAY, START_MS + 90 * DAY, 1)
    reads = Reads(reader, rolled=True)
    answer = query.over(f"{function}_over_time(m[90d])", asked, reads, OPTIONS)
    assert answer.frame.values[0, 0] == value
    assert sum(reader.given.values()) * 20 < len(NINETY_DAYS)
    if function == "max":
        assert reads.spent.infos() == ["Carbyne info: computed from rollups of 5m, 1h, 1d, exactly"]


@pytest.mark.parametrize("function", sorted(EXACT))
def test_rollups_of_earlier_code_do_not_say_how_many_nan_there_were(function):
    """So their numbers of samples are not believed, and all else is."""
    ts_ms = START_MS + np.arange(0, 40 * DAY, 20 * MINUTE)
    values = np.where(np.arange(len(ts_ms)) % 50 == 7, np.nan, ts_ms % 977)
    reader = RolledReader({"x": (ts_ms, values)}, keep=lambda key: not key.endswith(NANS))
    by_rollups, by_samples = answers(reader, f"{function}(m[40d])", QuerySpan(END_MS, END_MS, 1))
    assert by_rollups == by_samples
    by_rollups = reader.given[RAW] / len(ts_ms) - 1  # the answer by samples alone read all of them
    assert by_rollups > 0.9 if function == "count_over_time" else by_rollups < 0.05


@pytest.mark.parametrize("function", ["sum_over_time", "avg_over_time", "last_over_time", "rate", ""])
def test_what_rollups_do_not_give_exactly_is_read_raw(function):
    plan = planned(Selection((), START_MS, START_MS + 90 * DAY, function, 90 * DAY, 0))
    assert plan.levels == [] and plan.rest == [(START_MS + 1, START_MS + 90 * DAY + 1)]


def test_windows_that_move_a_little_each_step_are_read_raw():
    plan = planned(Selection((), START_MS, START_MS + 20 * DAY, "max_over_time", 10 * DAY, 5 * MINUTE))
    assert plan.levels == []


def test_a_sample_at_the_very_start_of_a_window_is_not_in_it():
    reader = RolledReader({"x": (np.array([START_MS, START_MS + DAY, START_MS + 31 * DAY]), np.array([9.0, 1.0, 2.0]))})
    at = START_MS + 30 * DAY
    by_rollups, by_samples = answers(reader, "max_over_time(m[30d])", QuerySpan(at, at + DAY, DAY))
    assert by_rollups == by_samples == [((("series", "x"),), [1.0, 2.0], [at, at + DAY])]
