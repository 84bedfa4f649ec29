"""A source whose samples arrive, are sealed, rolled up, archived and removed in any order, with a plain oracle.

The real sealer, roller, archiver and reader over stores in memory.  ``World`` does single things; ``Life`` and ``race``
draw what happens from a random generator and compare what readers see with what they should see.
"""

import math
import random
from collections import Counter, deque
from contextlib import suppress

import numpy as np
from carbyne.adapters.redis.hot import HotRead
from carbyne.adapters.redis.windows import WindowRows
from carbyne.archive.archiver import Archiver, archive
from carbyne.core import stamps
from carbyne.core.keys import RESOLUTIONS, BlockKey, SourceKey, Window, is_block
from carbyne.read.reader import How
from carbyne.samples.columns import Rows, between, from_rows, restrict
from carbyne.samples.schedule import SealSchedule
from carbyne.store.catalogue import Catalogue
from carbyne.stream.arrived import Image
from carbyne.tenants.accounts import Accounts
from carbyne.wiring import reader as wiring_reader
from carbyne.wiring import sealer as wiring_sealer

from harness.wired import reader_settings, sealer_settings
from servers import plain
from tests.support.fakes import Crash, DictCache, FakeBlocks, FakeTable, Steps
from tests.support.turns import Turns

SOURCE = SourceKey("acme", "host/a")
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
WARM_S = {"raw": 86_400, "5m": 2 * 86_400, "1h": 5 * 86_400, "1d": 10 * 86_400}
FOREVER_S = 100 * 365 * 86_400
BASE_MS = 655 * 30 * DAY_MS
"""A boundary of daily blocks, and so of days and hours."""


class Hot:
    """Rows of a source in Redis: window -> {field: (stamp, ts_ms, {series: value})}; ``expiry_ms``: of sealed ones."""

    def __init__(self, world):
        self.world = world
        self.windows = {}
        self.expiry_ms = {}

    def write(self, stamp, ts_ms, values):
        window, field = Window.holding(ts_ms, self.world.length_s), (ts_ms, tuple(sorted(values)))
        self.expire()
        rows = self.windows.setdefault(window, {})
        if field not in rows or rows[field][0] < stamp:
            rows[field] = stamp, ts_ms, values
            self.expiry_ms.pop(window, None)

    def expire(self):
        for window in [expired for expired, ends in self.expiry_ms.items() if ends <= self.world.now_ms]:
            del self.windows[window], self.expiry_ms[window]

    @property
    def unsealed(self):
        self.expire()
        return [window for window in self.windows if window not in self.expiry_ms]

    def read_each(self, sources, query):
        self.expire()
        overlapping = [rows for window, rows in self.windows.items() if window.overlaps(query.from_ms, query.to_ms)]
        columns = from_rows([row for rows in overlapping for row in _columns(rows)])
        known = [name in columns.series for name in query.series]
        columns_read = between(restrict(columns, query.series.__contains__), query.from_ms, query.to_ms + 1)
        return dict.fromkeys(sources, HotRead(True, known, columns_read, sorted(self.windows, reverse=True), set()))

    def series(self, source):
        return {name for rows in self.windows.values() for _, _, values in rows.values() for name in values}

    def rows(self, source, window):
        self.expire()
        rows_held = self.windows.get(window, {})
        return WindowRows([(field, row[0]) for field, row in rows_held.items()], from_rows(_columns(rows_held)), [], 0)

    def shards(self):
        return []

    def confirm(self, source, window, pairs, *, expiry_ms, again_ms, early=False):
        rows = self.windows.get(window, {})
        matching = [field for field, stamp in pairs if field in rows and rows[field][0] == stamp]
        if expiry_ms and len(matching) == len(rows):
            if rows:
                self.expiry_ms[window] = expiry_ms
            return True
        if window not in self.expiry_ms:
            for field in () if expiry_ms else matching:
                del rows[field]
            if not rows:
                self.windows.pop(window, None)
        return not rows


