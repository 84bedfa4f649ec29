"""The use cases around stores that fail: every function as its wiring makes it, on ports of its own."""

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from functools import cache, partial
from typing import Any, NamedTuple, Protocol, cast
from unittest.mock import patch

import numpy as np
from botocore.exceptions import ClientError, ReadTimeoutError
from carbyne.adapters.kinesis import KinesisStream
from carbyne.adapters.redis.commands import Command
from carbyne.adapters.redis.hot import HotStore
from carbyne.adapters.redis.windows import HotWindows
from carbyne.archive.archiver import Archiver, restore
from carbyne.archive.reconciler import Reconciler
from carbyne.archive.redrive import BlockRedriver, Kept, Origin, RecordRedriver
from carbyne.core import stamps
from carbyne.core.items import Blocks, Item, Table
from carbyne.core.keys import (
    RAW,
    REPLAY_ITEM,
    BlockKey,
    SourceKey,
    Window,
    corrupt_block_object,
    corrupt_record_object,
    escape,
    is_block,
    lane_state,
)
from carbyne.core.limits import DAY_S, RECONCILE_AHEAD_DAYS, RECONCILE_BACK_DAYS
from carbyne.hot.failovers import Failovers
from carbyne.hot.followers import Followers, MastersItem, proves
from carbyne.hot.ingester import Ingester
from carbyne.hot.jobs import Jobs
from carbyne.hot.marks import Marks, Ticking
from carbyne.hot.replay import Replayer, Supervisor
from carbyne.intake.writer import RawWindows, Writer
from carbyne.read.reader import Reader
from carbyne.samples import blocks
from carbyne.samples.markers import erase
from carbyne.samples.rows import STATE_BYTES, WHOLE
from carbyne.samples.schedule import SealSchedule
from carbyne.seal.sealer import Sealer
from carbyne.store.catalogue import Catalogue
from carbyne.store.worklist import Worklist
from carbyne.stream import records
from carbyne.stream.arrived import BY_TTL, Image
from carbyne.stream.putter import Putter, Time
from carbyne.tenants.accounts import Accounts
from carbyne.tenants.months import MonthUse
from carbyne.tenants.usage import Counted, Usage
from carbyne.tenants.windows import Seen, Steps
from carbyne.wiring import ingester as wiring_ingester
from carbyne.wiring import reader as wiring_reader
from carbyne.wiring import reconciler as wiring_reconciler
from carbyne.wiring import sealer as wiring_sealer

from harness.pipeline import MemoryAccounts
from harness.wired import ingester_settings, reader_settings, reconciler_settings, sealer_settings
from tests.model.faults import Faults, FaultyNodes, FaultyStore, Inline
from tests.model.losses import Lane, Losses
from tests.model.oracle import Oracle
from tests.model.pages import PagedTable
from tests.model.redis import MemoryNodes, MemoryRedis
from tests.support.fakes import DictCache, FakeBlocks, NoDeletes

RETENTION_S = 460 * DAY_S
SCHEDULE = SealSchedule(120, 1800)
LANES = 16
"""The sources of the model lie in the first lanes, and the sealer looks at no others."""
NO_REPLAY = dict.fromkeys(range(LANES), "")
"""The tokens of lanes that were never replayed."""
EPOCH = 1
JOB = REPLAY_ITEM, "job"


class Stores(Protocol):
    """What lies behind the ports; ``now_ms`` is the clock that Redis goes by, if it can be set."""

    nodes: Any
    table: Table
    cold: Blocks

    def remove(self, partition: str, sort: str) -> None:
        """What the table does with an expired item."""

    def expire(self, source: SourceKey, before_ms: int) -> None:
        """What Redis does with windows that expire before ``before_ms``."""

    def lose(self, lane: int) -> None:
        """Redis forgets all keys of a lane."""

    def remember(self) -> None:
        """The replicas have everything as it is now, and hang from here on."""

    def follow(self) -> None:
        """They have everything, and follow again."""

    def fail_over(self, lane: int, *, restarted: bool = False) -> None:
        """The replica is the master of a lane; ``restarted``: as another process, with what it had on its disk."""

    def keep(self, lane: int) -> Any:
        """What Redis has of a lane now."""

    def go_back(self, lane: int, kept: Any) -> None:
        """Redis has of a lane what was kept, and the same master serves it."""


