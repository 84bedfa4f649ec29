"""The ingester: what is set aside, what stays in the stream, what is written, and what is never mixed."""

import struct
from collections import Counter
from types import SimpleNamespace
from zlib import crc32

import pytest
from carbyne.core import stamps
from carbyne.core.errors import InvariantError, RetryableError
from carbyne.core.keys import SourceKey, Window, lane_of
from carbyne.core.limits import FACT_COST_US, INGEST_RESERVE_S, WINDOW_COST_US
from carbyne.hot.ingester import Ingester, RecordSinks
from carbyne.samples.schedule import RawTimes, SealSchedule
from carbyne.stream import records
from carbyne.stream.arrived import Arrived
from carbyne.tenants.windows import LengthStep, RawLengths

LENGTH_S = 14_400
NOW_MS = 1_700_000_000_000
RETENTION_S = 460 * 86_400
EPOCH = 3


class Hot:
    """Notes what is written; ``outcomes``: lane -> RetryableError or outcome, else all rows are stored."""

    def __init__(self):
        self.written = []
        self.outcomes = {}

    def write(self, lanes):
        self.written.append(lanes)
        stored = {lane: sum(len(group.rows) for group in groups) for lane, groups in lanes.items()}
        return {lane: self.outcomes.get(lane, SimpleNamespace(stored=stored[lane], lost=False)) for lane in lanes}

    @property
    def rows(self):
        """{(source, window start, ts_ms, series): (stamp, values)} of the last write."""
        return {
            (group.source, group.window.start_s, row.ts_ms, row.series): (row.stamp, row.values)
            for groups in self.written[-1].values()
            for group in groups
            for row in group.rows
        }


class Meter(Counter):
    def add(self, name, amount=1):
        self[name] += amount

    def flush_due(self):
        self.flushed = True


class System:
    """An ingester with fakes on all sides; ``away``: what raises RetryableError."""

    def __init__(self):
        self.hot = Hot()
        self.kept = {}
        self.deletes = []
        self.asked, self.now_ms = 0, NOW_MS
        self.late, self.late_away = {}, set()
        self.away = set()
        self.meter = Meter()
        self.used = []
        self.facts = []
        self.steps = ()
        self.ingester = Ingester(
            sinks=RecordSinks(
                hot=self.hot,
                deletes=SimpleNamespace(note=self._note),
                late=SimpleNamespace(put=self._put_late),
                facts=SimpleNamespace(note=self._note_facts),
                quarantine=SimpleNamespace(put=self._keep),
            ),
            tenant_exists=self._exists,
            epoch=EPOCH,
            times=RawTimes(SealSchedule(120, 0), LENGTH_S, RETENTION_S, lambda: self.now_ms),
            lengths=RawLengths(lambda tenant: self.steps, LENGTH_S),
            meter=self.meter,
            usage=SimpleNamespace(take=self.used.extend),
        )

    def ingest(self, *entries):
        return self.ingester.ingest([Arrived(sequence, data) for sequence, data in entries])

    def _note(self, source, marker, arrived_ms):
        self.asked += 1
        if "deletes" in self.away:
            raise RetryableError("the table is away")
        self.deletes.append((source, marker, len(self.hot.written)))

    def _put_late(self, groups):
        if "late" in self.away:
            raise RetryableError("the table is away")
        self.late.update({key: rows for key, rows in groups.items() if key[0] not in self.late_away})
        return {source: RetryableError("no") for source, _ in groups if source in self.late_away}

    def _note_facts(self, tenant, targets, metrics, names):
        if "facts" in self.away:
            raise RetryableError("the table is away")
        self.facts.append((tenant, targets, metrics, names, len(self.hot.written)))

    def _keep(self, stamp, data, reason):
        if "quarantine" in self.away:
            raise RetryableError("the failure bucket is away")
        self.kept[stamp] = data, reason

    def _exists(self, tenant):
        if "accounts" in self.away:
            raise RetryableError("the accounts are away")
        return tenant in ("acme", "bolt")


@pytest.fixture
def system():
    return System()


def record(*rows, tenant="acme"):
    """One record of rows (source, ts_ms, series, value)."""
    packed = [(source, ts_ms, series, struct.pack("<d", value)) for source, ts_ms, series, value in rows]
    (data,) = records.pack(tenant, packed, 10**6)
    return data


