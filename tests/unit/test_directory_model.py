"""Whatever is posted, deleted, lost and restored: listings are those of a plain dict.

Two ingesters, the real ones, take turns, and end before and after any call of the table or of Redis; then the batch
comes again.  A reader lists in between.  Targets are divided meanwhile; of two writers one learns of it a minute later.
"""

import logging
import random
import struct
from types import SimpleNamespace

import pytest
from carbyne.core import labels
from carbyne.core.errors import RetryableError
from carbyne.core.keys import split_series
from carbyne.core.limits import TENANT_CACHE_S
from carbyne.hot.ingester import Ingester, RecordSinks
from carbyne.read import finder as finding
from carbyne.read.finder import Finder, KnownSource
from carbyne.read.listings import Listings
from carbyne.read.registered import RegisteredSource, infos_of
from carbyne.samples.schedule import RawTimes, SealSchedule
from carbyne.store.catalogue import Catalogue
from carbyne.store.catalogue_items import SeriesSpan
from carbyne.store.directory import Directory, ListedNames
from carbyne.store.reindex import Reindex
from carbyne.stream import records
from carbyne.stream.arrived import Arrived
from carbyne.tenants import divisions
from carbyne.tenants.divisions import begins_s, divided, source_at
from carbyne.tenants.windows import RawLengths

from tests.support.fakes import Crash, FakeTable
from tests.unit.test_ingester import Meter

DAY_S = 86_400
KEEP_S = 460 * DAY_S
LENGTH_S = 14_400
NAMES = ["up", "load", "cpu{x}", "a,b", "e", "f"]
SCHEDULES = 60
HOSTS = ["host/h1", "host/h2", "service/shop"]


class Ending:
    """A store some of whose calls end the ingester, or fail, before or after they took effect."""

    def __init__(self, store, world):
        self._store, self._world = store, world

    def __getattr__(self, name):
        def call(*arguments):
            self._world.may_end()
            answer = getattr(self._store, name)(*arguments)
            self._world.may_end()
            return answer

        return call


