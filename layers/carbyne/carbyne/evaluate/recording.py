"""Samples of rules as records for the stream, which the notifier puts there: the evaluator can't reach it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from struct import pack, unpack

from carbyne.core import labels as canonical
from carbyne.core.keys import series_hash
from carbyne.core.limits import (
    LABEL_VALUE_BYTES_MAX,
    LABELS_MAX,
    METRIC_NAME_BYTES_MAX,
    RECORDED_ITEM_BYTES,
    SERIES_KEY_BYTES_MAX,
)
from carbyne.intake.facts import Facts, Untold
from carbyne.intake.facts import entries_of as entries_of_facts
from carbyne.intake.identities import KEY_TOO_LONG, Identity
from carbyne.intake.labelled import Taking
from carbyne.intake.packing import BITS, RowValues, entries_of
from carbyne.rules.overlay import RecordedSample
from carbyne.stream.putter import Entry
from carbyne.stream.records import TS_MS_MAX


class Recording:
    """Of one instance: it remembers which targets it named lately."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._facts = Facts(clock)

    def taking(self, samples: Sequence[RecordedSample]) -> Taking:
        """Samples by source; those whose labels can't be stored are counted as refused."""
        taking = Taking(range(TS_MS_MAX), lambda _: "")
        for sample in samples:
            named = dict(sample.labels)
            identity = Identity(
                canonical.source_of(named), canonical.key_of(named), canonical.text(canonical.target_of(named))
            )
            if _fits(named, identity):
                [bits] = unpack("<Q", pack("<d", sample.value))
                taking.add(identity, [(sample.ts_ms, bits)])
            else:
                taking.refuse(KEY_TOO_LONG, identity.key)
        return taking

    def entries(self, tenant: str, taking: Taking) -> tuple[list[Entry], list[Entry], Untold]:
        """Records for the stream, those that it must have before them, and which facts are among them; call ``told``
        with these once they are kept."""
        untold = self._facts.untold(tenant, taking.targets, {})
        rows = [entry for chunk in _chunks(taking.rows) for entry in entries_of(tenant, chunk, BITS)]
        facts = entries_of_facts(tenant, untold)
        return [*facts.beside, *rows], list(facts.before), untold

    def told(self, tenant: str, untold: Untold) -> None:
        self._facts.told(tenant, untold)


def _chunks(rows: RowValues) -> Iterator[RowValues]:
    """The rows in parts of which each makes records that fit an item; the same series give the same parts."""
    chunk: dict[tuple[str, int], Mapping[str, float]] = {}
    size = 0
    for place, values in rows.items():
        for part in _parts(values):
            cost = _bytes(part)
            if chunk and (size + cost > RECORDED_ITEM_BYTES or place in chunk):
                yield chunk
                chunk, size = {}, 0
            chunk[place], size = part, size + cost
    if chunk:
        yield chunk


def _parts(values: Mapping[str, float]) -> Sequence[Mapping[str, float]]:
    number = -(-_bytes(values) // (RECORDED_ITEM_BYTES // 2))
    if number < 2:
        return [values]
    parts: list[dict[str, float]] = [{} for _ in range(number)]
    for key, value in values.items():
        parts[series_hash(key) % number][key] = value
    return [part for part in parts if part]


def _bytes(values: Mapping[str, float]) -> int:
    return sum(len(key.encode()) + 9 for key in values)


def _fits(named: dict[str, str], identity: Identity) -> bool:
    return (
        len(named) <= LABELS_MAX
        and len(identity.key.encode()) <= SERIES_KEY_BYTES_MAX
        and len(named.get(canonical.NAME, "").encode()) <= METRIC_NAME_BYTES_MAX
        and all(len(value.encode()) <= LABEL_VALUE_BYTES_MAX for value in named.values())
    )