def of_version(data, version):
    """Sound bytes of another version: its CRC is right."""
    head, body_bytes, body = bytes((data[0], version)), data[6:10], data[10:]
    return head + struct.pack("<I", crc32(head + body_bytes + body)) + body_bytes + body


GOOD = record(("host/a", 60_000, b"m", 1.0))


def test_rows_are_written_with_the_stamp_of_their_record(system):
    assert system.ingest(("17", record(("host/a", 60_000, b"m", 1.0), ("host/b", 60_000, b"n", 2.0)))) is None
    stamp = stamps.pack(EPOCH, "17")
    assert system.hot.rows == {
        (SourceKey("acme", "host/a"), 0, 60_000, b"m"): (stamp, struct.pack("<d", 1.0)),
        (SourceKey("acme", "host/b"), 0, 60_000, b"n"): (stamp, struct.pack("<d", 2.0)),
    }
    assert system.meter["RecordsIngested"] == 1 and system.meter["RowsStored"] == 2 and system.meter.flushed


FACTS = records.encode(records.FactsRecord("acme", {"prom/a": "{instance=a}"}, {"up": records.Metric("gauge", "", "")}))


def test_facts_are_kept_before_rows(system):
    rows = record(("prom/a", 60_000, b"up", 1.0))
    assert system.ingest(("1", FACTS), ("2", rows)) is None
    assert system.facts == [("acme", {"prom/a": "{instance=a}"}, {"up": ("gauge", "", "")}, {"prom/a": {"up"}}, 0)]
    assert len(system.hot.written) == 1


def test_names_are_kept_once_for_each_list(system):
    for sequence, series in ((1, b"a{x=1}\nb"), (2, b"a{x=1}\nb"), (3, b"c%2C{x=1}\nd")):
        values = struct.pack("<2d", 1.0, 2.0)
        (data,) = records.pack("acme", [("prom/a", 60_000 * sequence, series, values)], 10**6)
        assert system.ingest((str(sequence), data)) is None
    assert [series for _, _, _, series, _ in system.facts] == [
        {"prom/a": {"a{x=1}", "b"}},
        {"prom/a": {"c%2C{x=1}", "d"}},
    ]