def _columns(rows):
    return [
        Rows(
            tuple(sorted(values)),
            np.array([ts_ms]),
            [stamp],
            np.array([[values[n] for n in sorted(values)]]).view("u8"),
        )
        for stamp, ts_ms, values in rows.values()
    ]


class Table(FakeTable):
    """``changes``: images of blocks, oldest first, as the table's stream gives them; ``blind``: puts of rollups ask no
    condition."""

    def __init__(self, *, blind=False):
        super().__init__()
        self.changes = deque()
        self.blind = blind

    def put(self, partition, sort, item, replaces):
        if self.blind and is_block(partition) and not partition.startswith("raw:"):
            replaces = self.items.get((partition, sort))
        done = super().put(partition, sort, item, replaces)
        if done and is_block(partition):
            self.changes.append(Image("", BlockKey.of_item(partition, sort), item.data, False))
        return done


class OneByOne:
    """In place of threads, so that each call of a port is a turn of its job."""

    map = staticmethod(map)


class Meter:
    def __init__(self):
        self.counts = Counter()

    def add(self, name, amount=1):
        self.counts[name] += amount

    def peak(self, name, amount):
        pass

    def flush_due(self):
        pass


class World:
    """``posted``: what was ever posted, {series: {ts_ms: value}}."""

    def __init__(self, length_s=14_400, hot_s=0, now_ms=BASE_MS, *, blind=False, warm_s=WARM_S):
        self.length_s = length_s
        self.now_ms = now_ms
        self.warm_s = warm_s
        self.hot_s = hot_s
        self.hot, self.table, self.cold = Hot(self), Table(blind=blind), FakeBlocks()
        self.catalogue = Catalogue(self.table)
        self.meter = Meter()
        self.posted = {}
        self.sequence = 0
        self.turns = None
        self.archiver = Archiver(self.cold, self.catalogue, None, lambda: self.now_ms, self.meter)
        self.cache = DictCache()
        self.reader = self.new_reader(lambda port: port)

    def new_reader(self, watched, threads=None, raw_s=FOREVER_S):
        """``threads``: in place of those with which a view reads several resolutions; ``raw_s``: retention of raw
        samples."""
        ports = wiring_reader.ReaderPorts(
            hot=watched(self.hot),
            windows=None,
            table=watched(self.table),
            cold=watched(self.cold),
            accounts=Accounts(None, lambda: 0.0),  # asked for no key
            now_ms=lambda: self.now_ms,
            cache=self.cache,
        )
        reader = wiring_reader.assemble(reader_settings(self.length_s, FOREVER_S, raw_s), ports).queries.reader
        reader._views._threads = threads or reader._views._threads
        return reader

    def new_sealer(self, watched, retention_s=FOREVER_S):
        """``retention_s``: of raw samples."""
        ports = wiring_sealer.SealerPorts(
            hot=watched(self.hot),
            table=watched(self.table),
            cold=watched(self.cold),
            admission=None,
            initialised=lambda: True,
            new_token=lambda: "",
            now_ms=lambda: self.now_ms,
            meter=self.meter,
        )
        settings = sealer_settings(SealSchedule(120, 0), retention_s, self.hot_s, self.warm_s)
        return wiring_sealer.assemble(settings, ports)

    def post(self, by_series, ts_ms):
        """One row, a stream record of its own."""
        self.sequence += 1
        stamp = stamps.pack(1, str(self.sequence))
        self.hot.write(stamp, ts_ms, by_series)
        for name, value in by_series.items():
            self.posted.setdefault(name, {})[ts_ms] = value
        return stamp

    def samples(self, series):
        return self.posted.get(series, {})

    def due(self):
        return sorted(window for window in self.hot.unsealed if window.end_s * 1000 <= self.now_ms)

    def seal(self, *windows, sealer=None):
        for window in windows:
            (sealer or self.new_sealer(lambda port: port)).seal(SOURCE, window)

    def seal_all(self):
        while due := self.due():
            self.seal(*due)

    def archive(self, count=None):
        """The next ``count`` images of the table's stream, or all."""
        count = len(self.table.changes) if count is None else count
        assert self.archiver.take([self.table.changes.popleft() for _ in range(count)]) is None

    def expire(self, choose=lambda: True):
        """TTL removes some of what is expired; the archive had been made sure of before, as reconciling does."""
        for key, item in list(self.table.items.items()):
            if 0 < item.expires_s <= self.now_ms // 1000 and choose():
                block = BlockKey.of_item(*key)
                archive(self.cold, self.catalogue, block, item.data)
                del self.table.items[key]
                self.table.changes.append(Image("", block, item.data, True))

    def expire_all(self):
        """Only the archive and the catalogue are left."""
        self.now_ms += 40 * 365 * DAY_MS
        self.hot.expire()
        self.expire()
        assert not [key for key in self.table.items if is_block(key[0])]

    def wrong(self, resolution, aggregate, span=None, reader=None):
        """(series, what a reader sees, what it should see) of each series that it sees wrongly."""
        from_ms, to_ms = span or (BASE_MS - 50 * DAY_MS, BASE_MS + 100 * DAY_MS)
        differences = {}
        for series in self.posted:
            answer = (reader or self.reader).read(SOURCE, series, from_ms, to_ms, How(resolution, aggregate))
            seen = dict(zip(answer.ts_ms.tolist(), map(plain.bits, answer.values.tolist()), strict=True))
            want = plain.view(self.samples(series), resolution, aggregate, from_ms, to_ms)
            if seen != want:
                differences[series] = {t: (seen.get(t), want.get(t)) for t in seen | want if seen.get(t) != want.get(t)}
        return differences

    def check(self, resolutions=RESOLUTIONS, aggregates=plain.AGGREGATES, span=None, reader=None):
        for resolution in resolutions:
            for aggregate in aggregates if resolution != "raw" else ("avg",):
                wrong = self.wrong(resolution, aggregate, span, reader)
                assert not wrong, f"{aggregate} of {resolution}, (seen, wanted): {wrong}"

    # Several at once

    def together(self, jobs, order, look):
        """Jobs (each given a function that watches its ports) take turns at every call of a port; a job may crash."""
        numbers = iter(range(10**9))
        turns = Turns(lambda ready: order[next(numbers) % len(order)], look)

        def run(job, stop):
            with suppress(Crash):
                job(Steps(stop, turns.step).watched)

        turns.run(*(lambda job=job, stop=stop: run(job, stop) for job, stop in jobs))


