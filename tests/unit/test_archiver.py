"""The archiver: what it makes of changes of the table, in any order, twice, and with damage."""

from zlib import crc32

import numpy as np
import pytest
from carbyne.archive.archiver import Archiver, archive
from carbyne.core.errors import CorruptDataError, RetryableError, UnknownVersionError
from carbyne.core.items import Item
from carbyne.samples import blocks
from carbyne.samples.columns import EMPTY, Columns, column, merge
from carbyne.store.tree import merge_into
from carbyne.stream.arrived import Image
from hypothesis import given
from hypothesis import strategies as st

from tests.support import strategies
from tests.support.blocks import KEY, ONE, TWO, Meter, everything, samples
from tests.support.fakes import FakeBlocks, FakeTable, NoMarkers


class Quarantine:
    """Keeps what is put; ``away`` makes it fail."""

    def __init__(self):
        self.kept = []
        self.away = False

    def put(self, key, data, reason):
        if self.away:
            raise RetryableError("the failure bucket is away")
        self.kept.append((key, data, reason))


class Away(FakeBlocks):
    """An archive that takes ``left`` calls and then fails."""

    def __init__(self, left):
        super().__init__()
        self.left = left

    def get(self, key):
        self._ask()
        return super().get(key)

    def put(self, key, item, replaces):
        self._ask()
        return super().put(key, item, replaces)

    def _ask(self):
        self.left -= 1
        if self.left < 0:
            raise RetryableError("S3 is away")


class World:
    def __init__(self, cold=None):
        self.cold, self.quarantine, self.meter = cold or FakeBlocks(), Quarantine(), Meter()
        self.now_ms = KEY.window.end_s * 1000
        self.archiver = Archiver(self.cold, NoMarkers(), self.quarantine, lambda: self.now_ms, self.meter)

    def take(self, *blobs, key=KEY, removed=False):
        return self.archiver.take([Image(str(n), key, data, removed) for n, data in enumerate(blobs, start=1)])


def test_a_block_is_archived_byte_for_byte():
    world = World()
    assert world.take(blocks.encode(ONE)) is None
    assert world.cold.items == {KEY: Item(blocks.encode(ONE))}
    assert world.meter.counts == {"BlocksArchived": 1}


def test_a_changed_block_is_merged_by_stamp_in_any_order_and_any_number_of_times():
    images = [blocks.encode(ONE), blocks.encode(TWO), blocks.encode(merge([ONE, TWO]))]
    for order in (images, images[::-1], images * 3, [images[2], images[0], images[1], images[0]]):
        world = World()
        assert world.take(*order) is None
        assert blocks.decode(world.cold.get(KEY).data) == merge([ONE, TWO])


def test_what_is_there_already_is_not_put_again():
    world = World()
    world.take(blocks.encode(merge([ONE, TWO])))
    puts = world.cold.calls["put"]
    world.take(blocks.encode(merge([ONE, TWO])), blocks.encode(ONE))
    assert world.cold.calls["put"] == puts and world.meter.counts == {"BlocksArchived": 1}


def test_a_stub_adds_nothing():
    world = World()
    assert world.take(blocks.encode_stub(["0", "1"])) is None
    assert world.cold.items == {} and world.cold.calls == {} and world.meter.counts == {}


def test_a_part_of_the_table_goes_to_the_root_of_the_archive():
    world = World()
    parts = {part: [n for n in map(str, range(20)) if blocks.in_part(n, part)] for part in ("0", "10", "11")}
    for part, series in parts.items():
        world.take(blocks.encode(samples({0: 1.0}, series=series)), key=KEY._replace(part=part))
    assert list(world.cold.items) == [KEY]
    assert blocks.decode(world.cold.get(KEY).data) == samples({0: 1.0}, series=[str(n) for n in range(20)])