def test_rows_of_labelled_sources_come_to_windows_by_their_own_time(system):
    boundary_s = (NOW_MS // 1000 // LENGTH_S + 1) * LENGTH_S  # so that none of them is late
    system.steps = (LengthStep(boundary_s, True),)
    rows = [("prom/a", 1000 * boundary_s - 1, b"up", 1.0), ("prom/a", 1000 * boundary_s, b"up", 1.0)]
    rows.append(("host/b", 1000 * boundary_s, b"up", 1.0))
    assert system.ingest(("1", record(*rows))) is None
    windows = [(group.source.source, group.window) for groups in system.hot.written[-1].values() for group in groups]
    assert sorted(windows) == [
        ("host/b", Window(boundary_s, LENGTH_S)),
        ("prom/a", Window(boundary_s - LENGTH_S, LENGTH_S)),
        ("prom/a", Window(boundary_s, 3_600)),
    ]


def test_labelled_rows_wait_for_their_facts_and_others_do_not(system):
    system.away = {"facts"}
    rows, bolts = record(("prom/a", 60_000, b"up", 1.0)), record(("host/b", 60_000, b"up", 1.0), tenant="bolt")
    assert system.ingest(("1", GOOD), ("2", FACTS), ("3", rows), ("4", bolts)) == "2"
    assert {source.source for source, *_ in system.hot.rows} == {"host/a", "host/b"}
    system.away = set()
    assert system.ingest(("2", FACTS), ("3", rows)) is None
    assert {source.source for source, *_ in system.hot.rows} == {"prom/a"}


def test_rows_in_a_later_portion_wait_for_facts_that_failed(system, monkeypatch):
    """The table is back by then: the rows would be found without the labels of their target until the batch comes
    again.  Other tenants do not wait."""
    monkeypatch.setattr("carbyne.hot.ingester.PORTION_COST_US_MAX", 1)
    note, failures = system._note_facts, iter([True])

    def flaky(*said):
        if next(failures, False):
            raise RetryableError("the table is away")
        note(*said)

    system.ingester._facts = SimpleNamespace(note=flaky)
    rows, bolts = record(("prom/a", 60_000, b"up", 1.0)), record(("prom/b", 60_000, b"up", 1.0), tenant="bolt")
    entries = [("1", FACTS), ("2", rows), ("3", bolts), ("4", GOOD)]
    assert system.ingest(*entries) == "1"
    written = {group.source.source for lanes in system.hot.written for groups in lanes.values() for group in groups}
    assert written == {"prom/b", "host/a"}
    assert system.ingest(*entries) is None
    assert "acme" in {tenant for tenant, *_ in system.facts}
    written = {group.source.source for lanes in system.hot.written for groups in lanes.values() for group in groups}
    assert "prom/a" in written


def test_rows_that_wait_for_no_facts_are_written_before_these(system):
    """A tenant with many new targets holds up its own rows alone."""
    rows, bolts = record(("prom/a", 60_000, b"up", 1.0)), record(("prom/b", 60_000, b"up", 1.0), tenant="bolt")
    assert system.ingest(("1", bolts)) is None
    assert system.ingest(("2", FACTS), ("3", rows), ("4", bolts), ("5", GOOD)) is None
    first, second = (
        {group.source for groups in lanes.values() for group in groups} for lanes in system.hot.written[1:]
    )
    assert first == {SourceKey("bolt", "prom/b"), SourceKey("acme", "host/a")}
    assert second == {SourceKey("acme", "prom/a")}
    assert [noted for *_, noted in system.facts] == [0, 2]


def test_new_names_cost_as_facts_do(system, monkeypatch):
    monkeypatch.setattr("carbyne.hot.ingester.PORTION_COST_US_MAX", 3 * FACT_COST_US)
    entries = [(str(number), record((f"prom/{number}", 60_000, b"up", 1.0))) for number in range(1, 7)]
    assert system.ingest(*entries) is None
    assert [len(names) for _, _, _, names, _ in system.facts] == [2, 2, 2]
    assert system.ingest(*entries) is None
    assert len(system.facts) == 3 and len(system.hot.written) == 4, "known names cost nothing"


def test_redriven_facts_are_facts(system):
    stamp = stamps.pack(EPOCH, "1")
    assert system.ingest(("9", records.encode(records.RedrivenRecord(stamp, FACTS)))) is None
    assert len(system.facts) == 1


def test_facts_of_an_unknown_tenant_are_set_aside(system):
    assert system.ingest(("1", records.encode(records.FactsRecord("nobody", {"prom/a": ""}, {})))) is None
    assert not system.facts and len(system.kept) == 1


def test_one_write_holds_all_lanes_of_a_batch_and_each_group_is_a_source_and_window(system):
    rows = [(f"host/h{i}", minute * 60_000, b"m", 1.0) for i in range(30) for minute in (0, 1, 239, 240)]
    system.ingest(("1", record(*rows)))
    (lanes,) = system.hot.written
    for lane, groups in lanes.items():
        assert len({(group.source, group.window) for group in groups}) == len(groups)
        for group in groups:
            assert group.source.lane == lane == lane_of("acme", group.source.source)
            assert {Window.holding(row.ts_ms, LENGTH_S) for row in group.rows} == {group.window}
            closed_ms = (group.window.end_s + 120) * 1000
            assert group.due_ms == (closed_ms if closed_ms >= NOW_MS else NOW_MS + LENGTH_S * 1000 // 2)
    assert len(system.hot.rows) == len(rows)


@pytest.mark.parametrize("order", [("9", "10"), ("10", "9")])
def test_of_one_list_and_time_the_highest_stamp_is_written_whatever_the_order(system, order):
    value = {"9": 1.0, "10": 2.0}
    system.ingest(*((sequence, record(("host/a", 0, b"m", value[sequence]))) for sequence in order))
    assert list(system.hot.rows.values()) == [(stamps.pack(EPOCH, "10"), struct.pack("<d", 2.0))]


def test_other_lists_of_one_time_are_kept_apart(system):
    system.ingest(("1", record(("host/a", 0, b"m", 1.0))), ("2", record(("host/a", 0, b"n", 2.0))))
    assert {series for _, _, _, series in system.hot.rows} == {b"m", b"n"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "bytes"),
        (b"garbage" * 10, "checksum"),
        (GOOD[:-1], "checksum"),
        (GOOD[:-1] + bytes((GOOD[-1] ^ 1,)), "checksum"),
        (b"\0" * 1_000_001, "bytes"),
        (record(("host/a", 0, b"m", 1.0), tenant="nobody"), "unknown tenant 'nobody'"),
    ],
    ids=["empty", "garbage", "truncated", "flipped bit", "too large", "unknown tenant"],
)
def test_a_corrupt_record_is_set_aside_with_its_reason_and_holds_up_nothing(system, data, reason):
    assert system.ingest(("1", GOOD), ("2", data), ("3", record(("host/b", 0, b"m", 2.0)))) is None
    ((stamp, (kept, why)),) = system.kept.items()
    assert (stamp, kept) == (stamps.pack(EPOCH, "2"), data) and reason in why
    assert len(system.hot.rows) == 2
    assert (system.meter["RecordsQuarantined"], system.meter["RecordsIngested"]) == (1, 3)