VALUES = (1.0, 2.5, 0.1, 0.2, 0.3, -7.0, 1e16, -0.0, 0.0, math.nan, math.inf)


class Life:
    """One random life of a source; AssertionError as soon as a reader is wrong."""

    def __init__(self, rng: random.Random, series=2, **world):
        self.rng = rng
        short = rng.random() < 0.3
        self.minutes = rng.choice([20, 70]) if short else 3 * 1440
        self.world = World(60 if short else 14_400, rng.choice([0, 0, 3600, 90_000]), **world)
        self.origin_ms = BASE_MS - self.minutes * 60_000 // rng.choice([2, 3, 10**6])
        self.world.now_ms = self.origin_ms + rng.randrange(self.minutes) * 60_000
        self.series = [f"m{i}" for i in range(series)]
        self.spots = [rng.randrange(self.minutes) for _ in range(rng.randint(2, 6))]

    def live(self, operations):
        for _ in range(operations):
            self.rng.choice([self.post, self.post, self.tick, self.seal, self.seal, self.archive, self.expire])()
            self.look()
        self.end()

    def post(self):
        for _ in range(self.rng.randint(1, 4)):
            minute = self.rng.choice(self.spots) + self.rng.choice([0, 0, 1, 3, 5, 61, 240])
            ts_ms = min(self.origin_ms + minute * 60_000, self.world.now_ms)
            names = self.rng.sample(self.series, self.rng.randint(1, len(self.series)))
            self.world.post({name: self.rng.choice(VALUES) for name in names}, ts_ms)

    def tick(self):
        minutes = self.rng.choice([1, 10, 60, 240, 720, 1440, 3 * 1440, 12 * 1440])
        self.world.now_ms += minutes * 60_000

    def seal(self):
        """One or two sealers at once, perhaps of one window, while a client reads; each may crash anywhere."""
        due = self.world.due()
        if not due:
            return
        mine = [self.rng.choice(due) for _ in range(self.rng.choice([1, 2, 2]))]
        jobs = [
            (_sealing(self.world, window), self.rng.choice([None, None, self.rng.randrange(60)])) for window in mine
        ]
        if self.rng.random() < 0.5:
            jobs.append((self._reading(), None))
        order = turns(self.rng, len(jobs))
        self.world.together(jobs, order, lambda: self.rng.random() < 0.03 and self.look())

    def _reading(self):
        resolution, aggregate = self.rng.choice(RESOLUTIONS), self.rng.choice(plain.AGGREGATES)
        return lambda watched: self.world.check(
            [resolution], [aggregate], reader=self.world.new_reader(watched, OneByOne())
        )

    def archive(self):
        self.world.archive(self.rng.randint(0, len(self.world.table.changes)))

    def expire(self):
        self.world.expire(lambda: self.rng.random() < 0.7)

    def look(self):
        """One of the many reads that could be made now."""
        span = None
        if self.rng.random() < 0.5:
            minutes = sorted(self.rng.randrange(self.minutes) for _ in range(2))
            span = [min(self.origin_ms + minute * 60_000, self.world.now_ms) for minute in minutes]
        self.world.check(self.rng.sample(RESOLUTIONS, 1), self.rng.sample(plain.AGGREGATES, 1), span)

    def end(self):
        """All is sealed, then read from blocks alone, then from the archive alone."""
        self.world.check()
        self.world.now_ms += 2 * DAY_MS
        self.world.seal_all()
        self.world.check()
        self.world.now_ms += 2 * DAY_MS
        self.world.hot.expire()
        assert not self.world.hot.windows
        self.world.check()
        self.world.archive()
        self.world.expire_all()
        self.world.check()


