"""Random schedules of everything that can happen, checked against the oracle on the way and at the end."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count, islice, pairwise
from struct import pack
from typing import Any

from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.keys import RESOLUTIONS, BlockKey, SourceKey, Window, join_series, lane_of, lane_tag
from carbyne.core.limits import AHEAD_MS_MAX, DAY_S
from carbyne.hot.ingester import Ingester
from carbyne.http.message import Request
from carbyne.read.reader import How, Reader
from carbyne.read.views import span_of
from carbyne.seal.sealer import Sealer
from carbyne.store.catalogue import Catalogue
from carbyne.stream import records
from carbyne.stream.arrived import Arrived
from carbyne.stream.records import Row, SamplesRecord
from carbyne.tenants.windows import LengthStep

from tests.model.faults import KINDS, Faults, KilledError
from tests.model.oracle import Series, differences
from tests.model.world import LANES, MemoryStores, Stores, World, bounds
from tests.support.turns import Turns

TENANTS, NEWCOMER = ("acme", "vxcu"), "d-qt"
"""Three names of which all sources of one length share their lanes."""
START_S = 1_700_000_000
STEPS = 40
LONGEST_S = 14_400
AGGREGATES = ("avg", "count", "sum", "min", "max")


def in_first_lanes(prefix: str) -> Iterator[str]:
    """Sources ``<prefix><number>`` in the lanes that the model has."""
    names = (f"{prefix}{number:03d}" for number in range(1000))
    return (name for name in names if lane_of(TENANTS[0], name) < LANES)


HOSTS = list(islice(in_first_lanes("host/h"), 2))
SERVICE = next(in_first_lanes("service/"))
SOURCES = (*HOSTS, SERVICE)
LANES_USED = {lane_of(TENANTS[0], source) for source in SOURCES}
LABELLED = next(source for source in in_first_lanes("prom/t") if lane_of(TENANTS[0], source) in LANES_USED)
"""In some schedules, in the place of another source: the length of its windows changes."""
NAMES = ("a", "custom.b", "custom.c.d", "d")
assert all(len({lane_of(tenant, source) for tenant in (*TENANTS, NEWCOMER)}) == 1 for source in (*SOURCES, LABELLED))


Draws = tuple[str, str, tuple[int, int]]
"""Resolution, aggregate and span of a read, ms."""


class BrokenError(AssertionError):
    """An invariant does not hold; says how to repeat it."""


class Stretches:
    """Chooses who goes on: now each in turn, now one for long while the others stand still."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._left, self._who = 0, 0

    def choose(self, ready: int) -> int:
        if self._left == 0:
            self._left, self._who = self._chance.choice([1, 1, 2, 5, 20, 80]), self._chance.randrange(ready)
        self._left -= 1
        return self._who