def test_a_corrupt_record_stays_while_the_failure_store_is_away(system):
    system.away.add("quarantine")
    assert system.ingest(("1", GOOD), ("2", b"garbage"), ("3", GOOD)) == "2"
    assert system.hot.rows, "the good ones are written nevertheless"
    assert system.meter["RecordsQuarantined"] == 0


def test_a_newer_version_stays_in_the_stream_and_is_not_set_aside(system):
    assert system.ingest(("1", GOOD), ("2", of_version(GOOD, records.VERSION + 1)), ("3", GOOD)) == "2"
    assert system.kept == {} and system.hot.rows


def test_an_unknown_tenant_is_not_judged_while_the_accounts_are_away(system):
    system.away.add("accounts")
    assert system.ingest(("1", GOOD), ("2", record(("host/a", 0, b"m", 1.0), tenant="nobody"))) == "1"
    assert system.kept == {} and system.hot.written == []


def test_the_lowest_sequence_number_of_a_failed_lane_is_returned_as_a_number(system):
    """As text "10" would come before "9"."""
    system.hot.outcomes[lane_of("acme", "host/b")] = RetryableError("no replica")
    first, second = record(("host/a", 0, b"m", 1.0)), record(("host/b", 0, b"m", 1.0))
    assert lane_of("acme", "host/a") != lane_of("acme", "host/b")
    assert system.ingest(("8", first), ("9", second), ("10", second), ("11", first)) == "9"
    assert system.meter["RecordsIngested"] == 2
    assert system.kept == {}, "a store that fails is no reason to set a record aside"


def test_a_row_that_was_deduplicated_fails_with_its_lane(system):
    system.hot.outcomes[lane_of("acme", "host/a")] = RetryableError("no replica")
    assert system.ingest(("1", GOOD), ("2", GOOD)) == "1"


def test_a_lane_that_had_lost_something_is_counted_and_done(system):
    system.hot.outcomes[lane_of("acme", "host/a")] = SimpleNamespace(stored=1, lost=True)
    assert system.ingest(("1", GOOD)) is None
    assert system.meter["LanesLost"] == 1


def test_tenants_are_kept_apart(system):
    system.ingest(("1", GOOD), ("2", record(("host/a", 60_000, b"m", 2.0), tenant="bolt")))
    assert {source.tenant for source, _, _, _ in system.hot.rows} == {"acme", "bolt"}


def test_a_batch_of_poison_alone_writes_nothing(system):
    assert system.ingest(("1", b"x"), ("2", b"y")) is None
    assert system.hot.written == []


def test_a_sequence_number_past_the_stamp_stops_everything(system):
    with pytest.raises(InvariantError, match="2\\*\\*192"):
        system.ingest((str(2**192), GOOD))


def test_what_is_stored_is_counted_with_the_time_of_its_arrival(system):
    data = record(("host/a", 60_000, b"m", 1.0))
    system.ingester.ingest([Arrived("1", data, "l0001", 123.5)])
    [row] = system.used
    assert (row.source, row.series, row.samples, row.arrived_s) == (SourceKey("acme", "host/a"), b"m", 1, 123.5)