def test_what_does_not_fit_one_block_is_split_in_the_archive(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES_MAX", 600)
    table, world, whole = FakeBlocks(), World(), EMPTY
    rng = np.random.default_rng(1)
    for sequence in range(6):
        noise = dict(enumerate(rng.normal(size=5), start=5 * sequence))
        fresh = samples(noise, sequence, [f"s{n}" for n in range(3 * sequence, 3 * sequence + 6)])
        whole = merge([whole, fresh])
        merge_into(table, KEY, fresh, expires_s=9)
        for key, item in table.items.items():
            assert world.take(item.data, key=key) is None
    assert everything(world.cold) == everything(table) == whole
    assert blocks.parts_of(world.cold.get(KEY).data) and not world.quarantine.kept
    assert all(len(item.data) <= 600 for item in world.cold.items.values())


def test_the_tree_of_the_archive_is_its_own(monkeypatch):
    """Two halves that fit the table's parts do not fit the archive's root; and later parts of the table are finer."""
    monkeypatch.setattr(blocks, "BLOCK_BYTES_MAX", 500)
    world, names = World(), [f"s{n}" for n in range(8)]
    noise = dict(enumerate(np.random.default_rng(2).normal(size=12)))
    contents = []
    for prefix in ("0", "10", "110", "111"):
        mine = [name for name in names if blocks.in_part(name, prefix)]
        if mine:
            contents.append(samples(noise, series=mine))
            for part, block in blocks.encode_parts(contents[-1], prefix):
                assert world.take(block, key=KEY._replace(part=part)) is None
    assert everything(world.cold) == merge(contents)


@pytest.mark.parametrize("left", range(4))
def test_while_the_archive_is_away_changes_wait_in_the_stream(left):
    """Each block takes a get and a put."""
    world = World(Away(left))
    assert world.take(blocks.encode(ONE), blocks.encode(TWO)) == ("1" if left < 2 else "2")
    world.cold.left = 100
    assert world.take(blocks.encode(ONE), blocks.encode(TWO)) is None
    assert blocks.decode(world.cold.get(KEY).data) == merge([ONE, TWO])


def test_a_corrupt_block_is_set_aside_and_counts_as_done():
    world, damaged = World(), blocks.encode(ONE)[:-1]
    assert world.take(damaged, blocks.encode(TWO)) is None
    [(key, data, reason)] = world.quarantine.kept
    assert (key, data) == (KEY, damaged) and "checksum differs" in reason
    assert blocks.decode(world.cold.get(KEY).data) == TWO
    assert world.meter.counts == {"BlocksQuarantined": 1, "BlocksArchived": 1}


def test_a_corrupt_block_that_can_not_be_set_aside_waits():
    world = World()
    world.quarantine.away = True
    assert world.take(blocks.encode(TWO), b"\1nonsense", blocks.encode(ONE)) == "2"
    assert blocks.decode(world.cold.get(KEY).data) == TWO


def test_a_sound_block_beside_a_corrupt_archive_is_set_aside_with_the_true_reason():
    world = World()
    world.cold.items[KEY] = Item(b"\1nonsense")
    assert world.take(blocks.encode(ONE)) is None
    [(_, data, reason)] = world.quarantine.kept
    assert data == blocks.encode(ONE) and reason.startswith("the block is sound")
    assert world.cold.get(KEY) == Item(b"\1nonsense"), "only an operator may throw it away"


@pytest.mark.parametrize("where", ["image", "archive"])
def test_a_block_of_a_later_version_waits_for_newer_code(where):
    world, later = World(), b"\2" + blocks.encode(ONE)[1:]
    later = _with_sound_crc(later)
    with pytest.raises(UnknownVersionError):
        blocks.decode(later)
    if where == "archive":
        world.cold.items[KEY] = Item(later)
    assert world.take(blocks.encode(ONE) if where == "archive" else later, blocks.encode(TWO)) == "1"
    assert world.quarantine.kept == []


def _with_sound_crc(block):
    covered = block[:1] + block[5:]
    return block[:1] + crc32(covered).to_bytes(4, "little") + block[5:]


def test_a_rollup_that_still_grows_is_copied_when_its_window_has_closed():
    world, key = World(), KEY._replace(resolution="1h")
    world.now_ms = key.window.end_s * 1000 - 1
    assert world.take(blocks.encode(ONE), key=key) is None and world.cold.items == {}
    assert world.take(blocks.encode(ONE), key=key, removed=True) is None
    assert blocks.decode(world.cold.get(key).data) == ONE
    world.now_ms += 1
    world.take(blocks.encode(TWO), key=key)
    assert blocks.decode(world.cold.get(key).data) == merge([ONE, TWO])


def test_archive_raises_what_is_wrong_with_the_block():
    with pytest.raises(CorruptDataError):
        archive(FakeBlocks(), NoMarkers(), KEY, b"")


@given(strategies.records(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_all_copies_in_any_order_give_the_samples_of_all(some, seals, random):
    """Images of the table as it was at any time, each any number of times, in any order."""
    table, images, pages = FakeTable(), [], [some[seal::seals] for seal in range(seals)]
    whole: Columns = EMPTY
    for page in pages:
        whole = merge([whole, strategies.columns_of(page)])
        if whole.groups:
            images += [blocks.encode(whole), blocks.encode(whole)]
    images += [blocks.encode(columns) for columns in map(strategies.columns_of, pages) if columns.groups]
    random.shuffle(images)
    world = World()
    assert world.take(*images) is None and not table.items
    copied = everything(world.cold) if images else EMPTY
    assert copied == whole
    for series in whole.series:
        assert [a.tobytes() for a in column(copied, series)] == [a.tobytes() for a in column(whole, series)]
