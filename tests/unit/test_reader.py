"""Reads over the tiers: one answer, never a shorter one without a word."""

import threading

import numpy as np
import pytest
from carbyne.adapters.redis.hot import HotRead
from carbyne.core import stamps
from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.items import Item
from carbyne.core.keys import RESOLUTIONS, BlockKey, SourceKey, Window
from carbyne.core.limits import AHEAD_MS_MAX, LATEST_BACK_MS, LATEST_READERS
from carbyne.read.reader import REBUILDING, How, Newest, Reader, ReadTimes
from carbyne.read.views import Views
from carbyne.samples import blocks
from carbyne.samples.columns import EMPTY, Columns, Rows, between, from_rows
from carbyne.samples.markers import Marker
from carbyne.store.catalogue_items import Pending, Windows
from carbyne.store.tiers import BlockTiers

NOW_MS = 1_700_000_000_000
LENGTH_S = 14_400
RETENTION_S = 460 * 86_400
SOURCE = SourceKey("acme", "host/a")
MINUTE_MS = 60_000


def samples(series, by_time, sequence=1):
    """Columns of one series; ``by_time``: {ts_ms: value}."""
    times = np.array(list(by_time), np.int64)
    bits = np.array(list(by_time.values()), np.float64).view(np.uint64).reshape(-1, 1)
    return from_rows([Rows((series,), times, [stamps.pack(1, str(sequence))] * len(times), bits)])


class Tiers:
    """Hot tier, warm blocks and catalogue in one.  ``away``: who raises RetryableError; ``asked``: what was asked."""

    def __init__(self):
        self.columns: Columns = EMPTY
        self.whole = True
        self.sealed_s = 0
        self.listed = set()
        self.complete = set()
        self.blocks = {}
        self.archived = {}
        self.again = set()
        self.markers = []
        self.catalogued = set()
        self.away = set()
        self.asked = []

    def read_each(self, sources, query):
        assert query.length_s == LENGTH_S and query.from_ms <= query.to_ms
        known = [name in self.columns.series for name in query.series]
        try:
            self._ask("hot", query.from_ms, query.to_ms)
        except RetryableError as error:
            return dict.fromkeys(sources, error)
        return dict.fromkeys(sources, HotRead(self.whole, known, self.columns, [], self.complete))

    def between(self, source, resolution, from_ms, to_ms, raw_s):
        self._ask("warm", from_ms, to_ms)
        return [(key, item) for key, item in self.blocks.items() if key.window.overlaps(from_ms, to_ms)]

    def seal(self, window, columns):
        self.blocks[BlockKey(SOURCE, "raw", window)] = Item(blocks.encode(columns))

    def archive(self, window, columns):
        self.archived[BlockKey(SOURCE, "raw", window)] = Item(blocks.encode(columns))

    def _ask(self, name, *span):
        self.asked.append((name, *span))
        if name in self.away:
            raise RetryableError(f"{name} is away")


class HotTier:
    def __init__(self, tiers):
        self.tiers = tiers

    def read_each(self, sources, query):
        return self.tiers.read_each(sources, query)

    def series(self, source):
        self.tiers._ask("lists")
        return set(self.tiers.listed)


class Catalogue:
    def __init__(self, tiers):
        self.tiers = tiers

    def of(self, source):
        return self

    def series(self):
        self.tiers._ask("catalogue")
        return dict.fromkeys(self.tiers.catalogued)

    def windows(self, resolution):
        self.tiers._ask("index")
        return Windows({key.window for key in (*self.tiers.blocks, *self.tiers.archived)}, self.tiers.again)

    def pending(self, *, days=False):
        self.tiers._ask("pending")
        return Pending([], [], set())

    def windows_and_markers(self, resolution):
        return self.windows(resolution), self.tiers.markers


class Cold:
    """The archive."""

    def __init__(self, tiers):
        self.tiers = tiers

    def get(self, key):
        self.tiers._ask("cold", key.window)
        return self.tiers.archived.get(key)


@pytest.fixture
def tiers():
    return Tiers()


