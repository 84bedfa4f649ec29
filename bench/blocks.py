"""Bytes and nanoseconds per sample of the block codec and of the encodings that it was chosen from.

    python bench/blocks.py path/to/host-metrics.jsonl.gz

The file has one row a line, ``[index, {metric: value}]``; a row is treated as a minute and as a stream record of its
own.  Every encoding is decoded again and compared bit for bit: one that loses a bit ends the run.
"""

# ruff: noqa: E402
import gzip
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cramjam
import numpy as np
from numpy.typing import NDArray
from pcodec import ChunkConfig, standalone

sys.path[:0] = [str(Path(__file__).parent.parent / "layers" / "carbyne")]

from carbyne.core import stamps
from carbyne.samples import blocks, numbers
from carbyne.samples.columns import Columns, Rows, from_rows, merge

Bits = NDArray[np.uint64]
REPEATS = 7
START_MS = 1_700_006_400_000
ITEM_REST = {
    "pk": "acme:host%2F2eQGDXqtoXs",
    "sk": "raw#1700006400+14400#",
    "version": "1",
    "expires_at": "1700625600",
}
"""The other attributes of an item, for the bytes of the whole: names and values as DynamoDB counts them."""


class Encoding(NamedTuple):
    """``encode``: values [S, T] to bytes; ``decode``: bytes, S, T to values."""

    name: str
    encode: Callable[[Bits], bytes]
    decode: Callable[[bytes, int, int], Bits]


def zstd(data: bytes, level: int) -> bytes:
    return bytes(cramjam.zstd.compress(data, level=level))


def unzstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.decompress(data))


def plain(level: int) -> Encoding:
    return Encoding(
        f"float64, metric-major, zstd {level}",
        lambda bits: zstd(bits.tobytes(), level),
        lambda data, series, times: np.frombuffer(unzstd(data), np.uint64).reshape(series, times),
    )


def shuffled() -> Encoding:
    return Encoding(
        "float64, bytes transposed, zstd 3",
        lambda bits: zstd(bits.view(np.uint8).reshape(-1, 8).T.tobytes(), 3),
        lambda data, series, times: (
            np.ascontiguousarray(np.frombuffer(unzstd(data), np.uint8).reshape(8, -1).T)
            .view(np.uint64)
            .reshape(series, times)
        ),
    )


def pco(name: str, level: int, scale: bool, constants: bool, zstd_level: int | None, smaller: bool = False) -> Encoding:
    """pco per metric, each stream behind its form and size."""

    def encode(bits: Bits) -> bytes:
        forms = numbers.forms_of(bits)[0] if scale else np.full(len(bits), numbers.FLOATS, np.uint8)
        parts = [pick(row, int(form)) for row, form in zip(bits, forms, strict=True)]
        body = b"".join(part for pair in parts for part in pair)
        return body if zstd_level is None else zstd(body, zstd_level)

    def pick(row: Bits, form: int) -> tuple[bytes, bytes]:
        tried = [compressed(row, form)] + ([compressed(row, numbers.FLOATS)] if smaller else [])
        return min(tried, key=lambda pair: len(pair[1]))

    def compressed(row: Bits, form: int) -> tuple[bytes, bytes]:
        if constants and (row == row[0]).all():
            stream = row[:1].tobytes()
        else:
            floats_or_whole = row.view(np.float64) if form == numbers.FLOATS else numbers.scaled_to(row, form)
            stream = standalone.simple_compress(floats_or_whole, ChunkConfig(compression_level=level))
        return bytes([form]) + len(stream).to_bytes(2, "little"), stream

    def decode(data: bytes, series: int, times: int) -> Bits:
        body, at, values = data if zstd_level is None else unzstd(data), 0, np.empty((series, times), np.uint64)
        for row in values:
            size = int.from_bytes(body[at + 1 : at + 3], "little")
            numbers.unpack_values(row[None], body[at : at + 1], [memoryview(body)[at + 3 : at + 3 + size]])
            at += 3 + size
        return values

    return Encoding(name, encode, decode)


ENCODINGS = [
    plain(3),
    plain(19),
    shuffled(),
    pco("pco 8 per metric", 8, scale=False, constants=False, zstd_level=None),
    pco("pco 8, constants as one value", 8, scale=False, constants=True, zstd_level=None),
    pco("the same, zstd 3 over all", 8, scale=False, constants=True, zstd_level=3),
    pco("pco 4, scaled integers where exact, zstd 9", 4, scale=True, constants=True, zstd_level=9),
    pco("pco 6, scaled integers where exact, no zstd", 6, scale=True, constants=True, zstd_level=None),
    pco("pco 6, scaled integers where exact, zstd 3", 6, scale=True, constants=True, zstd_level=3),
    pco("pco 6, scaled integers where exact, zstd 9 (kept)", 6, scale=True, constants=True, zstd_level=9),
    pco("pco 6, scaled integers where exact, zstd 19", 6, scale=True, constants=True, zstd_level=19),
    pco("pco 6, the smaller of both forms, zstd 9", 6, scale=True, constants=True, zstd_level=9, smaller=True),
    pco("pco 8, scaled integers where exact, zstd 9", 8, scale=True, constants=True, zstd_level=9),
    pco("pco 12, scaled integers where exact, zstd 9", 12, scale=True, constants=True, zstd_level=9),
]


def timed(act: Callable[[], object], repeats: int = REPEATS) -> float:
    """Seconds of the quickest of several runs."""
    runs = []
    for _ in range(repeats):
        start = time.perf_counter()
        act()
        runs.append(time.perf_counter() - start)
    return min(runs)


