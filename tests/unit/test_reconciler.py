"""Reconciling: what will expire is in the archive, however much of it there is."""

import threading
from collections import Counter
from contextlib import suppress
from itertools import count

import numpy as np
import pytest
from carbyne.adapters.dynamodb.table import WarmBlocks
from carbyne.archive import reconciler as module
from carbyne.archive.compared import ComparedInTable, ComparedNow
from carbyne.archive.reconciler import Copying, Reconciled, Reconciler
from carbyne.core import limits
from carbyne.core.errors import RetryableError
from carbyne.core.items import Item
from carbyne.core.keys import BlockKey, SourceKey, Window
from carbyne.core.limits import DAY_S, RECONCILE_AHEAD_DAYS, RECONCILE_BACK_DAYS, RECONCILE_BATCH, RECONCILE_RESERVE_S
from carbyne.samples import blocks
from carbyne.samples.columns import merge

from tests.support.blocks import KEY, ONE, TWO, Meter, everything, samples
from tests.support.fakes import FakeBlocks, FakeTable, NoMarkers

NOW_S = 1_800_000_000
SOON_S = NOW_S + 2 * DAY_S


class World:
    def __init__(self):
        self.table, self.cold, self.meter = FakeTable(), FakeBlocks(), Meter()
        self.warm = WarmBlocks(self.table)
        self.days = []
        self.now_s, self.kept_s = NOW_S, 7 * DAY_S
        self.reconciler = self.new_reconciler(self.expiring)

    def new_reconciler(self, expiring, warm=None, compared=None):
        return Reconciler(
            expiring,
            compared or ComparedInTable(self.table),
            Copying(warm or self.warm, self.cold, NoMarkers()),
            self.kept_s,
            lambda: self.now_s * 1000,
            self.meter,
        )

    def expiring(self, day, after):
        self.days.append(day)
        return iter(self.table.expiring(day, after))

    def put(self, key, data, expires_s=SOON_S):
        assert self.warm.put(key, Item(data, expires_s), None)

    def run(self, seconds_left=lambda: 900.0, **more):
        return self.reconciler.run(seconds_left, **more)


@pytest.fixture
def world():
    return World()


def keys(number):
    return [KEY._replace(source=SourceKey("acme", f"host/{n}")) for n in range(number)]


def test_what_the_archive_lacks_is_copied_and_a_second_run_finds_nothing(world):
    missing, older, there = keys(3)
    world.put(missing, blocks.encode(ONE))
    world.put(older, blocks.encode(merge([ONE, TWO])))
    world.cold.put(older, Item(blocks.encode(ONE)), None)
    world.put(there, blocks.encode(ONE))
    world.cold.put(there, Item(blocks.encode(merge([ONE, TWO]))), None)
    assert world.run() == Reconciled(compared=3, copied=2, missed=2)
    assert blocks.decode(world.cold.get(missing).data) == ONE
    assert blocks.decode(world.cold.get(older).data) == blocks.decode(world.cold.get(there).data) == merge([ONE, TWO])
    world.reconciler = world.new_reconciler(world.expiring, compared=ComparedNow())
    assert world.run() == Reconciled(3)
    assert world.meter.counts == {"BlocksReconciled": 6, "BlocksMissing": 2}


@pytest.mark.parametrize(
    ("expires_s", "compared"),
    [
        (NOW_S, 1),
        (NOW_S - 2 * DAY_S, 1),
        (NOW_S - RECONCILE_BACK_DAYS * DAY_S, 1),
        (NOW_S + RECONCILE_AHEAD_DAYS * DAY_S, 1),
        (NOW_S + (RECONCILE_AHEAD_DAYS + 1) * DAY_S, 0),
    ],
)
def test_blocks_are_seen_some_days_ahead_and_also_when_their_removal_is_late(world, expires_s, compared):
    world.put(KEY, blocks.encode(ONE), expires_s)
    assert world.run().compared == compared == len(world.cold.items)


