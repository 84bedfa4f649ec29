"""How far a replay is: what instances of the replayer note, and what an operator reads."""

import pytest
from carbyne.cli.replay import in_the_end, so_far
from carbyne.core.errors import RetryableError
from carbyne.hot.jobs import Job
from carbyne.hot.progress import NOTE_S, Note, Notes, Progress, Speed, speed
from carbyne.stream import records
from carbyne.stream.arrived import Arrived

from tests.support.fakes import FakeTable

FENCE = records.encode(records.FenceRecord("token"))


class Reader:
    """An instance of the replayer with a clock of its own; batches are of ten records a second apart."""

    def __init__(self, table, token="token"):
        self.table, self.now_s, self.token = table, 5000.0, token
        self.progress = Progress(Notes(table), lambda: self.token, lambda: self.now_s)

    def take(self, first_s, shard="a", seconds=1.0, data=b""):
        begun_s = self.now_s
        self.now_s += seconds
        self.progress.add(shard, begun_s, [Arrived(str(i), data, "", first_s + i) for i in range(10)])


@pytest.fixture
def table():
    return FakeTable()


def test_the_first_batch_is_noted_with_the_time_that_it_took(table):
    Reader(table).take(1000)
    assert Notes(table).of("token") == [Note("token", 5000, 5001, 1000, 1009, 10)]
    assert speed(Notes(table).of("token")) == Speed(1000, 1009, 10.0, 9.0)


def test_notes_are_rare_and_count_what_came_in_between(table):
    reader = Reader(table)
    for number in range(12):
        reader.take(1000 + 10 * number)
    assert table.calls["put"] == 1 + int(11 // NOTE_S)
    (note,) = Notes(table).of("token")
    assert note == Note("token", 5000, 5011, 1000, 1109, 110)


def test_what_comes_behind_the_fences_does_not_count(table):
    reader = Reader(table)
    reader.take(1000)
    reader.take(1010, data=FENCE)
    reader.take(1020, seconds=600)
    assert Notes(table).of("token") == [Note("token", 5000, 5002, 1000, 1019, 20, ended=True)]


def test_each_replay_begins_its_own_note(table):
    reader = Reader(table)
    reader.take(1000, data=FENCE)
    reader.take(1010)  # not noted: the replay is over
    reader.token, reader.now_s = "next", 9000.0
    reader.take(1000)
    assert Notes(table).of("next") == [Note("next", 9000, 9001, 1000, 1009, 10)]
    assert Notes(table).of("token") == []


def test_two_instances_add_up_and_shards_are_apart(table):
    first, other = Reader(table), Reader(table)
    first.take(1000)
    other.now_s = 5001.0
    other.take(1010)
    other.take(2000, shard="b", seconds=NOTE_S)
    notes = Notes(table).of("token")
    assert [note.records for note in notes] == [20, 10]
    assert speed(notes) == Speed(1000, 1019, 30 / 7, 19 / 7)


def test_nothing_is_noted_of_no_replay_and_nothing_fails_without_the_table(table):
    reader = Reader(table, token=None)
    reader.take(1000)
    assert table.items == {}

    def away():
        raise RetryableError("away")

    Progress(Notes(table), away, lambda: 0.0).add("a", 0.0, [Arrived("1", FENCE)])
    assert table.items == {}
    Progress(Notes(table), away, lambda: 0.0).add("a", 0.0, [])


def test_words():
    job, note = Job("t", [1, 2], 1_700_003_600, 2), Note("t", 50, 92, 1_700_000_000, 1_700_001_800, 84)
    assert so_far(job, []) == "0 of 2 lanes are whole; the stream is read within a minute or two"
    assert so_far(job, [note]) == (
        "the stream is replayed up to 2023-11-14 22:43:20 UTC, 50% of it, 43x real time, 2 records/s;"
        " 0 of 2 lanes are whole"
    )
    assert in_the_end("t", []) == "replay t is done"
    assert in_the_end("t", [note]) == (
        "replay t is done: 1,800 s of the stream in 84 records, 43x real time, 2 records/s"
    )
