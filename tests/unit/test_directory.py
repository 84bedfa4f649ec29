"""The directory keeps what rows don't say of labelled series, with few writes."""

import pytest
from carbyne.core.errors import RetryableError
from carbyne.store.directory import Directory, MetricEntry, SourceEntry

from tests.support.fakes import FakeTable

DAY_S = 86_400
KEEP_S = 460 * DAY_S


class Counted(FakeTable):
    """Counts written items; ``away`` makes writes fail after the first item."""

    def __init__(self):
        super().__init__()
        self.written, self.away = 0, False

    def write(self, puts, removals):
        if self.away:
            super().write(puts[:1], removals)
            raise RetryableError("the table is away")
        self.written += len(puts)
        super().write(puts, removals)


@pytest.fixture
def table():
    return Counted()


class Clock:
    now_s = 20_000.0 * DAY_S

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def directory(table, clock):
    return Directory(table, KEEP_S, clock)


UP = {"up": ("gauge", "Is it up?", "")}


def test_facts_come_back_of_their_tenant_alone(directory):
    targets = {f"prom/{number:024x}": f"{{instance=h{number},job=node}}" for number in range(100)}
    directory.note("acme", targets, UP)
    directory.note("a:b", {"prom/x": ""}, {})
    assert {source: entry.target for source, entry in directory.sources("acme").items()} == targets
    assert directory.metrics("acme") == {"up": MetricEntry("gauge", "Is it up?", "")}
    assert directory.sources("a:b") == {"prom/x": SourceEntry("", 20_000, 20_000)}
    assert directory.sources("a") == {}


def test_a_fact_is_written_once_a_day_and_when_it_changes(directory, table, clock):
    def note(**metrics):
        before = table.written
        directory.note("acme", {"prom/a": "{instance=a}"}, metrics or UP)
        return table.written - before

    assert [note(), note(), note(up=("counter", "", ""))] == [2, 0, 1]
    clock.now_s += DAY_S
    assert note(up=("counter", "", "")) == 1
    assert directory.sources("acme") == {"prom/a": SourceEntry("{instance=a}", 20_000, 20_001)}


def test_another_instance_keeps_the_first_day(table, clock):
    Directory(table, KEEP_S, clock).note("acme", {"prom/a": ""}, {})
    clock.now_s += 5 * DAY_S
    Directory(table, KEEP_S, clock).note("acme", {"prom/a": ""}, {})
    assert Directory(table, KEEP_S, clock).sources("acme") == {"prom/a": SourceEntry("", 20_000, 20_005)}


def test_what_failed_is_written_again(directory, table):
    table.away = True
    with pytest.raises(RetryableError):
        directory.note("acme", {"prom/a": "", "prom/b": ""}, UP)
    table.away = False
    directory.note("acme", {"prom/a": "", "prom/b": ""}, UP)
    assert directory.sources("acme").keys() == {"prom/a", "prom/b"}


def test_entries_outlive_their_samples_and_no_longer(directory, table, clock):
    directory.note("acme", {"prom/a": ""}, UP)
    assert {item.expires_s for item in table.items.values()} == {int(clock.now_s) + KEEP_S}
