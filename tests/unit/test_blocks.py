"""The block codec: every bit comes back, every damage is named."""

import json
import tracemalloc
from pathlib import Path
from zlib import crc32

import cramjam
import msgspec
import numpy as np
import pytest
from carbyne.core import stamps
from carbyne.core.errors import CarbyneError, CorruptDataError, InvariantError, UnknownVersionError
from carbyne.core.limits import BLOCK_BYTES_MAX, BLOCK_INFLATED_BYTES_MAX
from carbyne.samples import blocks, numbers
from carbyne.samples.blocks import children, decode, decode_series, encode, encode_parts, in_part, part_of
from carbyne.samples.columns import EMPTY, Columns, Group, Rows, flaw, from_rows, merge, restrict
from hypothesis import given
from hypothesis import strategies as st
from pcodec import standalone

from tests.support.strategies import ODD_BITS, SHAPES, Record, columns_of, minutes, records, row_stamps, shaped

GOLDEN = Path(__file__).parent.parent / "golden"
NAMES = sorted(SHAPES)


@pytest.mark.parametrize("times", [1, 2, 15, 16, 17, 240])
@pytest.mark.parametrize("shape", NAMES)
def test_a_shape_comes_back_bit_for_bit(shape: str, times: int) -> None:
    columns = shaped([shape], times, seed=times)
    assert decode(encode(columns)) == columns


@given(
    st.lists(st.sampled_from(NAMES), min_size=1, unique=True), st.integers(1, 40), st.integers(0, 99), st.integers(1, 9)
)
def test_shapes_together_come_back(names: list[str], times: int, seed: int, records_each: int) -> None:
    columns = shaped(names, times, seed, records_each)
    assert decode(encode(columns)) == columns


@given(records())
def test_any_records_come_back_and_equal_samples_are_equal_bytes(some: list[Record]) -> None:
    columns = columns_of(some)
    assert decode(encode(columns)) == columns
    assert encode(columns_of(some[::-1])) == encode(columns)


@pytest.mark.parametrize("odd", sorted(ODD_BITS))
@pytest.mark.parametrize("at", [0, 7, 20, 39])
def test_odd_bits_survive_among_integers(odd: str, at: int) -> None:
    values = np.arange(40, dtype=np.float64).view(np.uint64).reshape(-1, 1).copy()
    values[at] = ODD_BITS[odd]
    columns = from_rows([Rows(("a",), minutes(40), row_stamps(40), values)])
    assert decode(encode(columns)).groups[0].values[0, at] == ODD_BITS[odd]


def test_absent_samples_stay_absent() -> None:
    rng = np.random.default_rng(3)
    holes = [
        from_rows([Rows((name,), minutes(60)[mine], list(np.array(row_stamps(60), object)[mine]), values)])
        for name in "abcd"
        for mine in [np.flatnonzero(rng.random(60) < 0.7)]
        for values in [rng.integers(0, 99, (len(mine), 1)).astype(np.float64).view(np.uint64)]
    ]
    columns = merge(holes)
    assert len(columns.groups) == 4
    assert decode(encode(columns)) == columns


def test_nothing_is_a_block_too() -> None:
    assert decode(encode(EMPTY)) == EMPTY
    assert encode_parts(EMPTY) == []


def test_regular_rows_cost_little_beside_their_values() -> None:
    columns = shaped(["constant"], 240, seed=1, records_each=240)
    assert len(encode(columns)) < 160


def test_counters_are_stored_by_their_differences_and_gauges_by_their_values() -> None:
    """As pco would choose, which would try both; bits that are no numbers choose values."""
    rng = np.random.default_rng(1)
    steps, gauge = rng.integers(0, 100, 240), rng.integers(0, 100, 240)
    odd = np.where(np.arange(240) == 7, np.nan, gauge + 0.1)
    rows = np.array([1e9 + np.cumsum(steps), gauge, odd, np.where(np.isnan(odd), -np.inf, odd)])
    packed = numbers.pack_values(rows.view(np.uint64))
    chosen = [numbers._are_steady(row[None])[0] for row in rows]
    assert chosen == [True, False, False, False]
    auto = [len(standalone.simple_compress(row.astype(np.int64), numbers.PCO)) for row in rows[:2]]
    assert [len(stream) for _, stream in packed[:2]] == pytest.approx(auto, rel=0.05)


@given(records(), st.sets(st.sampled_from(["a", "b", "absent"])))
def test_decode_series_is_decode_and_restrict(some: list[Record], series: set[str]) -> None:
    columns = columns_of(some)
    assert decode_series(encode(columns), series) == restrict(columns, series.__contains__)


def test_decode_series_leaves_other_streams_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    block = encode(shaped(NAMES, 240, seed=5))
    read: list[int] = []
    fill_rows = blocks.unpack_values
    monkeypatch.setattr(
        blocks, "unpack_values", lambda rows, forms, streams: (read.extend(forms), fill_rows(rows, forms, streams))
    )
    assert decode_series(block, {"noise"}).series == ["noise"]
    assert len(read) == 1


