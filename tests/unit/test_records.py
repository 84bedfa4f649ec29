"""Stream records: round trip, damage, bounds, and a golden file."""

import struct
from pathlib import Path
from zlib import crc32

import cramjam
import msgspec
import pytest
from carbyne.core.errors import CarbyneError, CorruptDataError, UnknownVersionError
from carbyne.core.keys import join_series
from carbyne.core.limits import RECORD_BYTES_MAX, RECORD_INFLATED_BYTES_MAX
from carbyne.stream.records import FactsRecord, FenceRecord, Metric, Row, SamplesRecord, decode, encode, pack
from hypothesis import given
from hypothesis import strategies as st

from tests.support.strategies import part_texts, sample_records

GOLDEN = Path(__file__).parent.parent / "golden"
SMALL = SamplesRecord(
    "acme",
    [join_series(["loadavg1", "loadavg5"]), join_series(["cpu.user.percentage"])],
    [Row("host/2eQGDXqtoXs", 1_700_006_400_000, 0, bytes(range(16))), Row("host/x", -1, 1, b"\x02\0\0\0\0\0\xf0\x7f")],
)


@given(sample_records())
def test_a_record_comes_back(record: SamplesRecord) -> None:
    assert decode(encode(record)) == record


def test_a_fence_comes_back() -> None:
    assert decode(encode(FenceRecord("token"))) == FenceRecord("token")


def test_facts_come_back() -> None:
    facts = FactsRecord("acme", {"prom/a": "{instance=a:9100,job=node}"}, {"up": Metric("gauge", "Is it?", "")})
    assert decode(encode(facts)) == facts


def test_every_byte_mutated_is_noticed() -> None:
    data = encode(SMALL)
    for at in range(len(data)):
        for flip in (0x01, 0x02, 0x10, 0x80, 0x55, 0xFF):
            with pytest.raises(CorruptDataError) as caught:
                decode(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])
            assert type(caught.value) is CorruptDataError


def test_every_length_truncated_or_left_over_is_noticed() -> None:
    data = encode(SMALL)
    for damaged in [data[:length] for length in range(len(data))] + [data + b"\0", data + data]:
        with pytest.raises(CorruptDataError, match=f"got {len(damaged)} bytes"):
            decode(damaged)


def sealed(body: bytes, kind: int = 1, version: int = 1, body_bytes: int | None = None) -> bytes:
    """A body as a record whose checksum is right."""
    packed = bytes(cramjam.zstd.compress(body))
    size = (len(body) if body_bytes is None else body_bytes).to_bytes(4, "little")
    crc = crc32(packed, crc32(bytes([kind, version]) + size))
    return bytes([kind, version]) + crc.to_bytes(4, "little") + size + packed


def test_a_forged_body_is_a_record_or_a_typed_error() -> None:
    body = bytes(cramjam.zstd.decompress(encode(SMALL)[10:]))
    for at in range(len(body)):
        for flip in (0x01, 0x08, 0x80, 0xFF):
            try:
                record = decode(sealed(body[:at] + bytes([body[at] ^ flip]) + body[at + 1 :]))
                assert isinstance(record, SamplesRecord)
                assert all(len(row.values) == 8 * (record.lists[row.series].count(b"\n") + 1) for row in record.rows)
            except CarbyneError as error:
                assert type(error) is CorruptDataError


@pytest.mark.parametrize(("kind", "version"), [(1, 2), (2, 2), (6, 1), (255, 255)])
def test_later_types_and_versions_are_told_from_damage(kind: int, version: int) -> None:
    with pytest.raises(UnknownVersionError, match="this code knows 5, 1"):
        decode(sealed(b"whatever they hold", kind, version))


@pytest.mark.parametrize(
    "data",
    [
        sealed(b"", body_bytes=2**32 - 1),
        sealed(b"", body_bytes=RECORD_INFLATED_BYTES_MAX),
        sealed(bytes(RECORD_INFLATED_BYTES_MAX), body_bytes=10),
        sealed(msgspec.msgpack.encode(SMALL) + b"left over"),
        sealed(msgspec.msgpack.encode(SMALL), kind=0),
        sealed(msgspec.msgpack.encode(SMALL), version=0),
        sealed(msgspec.msgpack.encode(["acme", [b"a"], [["s", 0, 1, bytes(8)]]])),
        sealed(msgspec.msgpack.encode(["acme", [b"a"], [["s", 0, -1, bytes(8)]]])),
        sealed(msgspec.msgpack.encode(["acme", [b"a"], [["s", 0, 0, bytes(7)]]])),
        sealed(msgspec.msgpack.encode(["acme", [b"a\nb"], [["s", 0, 0, bytes(8)]]])),
        sealed(b"\xdd\xff\xff\xff\xff"),
        bytes(RECORD_BYTES_MAX + 1),
    ],
)
def test_hostile_records_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptDataError) as caught:
        decode(data)
    assert type(caught.value) is CorruptDataError


rows_of_sizes = st.lists(st.tuples(part_texts, st.integers(0, 10**13), st.integers(1, 40)), max_size=30)


@given(rows_of_sizes, st.integers(100, 2_000))
def test_pack_keeps_every_row_in_order_within_its_bound(rows: list[tuple[str, int, int]], raw_bytes_max: int) -> None:
    blobs = {size: join_series([f"m{number}" for number in range(size)]) for *_, size in rows}
    given_rows = [(source, ts_ms, blobs[size], bytes(8 * size)) for source, ts_ms, size in rows]
    records = [decode(data) for data in pack("acme", given_rows, raw_bytes_max)]
    packed = [
        (row.source, row.ts_ms, record.lists[row.series], row.values) for record in records for row in record.rows
    ]
    assert packed == given_rows
    for record in records:
        assert record.tenant == "acme"
        assert len(set(record.lists)) == len(record.lists)
        names, values = sum(map(len, record.lists)), sum(len(row.values) for row in record.rows)
        assert len(record.rows) == 1 or names + values <= raw_bytes_max


def test_the_golden_record_decodes_for_ever() -> None:
    assert decode((GOLDEN / "record-v1.bin").read_bytes()) == SMALL


def test_the_example_in_the_docs_is_a_record_of_ours() -> None:
    text = (GOLDEN.parent.parent / "docs" / "formats.md").read_text()
    record = decode(bytes.fromhex(text.split("```record\n")[1].split("```")[0]))
    assert record == SamplesRecord(
        "acme",
        [join_series(["loadavg1", "loadavg5"])],
        [Row("host/2eQGDXqtoXs", 1_700_006_400_000, 0, struct.pack("<2d", 0.25, 7.0))],
    )