def test_days_are_taken_in_the_order_of_expiry(world):
    world.run()
    today = NOW_S // DAY_S
    assert world.days == list(range(today - RECONCILE_BACK_DAYS, today + RECONCILE_AHEAD_DAYS + 1))


def test_a_split_block_is_copied_out_of_its_parts(world, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES_MAX", 300)
    names = [f"s{n}" for n in range(40)]
    noise = np.random.default_rng(3).normal(size=len(names))
    parts_of_names = [samples({0: float(value)}, 1, [name]) for name, value in zip(names, noise, strict=True)]
    leaves = blocks.encode_parts(merge(parts_of_names))
    assert len(leaves) > 1
    for part, block in leaves:
        world.put(KEY._replace(part=part), block)
    world.put(KEY, blocks.encode_stub([part for part, _ in leaves]))
    assert world.run().failed == 0
    assert everything(world.cold) == merge(parts_of_names)
    assert world.run().copied == 0


def test_rollups_are_copied_and_are_no_reason_for_an_alarm(world):
    """A window that closed without another write is copied here; a raw block should have been when it was put."""
    world.put(KEY, blocks.encode(ONE))
    world.put(KEY._replace(resolution="1h"), blocks.encode(TWO))
    assert world.run() == Reconciled(compared=2, copied=2, missed=1)
    assert world.meter.counts["BlocksMissing"] == 1
    assert blocks.decode(world.cold.get(KEY._replace(resolution="1h")).data) == TWO


def test_a_part_in_the_archive_counts_only_if_its_root_leads_there(world):
    """An archiver that died between the parts and their stub left this."""
    part = KEY._replace(part="0" if blocks.in_part("m", "0") else "1")
    world.put(part, blocks.encode(ONE))
    world.cold.put(part, Item(blocks.encode(ONE)), None)
    assert world.run() == Reconciled(1, 1, 1)
    assert everything(world.cold) == ONE


def test_a_block_that_is_gone_meanwhile_is_no_failure(world):
    world.put(KEY, blocks.encode(ONE))
    [key] = world.expiring(SOON_S // DAY_S, None)
    world.table.items.clear()
    world.reconciler._expiring = lambda day, after: [key]
    assert world.run().failed == 0 and world.cold.items == {}


@pytest.mark.parametrize("damage", ["table", "archive", "away"])
def test_what_can_not_be_compared_fails_the_run_and_holds_up_nothing(world, damage, caplog):
    bad, good = keys(2)
    world.put(bad, blocks.encode(ONE) if damage != "table" else b"\1nonsense")
    world.put(good, blocks.encode(TWO))
    if damage == "archive":
        world.cold.items[bad] = Item(b"\1nonsense")
    if damage == "away":
        get = world.cold.get
        world.cold.get = lambda key: get(key) if key == good else fail()
    with pytest.raises(RetryableError, match="1 of 2 blocks could not be compared"):
        world.run()
    assert blocks.decode(world.cold.get(good).data) == TWO
    assert bad.object in caplog.text and good.object not in caplog.text
    assert world.meter.counts == {"BlocksReconciled": 2, "BlocksMissing": 1}


def fail():
    raise RetryableError("S3 is away")


def test_a_table_that_can_not_be_asked_fails_the_run(world):
    world.reconciler._expiring = lambda day, after: fail()
    with pytest.raises(RetryableError, match="away"):
        world.run()


def three_batches(world, first_day):
    """Blocks of three batches, which expire on successive days from ``first_day`` from now on."""
    for number, key in enumerate(sorted(keys(3 * RECONCILE_BATCH), key=lambda key: key.partition)):
        world.put(key, blocks.encode(ONE), NOW_S + (first_day + number // RECONCILE_BATCH) * DAY_S)


def test_out_of_time_what_is_urgent_is_left_and_the_run_says_so(world):
    three_batches(world, -1)
    left = iter([100.0, 100.0, RECONCILE_RESERVE_S - 1])
    with pytest.raises(RetryableError, match=rf"out of time after {2 * RECONCILE_BATCH} blocks.* 1 days from now"):
        world.run(lambda: next(left))
    assert len(world.cold.items) == world.meter.counts["BlocksReconciled"] == 2 * RECONCILE_BATCH


def test_what_is_not_urgent_is_left_to_the_next_run_which_goes_on_there(world):
    three_batches(world, 0)
    left = iter([100.0, 100.0, RECONCILE_RESERVE_S - 1])
    assert world.run(lambda: next(left)).compared == 2 * RECONCILE_BATCH
    assert world.run() == Reconciled(RECONCILE_BATCH, RECONCILE_BATCH, RECONCILE_BATCH)
    assert len(world.cold.items) == 3 * RECONCILE_BATCH


def test_a_run_goes_on_within_a_day(world):
    for key in keys(3 * RECONCILE_BATCH):
        world.put(key, blocks.encode(ONE))
    for batches in (1, 2, 2):
        left = iter([100.0] * batches + [0.0])
        world.run(lambda left=left: next(left))
    assert len(world.cold.items) == 3 * RECONCILE_BATCH
    assert world.meter.counts["BlocksReconciled"] == 3 * RECONCILE_BATCH


def test_each_block_is_compared_once_though_there_is_a_run_each_hour(world):
    written = keys(30)
    for number, key in enumerate(written):
        world.put(key, blocks.encode(ONE), NOW_S + number * DAY_S // 2)
    for _ in range(20 * 24):
        world.run()
        world.now_s += 3600
    assert set(world.cold.items) == set(written)
    assert world.meter.counts["BlocksReconciled"] == 30
    assert len(ComparedInTable(world.table).load()) == RECONCILE_BACK_DAYS + RECONCILE_AHEAD_DAYS + 1


def test_ten_thousand_hosts_fit_into_the_hourly_runs(world, monkeypatch):
    """Each 500th of their blocks, which takes 500 times as long: 4.9 ms of CPU, of which 1 GB has 0.58 of a core.  What
    is urgent is never left, or a run would fail, and each block is compared once."""
    scale, blocks_a_day, batch = 500, 10_000 * 13, 16
    monkeypatch.setattr(module, "RECONCILE_BATCH", batch)
    batch_s, step_s = batch * scale * 0.0049 / 0.58, DAY_S * scale // blocks_a_day
    data, days = blocks.encode(ONE), 6
    for number, key in enumerate(keys(days * blocks_a_day // scale)):
        world.put(key, data, NOW_S + RECONCILE_AHEAD_DAYS * DAY_S + number * step_s)
    batches = 0
    for _ in range(24 * days):
        seconds_left = count(900.0, -batch_s)
        world.run(lambda seconds_left=seconds_left: next(seconds_left))
        batches += int((900 - next(seconds_left)) / batch_s) - 1
        world.now_s += 3_600
    assert world.meter.counts["BlocksReconciled"] == len(world.cold.items) == days * blocks_a_day // scale
    assert batches * batch_s < 0.1 * days * 24 * 900, "a tenth of the time that they have"


@pytest.mark.parametrize("kept_s", [0, 60, DAY_S, 3 * DAY_S])
def test_a_block_that_comes_behind_a_run_is_compared_by_a_later_one(world, kept_s):
    """It comes, and the index shows it, whenever it may: until the day is settled, runs look again."""
    world.kept_s = kept_s
    world.reconciler = world.new_reconciler(world.expiring)
    written = keys(24 * 6)
    for key in written:
        world.put(key, blocks.encode(ONE), world.now_s + kept_s)
        world.run()
        world.now_s += 3600
    world.run()
    assert set(world.cold.items) == set(written)


def test_a_longer_retention_does_not_vouch_for_blocks_that_were_put_before_it(world):
    """Compared while blocks were kept for a day, then one came that expires on that day, then the week was deployed."""
    world.kept_s = DAY_S
    world.reconciler = world.new_reconciler(world.expiring)
    world.run()
    world.now_s += DAY_S
    world.put(KEY, blocks.encode(ONE), world.now_s + DAY_S)
    world.kept_s = 7 * DAY_S
    world.reconciler = world.new_reconciler(world.expiring)
    assert world.run() == Reconciled(1, 1, 1)


def test_a_day_with_a_block_that_could_not_be_compared_is_compared_again(world):
    bad, good = keys(2)
    world.put(bad, blocks.encode(ONE))
    world.put(good, blocks.encode(TWO))
    world.cold.items[bad] = Item(b"\1nonsense")
    for _ in range(2):
        with pytest.raises(RetryableError, match="1 of 2"):
            world.run()
    world.cold.items.pop(bad)
    assert world.run() == Reconciled(2, 1, 1)
    assert world.run() == Reconciled()


def test_a_block_that_can_never_be_compared_takes_no_time_of_later_days(world):
    """Its day fills a run by itself, and is looked at again each hour."""
    bad, *others = keys(2 * RECONCILE_BATCH)
    for key in (bad, *others):
        world.put(key, blocks.encode(ONE), NOW_S)
    world.cold.items[bad] = Item(b"\1nonsense")
    later = KEY._replace(resolution="1h")
    world.put(later, blocks.encode(TWO), NOW_S + 2 * DAY_S)
    for _ in range(6):
        left = iter([900.0] * 2 + [0.0] * 9)
        with suppress(RetryableError):
            world.run(lambda left=left: next(left))
        world.now_s += 3600
    assert later in world.cold.items and set(others) <= set(world.cold.items)


def test_progress_is_told(world):
    for key in keys(2 * RECONCILE_BATCH + 1):
        world.put(key, blocks.encode(ONE))
    told = []
    outcome = world.run(progress=told.append)
    assert [each.compared for each in told] == [RECONCILE_BATCH, 2 * RECONCILE_BATCH, 2 * RECONCILE_BATCH + 1]
    assert told[-1] == outcome


def test_memory_does_not_grow_with_the_table(world, monkeypatch):
    """Neither keys nor blocks are taken ahead of a batch, and at most a block for each thread is held."""
    monkeypatch.setattr(module, "RECONCILE_BATCH", 8)
    monkeypatch.setattr(module, "COLD_READERS", 2)
    alive, lock = Counter(), threading.Lock()
    data = blocks.encode(ONE)

    class Endless:
        def get(self, key):
            with lock:
                alive["now"] += 1
                alive["most"] = max(alive["most"], alive["now"])
            return Item(data, SOON_S)

    def expiring(day, after):
        for key in keys(100) if day == SOON_S // DAY_S else []:
            alive["listed"] += 1
            assert alive["listed"] <= alive["done"] + 8
            yield key

    world.reconciler = world.new_reconciler(expiring, Endless())
    compare = world.reconciler._compare

    def counted(key):
        outcome = compare(key)
        with lock:
            alive["now"] -= 1
            alive["done"] += 1
        return outcome

    world.reconciler._compare = counted
    assert world.run() == Reconciled(100, 100, 100)
    assert alive["most"] <= 2


def test_a_block_that_is_there_byte_for_byte_is_not_decoded(world, monkeypatch):
    world.put(KEY, blocks.encode(ONE))
    world.cold.put(KEY, Item(blocks.encode(ONE)), None)
    monkeypatch.setattr(blocks, "decode", None)
    assert world.run() == Reconciled(1)


def test_every_block_has_several_chances():
    assert limits.RECONCILE_AHEAD_DAYS >= 3 and limits.RECONCILE_BACK_DAYS >= 3
    assert BlockKey(SourceKey("a", "b"), "raw", Window(0, 60)).part == blocks.WHOLE