def test_what_comes_again_is_not_counted_yet(system):
    """Lambda sends again from the first record that failed, whatever was stored behind it."""
    system.hot.outcomes[lane_of("acme", "host/b")] = RetryableError("no replica")
    first, second = record(("host/a", 0, b"m", 1.0)), record(("host/b", 0, b"m", 1.0))
    system.ingest(("1", first), ("2", second), ("3", first), ("4", b"garbage"))
    assert [row.source.source for row in system.used] == ["host/a"]
    system.hot.outcomes.clear()
    system.ingest(("2", second), ("3", first), ("4", b"garbage"))
    assert sorted(row.source.source for row in system.used) == ["host/a", "host/a", "host/b"]


def test_a_delete_is_noted_with_its_stamp_after_the_rows_of_its_batch(system):
    delete = records.encode(records.DeleteRecord("acme", "host/a", "m", 5, 9))
    assert system.ingest(("1", delete), ("2", GOOD)) is None
    ((source, marker, writes),) = system.deletes
    assert source == SourceKey("acme", "host/a") and writes == 1
    assert marker == (stamps.pack(EPOCH, "1"), "m", 5, 9)
    assert system.meter["Deletes"] == 1 and system.meter["RecordsIngested"] == 2


def test_a_delete_that_cannot_be_noted_stays_and_what_follows_comes_again(system):
    system.away.add("deletes")
    delete = records.encode(records.DeleteRecord("acme", "host/a", "", 5, 9))
    assert system.ingest(("1", GOOD), ("2", delete), ("3", GOOD)) == "2"
    assert system.meter["Deletes"] == 0


def test_when_time_is_short_the_rest_is_the_first_record_that_failed(system, monkeypatch):
    """Each call makes progress, and none is killed in the middle of what it did before."""
    monkeypatch.setattr("carbyne.hot.ingester.PORTION_COST_US_MAX", 2 * WINDOW_COST_US + 100)
    hosts = [(str(number), record((f"host/h{number}", 60_000, b"m", 1.0))) for number in range(1, 8)]
    entries = [Arrived(*entry) for entry in hosts]
    left_s = iter([INGEST_RESERVE_S, INGEST_RESERVE_S - 1])
    assert system.ingester.ingest(entries, lambda: next(left_s)) == "5"
    assert [sum(map(len, lanes.values())) for lanes in system.hot.written] == [2, 2]
    assert system.meter["RecordsIngested"] == 4 and len(system.used) == 4
    assert system.ingester.ingest(entries[4:], lambda: 0.0) == "7", "the first portion is always tried"
    assert system.ingester.ingest(entries[6:], lambda: 0.0) is None
    assert system.meter["RecordsIngested"] == 7 and len(system.used) == 7


def test_work_is_cut_by_what_it_costs_and_not_by_the_number_of_records(system, monkeypatch):
    """A record with many windows is a portion of its own; rows of one window cost little."""
    monkeypatch.setattr("carbyne.hot.ingester.PORTION_COST_US_MAX", 5 * WINDOW_COST_US)
    cheap = [(str(number), record(("host/a", number * 60_000, b"m", 1.0))) for number in range(1, 5)]
    wide = record(*(("host/a", number * LENGTH_S * 1000, b"m", 1.0) for number in range(40)))
    delete = records.encode(records.DeleteRecord("acme", "host/a", "m", 5, 9))
    assert system.ingest(*cheap, ("5", wide), ("6", delete), ("7", delete)) is None
    groups = [[group for groups in lanes.values() for group in groups] for lanes in system.hot.written]
    assert [len(some) for some in groups] == [1, 40] and len(groups[0][0].rows) == 4
    assert len(system.deletes) == 2


def test_a_record_that_cannot_be_judged_counts_to_the_portion_that_it_is_in(system, monkeypatch):
    monkeypatch.setattr("carbyne.hot.ingester.PORTION_COST_US_MAX", WINDOW_COST_US)
    newer = of_version(GOOD, records.VERSION + 1)
    left_s = iter([0.0])
    entries = [Arrived("1", GOOD), Arrived("2", GOOD), Arrived("3", newer)]
    assert system.ingester.ingest(entries, lambda: next(left_s)) == "2"


def test_behind_a_delete_that_cannot_be_noted_no_other_is_tried(system):
    """Each would wait for all tries of a store that is away, and the call would end in the middle."""
    system.away.add("deletes")
    delete = records.encode(records.DeleteRecord("acme", "host/a", "", 5, 9))
    assert system.ingest(*((str(number), delete) for number in range(1, 9))) == "1"
    assert system.asked == 1