def check(same: bool, what: str) -> None:
    if not same:
        raise SystemExit(f"WRONG: {what} did not come back bit for bit")


def report(name: str, size: int, samples: int, encode_s: float, decode_s: float) -> None:
    print(f"| {name} | {size / samples:.3f} | {encode_s / samples * 1e9:.0f} | {decode_s / samples * 1e9:.0f} |")


def measure(encoding: Encoding, bits: Bits) -> None:
    data = encoding.encode(bits)
    check(np.array_equal(encoding.decode(data, *bits.shape), bits), encoding.name)
    encode_s, decode_s = timed(lambda: encoding.encode(bits)), timed(lambda: encoding.decode(data, *bits.shape))
    report(encoding.name, len(data), bits.size, encode_s, decode_s)


def kinesis_stamps(count: int) -> list[bytes]:
    """Stamps as a busy shard gives them: a counter that grows by 50,000 to 120,000 between two minutes, and the time.

    The fields are those of real sequence numbers, in hex: 2, shard creation, counter (16), 00, time in s (9), shard,
    2.  Two records of one shard, 60 s apart, differ in counter and time alone (the AWS documentation has such a pair).
    """
    rng, counter, packed = random.Random(1), 0x67648A17, []
    for minute in range(count):
        counter += rng.randrange(50_000, 120_000)
        second = START_MS // 1000 + 60 * minute + rng.randrange(3)
        packed.append(stamps.pack(1, str(int(f"205bf4e5c26{counter:016x}00{second:09x}000000062", 16))))
    return packed


def random_stamps(count: int) -> list[bytes]:
    """The worst case: all 66 low bits of a sequence number are noise."""
    rng, number, packed = random.Random(1), 49590338271490256608559692538361571095921575989136588898, []
    for _ in range(count):
        number += (60 << 68) + rng.getrandbits(66)
        packed.append(stamps.pack(1, str(number)))
    return packed


def columns_of(series: tuple[str, ...], bits: Bits, row_stamps: list[bytes]) -> Columns:
    ts_ms = np.arange(bits.shape[1], dtype=np.int64) * 60_000 + START_MS
    return from_rows([Rows(series, ts_ms, row_stamps, np.ascontiguousarray(bits.T))])


def measure_blocks(series: tuple[str, ...], bits: Bits) -> None:
    times = bits.shape[1]
    for name, row_stamps in [
        ("one stamp for all", random_stamps(1) * times),
        ("a stamp a row, Kinesis' fields", kinesis_stamps(times)),
        ("a stamp a row, 66 bits of noise", random_stamps(times)),
    ]:
        columns = columns_of(series, bits, row_stamps)
        block = blocks.encode(columns)
        check(blocks.decode(block) == columns, name)
        encode_s, decode_s = timed(lambda c=columns: blocks.encode(c)), timed(lambda b=block: blocks.decode(b))
        report(f"whole block, {name}", len(block), columns.samples, encode_s, decode_s)
        rest = sum(len(key) + len(value) for key, value in ITEM_REST.items()) + len("block")
        report("- with the other attributes of its item", len(block) + rest, columns.samples, encode_s, decode_s)
    rows = timed(lambda: columns_of(series, bits, row_stamps))
    pick_s = timed(lambda: blocks.decode_series(block, {series[0]}))
    print(
        f"\nrows to columns: {rows / bits.size * 1e9:.0f} ns a sample; one series out of a block: "
        f"{pick_s * 1e6:.0f} us\n"
    )


def measure_wide(series: tuple[str, ...], bits: Bits, copies: int) -> None:
    """A source of many series: each metric ``copies`` times, scaled by a factor of its own, rounded to 3 digits."""
    factors = np.random.default_rng(1).uniform(0.5, 2, (copies, 1, 1))
    values = np.round(bits.view(np.float64) * factors, 3).reshape(-1, bits.shape[1])
    names = tuple(sorted(f"{name};copy={copy:04d}" for copy in range(copies) for name in series))
    row_stamps = kinesis_stamps(2 * bits.shape[1])
    first = columns_of(names, values.view(np.uint64), row_stamps[: bits.shape[1]])
    late = columns_of(names[::2], values[::2].view(np.uint64), row_stamps[bits.shape[1] :])
    merged = merge([first, late])
    check(merged == merge([late, first]) and merged.samples == first.samples, "the merge")
    parts = blocks.encode_parts(merged)
    check(merge([blocks.decode(block) for _, block in parts]) == merged, "the parts")
    merge_s, encode_s = timed(lambda: merge([first, late]), 2), timed(lambda: blocks.encode_parts(merged), 1)
    size, samples = sum(len(block) for _, block in parts), merged.samples
    print(f"{len(names)} series, half of them sent twice: {len(parts)} parts, {size / samples:.3f} bytes a sample;")
    print(f"merge {merge_s / samples * 1e9:.0f}, split and encode {encode_s / samples * 1e9:.0f} ns a sample")


def main(path: str) -> None:
    with gzip.open(path) as lines:
        rows = [json.loads(line)[1] for line in lines]
    series = tuple(sorted(rows[0]))
    values = np.array([[row[name] for name in series] for row in rows]).T
    for times in (240, len(rows)):
        bits = np.ascontiguousarray(values[:, :times]).view(np.uint64)
        print(f"{times} rows of {len(series)} metrics\n")
        print("| encoding | bytes per sample | encode ns per sample | decode ns per sample |\n|---|---|---|---|")
        for encoding in ENCODINGS:
            measure(encoding, bits)
        measure_blocks(series, bits)
    measure_wide(series, np.ascontiguousarray(values[:, :240]).view(np.uint64), copies=400)


if __name__ == "__main__":
    main(sys.argv[1])