class MemoryStores:
    """Stores in memory, which pass the contract tests of the real ones."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self.redis = MemoryRedis(now_ms)
        self.nodes = MemoryNodes(self.redis)
        self.table = PagedTable()
        self.cold = FakeBlocks()
        self.follow()

    def remove(self, partition: str, sort: str) -> None:
        del self.table.items[partition, sort]

    def expire(self, source: SourceKey, before_ms: int) -> None:
        pass  # by its own clock

    def lose(self, lane: int) -> None:
        for key in self._keys(lane):
            self.redis.drop(key)

    def keep(self, lane: int) -> Any:
        keys = self._keys(lane)
        values = {key: deepcopy(self.redis.values[key]) for key in keys}
        return values, {key: self.redis.expiries_ms[key] for key in keys if key in self.redis.expiries_ms}

    def go_back(self, lane: int, kept: Any) -> None:
        self.lose(lane)
        values, expiries_ms = kept
        self.redis.values |= values
        self.redis.expiries_ms |= expiries_ms

    def _keys(self, lane: int) -> list[bytes]:
        tag = lane_state(lane).partition(":")[0].encode()
        return [key for key in self.redis.values if key.startswith(tag)]

    def remember(self) -> None:
        self.nodes.hangs = True
        self._kept = {lane: self.keep(lane) for lane in range(LANES)}

    def follow(self) -> None:
        self.remember()
        self.nodes.hangs = False

    def fail_over(self, lane: int, *, restarted: bool = False) -> None:
        if restarted:
            self.nodes.restart(lane)
        elif not self.nodes.hangs:
            self.nodes.promote(lane)
            return
        self.go_back(lane, deepcopy(self._kept[lane]))
        self.nodes.promote(lane)


class Change(NamedTuple):
    """A change of the table on its way to the archiver; ``number`` of the put that made the item."""

    image: Image
    place: tuple[str, str]
    number: int


class Stream:
    """The stream: (sequence number, data, partition key, when) by arrival; what it takes goes into the oracle.

    The adapter of Kinesis puts records, over ``put_records`` below.  ``plan``: for each coming call one of ``part``
    (every second entry is refused), ``all`` (every one is), ``lost`` (taken, and no answer comes) and ``away`` (an
    error, nothing taken).  Of entries that are refused, the answer says so of every second one, and nothing of the
    others.
    """

    FIRST = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898

    def __init__(self, oracle: Oracle, now_s: Callable[[], int]) -> None:
        self.records: list[tuple[str, bytes, str, float]] = []
        self.plan: list[str] = []
        self._oracle = oracle
        self._now_s = now_s

    def put(self, entries: Sequence[tuple[str, bytes]]) -> list[int]:
        return KinesisStream(cast(Any, self), "stream").put(entries)

    def put_records(self, *, StreamName: str, Records: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The client's call."""
        kind = self.plan.pop(0) if self.plan else ""
        if kind == "away":
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "PutRecords")
        answers = []
        for at, record in enumerate(Records):
            if kind == "all" or (kind == "part" and at % 2 == 0):
                answers.append({} if at % 4 else {"ErrorCode": "InternalFailure"})
                continue
            self.append(record["Data"], record["PartitionKey"])
            answers.append({"SequenceNumber": self.records[-1][0]})
        if kind == "lost":
            raise ReadTimeoutError(endpoint_url=StreamName)
        return {"Records": answers}

    def append(self, data: bytes, key: str, *, sound: bool = True, refused: bool = False) -> None:
        """``sound``: anybody can read it; ``refused``: but it will be set aside."""
        number = len(self.records)
        self.records.append((str(self.FIRST + (number << 70 | number * 7919 % 4096)), data, key, float(self._now_s())))
        record = records.decode(data) if sound else None
        if isinstance(record, records.DeleteRecord):
            self._oracle.delete((record.tenant, record.source, record.series), (record.from_ms, record.to_ms))
        elif isinstance(record, records.RedrivenRecord):
            self._oracle.redrive(self._number(record.stamp))
        else:
            samples = samples_of(record) if isinstance(record, records.SamplesRecord) else {}
            (self._oracle.refuse if refused else self._oracle.take)(samples)

    def _number(self, stamp: bytes) -> int:
        _, sequence = stamps.unpack(stamp)
        return next(number for number, (of, *_) in enumerate(self.records) if of == sequence)


