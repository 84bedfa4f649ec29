"""Rows name their series by the dictionary of their window: no loss, race or older row gives one another's name."""

from copy import deepcopy

import numpy as np
import pytest
from carbyne.adapters.redis.commands import checked
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.core import stamps
from carbyne.core.errors import CorruptDataError, RetryableError
from carbyne.core.keys import SourceKey, Window, join_series, list_identity
from carbyne.core.limits import WRITE_ROUNDS_MAX
from carbyne.samples.columns import column
from carbyne.samples.rows import BITMAP, DENSE, RUNS, SPARSE, HotQuery, HotRow, RowGroup

from tests.model.world import MemoryStores
from tests.support.older import write_older

SOURCE = SourceKey("acme", "prom/a")
WINDOW = Window(1_699_992_000, 14_400)
START_MS, END_MS = WINDOW.start_s * 1000, WINDOW.end_s * 1000
MINUTE_MS = 60_000


class System:
    """A Redis, its sealer, and as many writers as a test wants."""

    def __init__(self):
        self.stores = MemoryStores(lambda: START_MS + MINUTE_MS)
        self.nodes = self.stores.nodes
        self.windows = HotWindows(self.nodes)
        self.calls = []
        self.expected = {}
        self.hot = self.writer()
        self.hot.init()
        self.calls.clear()

    def writer(self):
        return HotStore(Noting(self.nodes, self.calls))

    def write(self, minute, names, writer=None, sequence=None):
        group = self.group(minute, names, sequence)
        outcome = (writer or self.hot).write({SOURCE.lane: [group]})[SOURCE.lane]
        assert not isinstance(outcome, RetryableError), outcome
        return outcome

    def group(self, minute, names, sequence=None):
        """Values that say whose and when they are."""
        blob, ts_ms = join_series(sorted(names)), START_MS + minute * MINUTE_MS
        self.expected |= {(name, ts_ms): value_of(name, minute) for name in names}
        values = np.array([value_of(name, minute) for name in sorted(names)], "<f8").tobytes()
        stamp = stamps.pack(1, str(sequence or len(self.expected)))
        return RowGroup(SOURCE, WINDOW, END_MS, True, [HotRow(ts_ms, list_identity(blob), blob, stamp, values)])

    def kinds(self):
        rows = self.nodes.redis.values[SOURCE.rows(WINDOW).encode()]
        return {value[len(stamps.ZERO)] for value in rows.values()}

    def read(self, names):
        return checked(self.hot.read_each([SOURCE], HotQuery(START_MS, END_MS, WINDOW.length_s, names))[SOURCE])

    def assert_all_is_read(self):
        """By the sealer, and by a reader, one series after the other and all at once."""
        names = sorted({name for name, _ in self.expected})
        rows = self.windows.rows(SOURCE, WINDOW).columns
        together = self.read(names)
        assert all(together.known)
        for columns in (rows, together.columns):
            assert {(name, ts): v for name in names for ts, v in samples(columns, name)} == self.expected
        for name in names:
            alone = self.read([name]).columns
            assert dict(samples(alone, name)) == {ts: v for (of, ts), v in self.expected.items() if of == name}
        assert self.hot.series(SOURCE) == set(names)


class Noting:
    """Nodes that note the bytes of each call."""

    def __init__(self, nodes, calls):
        self._nodes = nodes
        self._calls = calls

    def run(self, calls, *, replicated=False):
        self._calls += [sum(len(word) for word in call.words if isinstance(word, bytes)) for call in calls]
        return self._nodes.run(calls, replicated=replicated)


def value_of(name, minute):
    return float(int.from_bytes(name.encode(), "big") % 99_991) + minute / 1000


def samples(columns, name):
    ts_ms, bits = column(columns, name)
    return zip(ts_ms.tolist(), bits.view(np.float64).tolist(), strict=True)


@pytest.fixture
def system():
    return System()


NAMES = [f"metric_{number:03d}" for number in range(60)]


def test_rows_of_any_pieces_are_read_whole(system):
    for minute in range(4):
        system.write(minute, NAMES[minute::4])
    assert system.kinds() == {RUNS}, "what each sender has is a run of its own"
    for minute in range(4, 8):
        system.write(minute, NAMES[: 7 * minute])
        system.write(minute, NAMES[7 * minute :])
    assert system.kinds() == {RUNS, BITMAP}
    system.write(9, [*NAMES[5:15], "another", "metric_0055"])
    system.assert_all_is_read()


def test_names_travel_only_when_redis_does_not_know_them(system):
    system.write(0, NAMES)
    [first] = system.calls
    system.write(1, NAMES)
    system.write(2, NAMES[10:50])
    assert first > sum(map(len, NAMES)) + 8 * len(NAMES)
    assert len(system.calls) == 3 and max(system.calls[1:]) < 8 * len(NAMES) + 200


def test_a_writer_that_knows_nothing_asks_and_stores_the_same(system):
    system.write(0, NAMES)
    other = system.writer()
    system.write(1, NAMES[20:40], other)
    system.write(2, NAMES, other)
    system.write(3, ["new", *NAMES[:3]], other)
    system.write(4, NAMES[::2])
    system.assert_all_is_read()