def test_a_delete_of_an_unknown_tenant_is_set_aside(system):
    assert system.ingest(("1", records.encode(records.DeleteRecord("nobody", "host/a", "", 5, 9)))) is None
    assert not system.deletes and list(system.kept) == [stamps.pack(EPOCH, "1")]


def redriven(sequence, data):
    return records.encode(records.RedrivenRecord(stamps.pack(EPOCH, sequence), data))


def test_a_redriven_record_keeps_its_stamp_and_is_not_counted_as_use(system):
    fresh_ms = NOW_MS // 1000 // LENGTH_S * LENGTH_S * 1000
    system.now_ms = fresh_ms + 1000
    assert system.ingest(("9", redriven("3", record(("host/a", fresh_ms, b"m", 1.0))))) is None
    assert list(system.hot.rows.values()) == [(stamps.pack(EPOCH, "3"), struct.pack("<d", 1.0))]
    ((groups,),) = [lanes.values() for lanes in system.hot.written]
    assert [group.fresh for group in groups] == [False] and not system.used
    system.ingest(("10", record(("host/b", fresh_ms, b"m", 1.0))))
    ((groups,),) = [lanes.values() for lanes in system.hot.written[1:]]
    assert [group.fresh for group in groups] == [True] and len(system.used) == 1


def test_redriven_rows_past_retention_are_left_out(system):
    oldest_ms = NOW_MS - (RETENTION_S - 2 * 86_400) * 1000
    system.ingest(("9", redriven("3", record(("host/a", oldest_ms, b"m", 1.0), ("host/a", oldest_ms - 1, b"m", 2.0)))))
    assert [ts_ms for _, _, ts_ms, _ in system.hot.rows] == [oldest_ms]
    assert system.meter["RowsTooOld"] == 1


@pytest.mark.parametrize("inner", [b"garbage", redriven("1", GOOD)], ids=["garbage", "one within another"])
def test_a_redriven_record_that_is_corrupt_is_set_aside_whole_under_its_own_stamp(system, inner):
    data = redriven("3", inner)
    assert system.ingest(("9", data)) is None
    assert {stamp: kept for stamp, (kept, _) in system.kept.items()} == {stamps.pack(EPOCH, "9"): data}


def test_a_redriven_delete_has_the_stamp_that_it_had(system):
    system.ingest(("9", redriven("3", records.encode(records.DeleteRecord("acme", "host/a", "", 5, 9)))))
    assert [marker.stamp for _, marker, _ in system.deletes] == [stamps.pack(EPOCH, "3")]


CLOSED_S = (NOW_MS // 1000 // LENGTH_S + 1) * LENGTH_S + 120
"""When the window of now, and its grace, are over."""


@pytest.mark.parametrize(("arrived_s", "late"), [(CLOSED_S, False), (CLOSED_S + 0.001, True)])
def test_a_row_is_late_by_its_arrival_and_not_by_the_clock(system, arrived_s, late):
    """An ingester that lags, and a replay, put each row where it was put before."""
    rows = [("host/a", NOW_MS, b"m", 1.0), ("host/a", CLOSED_S * 1000, b"m", 2.0)]
    for clock_ms in (NOW_MS - 10**9, NOW_MS + 10**9):
        system.now_ms = clock_ms
        system.late.clear()
        assert system.ingester.ingest([Arrived("1", record(*rows), "", arrived_s)]) is None
        assert [row.ts_ms for rows in system.late.values() for row in rows] == [NOW_MS] * late
        assert (NOW_MS in {ts_ms for _, _, ts_ms, _ in system.hot.rows}) != late


def test_late_rows_that_fail_hold_up_their_own_records_alone(system):
    old = [record((f"host/{name}", 60_000, b"m", 1.0)) for name in "abc"]
    entries = [Arrived(str(number), data, "", NOW_MS / 1000) for number, data in enumerate(old, 1)]
    system.late_away = {SourceKey("acme", "host/b")}
    assert system.ingester.ingest(entries) == "2"
    assert {source.source for source, _ in system.late} == {"host/a", "host/c"}
    system.away.add("late")
    assert system.ingester.ingest([Arrived("9", GOOD), *entries]) == "1"
    assert len(system.hot.rows) == 1, "the others are written nevertheless"
