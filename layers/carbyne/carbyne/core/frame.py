"""The frame of everything that we encode: a head, a checksum, a bounded compressed body.

    0        n                  n + 4                n + 8
    +--------+------------------+--------------------+------------+
    | head   | CRC-32 of the    | bytes of the body  | body, zstd |
    | n B    | rest, u32 LE     | inflated, u32 LE   |            |
    +--------+------------------+--------------------+------------+

The CRC covers head, length and compressed body.  Each codec defines its head: a version, after a type byte if several
kinds of records share a store.
"""

from functools import cache
from struct import Struct as Layout
from typing import Final
from zlib import crc32

from backports import zstd

from carbyne.core.errors import CorruptDataError

_CRC_AND_SIZE: Final = Layout("<II")
_SIZE: Final = Layout("<I")
_KEPT_BYTES_MAX: Final = 65_536
"""A compressor is kept for bodies up to this size: to make one takes longer than to compress a stream record.  For
larger bodies it would keep up to 50 MB."""


def pack(head: bytes, body: bytes, level: int) -> bytes:
    """``body`` in its frame, compressed at this zstd ``level``."""
    packed = _compressed(body, level)
    return head + _CRC_AND_SIZE.pack(_checksum(head, len(body), packed), len(body)) + packed


def check(data: bytes, head_bytes: int, bytes_max: int) -> bytes:
    """The head of a frame.  CorruptDataError if its size or checksum is wrong."""
    start = head_bytes + _CRC_AND_SIZE.size
    if not start <= len(data) <= bytes_max:
        raise corrupt(data, f"size not within {start} to {bytes_max}")
    head = bytes(data[:head_bytes])
    crc, body_bytes = _CRC_AND_SIZE.unpack_from(data, head_bytes)
    if crc != _checksum(head, body_bytes, memoryview(data)[start:]):
        raise corrupt(data, "checksum differs")
    return head


def inflate(data: bytes, head_bytes: int, inflated_max: int) -> bytes:
    """The body of a checked frame.  CorruptDataError if it exceeds ``inflated_max`` bytes or differs from its
    length."""
    _, body_bytes = _CRC_AND_SIZE.unpack_from(data, head_bytes)
    if body_bytes > inflated_max:
        raise corrupt(data, f"{body_bytes} bytes inflated, at most {inflated_max} allowed")
    inflater = zstd.ZstdDecompressor()
    try:
        body = inflater.decompress(memoryview(data)[head_bytes + _CRC_AND_SIZE.size :], body_bytes + 1)
    except zstd.ZstdError as error:
        raise corrupt(data, f"body does not inflate to {body_bytes} bytes: {error}") from None
    if len(body) != body_bytes or not inflater.eof or inflater.unused_data:
        raise corrupt(data, f"body inflates to {len(body)} bytes, not {body_bytes}, or bytes follow it")
    return body


def corrupt(data: bytes, what: str) -> CorruptDataError:
    """The error for bytes that we did not write, with their size and first bytes."""
    return CorruptDataError(f"{what}; got {len(data)} bytes: {bytes(data[:16]).hex()}")


def _checksum(head: bytes, body_bytes: int, packed: bytes | memoryview) -> int:
    return crc32(packed, crc32(_SIZE.pack(body_bytes), crc32(head)))


def _compressed(body: bytes, level: int) -> bytes:
    if len(body) > _KEPT_BYTES_MAX:
        return zstd.compress(body, level)
    return _compressor(level).compress(body, zstd.ZstdCompressor.FLUSH_FRAME)


@cache
def _compressor(level: int) -> zstd.ZstdCompressor:
    return zstd.ZstdCompressor(level)