def samples_of(record: records.SamplesRecord) -> dict[tuple[str, str, str, int], float]:
    """What a record says."""
    return {
        (record.tenant, row.source, series, row.ts_ms): value
        for row in record.rows
        for series, value in zip(
            record.lists[row.series].decode().split("\n"), np.frombuffer(row.values, "<f8").tolist(), strict=True
        )
    }


class Readers:
    """Second readers of the stream: whether one runs, and the number of the record that it comes to next."""

    def __init__(self, stream: Stream) -> None:
        self.running = False
        self.at = 0
        self._stream = stream

    def start(self, start_s: int) -> str:
        if not self.running:
            came_s = [record[3] for record in self._stream.records]
            self.running, self.at = True, next((at for at, s in enumerate(came_s) if s >= start_s), len(came_s))
        return "reader"

    def stop(self, name: str) -> None:
        self.running = False


class Bucket:
    """A failure bucket, and the quarantine that puts things into it."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, what: Any, data: bytes, reason: str) -> None:
        if isinstance(what, bytes):
            self.objects[corrupt_record_object(what)] = data
        else:
            self.objects[corrupt_block_object(what, Item(data).version)] = data

    def kept(self, prefix: str) -> Iterator[Kept]:
        return iter([Kept(name, len(data)) for name, data in sorted(self.objects.items()) if name.startswith(prefix)])

    def get(self, name: str) -> bytes | None:
        return self.objects.get(name)

    def remove(self, name: str) -> None:
        self.objects.pop(name, None)


class NoMeter:
    """Counts, by name."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, name: str, amount: float = 1) -> None:
        self.counts[name] += amount

    def peak(self, name: str, amount: float) -> None:
        self.counts[name] = max(self.counts[name], amount)

    def flush_due(self) -> None:
        pass


class Used:
    """Keeps what was counted: samples by tenant."""

    def __init__(self) -> None:
        self.samples: Counter[str] = Counter()

    def add(self, tenant: str, samples: Mapping[int, int], use: MonthUse) -> Counted | None:
        self.samples[tenant] += sum(samples.values())
        return None

    def put_series(self, tenant: str, counted: Counted, estimate: int) -> None: ...
    def put_seen(self, tenant: str, seen: Seen, before: Seen) -> None: ...