class World:
    """``rows``: source -> key -> span, of what Redis was given; ``all``: labels -> span, the plain dict; ``divides``:
    whether targets are divided, as in one schedule of three."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.now_s, self.table, self.sequence = 20_000.0 * DAY_S, FakeTable(), 0
        self.rows, self.all, self.registered, self.told = {}, {}, [], set()
        self.ends_in, self.error = None, Crash()
        self.divides = seed % 3 == 1
        self.divisions, self.stale, self.divided_s = {}, {}, 0.0
        self.ingesters = [self.new_ingester(), self.new_ingester()]
        directory = Directory(self.table, KEEP_S, self.clock)
        finder = Finder(directory, self.spans, self.clock)
        self.listings = Listings(finder, self.registered_of, directory.metrics)

    def registered_of(self, tenant):
        return self.registered if tenant == "acme" else []

    def clock(self):
        return self.now_s

    def now_ms(self):
        return int(self.now_s * 1000)

    def new_ingester(self):
        return Ingester(
            sinks=RecordSinks(
                hot=SimpleNamespace(write=self.write),
                deletes=None,
                late=None,
                facts=Directory(Ending(self.table, self), KEEP_S, self.clock),
                quarantine=None,
            ),
            tenant_exists=lambda tenant: True,
            epoch=1,
            times=RawTimes(SealSchedule(120, 0), LENGTH_S, KEEP_S, self.now_ms),
            lengths=RawLengths(lambda tenant: (), LENGTH_S),
            meter=Meter(),
        )

    def may_end(self):
        if self.ends_in is not None:
            self.ends_in -= 1
            if self.ends_in < 0:
                self.ends_in = None
                raise self.error

    def spans(self, sources, to_ms, keep):
        for source in sources:
            spans = self.rows.get(source, {})
            yield source, len(spans), {key: span for key, span in spans.items() if keep(key)}

    def post(self):
        """A batch: facts of targets that were not told lately, then a row of each source."""
        series = [self.labels() for _ in range(self.dice.randint(1, 4))]
        by_source = {}
        for each in series:
            by_source.setdefault(self.source_of(each), {})[labels.key_of(each)] = each
        if self.dice.random() < 0.3:
            by_source.setdefault(self.dice.choice(HOSTS), {})[self.dice.choice(["cpu", "custom.a{b", "up"])] = None
        facts = {
            source: labels.text(labels.target_of(next(iter(of_source.values()))))
            for source, of_source in by_source.items()
            if labels.is_labelled(source) and (source, int(self.now_s) // 3600) not in self.told
        }
        self.told |= {(source, int(self.now_s) // 3600) for source in facts}
        ts_ms = self.now_ms()
        rows = [
            (source, ts_ms, "\n".join(sorted(keys)).encode(), struct.pack(f"<{len(keys)}d", *range(len(keys))))
            for source, keys in by_source.items()
        ]
        batch = [records.encode(records.FactsRecord("acme", {source: facts[source]}, {})) for source in sorted(facts)]
        self.ingest([*batch, *records.pack("acme", rows, 10**6)])

    def source_of(self, each):
        """As one of two writers gives it, of which one learns of a division a minute after the other."""
        if self.now_s >= self.divided_s + TENANT_CACHE_S:
            self.stale = dict(self.divisions)
        source = labels.source_of(each)
        known = self.dice.choice([self.divisions, self.stale]) if self.divides else {}
        now = source_at(source, labels.key_of(each), self.divisions.get(source, ()), self.now_ms())
        assert source_at(source, labels.key_of(each), known.get(source, ()), self.now_ms()) == now
        return now

    def divide(self):
        """A target, or a bucket."""
        self.stale, self.divided_s = dict(self.divisions), self.now_s
        source = self.dice.choice([*TARGETS, *(f"prom/bucket-{number:02d}" for number in range(labels.BUCKETS))])
        keys = [f"{name}{{zone={zone}}}".encode() for name in "abcdef" for zone in "xyz"]
        begins = begins_s(int(self.now_s))
        self.divisions[source] = divided(self.divisions.get(source, ()), keys, self.dice.choice([1, 4, 9]), begins)

    def ingest(self, batch):
        entries = [Arrived(str(self.sequence + number), data, self.now_s) for number, data in enumerate(batch)]
        self.sequence += len(batch)
        while True:
            number = self.dice.randrange(2)
            self.ends_in = self.dice.choice([*[None] * 12, *range(6)])
            self.error = self.dice.choice([Crash("the ingester ends here"), RetryableError("away")])
            try:
                first = self.ingesters[number].ingest(entries)
                if first is None:
                    break
                entries = [entry for entry in entries if int(entry.sequence) >= int(first)]
            except Crash:
                self.ingesters[number] = self.new_ingester()
            self.check()
        self.ends_in = None

    def write(self, lanes):
        """As ``HotWriter``: what failed of a lane is its outcome."""
        try:
            return Ending(self, self).store(lanes)
        except RetryableError as error:
            return dict.fromkeys(lanes, error)

    def store(self, lanes):
        """As Redis and the catalogue know it."""
        for group in (group for groups in lanes.values() for group in groups):
            for row in group.rows:
                for key in split_series(row.series):
                    self.see(group.source, key, row.ts_ms)
        return {lane: SimpleNamespace(stored=1, lost=False) for lane in lanes}

    def see(self, source, key, ts_ms):
        span = SeriesSpan(ts_ms, ts_ms)
        of_source = self.rows.setdefault(source, {})
        of_source[key] = of_source[key].joined(span) if key in of_source else span
        self.all[source.source, key] = of_source[key]

    def delete(self):
        """All series of a source, as a delete and its cleaning leave them."""
        if self.rows:
            source = self.dice.choice(sorted(self.rows))
            for key in self.rows.pop(source):
                del self.all[source.source, key]

    def lose(self):
        """The directory is lost, and made again.  Ingesters end: what they remember they would not write again before
        the next day."""
        self.ingesters = [self.new_ingester(), self.new_ingester()]
        for place in [place for place in self.table.items if place[0].startswith("facts:")]:
            del self.table.items[place]

        def series_each(sources):
            return {source: {key: tuple(span) for key, span in self.rows[source].items()} for source in sources}

        hot = SimpleNamespace(sources=lambda: list(self.rows), series_each=series_each)
        directory = Directory(self.table, KEEP_S, self.clock)
        Reindex(directory, Catalogue(self.table), lambda day: (), hot, self.clock).run(range(1), lambda so_far: None)

    def register(self):
        self.registered = [
            RegisteredSource(source, source[5:] if source < "s" else "", "working")
            for source in HOSTS
            if self.dice.random() < 0.7
        ]

    def labels(self):
        pick = self.dice.choice
        made = {
            "__name__": pick(NAMES),
            "job": pick(["", "api=1"]),
            "instance": pick(["", "a:1", "c%3", "c%3"]),
            "zone": pick(["", "x", "y\n"]),
        }
        return {name: value for name, value in made.items() if value}

    def matchers(self):
        made = []
        for _ in range(self.dice.randint(1, 3)):
            name = self.dice.choice(["__name__", "job", "instance", "zone", "source", "nowhere"])
            value = self.dice.choice(["", "api=1", "a:1", "x", "a", "host/h1", *NAMES])
            made.append((name, self.dice.choice([value.__eq__, value.__ne__, _begins(value), _begins_not(value)])))
        return made

    def expected(self, from_ms, to_ms):
        """Each series once, also if a divided target has it in two sources."""
        alike = {tuple(sorted(each.items())) for each in self.those_of(from_ms, to_ms)}
        return [dict(each) for each in sorted(alike)]

    def those_of(self, from_ms, to_ms):
        listed = {source.source for source in self.registered}
        for (source, key), span in self.all.items():
            if span.first_ms <= to_ms and span.last_ms >= from_ms and (labels.is_labelled(source) or source in listed):
                yield self.labels_of(source, key)
        yield from ({name: value for name, value in info.items() if value} for info in infos_of(self.registered))

    def labels_of(self, source, key):
        if not labels.is_labelled(source):
            return {"__name__": key, "source": source}
        return TARGETS.get(labels.whole_of(source), {}) | labels.parse(key)

    def check(self):
        self.now_s += 3.5
        ends_in, self.ends_in = self.ends_in, None
        from_ms = self.now_ms() - self.dice.choice([60_000, DAY_S * 1000, 10 * DAY_S * 1000])
        to_ms = self.now_ms() - self.dice.choice([0, 0, 30_000, DAY_S * 1000])
        selectors = [self.matchers() for _ in range(self.dice.randint(1, 2))]
        series = [
            each
            for each in self.expected(from_ms, to_ms)
            if any(all(test(each.get(name, "")) for name, test in matchers) for matchers in selectors)
        ]
        asked = "acme", selectors, from_ms, to_ms
        assert self.listings.series(*asked) == sorted(tuple(sorted(each.items())) for each in series)
        assert self.listings.label_names(*asked).texts == sorted({name for each in series for name in each})
        label = self.dice.choice(["__name__", "job", "zone", "source"])
        values = {each[label] for each in series if label in each}
        assert self.listings.label_values("acme", label, *asked[1:]).texts == sorted(values)
        assert self.listings.series("rival", *asked[1:]) == []
        self.ends_in = ends_in


def _begins(value):
    return lambda text: text.startswith(value)


def _begins_not(value):
    return lambda text: not text.startswith(value)


TARGETS = {
    labels.source_of(target): target
    for job in ({}, {"job": "api=1"})
    for instance in ("a:1", "c%3")
    for target in [{**job, "instance": instance}]
}


def run(seed, steps=60):
    world = World(seed)
    for _ in range(steps):
        dice = world.dice.random()
        if dice < 0.45:
            world.post()
        elif dice < 0.5:
            world.delete()
        elif dice < 0.55:
            world.register()
        elif dice < 0.57:
            world.lose()
        elif dice < 0.65:
            world.now_s += world.dice.choice([60, 3_600, DAY_S])
        elif dice > 0.95 and world.divides:
            world.divide()
        else:
            world.check()


@pytest.fixture(autouse=True)
def small_portions(monkeypatch):
    """Of one record each: facts of one fail, and those of the next don't."""
    monkeypatch.setattr("carbyne.hot.ingester.PORTION_COST_US_MAX", 1)
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", range(20))
def test_it_lists_what_a_plain_dict_lists(seed):
    run(seed)