class Simulation:
    """One run of one seed.  ``start_s``: when its clock begins."""

    def __init__(
        self, seed: int, make_stores: Callable[[Callable[[], int]], Stores] = MemoryStores, start_s: int = START_S
    ) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.replicas = random.Random(f"replicas of {seed}")
        self._memory = random.Random(f"memory {seed}")
        self.pressed = self._memory.random() < 0.3
        self.crowded, self.leases = self.chance.random() < 0.5, self.chance.random() < 0.5
        self.racing = random.Random(f"races of {seed}").random() < 0.15
        self.leases = self.leases and not self.racing
        self._tails = random.Random(f"tails of {seed}")
        self.forgetful = self._tails.random() < 0.2
        self.tenants = self.chance.choice([TENANTS, TENANTS, TENANTS[:1]])
        self.posting = self.chance.sample(SOURCES, self.chance.choice([1, 1, 2, 3]))
        self._lengths = random.Random(f"lengths {seed}")
        if self._lengths.random() < 0.25:
            self.posting[0] = LABELLED
        self.weights = [weight * self.chance.choice([0.3, 1, 1, 3]) for _, weight in STEPS_AND_WEIGHTS]
        self.trace: list[str] = []
        self.steps = 0
        self._make_stores, self._start_s = make_stores, start_s
        self._numbers = count(1)
        self._newcomers: list[tuple[str, str, int]] = []
        self._bodies: list[tuple[str, str, list[dict[str, Any]]]] = []

    def run(self, steps: int = STEPS) -> "Simulation":
        """Raises BrokenError with what it takes to repeat it."""
        with bounds(crowded=self.crowded, leases=self.leases):
            self._begin()
            try:
                for self.steps in range(1, steps + 1):
                    self._step()
                self._settle()
            except (AssertionError, Exception) as error:
                raise BrokenError(self._story(error)) from error
        return self

    def _begin(self) -> None:
        chance, day = self.chance, DAY_S
        self.world = World(
            self._make_stores,
            TENANTS,
            start_s=self._start_s + chance.randrange(40 * day),
            length_s=chance.choice([3600, 14_400]),
            hot_s=chance.choice([0, 3600, 2 * day, 2 * day]),
            warm_s={"raw": day, "5m": chance.choice([day, 2 * day]), "1h": 3 * day, "1d": 6 * day},
            skew_ms=chance.choice([-600_000, 0, 0, 600_000]),
            lanes=sorted(LANES_USED),
        )
        self.faults = [Faults(), Faults()]
        self.ingesters = [self.world.ingester(faults) for faults in self.faults]
        self.given: Counter[str] = Counter()
        self.given_to: set[tuple[int, Ingester]] = set()
        self.outage = False
        self.first_s = self.world.now_s
        if LABELLED in self.posting:
            self._change_lengths()

    def _change_lengths(self) -> None:
        """Labelled sources of each tenant are to have short windows and usual ones in turn, now and then."""
        for tenant in TENANTS:
            windows = sorted(self._lengths.sample(range(-12, 24), 4))
            boundaries = (self.world.now_s // LONGEST_S * LONGEST_S + LONGEST_S * window for window in windows)
            steps = tuple(LengthStep(from_s, number % 2 == 0) for number, from_s in enumerate(boundaries))
            self.world.set_steps(tenant, steps)
            self._note(f"windows of {tenant}: {steps}")

    def _story(self, error: BaseException) -> str:
        trace = "\n  ".join(self.trace[-12:])
        how = f"make sim SEED={self.seed} STEPS={self.steps}"
        return f"{type(error).__name__}: {error}\n\nrepeat with: {how}\nthe last steps:\n  {trace}"

    def _note(self, text: str) -> None:
        self.trace.append(f"{self.steps:3d} {self.world.now_s - self.first_s:8d} s  {text}")

    def _step(self) -> None:
        does = self.chance.choices([does for does, _ in STEPS_AND_WEIGHTS], self.weights)[0]
        does(self)
        if self.racing and self.chance.random() < 0.5:
            self.race()
        if self.forgetful and self._tails.random() < 0.1:
            self._tails.choice([self.go_back, self.write_through_replay])()
        for _ in range(self.chance.randint(0, 2)):
            self.check(self.chance.choice([*self._series(), ("acme", HOSTS[0], "never")]))

    def _sources(self) -> Iterator[SourceKey]:
        return (SourceKey(tenant, source) for tenant in (*TENANTS, NEWCOMER) for source in (*SOURCES, LABELLED))

    def _series(self) -> list[Series]:
        return self.world.oracle.series()

    def _reads(self, due: Sequence[tuple[int, SourceKey, Window]]) -> list[tuple[Series, Draws]]:
        """Some reads, of windows that are due if there are any."""
        reads = []
        for _ in range(3):
            _, source, window = self.chance.choice(due) if due else (0, None, None)
            some = [series for series in self._series() if series[:2] == source] or self._series()
            if some:
                reads.append((self.chance.choice(some), self._draw_read(window)))
        return reads

    # What agents do

    def write(self) -> None:
        """Some minutes of a source, right now."""
        self._post(self.world.now_s - self.chance.choice([0, 0, 60, 119, -300]), 1)

    def late(self) -> None:
        """Samples of up to some days ago, or an agent's backlog; mostly near some that are there."""
        if self._taken() and self.chance.random() < 0.7:
            ts_ms = self.chance.choice(self._taken())[3]
            self._post(ts_ms // 1000 + self.chance.choice([-3600, -600, 0, 0, 600, 1200]), self.chance.choice([1, 2]))
            return
        ago_s = self.chance.choice([1_800, 4 * 3600, 12 * 3600, DAY_S, 3 * DAY_S, 12 * DAY_S, 40 * DAY_S])
        rows = self.chance.choice([1, 2, 20] if self.crowded else [1, 1, 2, 20])
        self._post(self.world.now_s - self.chance.randrange(ago_s), rows)

    def begin(self) -> None:
        """A window begins with samples, and Redis has all of it; some change or go."""
        self._wait(self.world.length_s - self.world.now_s % self.world.length_s)
        start_s = self.world.now_s
        self._post(start_s, 1)
        self._deliver(self._waiting(), {}, 0)
        self._wait(self.chance.choice([0, 60, 1200]))
        for does in self.chance.sample([self.overwrite, self.delete, self.write], self.chance.choice([1, 1, 2])):
            does()
        if self.pressed:
            self._seal({})
            self.write()
        self._deliver(self._waiting(), self._plan(8), 0)
        for series in self.chance.sample(self._series(), min(3, len(self._series()))):
            self._check(series, "raw", "avg", (start_s * 1000, self.world.now_ms()), self.world.asked)

    def overwrite(self) -> None:
        """New values of samples that are there, of all in a body or of some."""
        if self._bodies:
            self._overwrite(*self.chance.choice(self._bodies))

    def _overwrite(self, tenant: str, source: str, body: list[dict[str, Any]]) -> None:
        some = body if self.chance.random() < 0.7 else body[: self.chance.randint(1, len(body))]
        self._send(tenant, source, [sample | {"value": self._value()} for sample in some])

    def _taken(self) -> list[tuple[str, str, str, int]]:
        return list(self.world.oracle.taken)

    def _post(self, last_s: int, rows: int) -> None:
        chance = self.chance
        tenant, source = chance.choice(self.tenants), chance.choice(self.posting)
        sources = HOSTS if source in HOSTS and chance.random() >= 0.8 else [source]
        step_s, names = chance.choice([600, 600, 3600]), chance.sample(NAMES, chance.randint(1, len(NAMES)))
        body = [
            {"name": name, "time": (last_s - row * step_s) // 600 * 600 + last_s % 180, "value": self._value()}
            | ({"hostId": posted.removeprefix("host/")} if posted in HOSTS else {})
            for row in range(rows)
            for posted in sources
            for name in names
        ]
        self._bodies.append((tenant, source, body))
        self._send(tenant, source, body)

    def _value(self) -> float:
        return self._value_of(self.chance)

    def _value_of(self, chance: random.Random) -> float:
        return chance.choice([1, 1, -1, 1e-3, 1e6]) * next(self._numbers) / 7

    def post_again(self) -> None:
        """A body that was sent before."""
        if self._bodies:
            self._send(*self.chance.choice(self._bodies))

    def _send(self, tenant: str, source: str, body: list[dict[str, Any]]) -> None:
        """An agent posts, and posts again until it is taken, or gives up."""
        world, stream = self.world, self.world.stream
        if source == LABELLED:
            self._put(tenant, body)
            return
        path = "/api/v0/tsdb" if source != SERVICE else f"/api/v0/services/{source.removeprefix('service/')}/tsdb"
        request = Request("POST", path, {}, {"x-api-key": f"key-{tenant}"}, json.dumps(body).encode())
        kinds = ["part", "part", "all", "lost", "away"]
        stream.plan = [self.chance.choice(kinds) for _ in range(self.chance.choice([0, 0, 0, 1, 2, 25]))]
        for _ in range(self.chance.choice([1, 3])):
            first = len(stream.records)
            self._note(f"post {tenant} {source} {len(body)} samples from {body[0]['time']}; faults {stream.plan}")
            try:
                world.writer().route(request)
            except RetryableError:
                continue
            self._check_taken(tenant, source, body, first)
            break
        stream.plan = []

    def _put(self, tenant: str, body: list[dict[str, Any]]) -> None:
        """What a post of labelled series becomes: a record of those that a writer takes."""
        ahead_s = self.world.now_s + AHEAD_MS_MAX // 1000
        values = {
            (sample["time"] * 1000, sample["name"]): pack("<d", sample["value"])
            for sample in body
            if sample["time"] <= ahead_s
        }
        rows = [(LABELLED, ts_ms, join_series([name]), value) for (ts_ms, name), value in sorted(values.items())]
        self._note(f"put {tenant} {LABELLED} {len(rows)} samples from {body[0]['time']}")
        for data in records.pack(tenant, rows, 10**6):
            self.world.stream.append(data, lane_tag(lane_of(tenant, LABELLED)))

    def _check_taken(self, tenant: str, source: str, body: list[dict[str, Any]], first: int) -> None:
        """The 2xx is true: the stream has every sample that was not skipped."""
        taken: dict[tuple[str, str, str, int], float] = {}
        for record in self.world.oracle.records[first:]:
            taken |= record
        times = range(self.world.now_s - 458 * DAY_S, self.world.now_s + 601)
        for sample in body:
            sample_source = SERVICE if source == SERVICE else f"host/{sample['hostId']}"
            key = (tenant, sample_source, sample["name"], sample["time"] // 60 * 60_000)
            if sample["time"] in times:
                assert key in taken, f"acknowledged but not on the stream: {key}"
        assert taken.keys() <= {
            (
                tenant,
                SERVICE if source == SERVICE else f"host/{sample['hostId']}",
                sample["name"],
                sample["time"] // 60 * 60_000,
            )
            for sample in body
        }, "more was put than was sent"

    def delete(self) -> None:
        """A tenant deletes one or all series of a source, for some span or for all time."""
        if not self._taken():
            return
        chance, world = self.chance, self.world
        tenant, source, name, ts_ms = chance.choice(self._taken())
        query = {"source": [source]} | ({"name": [name]} if chance.random() < 0.6 else {})
        if chance.random() < 0.8:
            first_s = ts_ms // 1000 - chance.choice([0, 0, 600, 7200, 5 * DAY_S])
            last_s = ts_ms // 1000 + chance.choice([0, 0, 600, 7200, 5 * DAY_S])
            query |= {"from": [str(first_s)], "to": [str(last_s)]}
        request = Request("DELETE", "/carbyne/v1/samples", query, {"x-api-key": f"key-{tenant}"}, b"")
        if source == LABELLED:
            self._put_delete(tenant, query)
            return
        world.stream.plan = chance.choice([[], [], ["all"], ["lost"], ["away"], ["part"]])
        before = len(world.oracle.deletes)
        self._note(f"delete {query} of {tenant}; faults {world.stream.plan}")
        with suppress(RetryableError):
            world.writer().route(request)
            assert len(world.oracle.deletes) > before, "acknowledged but not on the stream"
        world.stream.plan = []

    def _put_delete(self, tenant: str, query: Mapping[str, list[str]]) -> None:
        """As ``delete``, of a labelled source."""
        first_s, last_s = (int(query[name][0]) if name in query else None for name in ("from", "to"))
        span = records.ALL_TIME_MS if first_s is None or last_s is None else (1000 * first_s, 1000 * last_s + 999)
        record = records.DeleteRecord(tenant, LABELLED, query.get("name", [""])[0], *span)
        self._note(f"delete {query} of {tenant}")
        self.world.stream.append(records.encode(record), lane_tag(lane_of(tenant, LABELLED)))

    def newcomer(self) -> None:
        """A record of a tenant that is unknown, or was registered meanwhile."""
        now_s, data = self.world.now_s, pack("<d", self._value())
        new = self.chance.choice(SOURCES), self.chance.choice(NAMES), (now_s - self.chance.choice([0, 7200])) // 60
        self._newcomers.append(self.chance.choice([new, *self._newcomers[-2:]]))
        source, name, minute = self._newcomers[-1]
        ts_ms = minute * 60_000
        record = SamplesRecord(NEWCOMER, [join_series([name])], [Row(source, ts_ms, 0, data)])
        self._note(f"a record of the tenant {NEWCOMER}, {name} of {source} at {ts_ms}")
        key = lane_tag(lane_of(NEWCOMER, source))
        self.world.stream.append(records.encode(record), key, refused=not self.world.oracle.admitted)

    def redrive(self) -> None:
        """The operator makes the tenant, or lets everything be stored that was set aside."""
        if not self.world.oracle.admitted and self.chance.random() < 0.5:
            self._admit()
        self._redrive(self._plan(20))

    def _admit(self) -> None:
        self._note(f"the tenant {NEWCOMER} is there")
        self.world.admit(NEWCOMER)
        self.world.oracle.admitted = True
        for which, faults in enumerate(self.faults):  # what they believed of the tenant is out of date in a minute
            self.ingesters[which] = self.world.ingester(faults)

    def _redrive(self, plan: Mapping[int, str]) -> None:
        faults = Faults()
        faults.begin(plan)
        self.world.stream.plan = self.chance.choice([[], ["part"], ["lost"], ["away"], ["all"] * 9]) if plan else []
        self._note(f"redrive {len(self.world.aside.objects)}, {len(self.world.archive_aside.objects)}; faults {plan}")
        try:
            for redriver in self.world.redrivers(faults):
                list(redriver.run())
        except (KilledError, RetryableError):
            assert plan, "it has no reason to fail"
        self.world.stream.plan = []

    def poison(self) -> None:
        """A record on the stream that can't be stored."""
        stranger = SamplesRecord("stranger", [join_series(["a"])], [Row(HOSTS[0], START_S * 1000, 0, bytes(8))])
        sound = self.world.stream.records[-1][1] if self.world.stream.records else b"\1\1"
        data = self.chance.choice([b"", b"no record", sound[:-1], sound + b"x", records.encode(stranger)])
        self._note(f"poison of {len(data)} bytes")
        self.world.stream.append(data, lane_tag(self.chance.randrange(LANES)), sound=False)

    # What the functions do

    def _plan(self, calls: int) -> dict[int, str]:
        """Perhaps a fault, somewhere in the first ``calls`` of a function."""
        if self.chance.random() < 0.4:
            return {}
        return {self.chance.randrange(calls): self.chance.choice(KINDS) for _ in range(self.chance.choice([1, 1, 3]))}

    def _deliver(self, numbers: Sequence[int], plan: Mapping[int, str], which: int) -> None:
        world = self.world
        world.oracle.deliver(numbers)
        self._check_used(numbers, which)
        self.faults[which].begin(plan)
        entries = [Arrived(*world.stream.records[number]) for number in numbers]
        self._note(f"deliver {list(numbers)[:12]} to ingester {which}; faults {plan}")
        try:
            in_order = list(numbers) == self._waiting()[: len(numbers)]
            ingester = self.ingesters[which]
            failed = (world.ticking(ingester, self.faults[which]) if in_order else ingester).ingest(entries)
        except (KilledError, RetryableError):
            assert plan, "it has no reason to fail"
            return
        if not plan:
            assert failed is None, f"held up at {failed}"
        world.oracle.acknowledge(
            number for number in numbers if failed is None or int(world.stream.records[number][0]) < int(failed)
        )

    def _check_used(self, numbers: Sequence[int], which: int) -> None:
        """No instance has counted a record twice, of those that it was given until now; it is given more."""
        for tenant in TENANTS:
            counted, given = self.world.used.samples[tenant], self.given[tenant]
            assert counted <= given, f"{counted} samples of {tenant} count as used, of {given}"
        for new in {(number, self.ingesters[which]) for number in numbers} - self.given_to:
            self.given_to.add(new)
            self.given.update(tenant for tenant, *_ in self.world.oracle.records[new[0]])

    def _waiting(self) -> list[int]:
        return [n for n in range(len(self.world.stream.records)) if n not in self.world.oracle.done]

    def deliver(self) -> None:
        """The next batch."""
        if waiting := self._waiting():
            self._deliver(waiting[: self.chance.choice([1, 3, 10, 100])], self._plan(8), self.chance.randrange(2))

    def deliver_again(self) -> None:
        """Any records, in any order or as they stand, whether they were delivered before or not."""
        numbers = list(range(len(self.world.stream.records)))
        if numbers:
            first = self.chance.randrange(len(numbers))
            some = numbers[first : first + self.chance.choice([1, 5, 100])]
            if self.chance.random() < 0.5:
                self.chance.shuffle(some)
            self._deliver(some, self._plan(8), self.chance.randrange(2))

    def restart(self) -> None:
        which = self.chance.randrange(2)
        self._note(f"ingester {which} starts again")
        self.ingesters[which] = self.world.ingester(self.faults[which])

    def seal(self) -> None:
        if not self.world.due():
            self._wait(self.world.length_s)
        self._seal(self._plan(80))

    def _sealer(self, faults: Faults) -> Sealer:
        """One that perhaps finds Redis full, and then seals windows early."""
        return self.world.sealer(faults, self._memory.choice([0, 7_600, 9_000]) if self.pressed else 0)

    def _seal(self, plan: Mapping[int, str]) -> None:
        faults = Faults()
        faults.begin(plan)
        self._note(f"seal {len(self.world.due())} due; faults {plan}")
        try:
            self._sealer(faults).run(lambda: 300.0)
        except (KilledError, RetryableError):
            assert plan, "it has no reason to fail"

    def archive(self) -> None:
        """Some of the waiting changes, perhaps after others that came before."""
        world = self.world
        if not world.changes:
            return
        if self.outage:
            self._note(f"{len(world.changes)} changes are given up")
            if self.chance.random() < 0.5:
                world.give_up(world.changes)
            world.passed += world.changes
            world.changes = []
            return
        again = self.chance.sample(world.passed, min(len(world.passed), self.chance.choice([0, 0, 5])))
        some = world.changes[: self.chance.choice([1, 10, 1000])]
        self._archive([*again, *some], self._plan(20))

    def _archive(self, changes: list[Any], plan: Mapping[int, str]) -> None:
        faults = Faults()
        faults.begin(plan)
        self._note(f"archive {len(changes)} changes; faults {plan}")
        try:
            failed = self.world.archiver(faults).take([change.image for change in changes])
        except (KilledError, RetryableError):
            assert plan, "it has no reason to fail"
            return
        if not plan:
            assert failed is None, f"held up at {failed}"
        done = []
        for change in changes:
            if change.image.sequence == failed:
                break
            done.append(change)
        self.world.has_passed([change for change in done if change in self.world.changes])
        self.world.changes = [change for change in self.world.changes if change not in done]

    def turn_outage(self) -> None:
        self.outage = not self.outage
        self._note(f"archiver outage: {self.outage}")

    def reconcile(self) -> None:
        faults, plan = Faults(), self._plan(20)
        faults.begin(plan)
        self._note(f"reconcile; faults {plan}")
        with suppress(KilledError, RetryableError):
            self.world.reconciler(faults).run(lambda: 300.0)
            self.world.has_reconciled()

    def expire(self) -> None:
        """The table removes some of what has expired, in any order; never what a reconciler would have saved before."""
        expired = self.world.expired()
        self.chance.shuffle(expired)
        for place in expired[: self.chance.choice([1, 3, 1000])]:
            self._remove(place)
        for source in self._sources():
            self.world.stores.expire(source, self.world.now_ms())

    def _remove(self, place: tuple[str, str]) -> None:
        if not self.world.is_safe(place):
            self._reconcile_daily()
        self._note(f"TTL removes {place}")
        key = BlockKey.of_item(*place)
        self.world.remove(place)
        if series := [known for known in self._series() if known[:2] == tuple(key.source)]:
            span = key.window.start_s * 1000, key.window.end_s * 1000 - 1
            self._check(self.chance.choice(series), key.resolution, "count", span, self.world.asked)

    def wait(self) -> None:
        begins = 30 - self.world.now_s % self.world.length_s + self.world.length_s
        waits = [10, 300, 1200, 3600, 2 * 3600, 5 * 3600, 5 * 3600, DAY_S, 2 * DAY_S, begins, begins]
        self._wait(self.chance.choice(waits))

    def _wait(self, seconds: int) -> None:
        """Time goes by; a reconciler sees to what has expired and was never archived, as it does every day."""
        world = self.world
        world.now_s += seconds
        if not all(map(world.is_safe, world.expired(5 * DAY_S))):
            self._reconcile_daily()

    def _reconcile_daily(self) -> None:
        self._note("the daily reconcile")
        self.world.reconciler(Faults()).run(lambda: 300.0)
        self.world.has_reconciled()

    def lose_lane(self) -> None:
        lane = SourceKey(self.chance.choice(TENANTS), self.chance.choice(SOURCES)).lane
        self._note(f"lane {lane} is lost")
        self.world.lose(lane)

    def remember(self) -> None:
        """Replicas stop following, or those that did so follow again."""
        if self.replicas.random() < 0.5:
            self._follow()
            return
        self._note("a replica stops following")
        self.world.stores.remember()

    def _follow(self) -> None:
        """Replicas that hung, or are new, have everything; the sealer comes to count on them in two looks."""
        self._note("the replicas follow")
        self.world.stores.follow()
        for seconds in (0, 60):
            self._wait(seconds)
            self._seal({})

    def fail_over(self) -> None:
        """A lane's master is silent, then replaced by one that has not got what was acknowledged last; the sealer's
        next look finds that, and a read does so before."""
        lane = SourceKey(self.chance.choice(TENANTS), self.chance.choice(SOURCES)).lane
        self._note(f"lane {lane} has another master, and may have lost its tail")
        with suppress(RetryableError):
            self.world.failovers(Faults(silent={lane})).look(self.world.tokens())
        self.world.fail_over(lane, restarted=self.replicas.random() < 0.3)

    def recover(self) -> None:
        """Marks move on, samples come, a lane is lost or goes back, and is replayed from its mark."""
        chance, world = self.chance, self.world
        if self.replicas.random() < 0.5:
            self._follow()
        for does in (self.write, self.write, world.stores.remember, self.write):
            does()
            self._deliver(self._waiting(), {}, 0)
        self._wait(chance.choice([60, 600, world.length_s + 3600]))
        self._supervise({})
        self._deliver(self._waiting()[: chance.choice([1, 100, 100])], {}, 0)
        for does in chance.sample([self.write, self.overwrite, self.late, self.delete], 2):
            does()
        self._wait(chance.choice([300, 900, world.length_s + 3600]))
        self._seal({})
        self._deliver(self._waiting()[: chance.choice([1, 100, 100])], {}, 0)
        chance.choice([self.lose_lane, self.fail_over])()
        if chance.random() < 0.8:
            self._settle_replay()
        for series in chance.sample(self._series(), min(4, len(self._series()))):
            self._check(series, "raw", "count", ((world.now_s - DAY_S) * 1000, world.now_ms()), world.asked)

    def go_back(self) -> None:
        """A lane loses what was acknowledged last, perhaps while it is replayed, and no id of a master says so: the
        instance that wrote it finds that when it writes the next time."""
        chance, world = self._tails, self.world
        source, which = self._any_source(chance), chance.randrange(2)
        if chance.random() < 0.5:
            self._begin_replay(source.lane)
        for _ in range(chance.choice([1, 2])):
            self._write_row(source, which)
        kept = world.stores.keep(source.lane)
        self._write_row(source, which)
        self._note(f"lane {source.lane} goes back by a row of ingester {which}")
        world.go_back(source.lane, kept)
        self._write_row(source, which)
        assert not world.is_whole(source.lane), f"lane {source.lane} lost its tail, which is not noticed"
        self._replay_slowly()
        self._check_newest(source)

    def write_through_replay(self) -> None:
        """An instance that saw a stamp before a loss writes on while the lane is replayed, for which that is enough."""
        source, which = self._any_source(self._tails), self._tails.randrange(2)
        self._write_row(source, which)
        self._begin_replay(source.lane)
        self._write_row(source, which)
        self._replay_slowly()
        self._settle_replay()
        self._check_newest(source)

    def _any_source(self, chance: random.Random) -> SourceKey:
        return SourceKey(chance.choice(self.tenants), chance.choice(self.posting))

    def _begin_replay(self, lane: int) -> None:
        """The lane is lost, and a reader takes some records again."""
        self._note(f"lane {lane} is lost")
        self.world.lose(lane)
        self._seal({})
        self._supervise({})
        if self.world.readers.running:
            self._replay(self._tails.choice([1, 5, 100]), {})

    def _replay_slowly(self) -> None:
        """The last records one by one: those behind a fence come when its lane is whole."""
        for ahead in range(10, 0, -1):
            left = len(self.world.stream.records) - self.world.readers.at - ahead
            if self.world.readers.running and left > 0:
                self._replay(left, {})

    def _check_newest(self, source: SourceKey) -> None:
        now_s = self.world.now_s
        for series in [series for series in self._series() if series[:2] == source]:
            self._check(series, "raw", "count", ((now_s - DAY_S) * 1000, now_s * 1000), self.world.asked)

    def _write_row(self, source: SourceKey, which: int) -> None:
        """Everything is delivered to an ingester, and a new row behind it."""
        world, name, data = self.world, self._tails.choice(NAMES), pack("<d", self._value_of(self._tails))
        ts_ms = (world.now_s - self._tails.choice([0, 60, 120])) // 60 * 60_000
        record = SamplesRecord(source.tenant, [join_series([name])], [Row(source.source, ts_ms, 0, data)])
        world.stream.append(records.encode(record), lane_tag(source.lane))
        self._deliver(self._waiting(), {}, which)

    def supervise(self) -> None:
        """What watches over replays."""
        self.world.stream.plan = self.chance.choice([[], [], ["part"], ["lost"], ["away"]])
        self._supervise(self._plan(3))

    def _supervise(self, plan: Mapping[int, str]) -> None:
        faults = Faults()
        faults.begin(plan)
        running = self.world.readers.running
        with suppress(KilledError, RetryableError):
            self.world.supervisor(faults).tick()
        if running or self.world.readers.running:
            self._note(f"supervise: a reader runs: {self.world.readers.running}; faults {plan}")

    def replay(self) -> None:
        """The next batch of the second reader."""
        if self.world.readers.running:
            self._replay(self.chance.choice([1, 5, 100]), self._plan(12))

    def _replay(self, size: int, plan: Mapping[int, str]) -> None:
        readers, stream, faults = self.world.readers, self.world.stream.records, Faults()
        numbers = range(readers.at, min(readers.at + size, len(stream)))
        if not numbers:
            return
        faults.begin(plan)
        self._note(f"replay {numbers}; faults {plan}")
        self.world.oracle.deliver(numbers)
        try:
            failed = self.world.replayer(faults).ingest([Arrived(*stream[number]) for number in numbers])
        except (KilledError, RetryableError):
            assert plan, "it has no reason to fail"
            return
        if not plan:
            assert failed is None, f"held up at {failed}"
        readers.at = next((number for number in numbers if stream[number][0] == failed), numbers.stop)

    def storm(self) -> None:
        """Samples are delivered, their windows fall due, and are sealed while new values of them come: values that
        arrived late, or that arrived in time and that an ingester far behind brings now."""
        first = len(self._bodies)
        self.chance.choice([self.write, self.late, self.late])()
        self._deliver(self._waiting()[:100], {}, 0)
        if self.chance.random() < 0.5:
            self._seal(self._plan(80))
        does: list[Callable[[], None]] = [
            lambda: self._wait(self.chance.choice([0, *[self.world.length_s + 3600] * 3])),
            lambda: self._overwrite_some(self._bodies[first:]),
        ]
        for do in self.chance.choice([does, does[::-1]]):
            do()
        self.chance.choice([self.at_once, self.interrupt, self.interrupt])()

    def _overwrite_some(self, bodies: Sequence[tuple[str, str, list[dict[str, Any]]]]) -> None:
        for body in self.chance.choices(bodies, k=self.chance.choice([0, 1, 1, 2])):
            self._overwrite(*body)

    def interrupt(self) -> None:
        """A sealer or reader stands still at one of its calls, and others do all of their work meanwhile."""
        due, sealing = self.world.due(), self.chance.random() < 0.5
        does = [self._ingest_now, self._seal_now, self._expire_now, self._archive_now]
        meanwhile = self.chance.sample(does, self.chance.choice([1, 1, 2, 4]))
        at = self.chance.randrange(30 if sealing else 7)
        reads = self._reads(due)
        names = [does.__name__ for does in meanwhile]
        self._note(f"{'a sealer' if sealing else 'a reader'} stands still at call {at}; meanwhile {names}")

        def step() -> None:
            if faults.count == at:
                faults.step = lambda: None
                for does in meanwhile:
                    does()

        faults = Faults(step)
        if sealing:
            self._sealer(faults).run(lambda: 300.0)
        elif reads:
            series, draws = reads[0]
            self._check(series, *draws, self.world.reader(faults))
        for series, draws in reads:
            self._check(series, *draws, self.world.asked)

    def _ingest_now(self) -> None:
        if waiting := self._waiting():
            self._deliver(waiting, {}, 1)

    def _seal_now(self) -> None:
        self._seal({})

    def _expire_now(self) -> None:
        for place in self.world.expired():
            if self.world.is_safe(place):
                self._remove(place)

    def _archive_now(self) -> None:
        if not self.outage:
            self._archive_all()

    def at_once(self) -> None:
        """Sealers, readers, an ingester, the archiver and TTL, all at once, by turns at each call of a port."""
        turns = Turns(Stretches(self.chance).choose)
        jobs: list[Callable[[], None]] = [self._job_sealer(turns) for _ in range(self.chance.choice([1, 2, 2]))]
        due = self.world.due()
        jobs += [self._job_reader(turns, *read) for read in self._reads(due)]
        if self.chance.random() < 0.7:
            jobs.append(self._job_ingester(turns))
        if self.chance.random() < 0.5 and not self.outage:
            jobs.append(self._job_archiver(turns))
        if self.chance.random() < 0.5:
            jobs.append(self._job_expiry(turns))
        if self.world.readers.running:
            jobs.append(self._job_replay(turns))
        self._note(f"{len(jobs)} at once, {len(self.world.due())} windows due")
        turns.run(*jobs)
        for series, draws in self._reads(due):
            self._check(series, *draws, self.world.asked)

    def race(self) -> None:
        """Two sealers have the same windows, by turns at each call, while an ingester brings new values of them."""
        first = len(self._bodies)
        self.chance.choice([self.write, self.late])()
        self._deliver(self._waiting(), {}, 0)
        self._wait(self.world.length_s + 3600)
        self._overwrite_some(self._bodies[first:])
        self._note(f"a race, {len(self.world.due())} windows due")
        turns = Turns(Stretches(self.chance).choose)
        turns.run(*(self._job_sealer(turns, {}) for _ in range(2)), self._job_ingester(turns))
        self.check_all(1)

    def _job_sealer(self, turns: Turns, plan: Mapping[int, str] | None = None) -> Callable[[], None]:
        faults = Faults(turns.step)
        faults.begin(self._plan(80) if plan is None else plan)

        def run() -> None:
            with suppress(KilledError, RetryableError):
                self._sealer(faults).run(lambda: 300.0)

        return run

    def _job_reader(self, turns: Turns, series: Series, draws: Draws) -> Callable[[], None]:
        def run() -> None:
            turns.step()
            self._check(series, *draws, self.world.reader(Faults(turns.step)))

        return run

    def _job_ingester(self, turns: Turns) -> Callable[[], None]:
        waiting = self._waiting()[:10]

        def run() -> None:
            self.faults[0].step = turns.step
            try:
                if waiting:
                    self._deliver(waiting, {}, 0)
            finally:
                self.faults[0].step = lambda: None

        return run

    def _job_archiver(self, turns: Turns) -> Callable[[], None]:
        changes = self.world.changes[:20]

        def run() -> None:
            failed = self.world.archiver(Faults(turns.step)).take([change.image for change in changes])
            assert failed is None
            self.world.has_passed(changes)
            self.world.changes = [change for change in self.world.changes if change not in changes]

        return run

    def _job_replay(self, turns: Turns) -> Callable[[], None]:
        readers, stream, faults = self.world.readers, self.world.stream.records, Faults(turns.step)
        numbers = range(readers.at, len(stream))

        def run() -> None:
            turns.step()
            self.world.oracle.deliver(numbers)
            assert self.world.replayer(faults).ingest([Arrived(*stream[number]) for number in numbers]) is None
            readers.at = numbers.stop

        return run

    def _job_expiry(self, turns: Turns) -> Callable[[], None]:
        expired = [place for place in self.world.expired() if self.world.is_safe(place)]
        self.chance.shuffle(expired)

        def run() -> None:
            for place in expired:
                turns.step()
                if place in self.world.expired() and self.world.is_safe(place):
                    self._remove(place)

        return run

    # What must hold

    def _draw_read(self, window: Window | None = None) -> Draws:
        chance, now_s = self.chance, self.world.now_s
        if window:
            span = chance.choice([(window.start_s, window.end_s - 1), (window.end_s - 600, window.end_s - 1)])
            return chance.choice([*RESOLUTIONS, "raw", "raw"]), "count", (span[0] * 1000, span[1] * 1000)
        resolution = chance.choice([*RESOLUTIONS, "raw"])
        span = chance.choice([300, 1200, 3600, 5 * 3600, DAY_S, 50 * DAY_S])
        to_s = chance.choice([now_s + 600, now_s - chance.randrange(2 * DAY_S)])
        if self._taken() and chance.random() < 0.5:
            to_s = chance.choice(self._taken())[3] // 1000 + chance.randrange(1200)
        return resolution, chance.choice(AGGREGATES), ((to_s - span) * 1000, to_s * 1000)

    def check(self, series: Series) -> None:
        self._check(series, *self._draw_read(), self.world.asked)

    def _check(self, series: Series, resolution: str, aggregate: str, span: tuple[int, int], reader: Reader) -> None:
        """A read says what the oracle says, refuses or warns."""
        world, (tenant, source, name) = self.world, series
        key, how = SourceKey(tenant, source), How(resolution, aggregate)
        what = f"{series} {resolution} {aggregate} {span}"
        whole, done = world.is_whole(key.lane), set(world.oracle.done)
        sealed = world.is_sealed(key.lane, span_of(resolution, span[0], min(span[1], world.now_ms() + 600_000))[1] - 1)
        try:
            answer = reader.read(key, name, *span, how)
        except RetryableError:
            assert not whole or not world.is_whole(key.lane), f"{what}: refused for no reason"
            there = [ts for ts in world.oracle.expected(series, done).values if span[0] <= ts <= span[1]]
            assert not (sealed and there), f"{what}: refused, though blocks have all of it"
            if not world.is_whole(key.lane):
                answer = reader.read(key, name, *span, how._replace(partial=True))
                assert answer.warnings or world.is_whole(key.lane), f"{what}: no warning"
            return
        except RequestError as error:
            assert error.status == 404, f"{what}: {error}"
            assert not world.oracle.is_known(series, done), f"{what}: known, and yet 404"
            return
        if span[0] > world.now_ms() + 600_000:
            assert not answer.ts_ms.size, f"{what}: the future is known"
            return
        sealed = sealed or world.is_sealed(key.lane, span_of(resolution, *span)[1] - 1)
        assert whole or sealed or world.is_whole(key.lane), f"{what}: an answer, although the lane is not whole"
        assert world.oracle.is_known(series, world.oracle.delivered), f"{what}: unknown, and yet an answer"
        assert not answer.warnings and answer.resolution == resolution
        got = dict(zip(answer.ts_ms.tolist(), answer.values.tolist(), strict=True))
        span = span[0], min(span[1], world.now_ms() + 600_000)
        wrong = differences(world.oracle.expected(series, done), got, resolution, aggregate, span)
        assert not wrong, f"{what}: " + "; ".join(wrong[:5])

    def check_all(self, resolutions: int = len(RESOLUTIONS)) -> None:
        """Every series over all time, at some or all resolutions; its names, and its latest sample."""
        world = self.world
        span = (min(self.first_s, world.now_s) - 60 * DAY_S) * 1000, world.now_ms() + 600_000
        for series in self._series():
            for resolution in self.chance.sample(RESOLUTIONS, resolutions):
                self._check(series, resolution, self.chance.choice(AGGREGATES), span, world.asked)
        for source in self._sources():
            self._check_source(source)

    def _check_source(self, source: SourceKey) -> None:
        oracle, reader = self.world.oracle, self.world.asked
        if not self.world.is_whole(source.lane):
            return
        names = {name for tenant, of, name in oracle.series() if (tenant, of) == source}
        known = {name for name in names if oracle.is_known((*source, name), oracle.done)}
        may = {name for name in names if oracle.is_known((*source, name), oracle.delivered)}
        assert known <= reader.series(source) <= may, f"names of {source}"
        for name, (ts_ms, value) in reader.latest([source], sorted(names))[source].samples.items():
            expected = oracle.expected((*source, name), oracle.done)
            if not expected.open:
                newest = max(expected.values.items())
                assert (ts_ms, value) == newest, f"latest {name} of {source}: {ts_ms, value} instead of {newest}"

    def _settle(self) -> None:
        """Everything is delivered, sealed, archived and expired; then the archive alone gives every answer."""
        world = self.world
        self.pressed, world.stream.plan = False, []
        self._deliver(self._waiting(), {}, 0)
        self._admit()
        self._redrive({})
        assert not (lost := world.oracle.refused()), f"set aside, and never redriven: {lost}"
        self._deliver(self._waiting(), {}, 0)
        assert not self._waiting()
        self._settle_replay()
        self._check_taken_all()
        self.check_all(1)
        if self.chance.random() < 0.5:
            for first in range(0, len(world.stream.records), 40):
                self._deliver(range(first, min(first + 40, len(world.stream.records))), {}, 0)
        for _ in range(20):
            self._wait(4 * 3600)
            self._seal_all()
            if not world.due() and not world.listed():
                break
        self._wait(DAY_S)
        self._seal_all()
        assert not world.due(), "these stay due: " + str(world.due()[:3])
        assert not (left := world.unsealed(list(self._sources()))), f"these are never due: {left}"
        assert not world.listed(), f"these stay on the sealer's list: {world.listed()}"
        for source in self._sources():
            self._check_lengths(source)
        assert not (lacking := world.lacking(self._sources())), f"these are never worked on: {lacking}"
        self._archive_all()
        assert not (uncleaned := world.uncleaned()), f"deleted samples are in these blocks: {uncleaned[:3]}"
        for _ in range(9):
            self._wait(9 * DAY_S)
            self.outage or self._archive_all()
            for place in sorted(world.expired(), key=lambda _: self.chance.random()):
                self._remove(place)
        self._archive_all()
        assert not world.expired()
        self.check_all()

    def _check_lengths(self, source: SourceKey) -> None:
        """No time lies in windows of two lengths: of complete ones Redis would have to know the other one's rows."""
        windows = sorted(Catalogue(self.world.stores.table).of(source).windows("raw").sealed)
        for before, after in pairwise(windows):
            assert before.end_s <= after.start_s, f"{before.token} and {after.token} of {source.path} overlap"

    def _seal_all(self) -> None:
        """Until nothing is due: each run lists few windows of a lane, and a delete makes many due."""
        for _ in range(100):
            self._seal({})
            if not self.world.due():
                return

    def _settle_replay(self) -> None:
        """What was lost is back after a few minutes, without anyone asking."""
        world = self.world
        for _ in range(8):
            if not world.rebuilding() and not world.readers.running:
                return
            self._wait(7 * 3600)
            self._seal({})
            self._supervise({})
            if world.readers.running:
                self._replay(10**6, {})
        raise AssertionError(f"lanes {world.rebuilding()} are not whole, a reader runs: {world.readers.running}")

    def _archive_all(self) -> None:
        self._archive(list(self.world.changes), {})

    def _check_taken_all(self) -> None:
        """The oracle's two ways to count come to the same: last arrival wins."""
        oracle = self.world.oracle
        for (*series, ts_ms), value in oracle.taken.items():
            assert oracle.expected(tuple(series), oracle.done).values[ts_ms] == value


STEPS_AND_WEIGHTS: Sequence[tuple[Callable[[Simulation], None], float]] = (
    (Simulation.write, 6),
    (Simulation.late, 6),
    (Simulation.begin, 2),
    (Simulation.overwrite, 4),
    (Simulation.post_again, 2),
    (Simulation.delete, 1.5),
    (Simulation.poison, 0.5),
    (Simulation.newcomer, 2),
    (Simulation.redrive, 2),
    (Simulation.deliver, 10),
    (Simulation.deliver_again, 3),
    (Simulation.restart, 0.5),
    (Simulation.seal, 4),
    (Simulation.at_once, 3),
    (Simulation.storm, 12),
    (Simulation.archive, 4),
    (Simulation.turn_outage, 0.5),
    (Simulation.reconcile, 1),
    (Simulation.expire, 5),
    (Simulation.wait, 6),
    (Simulation.lose_lane, 0.6),
    (Simulation.remember, 0.5),
    (Simulation.recover, 0.7),
    (Simulation.fail_over, 0.6),
    (Simulation.supervise, 2),
    (Simulation.replay, 2),
)