@pytest.fixture
def reader(tiers):
    catalogue, retention_s = Catalogue(tiers), dict.fromkeys(RESOLUTIONS, RETENTION_S)
    blocks_of = BlockTiers(tiers, Cold(tiers), catalogue)
    views, sealed_s = Views(blocks_of, catalogue), lambda lane: tiers.sealed_s
    return Reader(
        HotTier(tiers), blocks_of, views, catalogue, ReadTimes(LENGTH_S, retention_s, sealed_s, lambda: NOW_MS)
    )


def read(reader, series="m", from_ms=0, to_ms=2**42, partial=False):
    answer = reader.read(SOURCE, series, from_ms, to_ms, How("raw", partial=partial))
    return dict(zip(answer.ts_ms.tolist(), answer.values.tolist(), strict=True)), answer.warnings


def test_samples_of_both_tiers_are_one_answer_settled_by_stamp(tiers, reader):
    old_ms = NOW_MS - 2 * LENGTH_S * 1000
    tiers.columns = samples("m", {NOW_MS: 1.0, old_ms: 2.0}, sequence=7)
    tiers.seal(Window.holding(old_ms, LENGTH_S), samples("m", {old_ms: 9.0, old_ms + 1: 3.0}, sequence=5))
    assert read(reader) == ({old_ms: 2.0, old_ms + 1: 3.0, NOW_MS: 1.0}, [])


def test_hot_is_asked_before_warm_since_samples_move_that_way(tiers, reader):
    tiers.columns = samples("m", {NOW_MS: 1.0})
    read(reader)
    assert [name for name, *_ in tiers.asked] == ["hot", "pending", "warm", "index"]


def test_the_archive_is_asked_for_what_the_table_lacks_and_for_nothing_else(tiers, reader):
    start_ms = [NOW_MS - days * 86_400_000 for days in (9, 8, 1)]
    gone, later, there = (Window.holding(ts_ms, LENGTH_S) for ts_ms in start_ms)
    tiers.archive(gone, samples("m", {start_ms[0]: 1.0}))
    tiers.archive(later, samples("m", {start_ms[1]: 2.0, start_ms[1] + 1: 2.5}, sequence=3))
    tiers.seal(later, samples("m", {start_ms[1]: 3.0}, sequence=4))
    tiers.seal(there, samples("m", {start_ms[2]: 4.0}))
    tiers.again = {later}
    assert read(reader)[0] == dict(
        zip([*start_ms[:2], start_ms[1] + 1, start_ms[2]], [1.0, 3.0, 2.5, 4.0], strict=True)
    )
    assert [window for name, *window in tiers.asked if name == "cold"] == [[gone], [later]]


@pytest.mark.parametrize("away", ["hot", "warm", "index", "cold"])
def test_a_tier_that_is_away_is_on_request_a_warning(tiers, reader, away):
    old_ms = NOW_MS - 9 * 86_400_000
    tiers.columns = samples("m", {NOW_MS: 1.0})
    tiers.archive(Window.holding(old_ms, LENGTH_S), samples("m", {old_ms: 1.0}))
    tiers.away = {away}
    with pytest.raises(RetryableError, match=f"{away} is away"):
        read(reader)
    samples_read, warnings = read(reader, partial=True)
    assert len(warnings) == 1 and set(samples_read) <= {NOW_MS, old_ms} and (NOW_MS in samples_read) == (away != "hot")


def test_windows_that_hot_has_wholly_are_answered_without_warm(tiers, reader):
    window = Window.holding(NOW_MS, LENGTH_S)
    tiers.columns, tiers.complete, tiers.away = samples("m", {NOW_MS: 1.0}), {window}, {"warm"}
    assert read(reader, from_ms=window.start_s * 1000)[0] == {NOW_MS: 1.0}
    with pytest.raises(RetryableError):
        read(reader, from_ms=window.start_s * 1000 - 1)


def test_the_span_is_cut_to_retention_and_the_near_future(tiers, reader):
    tiers.listed = {"m"}
    read(reader, from_ms=-(2**50), to_ms=2**50)
    assert tiers.asked[0] == ("hot", NOW_MS - RETENTION_S * 1000, NOW_MS + AHEAD_MS_MAX)