# Damage

SMALL = {
    "one sample": shaped(["noise"], 1, seed=1),
    "integers": shaped(["counter", "constant"], 20, seed=2),
    "floats": shaped(["noise", "odd bits among decimals"], 18, seed=3, records_each=7),
    "two groups": merge([shaped(["noise"], 5, seed=4), shaped(["counter"], 3, seed=5)]),
}


@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_byte_mutated_is_noticed(name: str) -> None:
    block = encode(SMALL[name])
    for at in range(len(block)):
        for flip in (0x01, 0x02, 0x10, 0x80, 0x55, 0xAA, 0xFF):
            with pytest.raises(CorruptDataError) as caught:
                decode(block[:at] + bytes([block[at] ^ flip]) + block[at + 1 :])
            assert type(caught.value) is CorruptDataError


@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_length_truncated_or_left_over_is_noticed(name: str) -> None:
    block = encode(SMALL[name])
    for damaged in [block[:length] for length in range(len(block))] + [block + b"\0", block + block]:
        with pytest.raises(CorruptDataError, match=f"got {len(damaged)} bytes"):
            decode(damaged)


def sealed(body: bytes, version: int = 1, body_bytes: int | None = None) -> bytes:
    """A body as a block whose checksum is right."""
    packed, size = bytes(cramjam.zstd.compress(body)), len(body) if body_bytes is None else body_bytes
    head = version.to_bytes(1, "little"), size.to_bytes(4, "little")
    return head[0] + crc32(packed, crc32(b"".join(head))).to_bytes(4, "little") + head[1] + packed


def body_of(block: bytes) -> bytes:
    return bytes(cramjam.zstd.decompress(block[9:]))


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_forged_body_decodes_to_sound_columns_or_a_typed_error(name: str) -> None:
    body = body_of(encode(SMALL[name]))
    refused = 0
    for at in range(len(body)):
        for flip in (0x01, 0x08, 0x80, 0xFF):
            try:
                assert flaw(decode(sealed(body[:at] + bytes([body[at] ^ flip]) + body[at + 1 :]))) is None
            except CarbyneError as error:
                assert type(error) is CorruptDataError
                refused += 1
    assert refused > 0


def test_a_later_version_is_told_from_damage() -> None:
    body = body_of(encode(SMALL["integers"]))
    with pytest.raises(UnknownVersionError, match="version 2; this code knows 1"):
        decode(sealed(body, version=2))
    with pytest.raises(UnknownVersionError):
        decode(sealed(b"what version 255 means by it", version=255))
    with pytest.raises(CorruptDataError) as caught:
        decode(sealed(body, version=0))
    assert type(caught.value) is CorruptDataError


def _forged(**changes: object) -> bytes:
    body = blocks._decoder.decode(body_of(encode(SMALL["integers"])))
    group = msgspec.structs.replace(body.groups[0], **changes)
    return sealed(msgspec.msgpack.encode(msgspec.structs.replace(body, groups=[group])))


