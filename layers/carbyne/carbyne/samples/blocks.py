"""The block codec: columns of samples as bytes and back, bit for bit.

    +---------+--------------------------+
    | version | CRC, length, body        |
    | u8      | as ``frame`` lays it out |
    +---------+--------------------------+

The body is the MessagePack array of ``_Body``; ``docs/formats.md`` draws it.  Each series is a stream of its own, so a
reader of one series does not decode the others.  A block too large for an item is split into parts by the leading
bits of the hash of the series key; a part is named by those bits: ``""`` is the whole, ``"0"`` and ``"1"`` its halves.
A stub replaces a block that was split, and names the parts that have its samples now.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache, partial
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

import msgspec
import numpy as np

from carbyne.core import frame
from carbyne.core.errors import InvariantError, UnknownVersionError
from carbyne.core.keys import join_series, part_hash, split_series
from carbyne.core.limits import BLOCK_BYTES_MAX, BLOCK_INFLATED_BYTES_MAX, BLOCK_SAMPLES_MAX
from carbyne.core.stamps import STAMP_BYTES
from carbyne.samples.columns import SERIES_PER_STEP, Columns, Group, assemble, flaw, restrict
from carbyne.samples.numbers import PackedStream, pack, pack_values, unpack, unpack_values

VERSION: Final = 1
WHOLE: Final = ""
"""The part of a block that was never split."""
PART_BITS_MAX: Final = 64

ZSTD_LEVEL: Final = 9
STUB: Final = b"\0"
"""First byte of a stub, where a block has its version."""

_HEAD: Final = bytes((VERSION,))


class _Group(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """``names``: series keys, one a line; ``times``: T; ``ts_ms`` and ``stamps``: streams of T integers; ``forms``: one
    byte per series; ``sizes``: bytes of each series' stream in ``values``."""

    names: bytes
    times: int
    ts_ms: bytes
    stamps: bytes
    forms: bytes
    sizes: list[int]
    values: bytes


class _Body(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """``stamps``: differences of successive stamps, 26 bytes each big-endian, stored byte 0 of all, byte 1 of all..."""

    stamps: bytes
    groups: list[_Group]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Body)


class Stub(NamedTuple):
    """What replaces a block that was split.  ``parts``: those that have its samples now, one for each of its series."""

    parts: tuple[str, ...]

    def shares(self, series: Collection[str] | None) -> list[tuple[str, Collection[str] | None]]:
        """Each part with those of ``series`` that belong to it; None stays None, for all."""
        if series is None:
            return [(part, None) for part in self.parts]
        return [(part, [name for name in series if in_part(name, part)]) for part in self.parts]


def read(data: bytes, series: Collection[str] | None = None) -> Columns | Stub:
    """What an item is: the columns of a block, of its series in ``series`` alone unless that is None, or a stub.

    Streams of other series are not decoded.  Raises CorruptDataError for bytes that nothing here wrote,
    UnknownVersionError for sound bytes of a later version.
    """
    (version,) = frame.check(data, len(_HEAD), BLOCK_BYTES_MAX)
    if version > VERSION:
        raise UnknownVersionError(f"block of version {version}; this code knows {VERSION}")
    try:
        inflated = frame.inflate(data, len(_HEAD), BLOCK_INFLATED_BYTES_MAX)
        if version == STUB[0]:
            return Stub(tuple(inflated.decode().split(" ")))
        body = _decoder.decode(inflated)
        _check_bounds(body)
        return _columns(body) if series is None else _columns_of(body, frozenset(series))
    except (ValueError, OverflowError, RuntimeError, TypeError) as error:
        raise frame.corrupt(data, str(error)) from None


def encode_item(columns: Columns, bits: int = 0) -> tuple[bytes, Stub | None]:
    """The item that stores ``columns``, which all lie in one part of so many bits: a block, or a stub if they are too
    large for one; the parts of a stub must be put before it.

    Raises InvariantError if a single series does not fit one block.
    """
    if not columns.groups:
        return encode(columns), None
    part = part_of(columns.groups[0].series[0], bits)
    leaves = encode_parts(columns, part)
    parts = [name for name, _ in leaves]
    if parts == [part]:
        return leaves[0][1], None
    return encode_stub(parts, part), Stub(tuple(_cover(set(parts), part)))


def encode(columns: Columns) -> bytes:
    """The block of ``columns``; equal columns give equal bytes.

    Raises InvariantError if they do not fit one block: use ``encode_parts``.
    """
    block = _fitting(columns, _streams(columns))
    if block is None:
        raise InvariantError(f"BUG: {columns.samples} samples do not fit one block; split them with encode_parts")
    return block