def test_two_writers_that_add_names_by_turns_agree(system):
    writers = [system.writer(), system.writer()]
    for minute in range(12):
        system.write(minute, [f"{'ab'[minute % 2]}{number}" for number in range(minute + 1)], writers[minute % 2])
    system.assert_all_is_read()


def test_names_do_not_swap_over_two_promotions(system):
    """The append that one replica lacks is followed by another one there; then the first replica is promoted."""
    first, second = system.writer(), system.writer()
    for writer in (first, second):
        system.write(0, ["old"], writer, sequence=1)
    without = deepcopy(system.nodes.redis.values)
    system.write(1, ["old", "x"], first, sequence=2)
    with_x = deepcopy(system.nodes.redis.values)
    system.nodes.redis.values = without
    kept = dict(system.expected)
    system.write(2, ["old", "y"], second, sequence=3)
    system.write(3, ["old", "x"], first, sequence=4)
    system.nodes.redis.values = with_x
    system.expected = kept
    system.write(4, ["old", "y"], second, sequence=5)
    system.write(5, ["old", "x"], first, sequence=6)
    system.write(6, ["y", "x"], second, sequence=7)
    system.assert_all_is_read()


def test_an_append_that_was_lost_is_not_taken_for_another_one(system):
    first, second = system.writer(), system.writer()
    for writer in (first, second):
        system.write(0, ["old"], writer, sequence=1)
    before, kept = deepcopy(system.nodes.redis.values), dict(system.expected)
    system.write(1, ["old", "x"], first, sequence=2)
    system.nodes.redis.values, system.expected = before, kept
    system.write(2, ["old", "y"], second, sequence=3)
    system.write(3, ["old", "x"], first, sequence=4)
    system.write(4, ["x", "y"], first, sequence=5)
    system.assert_all_is_read()


def test_groups_of_one_window_in_one_call_are_asked_together(system):
    """What one of them makes the writer learn again, the others need as well."""
    many = [f"many{number:04d}" for number in range(600)]
    system.write(0, many)
    other = system.writer()
    system.write(1, many[:5], other)
    system.write(2, ["between"])
    groups = [system.group(3, many[:5]), system.group(4, ["behind", many[9]])]
    assert other.write({SOURCE.lane: groups})[SOURCE.lane].stored == 2
    assert system.windows.rows(SOURCE, WINDOW).columns.samples == len(system.expected)


def test_a_row_whose_dictionary_gives_it_other_names_is_not_sealed(system):
    system.write(0, ["a", "b"])
    key = SOURCE.dictionary(WINDOW).encode()
    system.nodes.redis.values[key] = {b"a": b"0", b"c": b"1"}
    with pytest.raises(CorruptDataError, match="other series"):
        system.windows.rows(SOURCE, WINDOW)


def test_a_dictionary_that_went_with_its_rows_is_made_again(system):
    system.write(0, NAMES)
    rows = system.windows.rows(SOURCE, WINDOW)
    assert system.windows.confirm(SOURCE, WINDOW, rows.pairs, expiry_ms=0, again_ms=END_MS)
    assert not system.nodes.redis.values.get(SOURCE.lists(WINDOW).encode())
    system.expected.clear()
    system.write(1, NAMES[:30], sequence=999)
    system.assert_all_is_read()


def test_writers_that_never_agree_are_an_error_for_the_lane_and_lose_nothing(system):
    class Contended(Noting):
        """Another writer adds a name before each write."""

        def run(self, calls, *, replicated=False):
            if replicated:
                number = len(self._calls)
                system.write(number, [f"other{number}"], system.writer(), sequence=10**6 + number)
                self._calls.append(0)
            return self._nodes.run(calls, replicated=replicated)

    calls = []
    group = system.group(50, ["mine"])
    mine = {at: system.expected.pop(at) for at in list(system.expected)}
    store = HotStore(Contended(system.nodes, calls))
    outcome = store.write({SOURCE.lane: [group]})[SOURCE.lane]
    assert isinstance(outcome, RetryableError) and len(calls) == WRITE_ROUNDS_MAX
    system.assert_all_is_read()
    assert system.hot.write({SOURCE.lane: [group]})[SOURCE.lane].stored == 1
    system.expected |= mine
    system.assert_all_is_read()


def test_rows_of_older_code_are_read_and_sealed_beside_others(system):
    def older(minute, names):
        write_older(system.nodes, system.group(minute, names), lists_max=2)

    older(0, NAMES)
    older(1, NAMES[:20])
    older(2, NAMES[10:30])
    older(3, ["odd", *NAMES[30:33]])
    assert system.kinds() == {DENSE, SPARSE}
    system.write(4, NAMES)
    older(5, ["late", *NAMES[3:9]])
    system.write(6, ["odd", "late", "new"])
    other = system.writer()
    system.write(7, NAMES[::2], other)
    system.write(8, ["newer", *NAMES[::2]], other)
    system.write(9, ["newer"], other)
    assert system.kinds() == {DENSE, SPARSE, RUNS, BITMAP}
    system.assert_all_is_read()


def test_a_record_that_older_code_stored_changes_nothing_when_it_comes_again(system):
    group = system.group(0, NAMES)
    write_older(system.nodes, group, lists_max=16)
    assert system.hot.write({SOURCE.lane: [group]})[SOURCE.lane].stored == 0
    system.assert_all_is_read()