@pytest.mark.parametrize(
    "block",
    [
        sealed(b"", body_bytes=2**32 - 1),
        sealed(b"", body_bytes=BLOCK_INFLATED_BYTES_MAX),
        sealed(bytes(BLOCK_INFLATED_BYTES_MAX), body_bytes=10),
        _forged(times=2**31),
        _forged(times=2**63),
        _forged(times=2**31, forms=b""),
        _forged(times=-1),
        _forged(times=0),
        _forged(forms=bytes(10**5)),
        _forged(sizes=[2**40, -(2**40)]),
        _forged(sizes=[8]),
        _forged(names=b"only one"),
        _forged(names=b"\xff\xfe\nx"),
        _forged(forms=bytes([10, 10])),
        _forged(stamps=b"\xff" * 8),
        _forged(values=b""),
        sealed(msgspec.msgpack.encode([b"", []]) + b"left over"),
        sealed(msgspec.msgpack.encode([b"", [], 1])),
        sealed(msgspec.msgpack.encode([b"x" * 26, []])),
        sealed(msgspec.msgpack.encode([b"\xff" * 52, []])),
        sealed(msgspec.msgpack.encode([b"x" * 25, []])),
        bytes(BLOCK_BYTES_MAX + 1),
    ],
)
def test_hostile_blocks_are_refused_within_bounds(block: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(CorruptDataError):
            decode(block)
        assert tracemalloc.get_traced_memory()[1] < 4 * BLOCK_INFLATED_BYTES_MAX
    finally:
        tracemalloc.stop()


# Parts


def noise(series: int, times: int) -> Columns:
    names = tuple(sorted(f"metric.{number}" for number in range(series)))
    values = np.random.default_rng(9).integers(0, 2**64, (times, series), np.uint64)
    return from_rows([Rows(names, minutes(times), row_stamps(times), values)])


@pytest.fixture(scope="module")
def large() -> Columns:
    return noise(series=1_000, times=240)


def test_a_block_too_large_becomes_parts_by_hash(large: Columns) -> None:
    parts = encode_parts(large)
    assert len(parts) >= 4
    assert max(len(block) for _, block in parts) <= BLOCK_BYTES_MAX
    for part, block in parts:
        assert all(in_part(series, part) for series in decode(block).series)
    for series in large.series:
        assert sum(in_part(series, part) for part, _ in parts) == 1
    assert merge([decode(block) for _, block in parts]) == large


def test_a_part_splits_into_its_halves(large: Columns) -> None:
    half = restrict(large, lambda series: in_part(series, "1"))
    parts = encode_parts(half, "1")
    assert {part[0] for part, _ in parts} == {"1"}
    assert [name for name, _ in encode_parts(large) if name.startswith("1")] == [part for part, _ in parts]
    assert children("01") == ("010", "011")


def test_what_fits_stays_whole() -> None:
    columns = SMALL["integers"]
    assert encode_parts(columns) == [("", encode(columns))]
    assert encode_parts(columns, "01") == [("01", encode(columns))]


def test_a_metric_is_in_one_part_unless_it_is_too_large_for_one() -> None:
    rng = np.random.default_rng(5)
    names = sorted(f"metric_{number % 20:02d}{{cpu={number:05d}}}" for number in range(20_000))
    values = rng.integers(0, 2**60, (4, len(names))).astype(np.uint64)
    columns = from_rows([Rows(tuple(names), minutes(4), row_stamps(4), values)])
    parts = encode_parts(columns)
    homes = {name.partition("{")[0]: set() for name in names}
    for part, block in parts:
        for name in decode(block).series:
            homes[name.partition("{")[0]].add(part)
    assert len(parts) > 1 and {len(parts) for parts in homes.values()} == {1}
    single = from_rows([Rows(tuple(f"m{{cpu={n:05d}}}" for n in range(20_000)), minutes(4), row_stamps(4), values)])
    divided = encode_parts(single)
    assert len(divided) > 1 and {part[:16] for part, _ in divided} == {part_of("m", 16)}
    assert merge([decode(block) for _, block in divided]) == single


def test_constants_split_by_what_a_reader_can_hold() -> None:
    names = tuple(f"m{number:05d}" for number in range(20_000))
    columns = from_rows([Rows(names, minutes(240), row_stamps(240), np.ones((240, 20_000), np.uint64))])
    parts = encode_parts(columns)
    assert [part for part, _ in parts] == ["0", "1"]
    assert merge([decode(block) for _, block in parts]) == columns


def test_what_can_not_fit_says_so(large: Columns) -> None:
    with pytest.raises(InvariantError, match="split them with encode_parts"):
        encode(large)
    with pytest.raises(InvariantError, match="a series must fit a block"):
        encode_parts(noise(series=1, times=60_000))


def test_a_block_that_does_not_decode_to_its_columns_is_never_handed_out() -> None:
    broken = from_rows([Rows(("line\nfeed",), minutes(1), row_stamps(1), np.zeros((1, 1), np.uint64))])
    with pytest.raises((InvariantError, CorruptDataError)):
        encode(broken)


# Golden files: what version 1 wrote once must decode for ever.


def from_json(text: str) -> Columns:
    stored = json.loads(text)
    groups = tuple(
        Group(
            tuple(group["series"]),
            np.array(group["ts_ms"], np.int64),
            np.array(group["stamps"], np.uint32),
            np.array([[int(bits, 16) for bits in row] for row in group["values"]], np.uint64),
        )
        for group in stored["groups"]
    )
    return Columns(tuple(bytes.fromhex(stamp) for stamp in stored["stamps"]), groups)


@pytest.mark.parametrize("name", ["v1-mixed", "v1-groups", "v1-one-sample", "v1-nothing"])
def test_golden_blocks_decode_for_ever(name: str) -> None:
    expected = from_json((GOLDEN / f"{name}.json").read_text())
    assert decode((GOLDEN / f"{name}.block").read_bytes()) == expected


def test_every_golden_block_is_listed() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.block")) == [
        "v1-groups",
        "v1-mixed",
        "v1-nothing",
        "v1-one-sample",
    ]


def test_the_example_in_the_docs_is_a_block_of_ours() -> None:
    text = (GOLDEN.parent.parent / "docs" / "formats.md").read_text()
    columns = decode(bytes.fromhex(text.split("```block\n")[1].split("```")[0]))
    sequences = [int(stamps.unpack(stamp)[1]) for stamp in columns.stamps]
    assert sequences[0] == 49590338271490256608559692538361571095921575989136588898
    assert columns.groups[0].series == ("loadavg1", "loadavg5")
    assert columns.groups[0].ts_ms.tolist() == [1_700_006_400_000, 1_700_006_460_000]
    assert columns.groups[0].values.view(np.float64).tolist() == [[0.25, 0.5], [7.0, 7.0]]