class _Recorded:
    """The table, which tells of its changes."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def get(self, partition: str, sort: str) -> Item | None:
        return self._world.stores.table.get(partition, sort)

    def get_each(self, places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Item]:
        return self._world.stores.table.get_each(places)

    def query(self, partition: str, first: str, last: str) -> list[tuple[str, Item]]:
        return self._world.stores.table.query(partition, first, last)

    def put(self, partition: str, sort: str, item: Item, replaces: Item | None) -> bool:
        if not self._world.stores.table.put(partition, sort, item, replaces):
            return False
        self._world.was_put((partition, sort), item)
        return True

    def remove(self, partition: str, sort: str, item: Item) -> bool:
        if not self._world.stores.table.remove(partition, sort, item):
            return False
        del self._world.items[partition, sort]
        return True

    def write(self, puts: Sequence[tuple[str, str, Item]], removals: Sequence[tuple[str, str]]) -> None:
        self._world.stores.table.write(puts, removals)
        for partition, sort, item in puts:
            self._world.was_put((partition, sort), item)
        for place in removals:
            self._world.items.pop(place, None)


class World:
    """Stores, clock, stream and oracle, and the functions around them.

    ``warm_s``: how long blocks of each resolution stay in the table; ``length_s``: of a raw window.
    """

    def __init__(
        self,
        make_stores: Callable[[Callable[[], int]], Stores],
        tenants: Sequence[str],
        *,
        start_s: int,
        length_s: int,
        hot_s: int,
        warm_s: dict[str, int],
        skew_ms: int = 0,
        lanes: Sequence[int] = (),
    ) -> None:
        self.lanes = lanes
        self.now_s = start_s
        self.length_s = length_s
        self.hot_s = hot_s
        self.warm_s = warm_s
        self.oracle = Oracle()
        self.stream = Stream(self.oracle, lambda: self.now_s)
        self.stores = make_stores(lambda: self.now_ms() + skew_ms)
        self.meter = NoMeter()
        self.aside, self.archive_aside = Bucket(), Bucket()
        self.items: dict[tuple[str, str], Item] = {}
        self.changes: list[Change] = []
        self.passed: list[Change] = []
        self.archived: dict[tuple[str, str], int] = {}
        self.readers = Readers(self.stream)
        self.losses = Losses(self._lanes)
        self.cache = DictCache()
        self.used = Used()
        self._numbers: dict[tuple[str, str], int] = {}
        self._tenants = MemoryAccounts({f"key-{tenant}": tenant for tenant in tenants})
        self._table = _Recorded(self)
        self.asked = self.reader(Faults())
        HotStore(self.stores.nodes).init()
        self.failovers(Faults()).look(NO_REPLAY)

    def now_ms(self) -> int:
        return self.now_s * 1000

    # Functions

    def writer(self) -> Writer:
        windows = RawWindows(self.length_s, RETENTION_S)
        time = Time(now_ms=self.now_ms, clock=self._ticking(), sleep=lambda _: None, random=lambda: 0.5)
        return Writer(Accounts(self._tenants, lambda: 0.0), self.stream, NoDeletes(), windows, self.meter, time)

    def _ticking(self) -> Callable[[], float]:
        """A clock on which a writer has time for a few calls."""
        ticks = iter(range(10**6))
        return lambda: next(ticks) * 0.4

    def ingester(self, faults: Faults) -> Ingester:
        """The live one, which counts what tenants use."""
        return self._ingester(faults, Usage(self.used, lambda: self.now_s, self.length_s))

    def _ingester(self, faults: Faults, usage: Usage | None) -> Ingester:
        ports = wiring_ingester.IngesterPorts(
            hot=HotStore(self.nodes(faults)),
            windows=self.windows(faults),
            table=FaultyStore(self._table, faults),
            accounts=Accounts(FaultyStore(self._tenants, faults), lambda: 0.0),
            quarantine=FaultyStore(self.aside, faults),
            now_ms=self.now_ms,
            meter=self.meter,
            usage=usage,
        )
        return wiring_ingester.assemble(ingester_settings(SCHEDULE, self.length_s, RETENTION_S, EPOCH), ports)

    def sealer(self, faults: Faults, used_bytes: int = 0) -> Sealer:
        """``used_bytes``: of Redis, of MEMORY_BYTES."""
        ports = wiring_sealer.SealerPorts(
            hot=HotWindows(FaultyNodes(self.stores.nodes, faults, used_bytes=used_bytes)),
            table=FaultyStore(self._table, faults),
            cold=FaultyStore(self.stores.cold, faults),
            admission=FaultyStore(self._tenants, faults),
            initialised=lambda: True,
            new_token=self.losses.new_token,
            now_ms=self.now_ms,
            meter=self.meter,
        )
        return wiring_sealer.assemble(sealer_settings(SCHEDULE, RETENTION_S, self.hot_s, self.warm_s), ports)

    def windows(self, faults: Faults) -> HotWindows:
        return HotWindows(self.nodes(faults))

    def nodes(self, faults: Faults) -> Any:
        followers = Followers(MastersItem(FaultyStore(self._table, faults)), lambda: self.now_s)
        in_memory = isinstance(self.stores.nodes, MemoryNodes)  # real ones wait for replicas by themselves
        return FaultyNodes(self.stores.nodes, faults, followers if in_memory else None)

    def failovers(self, faults: Faults) -> Failovers:
        return Failovers(FaultyStore(self._table, faults), self.windows(faults), lambda: self.now_s)

    def jobs(self, faults: Faults) -> Jobs:
        return Jobs(FaultyStore(self._table, faults))

    def supervisor(self, faults: Faults) -> Supervisor:
        """Each minute is the turn of every lane that is used."""
        return Supervisor(self.jobs(faults), self.readers, self.stream, lambda: float(self.now_s), self.lanes)

    def replayer(self, faults: Faults) -> Replayer:
        return Replayer(self._ingester(faults, None), self.windows(faults), self.meter)

    def ticking(self, ingester: Ingester, faults: Faults) -> Ticking:
        """The ingester on records in their order."""
        return Ticking(ingester, self.windows(faults))

    def reader(self, faults: Faults) -> Reader:
        ports = wiring_reader.ReaderPorts(
            hot=HotStore(FaultyNodes(self.stores.nodes, faults)),
            windows=self.windows(faults),
            table=FaultyStore(self._table, faults),
            cold=FaultyStore(self.stores.cold, faults),
            accounts=Accounts(self._tenants, lambda: 0.0),
            now_ms=self.now_ms,
            cache=self.cache,
        )
        return wiring_reader.assemble(reader_settings(self.length_s, RETENTION_S), ports).queries.reader

    def archiver(self, faults: Faults) -> Archiver:
        cold = FaultyStore(self.stores.cold, faults)
        deletes = Catalogue(FaultyStore(self._table, faults))
        return Archiver(cold, deletes, FaultyStore(self.archive_aside, faults), self.now_ms, self.meter)

    def redrivers(self, faults: Faults) -> tuple[RecordRedriver, BlockRedriver]:
        """What the operator's command does."""
        time = Time(now_ms=self.now_ms, clock=self._ticking(), sleep=lambda _: None, random=lambda: 0.5)
        records = RecordRedriver(
            FaultyStore(self.aside, faults),
            Putter(self.stream, time).put,
            self._tenants.has_tenant,
            Origin("stream", EPOCH),
            lambda _: None,
        )
        cold, deletes = FaultyStore(self.stores.cold, faults), Catalogue(FaultyStore(self._table, faults))
        return records, BlockRedriver(FaultyStore(self.archive_aside, faults), partial(restore, cold, deletes))

    def set_steps(self, tenant: str, steps: Steps) -> None:
        """Of the lengths of its labelled sources' windows."""
        self._tenants.steps[tenant] = steps

    def admit(self, tenant: str) -> None:
        """The tenant is there from now on."""
        self._tenants.tenant_of_key[f"key-{tenant}"] = tenant

    def give_up(self, changes: Sequence[Change]) -> None:
        """Lambda keeps changes that the archiver did not take in time."""
        event = {"Records": [_given_up(change) for change in changes]}
        name = f"aws/lambda/{changes[0].image.sequence:0>9}"
        self.archive_aside.objects[name] = json.dumps({"payload": json.dumps(event)}).encode()

    def reconciler(self, faults: Faults) -> Reconciler:
        ports = wiring_reconciler.ReconcilerPorts(
            expiring=self._expiring,
            table=FaultyStore(self._table, faults),
            cold=FaultyStore(self.stores.cold, faults),
            now_ms=self.now_ms,
            meter=self.meter,
        )
        return wiring_reconciler.assemble(reconciler_settings(self.warm_s), ports)

    def _expiring(self, day: int, after: BlockKey | None) -> list[BlockKey]:
        start = (after.partition, after.sort) if after else ("", "")
        days = [(place, item.expires_s // DAY_S) for place, item in self._blocks() if place > start]
        return [BlockKey.of_item(*place) for place, expiry in days if expiry == day]

    def _blocks(self) -> list[tuple[tuple[str, str], Item]]:
        return [(place, item) for place, item in sorted(self.items.items()) if is_block(place[0]) and item.expires_s]

    # The table and its stream of changes

    def was_put(self, place: tuple[str, str], item: Item) -> None:
        self.items[place] = item
        if place == JOB:
            job, _ = Jobs(self.stores.table).load()
            assert job
            self.losses.saved(job, self.now_s)
        if is_block(place[0]):
            self._numbers[place] = self._numbers.get(place, 0) + 1
            self._changed(place, item, removed=False)

    def _changed(self, place: tuple[str, str], item: Item, *, removed: bool) -> None:
        key = BlockKey.of_item(*place)
        image = Image(str(len(self.changes) + len(self.passed) + 1), key, item.data, removed)
        self.changes.append(Change(image, place, self._numbers[place]))

    def remove(self, place: tuple[str, str]) -> None:
        """The table removes an expired item, and tells of it."""
        item = self.items.pop(place)
        assert 0 < item.expires_s <= self.now_s, "only what has expired"
        self.stores.remove(*place)
        self._changed(place, item, removed=True)

    def expired(self, since_s: int = 0) -> list[tuple[str, str]]:
        """What has expired, for that long at least."""
        return [place for place, item in self._blocks() if item.expires_s <= self.now_s - since_s]

    def is_safe(self, place: tuple[str, str]) -> bool:
        """Whether archiver or reconciler have seen the item as it is, or of a stub all of its parts."""
        if place not in self.items:
            return True
        if parts := blocks.parts_of(self.items[place].data):
            key = BlockKey.of_item(*place)
            children = [key._replace(part=part) for part in parts]
            return all(self.is_safe((child.partition, child.sort)) for child in children)
        return self.archived.get(place) == self._numbers[place]

    def has_passed(self, changes: Iterable[Change]) -> None:
        """The archiver is done with these changes; AssertionError if the archive has nothing of one."""
        for change in changes:
            if not change.image.removed and (
                change.image.key.resolution == RAW or change.image.key.window.end_s <= self.now_s
            ):
                self._check_archived(change.image)
                self.archived[change.place] = max(self.archived.get(change.place, 0), change.number)
        self.passed += changes

    def _check_archived(self, image: Image) -> None:
        """What the archiver lacks the reconciler would copy, and the table would tell once more when it removes it."""
        key = image.key
        if key.part or blocks.parts_of(image.data) or self.stores.cold.get(key):
            return
        left = erase(blocks.decode(image.data), Catalogue(self.stores.table).of(key.source).markers())
        assert not left.samples, f"{key.object} counts as archived, and is not"

    def has_reconciled(self) -> None:
        today = self.now_s // DAY_S
        for place, item in self._blocks():
            if today - RECONCILE_BACK_DAYS <= item.expires_s // DAY_S <= today + RECONCILE_AHEAD_DAYS:
                self.archived[place] = self._numbers[place]

    # Redis

    def lose(self, lane: int) -> None:
        self.stores.lose(lane)
        self.losses.add(lane)

    def fail_over(self, lane: int, *, restarted: bool = False) -> None:
        """See ``Stores``; it is a loss unless the note of masters proves that it is none.  The note says nothing of a
        lane that is replayed: a replica that hangs lacks the token, and what was replayed so far."""
        note, _ = MastersItem(self.stores.table).load()
        noted, before = note.of_lanes().get(lane), self._lanes()[lane]
        self.stores.fail_over(lane, restarted=restarted)
        served = self.stores.nodes.masters()[lane]
        is_proved = not noted or served.id == noted or proves(note.shard(noted), served)
        if not is_proved or self._lanes()[lane] != before:
            self.losses.add(lane)

    def go_back(self, lane: int, kept: Any) -> None:
        """See ``Stores``: no id says that something was lost."""
        self.stores.go_back(lane, kept)
        self.losses.add(lane)

    def _lanes(self) -> dict[int, Lane]:
        """What each lane says of itself."""
        replies = self.stores.nodes.run([Command(lane, ("GET", lane_state(lane))) for lane in range(LANES)])
        return {lane: _lane_of(state) for lane, state in enumerate(replies)}

    def tokens(self) -> dict[int, str]:
        """Of the last replay of each lane."""
        return HotWindows(self.stores.nodes).due(self.now_ms()).tokens

    def is_whole(self, lane: int) -> bool:
        return lane not in self.rebuilding([lane])

    def is_sealed(self, lane: int, to_ms: int) -> bool:
        """Whether no window until then can have rows in Redis alone."""
        return Window.holding(to_ms, self.length_s).end_s <= Marks(self.stores.table).sealed_s(lane)

    def rebuilding(self, lanes: Iterable[int] = range(LANES)) -> set[int]:
        """Lanes that are not whole, or that a master serves of which the sealer does not know."""
        failovers = Failovers(self.stores.table, HotWindows(self.stores.nodes), lambda: self.now_s)
        noted, served = failovers.masters(), self.stores.nodes.masters()
        changed = any(noted.get(lane, master.id) != master.id for lane, master in served.items())
        strange = set(failovers.lost(noted, served)) & set(lanes) if changed else set()
        return HotWindows(self.stores.nodes).in_replay(lanes) | strange

    def unsealed(self, sources: Iterable[SourceKey]) -> list[tuple[SourceKey, bytes]]:
        """The windows in Redis that have rows which no expiry will take."""
        return [
            (source, token)
            for source in sources
            for token, state in self.stores.nodes.run([Command(source.lane, ("HGETALL", source.windows))])[0].items()
            if state[1:].partition(b",")[0] == b"0"
        ]

    def lacking(self, sources: Iterable[SourceKey]) -> list[SourceKey]:
        """The sources whose blocks lack late rows, or have what was deleted."""
        catalogue = Catalogue(self.stores.table)
        return [source for source in sources if any(catalogue.of(source).pending()[:2])]

    def uncleaned(self) -> list[BlockKey]:
        """The raw blocks, in the table or the archive, that hold what was deleted."""
        catalogue, keys = Catalogue(self.stores.table), {change.image.key for change in [*self.passed, *self.changes]}
        warm = [(BlockKey.of_item(*place), item) for place, item in self._blocks()]
        cold = [(key, item) for key in sorted(keys) if (item := self.stores.cold.get(key))]
        return [
            key
            for key, item in [*warm, *cold]
            if key.resolution == RAW and not blocks.parts_of(item.data)
            if erase(columns := blocks.decode(item.data), catalogue.of(key.source).markers()) != columns
        ]

    def listed(self) -> list[SourceKey]:
        """The sources that the sealer is to work on, now or later."""
        return [entry.source for entry in Worklist(self.stores.table, str).due(2**62)]

    def due(self) -> list[Any]:
        """What is due now, in lanes that are whole."""
        return list(HotWindows(self.stores.nodes).due(self.now_ms()).windows)


def _lane_of(state: bytes | None) -> Lane:
    return Lane(state[:1] == WHOLE, state[STATE_BYTES:].decode()) if state else Lane(False, None)


def _given_up(change: Change) -> dict[str, Any]:
    """A change as the archiver's event has it."""
    partition, sort = change.place
    row = {"pk": {"S": partition}, "sk": {"S": sort}, "b": {"B": b64encode(change.image.data).decode()}}
    removed = {"eventName": "REMOVE", "userIdentity": dict(BY_TTL)}
    image = {"OldImage" if change.image.removed else "NewImage": row, "SequenceNumber": change.image.sequence}
    return {**(removed if change.image.removed else {"eventName": "MODIFY"}), "dynamodb": image}


CROWDED = {
    "carbyne.adapters.redis.windows.CONFIRM_ROWS_MAX": 2,
    "carbyne.adapters.redis.windows.FIRST_CHUNK": 3,
    "carbyne.adapters.redis.windows.READ_BYTES_MAX": 200,
    "carbyne.adapters.redis.windows.DUE_PER_LANE": 3,
    "carbyne.adapters.redis.dictionaries.DICTIONARY_NAMES_MAX": 12,
    "carbyne.adapters.redis.dictionaries.CODED_LISTS_MAX": 1,
    "carbyne.samples.fragments.LISTS_MERGED_MAX": 1,
    "carbyne.adapters.redis.hot.READ_BYTES_MAX": 300,
    "carbyne.adapters.redis.hot.READ_WINDOWS": 2,
    "carbyne.adapters.redis.hot.CALL_BYTES_MAX": 100,
    "carbyne.samples.blocks.BLOCK_SAMPLES_MAX": 125,
    "carbyne.store.catalogue_items.CATALOGUE_PAGE_SERIES_MAX": 2,
    "carbyne.seal.backlog.BACKLOG_STEP_WINDOWS": 1,
    "carbyne.stream.putter.PUT_RECORDS_MAX": 2,
    "carbyne.intake.packing.ROW_SERIES_MAX": 2,
}
"""Bounds so small that few samples meet all of them."""
ALWAYS = {
    "carbyne.adapters.redis.windows.LANES": LANES,
    "carbyne.adapters.redis.hot.LANES": LANES,
    "carbyne.hot.replay.TICK_MINUTES": 1,
    "carbyne.hot.ingester.LATE_ROW_SAMPLES": 0,
    "carbyne.core.keys.escape": cache(escape),
    "carbyne.store.tree.STUB_EXTRA_S": DAY_S,
    "carbyne.store.worklist.WORK_PARTITIONS": 1,
    "carbyne.store.tiers.ThreadPoolExecutor": Inline,
    "carbyne.archive.reconciler.ThreadPoolExecutor": Inline,
}


@contextmanager
def bounds(*, crowded: bool, leases: bool):
    """The bounds of one run; without ``leases`` two sealers really work on the same window."""
    changed = ALWAYS | (CROWDED if crowded else {})
    if not leases:
        leases = ("carbyne.adapters.redis.windows.SEAL_LEASE_MS", "carbyne.seal.backlog.SEAL_LEASE_MS")
        changed = changed | dict.fromkeys(leases, 0)
    with ExitStack() as patches:  # a bound that has gone leaves none of the others changed
        for name, value in changed.items():
            patches.enter_context(patch(name, value))
        yield