@pytest.mark.parametrize("span", [(0, 1), (2**50, 2**50 + 1)])
def test_a_span_beyond_what_is_kept_has_no_samples(tiers, reader, span):
    tiers.listed = {"m"}
    edge_ms = NOW_MS - RETENTION_S * 1000
    tiers.columns = samples("m", {edge_ms: 1.0, NOW_MS: 2.0})
    assert read(reader, "m", *span) == ({}, [])


def test_both_ends_are_included(tiers, reader):
    tiers.columns = samples("m", {NOW_MS + i: float(i) for i in range(-2, 3)})
    assert read(reader, "m", NOW_MS - 1, NOW_MS + 1)[0] == {NOW_MS - 1: -1.0, NOW_MS: 0.0, NOW_MS + 1: 1.0}


def test_a_series_that_was_never_seen_is_404(reader):
    with pytest.raises(RequestError, match="'m' of host/a is unknown") as raised:
        read(reader)
    assert raised.value.status == 404


@pytest.mark.parametrize("where", ["listed", "catalogued"])
def test_a_series_seen_outside_of_the_span_is_an_empty_answer(tiers, reader, where):
    setattr(tiers, where, {"m"})
    assert read(reader) == ({}, [])


@pytest.mark.parametrize("away", ["hot", "warm", "index", "lists", "catalogue"])
def test_a_tier_that_is_away_is_no_empty_answer(tiers, reader, away):
    tiers.away = {away}
    with pytest.raises(RetryableError, match=f"{away} is away"):
        read(reader)


def test_a_lane_that_is_rebuilding_is_an_error_or_on_request_a_warning(tiers, reader):
    tiers.columns, tiers.whole = samples("m", {NOW_MS: 1.0}), False
    with pytest.raises(RetryableError, match="rebuilt"):
        read(reader)
    assert read(reader, partial=True) == ({NOW_MS: 1.0}, [REBUILDING])


def test_while_a_lane_is_rebuilding_no_series_counts_as_unknown(tiers, reader):
    tiers.whole = False
    assert read(reader, partial=True) == ({}, [REBUILDING])
    with pytest.raises(RetryableError):
        reader.latest([SOURCE], ["m"])


OLD = Window.holding(NOW_MS - LENGTH_S * 1000, LENGTH_S)


@pytest.mark.parametrize("lost", ["rebuilding", "away"])
def test_what_is_sealed_is_answered_whatever_redis_has_lost(tiers, reader, lost):
    first_ms, last_ms = OLD.start_s * 1000, OLD.end_s * 1000 - 1
    tiers.seal(OLD, samples("m", {first_ms: 1.0, last_ms: 2.0}))
    tiers.whole = False
    tiers.away = {"hot"} if lost == "away" else set()
    tiers.sealed_s = OLD.end_s
    assert read(reader, from_ms=first_ms, to_ms=last_ms) == ({first_ms: 1.0, last_ms: 2.0}, [])
    with pytest.raises(RetryableError):
        read(reader, from_ms=first_ms, to_ms=last_ms + 1)
    tiers.sealed_s = OLD.end_s - 1
    with pytest.raises(RetryableError):
        read(reader, from_ms=first_ms, to_ms=last_ms)
    with pytest.raises(RetryableError):
        read(reader, from_ms=first_ms, to_ms=first_ms)


def test_a_name_that_redis_may_have_lost_is_not_unknown(tiers, reader):
    tiers.whole, tiers.sealed_s = False, OLD.end_s
    with pytest.raises(RetryableError, match="rebuilt"):
        read(reader, from_ms=0, to_ms=OLD.end_s * 1000 - 1)
    assert read(reader, from_ms=0, to_ms=OLD.end_s * 1000 - 1, partial=True) == ({}, [REBUILDING])
    tiers.catalogued = {"m"}
    assert read(reader, from_ms=0, to_ms=OLD.end_s * 1000 - 1) == ({}, [])