def _after_rows(ingester, tenants, behind):
    """Instead of ``_note_facts``: nothing yet."""
    return set()


def _for_each_portion(ingester, portion, arrived_ms, behind):
    """As if no portion of the batch had failed before."""
    return STORE_PORTION(ingester, portion, arrived_ms, set())


def _stored_first(store):
    def stored(ingester, arrivals, arrived_ms):
        failed = store(ingester, arrivals, arrived_ms)
        portion = SimpleNamespace(facts=[], arrivals=list(arrivals))
        return failed | NOTE_FACTS(ingester, ingester._said_of(portion, set()), set())

    return stored


def _whatever_is_there(table, partition, sort, item, replaces):
    table.items[partition, sort] = item
    return True


def _of_wholes(directory, tenant, targets, metrics, series):
    NOTE(directory, tenant, {of: said for of, said in targets.items() if labels.whole_of(of) == of}, metrics, series)


def _twice(listings, asked, registered, sources_max=0):
    """As ``_found``, each series for each of its sources."""
    matched = listings._finder.find(*asked, registered, sources_max)
    infos = [info for info in infos_of(registered) if any(all(t(info.get(n, "")) for n, t in s) for s in asked[1])]
    labels = [series.labels for series in matched]
    return [tuple(sorted((n, v) for n, v in each.items() if v)) for each in [*labels, *infos]]


