"""Redriving: what was set aside goes back to where it would have gone, and only then leaves the failure bucket.

A record goes back into the stream within a RedrivenRecord, which keeps the stamp that the record had when it arrived
first: put again it would count as newer than all that came meanwhile.  A block goes through the archiver's own steps,
which merge by stamp.  Both may be repeated: a crash between the work and the removal of the object does no harm.  If
the ingester sets a redriven record aside once more, it is as a new object, by the new record's own stamp, so removing
the old one loses nothing.

What still can't be stored stays with its reason.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from carbyne.core import keys, stamps
from carbyne.core.errors import CorruptDataError, UnknownVersionError
from carbyne.core.keys import BlockKey
from carbyne.core.limits import (
    BLOCK_BYTES_MAX,
    COLD_READERS,
    GIVEN_UP_BYTES_MAX,
    RECORD_BYTES_MAX,
    REDRIVE_BATCH,
    REDRIVE_BYTES_PER_S,
    REDRIVE_RECORDS_PER_S,
)
from carbyne.stream import arrived, records
from carbyne.stream.putter import Entry, calls_of, size_of

Made = TypeVar("Made")
Parsed = TypeVar("Parsed")
Raw = TypeVar("Raw")


class Kind(NamedTuple):
    """Objects whose names begin with ``prefix`` and that have at most ``bytes_max``; so many are taken at a time."""

    prefix: str
    bytes_max: int
    batch: int


CORRUPT_RECORDS: Final = Kind("corrupt/", RECORD_BYTES_MAX, REDRIVE_BATCH)
CORRUPT_BLOCKS: Final = Kind("corrupt/", BLOCK_BYTES_MAX, REDRIVE_BATCH)
"""What our functions set aside."""
BATCHES: Final = Kind("aws/lambda/", GIVEN_UP_BYTES_MAX, 1)
"""What Lambda gave up since it was too old: each a JSON document with the whole event in it as JSON text."""


class Kept(NamedTuple):
    """An object of a failure bucket; ``size``: its bytes."""

    name: str
    size: int


class Failures(Protocol):
    """A failure bucket; every method raises RetryableError if it can't be asked."""

    def kept(self, prefix: str) -> Iterator[Kept]:
        """The objects whose names begin so, by name; none that was put after the first was asked for, since what is
        redriven in vain is put again."""

    def get(self, name: str) -> bytes | None:
        """What an object holds, None if it is gone."""

    def remove(self, name: str) -> None:
        """Remove an object, which may be gone already."""


class Outcome(NamedTuple):
    """What became of an object: ``redriven`` records or blocks, and why it was ``left``, empty if it was not."""

    name: str
    redriven: int
    left: str = ""


class Origin(NamedTuple):
    """The stream that batches were given up from, by name, and its epoch."""

    stream: str
    epoch: int


class RecordRedriver:
    """``put`` returns when all entries are acknowledged by the stream; ``sleep``: seconds."""

    def __init__(
        self,
        failures: Failures,
        put: Callable[[Sequence[Entry]], None],
        tenant_exists: Callable[[str], bool],
        origin: Origin,
        sleep: Callable[[float], None],
    ) -> None:
        self._failures = failures
        self._put = put
        self._tenant_exists = tenant_exists
        self._origin = origin
        self._sleep = sleep

    def run(self) -> Iterator[Outcome]:
        """Redrive each object of the failure bucket.  RetryableError if a store can't be asked: run it again."""
        yield from _walk(self._failures, CORRUPT_RECORDS, self._of_corrupt, self._put_slowly)
        yield from _walk(self._failures, BATCHES, self._of_given_up, self._put_slowly)

    def _put_slowly(self, entries: Sequence[Entry]) -> None:
        """Agents' posts share the stream's shards, and must not be refused for this."""
        for call in calls_of(entries, REDRIVE_RECORDS_PER_S, REDRIVE_BYTES_PER_S):
            self._put(call)
            self._sleep(max(len(call) / REDRIVE_RECORDS_PER_S, sum(map(size_of, call)) / REDRIVE_BYTES_PER_S))

    def _of_corrupt(self, name: str, data: bytes) -> list[Entry]:
        stamp = _parsed(keys.stamp_of_corrupt_record, name)
        record = records.decode(data)
        inner = records.decode(record.data) if isinstance(record, records.RedrivenRecord) else record
        if isinstance(inner, records.RedrivenRecord):
            raise CorruptDataError("a redriven record within a redriven record")
        if isinstance(inner, records.FenceRecord):
            return []
        if not self._tenant_exists(inner.tenant):
            raise CorruptDataError(f"unknown tenant {inner.tenant!r}")
        source = _source_of(inner)
        if source is None:
            return []
        return [(keys.lane_tag(keys.lane_of(inner.tenant, source)), _redriven(stamp, data, record))]

    def _of_given_up(self, _: str, data: bytes) -> list[Entry]:
        return _parsed(self._entries, _event(data))

    def _entries(self, event: Mapping[str, Any]) -> list[Entry]:
        """Whether they can be stored is not looked at: the ingester sets aside each that can't."""
        for record in event["Records"]:
            if (stream := record["eventSourceARN"].rpartition("/")[2]) != self._origin.stream:
                raise CorruptDataError(f"records of the stream {stream[:128]!r}: give it as --origin, with its --epoch")
        decoded = [(entry, _decoded(entry.data)) for entry in arrived.records_of(event)]
        return [
            (entry.key, _redriven(stamps.pack(self._origin.epoch, entry.sequence), entry.data, record))
            for entry, record in decoded
            if not isinstance(record, records.FenceRecord)
        ]