def test_nothing_counts_as_sealed_while_that_can_not_be_asked(tiers, reader):
    def away(lane):
        raise RetryableError("the table is away")

    tiers.whole, reader._sealed_s = False, away
    with pytest.raises(RetryableError, match="rebuilt"):
        read(reader, to_ms=OLD.start_s * 1000)


def test_latest_is_the_newest_of_both_tiers_and_leaves_out_what_has_none(tiers, reader):
    tiers.columns = samples("hot", {NOW_MS - MINUTE_MS: 1.0, NOW_MS: 2.0})
    old_ms = NOW_MS - LENGTH_S * 1000
    tiers.seal(Window.holding(old_ms, LENGTH_S), samples("warm", {old_ms: 3.0}))
    answer = reader.latest([SOURCE], ["hot", "warm", "none"])[SOURCE]
    assert answer.samples == {"hot": (NOW_MS, 2.0), "warm": (old_ms, 3.0)} and answer.warnings == []
    assert tiers.asked[0] == ("hot", NOW_MS - LATEST_BACK_MS, NOW_MS + AHEAD_MS_MAX)


@pytest.mark.parametrize("ahead_ms", [-MINUTE_MS, 0, MINUTE_MS])
def test_a_sample_ahead_of_the_clock_may_be_deleted_as_any_other(tiers, reader, ahead_ms):
    """The delete is noted, its row is on its way: only a window that is complete needs no other tier."""
    tiers.columns = samples("m", {NOW_MS - 2 * MINUTE_MS: 1.0, NOW_MS + ahead_ms: 2.0}, sequence=3)
    tiers.markers = [Marker(stamps.pack(1, "9"), "m", NOW_MS + ahead_ms, NOW_MS + ahead_ms)]
    assert reader.latest([SOURCE], ["m"])[SOURCE].samples == {"m": (NOW_MS - 2 * MINUTE_MS, 1.0)}
    tiers.complete, tiers.asked = {Window.holding(NOW_MS, LENGTH_S)}, []
    reader.latest([SOURCE], ["m"])
    assert {name for name, *_ in tiers.asked} == {"hot"}


def test_latest_prefers_a_newer_sample_in_a_block_to_a_late_one_in_redis(tiers, reader):
    """Rows leave Redis with their seal; a late one may come afterwards and be all that is left there."""
    window = Window(Window.holding(NOW_MS, LENGTH_S).start_s - LENGTH_S, LENGTH_S)
    late_ms, sealed_ms = window.start_s * 1000, window.start_s * 1000 + MINUTE_MS
    tiers.columns = samples("m", {late_ms: 1.0}, sequence=9)
    tiers.seal(window, samples("m", {sealed_ms: 2.0}, sequence=5))
    assert reader.latest([SOURCE], ["m"])[SOURCE].samples == {"m": (sealed_ms, 2.0)}


def test_series_are_those_of_all_tiers(tiers, reader):
    tiers.listed, tiers.catalogued = {"a", "b"}, {"b", "c"}
    assert reader.series(SOURCE) == {"a", "b", "c"}


def test_latest_gives_nothing_of_a_block_that_is_older_than_its_bound(tiers, reader):
    """A newer sample, which is too old as well, may be in Redis alone: the block's would be the wrong one."""
    window = Window.holding(NOW_MS - LATEST_BACK_MS, LENGTH_S)
    from_ms = NOW_MS - LATEST_BACK_MS
    assert window.start_s * 1000 < from_ms - 1
    tiers.seal(window, samples("m", {from_ms - 1: 1.0}))
    assert reader.latest([SOURCE], ["m"])[SOURCE].samples == {}
    tiers.seal(window, samples("m", {from_ms - 1: 1.0, from_ms: 2.0}))
    assert reader.latest([SOURCE], ["m"])[SOURCE].samples == {"m": (from_ms, 2.0)}