def _at_once(divisions, at_s):
    return divisions[-1] if divisions else None


NOTE = Directory.note
NOTE_FACTS, STORE_PORTION = Ingester._note_facts, Ingester._store_portion
SEEK = finding._Sought.finds_inside
BUGS = {
    "rows are written before the directory": [
        (Ingester, "_note_facts", _after_rows),
        (Ingester, "_store", _stored_first(Ingester._store)),
    ],
    "rows of a tenant whose facts failed go on": [(Ingester, "_store_portion", _for_each_portion)],
    "an entry is put whatever is there": [(FakeTable, "put", _whatever_is_there)],
    "names of labels are not joined": [(ListedNames, "joined", lambda old, new: ListedNames(old[0] | new[0], old[1]))],
    "a change of the directory is not told": [(Directory, "_tell", lambda directory: None)],
    "what the directory says is kept for ever": [(finding, "DIRECTORY_CACHE_S", 10**9)],
    "a day of arrival is taken for that of the samples": [(finding, "RAW_DAYS_MAX", -2)],
    "labels inside are taken for those of targets": [(KnownSource, "says", lambda source, label: label != "__name__")],
    "the labels of a divided target are kept for its whole alone": [(Directory, "note", _of_wholes)],
    "a series of a divided target is listed for each source": [(Listings, "_found", _twice)],
    "a division holds as soon as it is known": [(divisions, "_at", _at_once)],
    "a division begins at once": [(divisions, "STEP_AHEAD_S", -3_600)],
    "a host's metric is read as a key": [
        (finding._Inside, "labels_of", lambda inside, decided, key: labels.parse(key))
    ],
    "a label that a source says is sought in keys": [
        (finding._Sought, "finds_inside", lambda sought, decided, inner: SEEK(sought, frozenset(), inner))
    ],
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug):
    """Else the test above would show nothing."""
    for seed in range(SCHEDULES):
        with pytest.MonkeyPatch.context() as planted:
            for place, name, broken in BUGS[bug]:
                planted.setattr(place, name, broken)
            try:
                run(seed)
            except AssertionError:
                return
    pytest.fail(f"{SCHEDULES} schedules pass although {bug}")