def encode_parts(columns: Columns, part: str = WHOLE) -> list[tuple[str, bytes]]:
    """(part, block) of every leaf that stores ``columns``, all of which lie in ``part``; none if they are empty.

    Raises InvariantError if a single series does not fit one block.
    """
    return list(_leaves(columns, _streams(columns), part))


def children(part: str) -> tuple[str, str]:
    """The two halves of a part."""
    return part + "0", part + "1"


def in_part(series: str, part: str) -> bool:
    """Whether the series belongs to the part: its hash starts with the part's bits."""
    return not part or part_of(series, len(part)) == part


def part_of(series: str, bits: int) -> str:
    """The part of so many bits to which the series belongs."""
    return _bits(series.partition("\x01")[0])[:bits] if bits else WHOLE


def of_part(columns: Columns, part: str) -> Columns:
    """The series of ``columns`` that belong to the part."""
    return restrict(columns, partial(in_part, part=part))


@lru_cache(maxsize=65_536)
def _bits(series: str) -> str:
    """The hash of a series key as bits; cached, because a wide source needs it once per part."""
    return f"{part_hash(series):064b}"


def encode_stub(leaves: Sequence[str], part: str = WHOLE) -> bytes:
    """The stub that replaces ``part`` once ``leaves`` have its samples.  It names them and the siblings that are
    missing between them, so that every series of the part belongs to one."""
    return frame.pack(STUB, " ".join(_cover(set(leaves), part)).encode(), ZSTD_LEVEL)


def parts_of(data: bytes) -> tuple[str, ...]:
    """The parts that a stub names; together they cover the part that it replaced.  Empty if ``data`` is no stub.

    Raises CorruptDataError for a stub that ``encode_stub`` did not write.
    """
    stub = read(data) if data.startswith(STUB) else None
    return stub.parts if isinstance(stub, Stub) else ()


def decode(block: bytes) -> Columns:
    """The columns that ``encode`` was given.

    Raises CorruptDataError for bytes that it did not write, UnknownVersionError for sound bytes of a later version.
    """
    return _sole(block, None)


def decode_series(block: bytes, chosen: Collection[str]) -> Columns:
    """The series of a block that are in ``chosen``; other streams are not decoded.  Raises the errors of ``decode``."""
    return _sole(block, chosen)


def _cover(leaves: set[str], part: str) -> list[str]:
    """``part`` if it is a leaf or has none below it, else the cover of its halves."""
    if part in leaves or not any(leaf.startswith(part) for leaf in leaves):
        return [part]
    return [covered for child in children(part) for covered in _cover(leaves, child)]


def _leaves(
    columns: Columns, streams: dict[str, PackedStream], part: str, *, is_too_large: bool = False
) -> Iterator[tuple[str, bytes]]:
    if not columns.groups:
        return
    block = None if is_too_large else _fitting(columns, streams)
    if block is not None:
        yield part, block
        return
    if len(columns.series) == 1 or len(part) == PART_BITS_MAX:
        raise InvariantError(f"BUG: a series must fit a block; got {columns.samples} samples of {columns.series[:1]}")
    for child in children(part):
        half = of_part(columns, child)
        yield from _leaves(half, streams, child, is_too_large=half.samples == columns.samples)


def _fitting(columns: Columns, streams: dict[str, PackedStream]) -> bytes | None:
    """The block, checked by decoding it (it may soon be the only copy); None if it is over a bound."""
    if columns.samples > BLOCK_SAMPLES_MAX:
        return None
    body = _encoder.encode(
        _Body(_pack_stamps(columns.stamps), [_pack_group(group, streams) for group in columns.groups])
    )
    if len(body) > BLOCK_INFLATED_BYTES_MAX:
        return None
    block = frame.pack(_HEAD, body, ZSTD_LEVEL)
    if len(block) > BLOCK_BYTES_MAX:
        return None
    if decode(block) != columns:
        raise InvariantError(
            f"BUG: a block must decode to what was encoded; got {len(block)} bytes: {block[:64].hex()}"
        )
    return block


def _pack_group(group: Group, streams: dict[str, PackedStream]) -> _Group:
    mine = [streams[series] for series in group.series]
    return _Group(
        names=join_series(group.series),
        times=len(group.ts_ms),
        ts_ms=pack(group.ts_ms),
        stamps=pack(group.stamps.astype(np.int64)),
        forms=bytes(form for form, _ in mine),
        sizes=[len(stream) for _, stream in mine],
        values=b"".join(stream for _, stream in mine),
    )


def _pack_stamps(stamps: Sequence[bytes]) -> bytes:
    numbers = [0, *(int.from_bytes(stamp, "big") for stamp in stamps)]
    steps = b"".join((high - low).to_bytes(STAMP_BYTES, "big") for low, high in pairwise(numbers))
    return np.frombuffer(steps, np.uint8).reshape(-1, STAMP_BYTES).T.tobytes()