def turns(rng, jobs):
    """Whose turn it is, over and over: some steps each, or one job does all it has to do within another one."""
    if rng.random() < 0.5:
        first, *others = rng.sample(range(jobs), jobs)
        return [first] * rng.randrange(100) + [job for job in others for _ in range(300)] + [first] * 300
    return [
        job for _ in range(rng.randint(1, 12)) for job in [rng.randrange(jobs)] * rng.randint(1, rng.choice([2, 20]))
    ]


def race(rng, series=2, **world):
    """Two sealers at work on one source at once: afterwards every bucket is what it must be, or AssertionError."""
    here = World(rng.choice([60, 14_400]), **world)
    here.now_ms = BASE_MS + 2 * DAY_MS
    names, minutes = [f"m{i}" for i in range(series)], rng.sample([0, 2, 6, 61, 480, 1439], 3)
    for minute in minutes if rng.random() < 0.3 else ():
        here.post(dict.fromkeys(rng.sample(names, rng.randint(1, series)), 7.0), at(minute))
    here.seal_all()
    for minute in minutes:
        here.post({name: rng.choice(VALUES) for name in rng.sample(names, rng.randint(1, series))}, at(minute))
    due = here.due()
    mine = rng.sample(due, 2) if len(due) > 1 and rng.random() < 0.8 else [due[0]] * 2
    stop = rng.choice([None, None, rng.randrange(100)])
    here.together([(_sealing(here, mine[0]), stop), (_sealing(here, mine[1]), None)], turns(rng, 2), lambda: None)
    here.now_ms += 60_000
    here.seal_all()
    here.check(["5m", "1h", "1d"], ["sum"])


def at(minute):
    return BASE_MS + minute * 60_000


def _sealing(world, window):
    return lambda watched: world.seal(window, sealer=world.new_sealer(watched))