class BlockRedriver:
    """``archive``: see ``archiver.archive``, with its stores given."""

    def __init__(self, failures: Failures, archive: Callable[[BlockKey, bytes], object]) -> None:
        self._failures = failures
        self._archive = archive

    def run(self) -> Iterator[Outcome]:
        """Archive what is in each object of the archive's failure bucket.  RetryableError as of RecordRedriver."""
        yield from _walk(self._failures, CORRUPT_BLOCKS, self._of_corrupt)
        yield from _walk(self._failures, BATCHES, self._of_given_up)

    def _of_corrupt(self, name: str, data: bytes) -> list[BlockKey]:
        key = _parsed(keys.key_of_corrupt_block, name)
        self._archive(key, data)
        return [key]

    def _of_given_up(self, _: str, data: bytes) -> list[BlockKey]:
        """All blocks that can be archived are, whether or not another can't."""
        done: list[BlockKey] = []
        failed: list[str] = []
        for image in _parsed(arrived.images_of, _event(data)):
            try:
                self._archive(image.key, image.data)
                done.append(image.key)
            except CorruptDataError as error:
                failed.append(f"{image.key.object}: {error}")
        if failed:
            raise CorruptDataError(f"{len(failed)} of {len(failed) + len(done)} blocks: {failed[0]}")
        return done


def _walk(
    failures: Failures,
    kind: Kind,
    make: Callable[[str, bytes], Sequence[Made]],
    finish: Callable[[Sequence[Made]], None] = lambda _: None,
) -> Iterator[Outcome]:
    """``make`` what is redriven of each object, which raises CorruptDataError if it is to be left; ``finish`` the work
    on all that was made of a batch; then the objects go."""
    with ThreadPoolExecutor(COLD_READERS) as threads:
        kept = failures.kept(kind.prefix)
        while batch := list(islice(kept, kind.batch)):
            readable = [entry for entry in batch if entry.size <= kind.bytes_max]
            bodies = list(threads.map(failures.get, [entry.name for entry in readable]))
            made = [_made(make, entry.name, body) for entry, body in zip(readable, bodies, strict=True)]
            finish([part for parts, _ in made for part in parts])
            outcomes = [outcome for _, outcome in made]
            list(threads.map(failures.remove, [outcome.name for outcome in outcomes if not outcome.left]))
            yield from outcomes
            yield from (
                Outcome(entry.name, 0, _too_large(entry, kind)) for entry in batch if entry.size > kind.bytes_max
            )


def _made(
    make: Callable[[str, bytes], Sequence[Made]], name: str, body: bytes | None
) -> tuple[Sequence[Made], Outcome]:
    try:
        made = [] if body is None else make(name, body)
    except UnknownVersionError as error:
        return [], Outcome(name, 0, f"{error}; redrive with the newer code")
    except CorruptDataError as error:
        return [], Outcome(name, 0, str(error))
    return made, Outcome(name, len(made))


def _too_large(entry: Kept, kind: Kind) -> str:
    return f"{entry.size} bytes, at most {kind.bytes_max} can be ours"


def _decoded(data: bytes) -> records.Record | None:
    """None if it is corrupt; UnknownVersionError if newer code can read it."""
    try:
        record = records.decode(data)
    except UnknownVersionError:
        raise
    except CorruptDataError:
        return None
    if isinstance(record, records.RedrivenRecord):
        _decoded(record.data)
    return record


def _source_of(record: records.SamplesRecord | records.DeleteRecord | records.FactsRecord) -> str | None:
    """A source of the record, which names its lane; None of an empty record."""
    if isinstance(record, records.DeleteRecord):
        return record.source
    if isinstance(record, records.FactsRecord):
        return next(iter(record.targets), keys.METADATA)
    return record.rows[0].source if record.rows else None


def _redriven(stamp: bytes, data: bytes, record: records.Record | None) -> bytes:
    """``data``, which holds ``record``, with the stamp that it had; that of a redriven record is in it already."""
    if isinstance(record, records.RedrivenRecord):
        return data
    wrapped = records.encode(records.RedrivenRecord(stamp, data))
    if len(wrapped) > RECORD_BYTES_MAX:
        raise CorruptDataError(f"a record of {len(data)} bytes: no writer puts so large ones")
    return wrapped


def _event(data: bytes) -> Mapping[str, Any]:
    """The event in what Lambda keeps of a batch that it gave up."""
    kept = _parsed(json.loads, data)
    if not isinstance(kept, dict) or "payload" not in kept:
        raise CorruptDataError("the batch itself is not in it: replay while the stream has it")
    event: Mapping[str, Any] = _parsed(json.loads, kept["payload"])
    return event


def _parsed(parse: Callable[[Raw], Parsed], raw: Raw) -> Parsed:
    try:
        return parse(raw)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CorruptDataError(f"neither our functions nor Lambda put this: {error!r}") from error
