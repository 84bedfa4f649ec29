"""Reads that see a replaced master by themselves, before the sealer does."""

from typing import NamedTuple

import pytest
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey
from carbyne.hot.failovers import failed_over
from carbyne.hot.served import ServedReads
from carbyne.samples.rows import HotQuery

SOURCE = SourceKey("acme", "host/a")
LANE = SOURCE.lane
OLD, NEW, OTHER = "aa" * 20, "bb" * 20, "cc" * 20


class Answer(NamedTuple):
    master: str
    whole: bool = True

    def unproven(self):
        return self._replace(whole=False)


class Master(NamedTuple):
    id: str
    before: str = ""
    process: str = ""
    offset: int = 0
    replicas: frozenset = frozenset()


class Redis:
    """Lanes, the note and the hot tier in one; ``between``: what happens right before a read."""

    def __init__(self):
        self.served = {LANE: Master(OLD), LANE + 1: Master(OTHER)}
        self.note = {LANE: OLD, LANE + 1: OTHER}
        self.asked = []
        self.between = lambda: None
        self.reads = ServedReads(self, self.Notes(self), self)

    class Notes:
        def __init__(self, redis):
            self.redis = redis

        def masters(self):
            self.redis.asked.append("note")
            return dict(self.redis.note)

        def lost(self, noted, seen):
            return failed_over(noted, seen)

    def masters(self):
        self.asked.append("masters")
        return dict(self.served)

    def read_each(self, sources, query):
        self.between()
        self.asked.append("read")
        self.read_last = list(sources)
        return {source: Answer(self.served[source.lane].id) for source in sources}

    def series(self, source):
        return {"m"}

    def ask_each(self, *sources):
        self.asked = []
        return {
            source: answer.whole
            for source, answer in self.reads.read_each(sources, HotQuery(0, 1, 14_400, ["m"])).items()
        }

    def ask(self):
        self.asked = []
        answer = self.reads.read_each([SOURCE], HotQuery(0, 1, 14_400, ["m"]))[SOURCE]
        return answer.whole


@pytest.fixture
def redis():
    return Redis()


def test_the_note_is_taken_before_redis_is_asked_and_then_kept(redis):
    assert redis.ask() and redis.asked == ["note", "read"]
    assert redis.ask() and redis.asked == ["read"]
    assert redis.reads.series(SOURCE) == {"m"}


def test_a_lane_of_another_master_is_not_whole_until_that_is_noted(redis):
    redis.ask()
    redis.served[LANE] = Master(NEW, OLD)
    assert not redis.ask()
    assert not redis.ask()
    redis.note[LANE] = NEW
    assert redis.ask() and redis.asked == ["read", "note", "read"]


def test_an_answer_from_before_the_note_was_taken_does_not_count(redis):
    """The tail was missing in it, and is replayed by now."""
    redis.ask()
    redis.served[LANE] = Master(NEW, OLD)
    redis.note[LANE] = NEW
    assert redis.ask() and redis.asked == ["read", "note", "read"], "it is read once more"


def test_a_lane_that_moved_to_another_shard_is_whole(redis):
    redis.ask()
    redis.served[LANE + 2] = Master(OLD)
    redis.served[LANE] = Master(OTHER)
    assert redis.ask() and redis.asked[-1] == "masters"


def test_a_lane_that_is_not_noted_yet_is_whole_and_the_note_is_asked_each_time(redis):
    redis.note = {}
    assert redis.ask() and redis.ask() and redis.asked == ["note", "read"]


def test_of_many_sources_those_alone_are_read_again_whose_master_is_another(redis):
    other = next(
        candidate for number in range(10_000) if (candidate := SourceKey("acme", f"host/{number}")).lane == LANE + 1
    )
    assert redis.ask_each(SOURCE, other) == {SOURCE: True, other: True} and redis.asked == ["note", "read"]
    redis.served[LANE] = Master(NEW, OLD)
    assert redis.ask_each(SOURCE, other) == {other: True, SOURCE: False}
    assert redis.asked == ["read", "note", "read", "masters"]
    assert redis.read_last == [SOURCE]


def test_without_the_note_there_is_no_answer(redis):
    def away():
        raise RetryableError("the table is away")

    redis.Notes.masters, kept = lambda self: away(), redis.Notes.masters
    try:
        assert isinstance(redis.reads.read_each([SOURCE], HotQuery(0, 1, 14_400, ["m"]))[SOURCE], RetryableError)
    finally:
        redis.Notes.masters = kept


def test_a_doubt_that_can_not_be_settled_fails_that_source_alone(redis):
    """A partial read goes on without it, as without a tier that is away."""
    other = next(
        candidate for number in range(10_000) if (candidate := SourceKey("acme", f"host/{number}")).lane == LANE + 1
    )
    redis.ask_each(SOURCE, other)
    redis.served[LANE] = Master(NEW, OLD)

    def away():
        raise RetryableError("the cluster is away")

    redis.masters = away
    answers = redis.reads.read_each([SOURCE, other], HotQuery(0, 1, 14_400, ["m"]))
    assert isinstance(answers[SOURCE], RetryableError) and answers[other].whole