def _unpack_stamps(packed: bytes) -> list[bytes]:
    steps = np.frombuffer(packed, np.uint8).reshape(STAMP_BYTES, -1).T.tobytes()
    cuts = range(0, len(steps), STAMP_BYTES)
    numbers = accumulate(int.from_bytes(steps[cut : cut + STAMP_BYTES], "big") for cut in cuts)
    return [number.to_bytes(STAMP_BYTES, "big") for number in numbers]


def _streams(columns: Columns) -> dict[str, PackedStream]:
    """The stream of every series: of scaled integers where that is bit-exact, else of float64."""
    streams: dict[str, PackedStream] = {}
    for group in columns.groups:
        for low in range(0, len(group.series), SERIES_PER_STEP):
            step = slice(low, low + SERIES_PER_STEP)
            streams.update(zip(group.series[step], pack_values(group.values[step]), strict=True))
    return streams


def _sole(block: bytes, series: Collection[str] | None) -> Columns:
    columns = read(block, series)
    if isinstance(columns, Stub):
        raise frame.corrupt(block, "version 0")
    return columns


def _columns(body: _Body) -> Columns:
    """All of a body.  Its rules are checked while values are still 0 (memory pages not yet allocated)."""
    names = [split_series(packed.names) for packed in body.groups]
    stamps = tuple(_unpack_stamps(body.stamps))
    groups = [_skeleton(packed, mine, len(mine), len(stamps)) for packed, mine in zip(body.groups, names, strict=True)]
    columns = _sound(Columns(stamps, tuple(groups)))
    for group, packed in zip(groups, body.groups, strict=True):
        _fill(group, packed, range(len(group.series)))
    return columns


def _columns_of(body: _Body, chosen: Collection[str]) -> Columns:
    """The series of a body that are in ``chosen``; groups without one are skipped."""
    stamps, groups = _unpack_stamps(body.stamps), []
    for packed in body.groups:
        names = split_series(packed.names)
        rows = _rows_of(names, chosen)
        if rows:
            group = _skeleton(packed, [names[row] for row in rows], len(names), len(stamps))
            _fill(group, packed, rows)
            groups.append(group)
    return _sound(assemble(stamps, groups))


def _rows_of(names: Sequence[str], chosen: Collection[str]) -> list[int]:
    """The indexes in ``names``, which ascend, of those in ``chosen``."""
    rows = ((bisect_left(names, series), series) for series in chosen)
    return sorted(row for row, series in rows if row < len(names) and names[row] == series)


def _sound(columns: Columns) -> Columns:
    if broken := flaw(columns):
        raise ValueError(broken)
    return columns


def _check_bounds(body: _Body) -> None:
    samples = 0
    for group in body.groups:
        samples += group.times * len(group.forms)
        if group.times < 1 or not group.forms or samples > BLOCK_SAMPLES_MAX:
            raise ValueError(f"{group.times} times of {len(group.forms)} series, {samples} samples so far")
        if len(group.sizes) != len(group.forms) or min(group.sizes, default=0) < 0:
            raise ValueError(f"{len(group.sizes)} sizes for {len(group.forms)} series")
        if sum(group.sizes) != len(group.values):
            raise ValueError(f"streams of {sum(group.sizes)} bytes in {len(group.values)}")


def _skeleton(packed: _Group, series: Sequence[str], named: int, stamps: int) -> Group:
    """A group of some of the ``named`` series, values still 0.  ``stamps``: length of the block's stamp table."""
    ts_ms, codes = np.empty(packed.times, np.int64), np.empty(packed.times, np.int64)
    unpack(packed.ts_ms, ts_ms)
    unpack(packed.stamps, codes)
    if codes.min() < 0 or codes.max() >= stamps:
        raise ValueError("a stamp index is out of range")
    if named != len(packed.forms):
        raise ValueError(f"{named} names for {len(packed.forms)} series")
    return Group(tuple(series), ts_ms, codes.astype(np.uint32), np.zeros((len(series), packed.times), np.uint64))


def _fill(group: Group, packed: _Group, rows: Sequence[int]) -> None:
    """Decode into ``group.values`` the streams of those rows of the packed group."""
    streams = memoryview(packed.values)
    ends = list(accumulate(packed.sizes))
    for low in range(0, len(rows), SERIES_PER_STEP):
        step = rows[low : low + SERIES_PER_STEP]
        own = [streams[ends[row] - packed.sizes[row] : ends[row]] for row in step]
        unpack_values(group.values[low : low + SERIES_PER_STEP], bytes(packed.forms[row] for row in step), own)