def test_redis_is_asked_for_the_latest_of_all_sources_at_once(tiers, reader):
    sources = [SourceKey("acme", f"host/{number}") for number in range(1_000)]
    tiers.columns = samples("m", {NOW_MS: 1.0})
    tiers.complete = {Window.holding(NOW_MS, LENGTH_S)}
    assert reader.latest(sources, ["m"]) == dict.fromkeys(sources, Newest({"m": (NOW_MS, 1.0)}, []))
    assert [name for name, *_ in tiers.asked] == ["hot"]


def test_blocks_are_read_for_many_sources_at_the_same_time(tiers, reader):
    sources = [SourceKey("acme", f"host/{number}") for number in range(LATEST_READERS)]
    together, sealed = threading.Barrier(len(sources), timeout=10), tiers.between
    old_ms = NOW_MS - LENGTH_S * 1000
    tiers.seal(Window.holding(old_ms, LENGTH_S), samples("m", {old_ms: 1.0}))

    def between_together(source, *span):
        together.wait()  # breaks unless all are here
        return [(key._replace(source=source), item) for key, item in sealed(source, *span)]

    tiers.between = between_together
    assert reader.latest(sources, ["m"]) == dict.fromkeys(sources, Newest({"m": (old_ms, 1.0)}, []))


def test_one_source_that_can_not_be_read_ends_the_whole_of_latest(tiers, reader):
    away, there = SourceKey("acme", "host/away"), SOURCE
    read = tiers.read_each

    def read_one(sources, query):
        return {**read(sources, query), away: RetryableError("its node is away")}

    tiers.read_each, tiers.columns = read_one, samples("m", {NOW_MS: 1.0})
    with pytest.raises(RetryableError, match="its node is away"):
        reader.latest([there, away], ["m"])
    newest = reader.latest([there, away], ["m"], partial=True)
    assert newest[there] == Newest({"m": (NOW_MS, 1.0)}, [])
    assert newest[away].samples == {} and "hot tier could not be read" in newest[away].warnings[0]


def test_the_last_ms_of_a_span_must_lie_in_a_window_that_hot_has_wholly(tiers, reader):
    window = Window(Window.holding(NOW_MS, LENGTH_S).start_s - LENGTH_S, LENGTH_S)
    start_ms, end_ms = window.start_s * 1000, window.end_s * 1000
    tiers.columns, tiers.complete, tiers.away = samples("m", {end_ms - 1: 1.0}), {window}, {"warm"}
    assert read(reader, from_ms=start_ms, to_ms=end_ms - 1)[0] == {end_ms - 1: 1.0}
    with pytest.raises(RetryableError, match="warm is away"):
        read(reader, from_ms=start_ms, to_ms=end_ms)


class NewestAlone(HotTier):
    """As Redis answers: of each series its newest sample alone, if that is asked for."""

    def read_each(self, sources, query):
        [(source, answer)] = super().read_each(sources, query).items()
        last_ms = max((int(group.ts_ms[-1]) for group in answer.columns.groups), default=0)
        last = answer._replace(columns=between(answer.columns, last_ms, last_ms + 1))
        return {source: last if query.newest else answer}


def test_latest_is_what_a_delete_left_though_redis_knows_nothing_of_it(tiers):
    """The delete is noted, its row is on its way: the sample before the deleted one lies in Redis, behind it."""
    catalogue, retention_s = Catalogue(tiers), dict.fromkeys(RESOLUTIONS, RETENTION_S)
    blocks_of = BlockTiers(tiers, Cold(tiers), catalogue)
    views = Views(blocks_of, catalogue)
    hot = NewestAlone(tiers)
    reader = Reader(hot, blocks_of, views, catalogue, ReadTimes(LENGTH_S, retention_s, lambda lane: 0, lambda: NOW_MS))
    before_ms, deleted_ms = NOW_MS - 2 * MINUTE_MS, NOW_MS - MINUTE_MS
    tiers.columns = samples("m", {before_ms: 1.0, deleted_ms: 2.0}, sequence=3)
    tiers.markers = [Marker(stamps.pack(1, "9"), "m", deleted_ms, deleted_ms)]
    assert reader.latest([SOURCE], ["m"])[SOURCE].samples == {"m": (before_ms, 1.0)}
