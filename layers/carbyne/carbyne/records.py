"""Stream records: what the writer puts on the stream and the ingester takes off it.

    0      1         2                  6                    10
    +------+---------+------------------+--------------------+----------------------+
    | type | version | CRC-32 of the    | bytes of the body  | body, zstd           |
    | u8   | u8      | rest, u32 LE     | inflated, u32 LE   | (MessagePack)        |
    +------+---------+------------------+--------------------+----------------------+

The CRC covers type, version, length and compressed body.  The body of type 1 (samples) is the MessagePack array of
``SamplesRecord``: one tenant, the series lists, the rows.  A record holds sources of one lane only.
"""

from collections.abc import Iterable
from struct import Struct as Layout
from typing import Final
from zlib import crc32

import cramjam
import msgspec

from carbyne.errors import CorruptDataError, UnknownVersionError
from carbyne.limits import RECORD_BYTES_MAX, RECORD_INFLATED_BYTES_MAX

TYPE_SAMPLES: Final = 1
VERSION: Final = 1
ZSTD_LEVEL: Final = 1

_HEAD = Layout("<BBII")
_CHECKED = Layout("<BBI")


class Row(msgspec.Struct, frozen=True, array_like=True):
    """The samples of one source with one timestamp.

    ``series`` is an index into the record's lists, ``values`` float64 little-endian, one for each key of the list.
    """

    source: str
    ts_ms: int
    series: int
    values: bytes


class SamplesRecord(msgspec.Struct, frozen=True, array_like=True):
    """Rows of one tenant.  ``lists``: sorted series keys, one a line (``keys.join_series``), each list once."""

    tenant: str
    lists: list[bytes]
    rows: list[Row]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SamplesRecord)


def encode(record: SamplesRecord) -> bytes:
    """The record's bytes for the stream."""
    body = _encoder.encode(record)
    packed = bytes(cramjam.zstd.compress(body, level=ZSTD_LEVEL))
    crc = crc32(packed, crc32(_CHECKED.pack(TYPE_SAMPLES, VERSION, len(body))))
    return _HEAD.pack(TYPE_SAMPLES, VERSION, crc, len(body)) + packed


def decode(data: bytes) -> SamplesRecord:
    """The record that ``encode`` wrote.

    Raises CorruptDataError for bytes that it did not write, UnknownVersionError for sound bytes of a later one.
    """
    body_bytes = _check(data)
    try:
        record = _decoder.decode(_inflate(data[_HEAD.size :], body_bytes))
    except ValueError as error:  # msgspec's own errors, and UnicodeDecodeError for text that is not UTF-8
        raise _corrupt(data, f"not a samples record: {error}") from None
    _check_rows(record, data)
    return record


def _check(data: bytes) -> int:
    """Header and checksum; returns the bytes of the inflated body."""
    if not _HEAD.size <= len(data) <= RECORD_BYTES_MAX:
        raise _corrupt(data, f"size not within {_HEAD.size} to {RECORD_BYTES_MAX}")
    kind, version, crc, body_bytes = _HEAD.unpack_from(data)
    if crc != crc32(memoryview(data)[_HEAD.size :], crc32(_CHECKED.pack(kind, version, body_bytes))):
        raise _corrupt(data, "checksum differs")
    if kind == 0 or version == 0 or body_bytes > RECORD_INFLATED_BYTES_MAX:
        raise _corrupt(data, f"type {kind}, version {version}, {body_bytes} bytes inflated")
    if kind != TYPE_SAMPLES or version > VERSION:
        raise UnknownVersionError(
            f"record of type {kind}, version {version}; this code knows {TYPE_SAMPLES}, {VERSION}"
        )
    return int(body_bytes)


def _inflate(packed: bytes, body_bytes: int) -> bytearray:
    body = bytearray(body_bytes)
    try:
        written = cramjam.zstd.decompress_into(packed, body)
    except cramjam.DecompressionError as error:
        raise _corrupt(packed, f"body does not inflate to {body_bytes}: {error}") from None
    if written != body_bytes:
        raise _corrupt(packed, f"body inflates to {written}, not {body_bytes}")
    return body


def _check_rows(record: SamplesRecord, data: bytes) -> None:
    sizes = [8 * (blob.count(b"\n") + 1) for blob in record.lists]
    for row in record.rows:
        if not 0 <= row.series < len(sizes) or len(row.values) != sizes[row.series]:
            raise _corrupt(data, f"row of {row.source!r} has {len(row.values)} bytes for list {row.series}")


def _corrupt(data: bytes, what: str) -> CorruptDataError:
    return CorruptDataError(f"{what}; got {len(data)} bytes: {data[:16].hex()}")


def pack(tenant: str, rows: Iterable[tuple[str, int, bytes, bytes]], raw_bytes_max: int) -> list[bytes]:
    """Records that hold ``rows`` of one tenant and lane, each body at most about ``raw_bytes_max`` before compression.

    A row is (source, ts_ms, series blob, values); a blob that several rows share is stored once a record.
    """
    records: list[bytes] = []
    lists: dict[bytes, int] = {}
    packed: list[Row] = []
    size = 0
    for source, ts_ms, blob, values in rows:
        cost = len(values) + len(source) + 16
        if packed and size + cost + (0 if blob in lists else len(blob)) > raw_bytes_max:
            records.append(encode(SamplesRecord(tenant, list(lists), packed)))
            lists, packed, size = {}, [], 0
        size += cost + (0 if blob in lists else len(blob))
        packed.append(Row(source, ts_ms, lists.setdefault(blob, len(lists)), values))
    if packed:
        records.append(encode(SamplesRecord(tenant, list(lists), packed)))
    return records
