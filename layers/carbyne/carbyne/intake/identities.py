"""Which series a set of labels is: checked once, then remembered.

A writer sees the same labels again with every scrape.  They are remembered as they came, so that most of them are
never taken apart.  The memory has a bound in bytes, since labels come from strangers.
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from carbyne.core import labels
from carbyne.core.limits import (
    IDENTITIES_BYTES_MAX,
    LABEL_NAME_BYTES_MAX,
    LABEL_VALUE_BYTES_MAX,
    LABELS_MAX,
    METRIC_NAME_BYTES_MAX,
    SERIES_KEY_BYTES_MAX,
)

NO_NAME: Final = "no-name"
BAD_TEXT: Final = "bad-text"
BAD_LABEL: Final = "empty-label-name"
DUPLICATE: Final = "duplicate-label"
TOO_MANY: Final = "too-many-labels"
NAME_TOO_LONG: Final = "label-name-too-long"
VALUE_TOO_LONG: Final = "label-value-too-long"
KEY_TOO_LONG: Final = "series-too-long"

RawLabels = tuple[bytes, ...]
"""Labels as a protocol has them."""
_ENTRY_BYTES: Final = 500
"""What an entry takes beside its texts, which are there twice."""


class HaLabels(NamedTuple):
    """The labels that name a pair of senders and which of the two it is."""

    cluster: str
    replica: str


class Identity(NamedTuple):
    """A series: its source, its key there, the canonical text of its target's labels, and the pair and replica of its
    sender, empty without one."""

    source: str
    key: str
    target: str
    cluster: str = ""
    replica: str = ""


class SeriesRefused(Exception):
    """Labels that can't be stored; ``reason`` names the rule, ``shown`` the series."""

    def __init__(self, reason: str, shown: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.shown = shown


class Identities:
    """``pairs_of``: takes labels apart into (name, value), UTF-8."""

    def __init__(self, pairs_of: Callable[[RawLabels], Iterable[tuple[bytes, bytes]]], ha: HaLabels) -> None:
        self._pairs_of = pairs_of
        self._ha = ha
        self._known: dict[RawLabels, Identity] = {}
        self._bytes = 0

    def of(self, raw: RawLabels) -> Identity:
        """The series with these labels; SeriesRefused."""
        return self._known.get(raw) or self._learn(raw)

    def _learn(self, raw: RawLabels) -> Identity:
        if len(raw) > 2 * LABELS_MAX:
            raise SeriesRefused(TOO_MANY, f"a series of {len(raw)} parts of labels")
        identity = _identity(_checked(list(self._pairs_of(raw))), self._ha)
        self._bytes += _ENTRY_BYTES + 2 * sum(map(len, raw))
        if self._bytes > IDENTITIES_BYTES_MAX:
            self._known, self._bytes = {}, 0
        self._known[raw] = identity
        return identity


def _checked(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """The labels that are not empty, which is as good as absent."""
    if len(pairs) > LABELS_MAX:
        raise SeriesRefused(TOO_MANY, _shown(pairs))
    try:
        named = [(name.decode(), value.decode()) for name, value in pairs]
    except UnicodeDecodeError:
        raise SeriesRefused(BAD_TEXT, _shown(pairs)) from None
    result = {name: value for name, value in named if value}
    for reason, broken in (
        (BAD_LABEL, any(not name for name, _ in pairs)),
        (DUPLICATE, len({name for name, _ in pairs}) < len(pairs)),
        (NAME_TOO_LONG, any(len(name) > LABEL_NAME_BYTES_MAX for name, _ in pairs)),
        (VALUE_TOO_LONG, any(len(value) > LABEL_VALUE_BYTES_MAX for _, value in pairs)),
        (NO_NAME, labels.NAME not in result),
        (NAME_TOO_LONG, len(result.get(labels.NAME, "").encode()) > METRIC_NAME_BYTES_MAX),
    ):
        if broken:
            raise SeriesRefused(reason, _shown(pairs))
    return result


def _identity(named: dict[str, str], ha: HaLabels) -> Identity:
    cluster, replica = named.get(ha.cluster, ""), named.get(ha.replica, "")
    if cluster and replica:
        named = {name: value for name, value in named.items() if name != ha.replica}
    key = labels.key_of(named)
    if len(key.encode()) > SERIES_KEY_BYTES_MAX:
        raise SeriesRefused(KEY_TOO_LONG, key)
    target = labels.text(labels.target_of(named))
    pair = (cluster, replica) if cluster and replica else ("", "")
    return Identity(labels.source_of(named), key, target, *pair)


def _shown(pairs: Iterable[tuple[bytes, bytes]]) -> str:
    return ", ".join(f"{name.decode(errors='replace')}={value.decode(errors='replace')}" for name, value in pairs)
