"""Stream records: what the writer puts on the stream and the ingester reads from it.

    +------+---------+--------------------------+
    | type | version | CRC, length, body        |
    | u8   | u8      | as ``frame`` lays it out |
    +------+---------+--------------------------+

The body of type 1 (samples) is the MessagePack array of ``SamplesRecord``: one tenant, the series lists, the rows.  A
record has sources of one lane only.  The others are the arrays of ``FenceRecord`` (2), ``DeleteRecord`` (3),
``RedrivenRecord`` (4) and ``FactsRecord`` (5).
"""

from collections.abc import Iterable
from typing import Annotated, Final, NamedTuple

import msgspec

from carbyne.core import frame
from carbyne.core.errors import CorruptDataError, UnknownVersionError
from carbyne.core.limits import RECORD_BYTES_MAX, RECORD_INFLATED_BYTES_MAX
from carbyne.core.stamps import STAMP_BYTES

TYPE_SAMPLES: Final = 1
TYPE_FENCE: Final = 2
TYPE_DELETE: Final = 3
TYPE_REDRIVEN: Final = 4
TYPE_FACTS: Final = 5
VERSION: Final = 1
ZSTD_LEVEL: Final = 1

TS_MS_MAX: Final = 2**53
"""The largest time that is exact as a double, Lua's only number type."""

HEAD_BYTES: Final = 2


ALL_TIME_MS: Final = (0, TS_MS_MAX)
"""The span of a delete of everything; a constant, so that a repeated delete has the same identity."""
TsMs = Annotated[int, msgspec.Meta(ge=-TS_MS_MAX, le=TS_MS_MAX)]


class Row(msgspec.Struct, frozen=True, array_like=True):
    """The samples of one source with one timestamp.

    ``series`` is an index into the record's lists, ``values`` float64 little-endian, one for each key of the list.
    """

    source: str
    ts_ms: TsMs
    series: int
    values: bytes


class SamplesRecord(msgspec.Struct, frozen=True, array_like=True):
    """Rows of one tenant.  ``lists``: sorted series keys, one a line (``keys.join_series``), each list once."""

    tenant: str
    lists: list[bytes]
    rows: list[Row]


class FenceRecord(msgspec.Struct, frozen=True, array_like=True):
    """The end, in this lane, of the replay with ``token``: all records before it belong to the replay."""

    token: str


TICK: Final = "tick"
"""The token of a fence that belongs to no replay: it only says that the ingester has come so far."""


class DeleteRecord(msgspec.Struct, frozen=True, array_like=True):
    """Deletes the samples of one source from ``from_ms`` to ``to_ms`` (both included) that arrived before this record:
    of ``series``, or of all series if that is empty."""

    tenant: str
    source: str
    series: str
    from_ms: TsMs
    to_ms: TsMs


class RedrivenRecord(msgspec.Struct, frozen=True, array_like=True):
    """A record that could not be stored when it arrived: its bytes as they were put, and its stamp."""

    stamp: Annotated[bytes, msgspec.Meta(min_length=STAMP_BYTES, max_length=STAMP_BYTES)]
    data: bytes


class Metric(NamedTuple):
    """Describes a metric: its type (``counter``, ...), its help and its unit; each may be empty."""

    kind: str
    about: str
    unit: str


class FactsRecord(msgspec.Struct, frozen=True, array_like=True):
    """What rows don't say of labelled series.  ``targets``: source -> labels of its target as canonical text
    (``labels.text``), of sources of this lane; ``metrics``: name -> what it is."""

    tenant: str
    targets: dict[str, str]
    metrics: dict[str, Metric]


Record = SamplesRecord | FenceRecord | DeleteRecord | RedrivenRecord | FactsRecord

_encoder = msgspec.msgpack.Encoder()
_TYPES: Final[dict[type[Record], int]] = {
    SamplesRecord: TYPE_SAMPLES,
    FenceRecord: TYPE_FENCE,
    DeleteRecord: TYPE_DELETE,
    RedrivenRecord: TYPE_REDRIVEN,
    FactsRecord: TYPE_FACTS,
}
_decoders: Final = {number: msgspec.msgpack.Decoder(kind) for kind, number in _TYPES.items()}


def encode(record: Record) -> bytes:
    """The record's bytes for the stream."""
    return frame.pack(bytes((_TYPES[type(record)], VERSION)), _encoder.encode(record), ZSTD_LEVEL)


def decode(data: bytes) -> Record:
    """The record that ``encode`` wrote.

    Raises CorruptDataError for bytes that it did not write, UnknownVersionError for sound bytes of a later
    version.
    """
    kind, version = frame.check(data, HEAD_BYTES, RECORD_BYTES_MAX)
    if kind == 0 or version == 0:
        raise frame.corrupt(data, f"type {kind}, version {version}")
    if kind not in _decoders or version > VERSION:
        raise UnknownVersionError(
            f"record of type {kind}, version {version}; this code knows {max(_decoders)}, {VERSION}"
        )
    try:
        record: Record = _decoders[kind].decode(frame.inflate(data, HEAD_BYTES, RECORD_INFLATED_BYTES_MAX))
    except ValueError as error:  # msgspec's own errors, and UnicodeDecodeError for text that is not UTF-8
        raise frame.corrupt(data, f"not a record of type {kind}: {error}") from None
    if isinstance(record, SamplesRecord):
        _check_rows(record, data)
    return record


def is_fence(data: bytes) -> bool:
    """Whether these are the bytes of a fence, by the first of them."""
    return data[:1] == bytes((TYPE_FENCE,))


def replay_of(data: bytes) -> str:
    """The token of the replay that this record is a fence of, empty if it is none."""
    if not is_fence(data):
        return ""
    try:
        record = decode(data)
    except CorruptDataError:
        return ""
    return record.token if isinstance(record, FenceRecord) and record.token != TICK else ""


def _check_rows(record: SamplesRecord, data: bytes) -> None:
    sizes = [8 * (blob.count(b"\n") + 1) for blob in record.lists]
    for row in record.rows:
        if not 0 <= row.series < len(sizes) or len(row.values) != sizes[row.series]:
            raise frame.corrupt(data, f"row of {row.source!r} has {len(row.values)} bytes for list {row.series}")


def pack(tenant: str, rows: Iterable[tuple[str, int, bytes, bytes]], raw_bytes_max: int) -> list[bytes]:
    """Records of ``rows`` of one tenant and lane, each body at most about ``raw_bytes_max`` before compression.

    A row is (source, ts_ms, series blob, values); a blob that several rows share is stored once per record.
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
