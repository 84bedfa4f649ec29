"""The door of labelled series: what all protocols share once their bodies are parsed.

A parser gives series after series: an identity and samples of exact time and exact bits.  A ``Taking`` sorts them into
rows, and counts what it refuses by reason: one bad series spoils nothing.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

from carbyne.core.errors import RequestError
from carbyne.core.limits import CREATED_BACK_MS, REFUSED_SHOWN_BYTES, SAMPLES_PER_BODY_MAX
from carbyne.intake.identities import Identity
from carbyne.stream import records
from carbyne.tenants.divisions import UNDIVIDED, Divisions, source_at

TOO_FAR_AHEAD: Final = "too-far-ahead"
TOO_OLD: Final = "too-old"
BAD_HISTOGRAM: Final = "bad-histogram"
NOT_ELECTED: Final = "not-elected"
HISTOGRAM: Final = "histogram"
EXEMPLAR: Final = "exemplar"
"""No refusals: another replica of the pair is taken; native histograms and exemplars are not stored yet."""

Bits = int
"""A float64 as its 64 bits."""

_DIGEST_BYTES: Final = 16
_ALL_ADMITTED: Final = blake2b(digest_size=_DIGEST_BYTES).digest()


class Taking:
    """What a body holds.

    ``rows``: (source, ts_ms) -> series key -> bits.  ``targets``: source -> labels of its target, as canonical
    text, of those that have rows.
    ``metadata``: metric -> what it is.
    ``passed_over``: how much was taken and is not stored, by reason.
    ``samples``, ``histograms``, ``exemplars``: how many were taken.  ``refused``: how many were not, by reason, and
    ``shown``: the first of each.  ``admit``: the reason for which a series is not stored now, or empty; ``divisions``:
    of the tenant's divided targets.
    """

    def __init__(self, times_ms: range, admit: Callable[[Identity], str], divisions: Divisions = UNDIVIDED) -> None:
        self._times_ms = times_ms
        self._admit = admit
        self._divisions = divisions
        self._seen = 0
        self._not_admitted = blake2b(digest_size=_DIGEST_BYTES)
        self.rows: dict[tuple[str, int], dict[str, Bits]] = {}
        self.targets: dict[str, str] = {}
        self.metadata: dict[str, records.Metric] = {}
        self.samples = self.histograms = self.exemplars = 0
        self.passed_over: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.shown: dict[str, str] = {}

    def add(self, identity: Identity, samples: Sequence[tuple[int, Bits]], created_ms: int = 0) -> bool:
        """Take samples of a series, (ts_ms, bits) each; of two at one time the last.  Whether the series is taken.

        ``created_ms``: when a counter began, 0 if unknown.  RequestError 413 for more than a body may have.
        """
        self._seen += len(samples)
        if self._seen > SAMPLES_PER_BODY_MAX:
            raise RequestError(413, f"the body has more than {SAMPLES_PER_BODY_MAX} samples; send fewer at once")
        if reason := self._admit(identity):
            self._not_admitted.update(f"{identity.source} {identity.key}\n".encode())
            if reason != NOT_ELECTED:
                self.refuse(reason, identity.key, len(samples))
                return False
            self.samples += len(samples)
            self.passed_over[NOT_ELECTED] += len(samples)
            return True
        source, key, rows = identity.source, identity.key, self.rows
        divisions = self._divisions and self._divisions.get(source)
        for ts_ms, bits in samples:
            if ts_ms not in self._times_ms:
                self.refuse(TOO_OLD if ts_ms < self._times_ms.start else TOO_FAR_AHEAD, key)
                continue
            self.samples += 1
            if divisions:
                source = source_at(identity.source, key, divisions, ts_ms)
            if (source, ts_ms) not in rows:
                rows[source, ts_ms] = {}
                self.targets[source] = identity.target
            rows[source, ts_ms][key] = bits
            if created_ms and 0 < ts_ms - created_ms <= CREATED_BACK_MS and created_ms in self._times_ms:
                self._begin(identity, created_ms)
        return True

    def _begin(self, identity: Identity, created_ms: int) -> None:
        """A counter began with 0."""
        source = source_at(identity.source, identity.key, self._divisions.get(identity.source, ()), created_ms)
        self.targets[source] = identity.target
        self.rows.setdefault((source, created_ms), {}).setdefault(identity.key, 0)

    def refuse(self, reason: str, shown: str, number: int = 1) -> None:
        """Count what can't be stored."""
        self.refused[reason] += number
        self.shown.setdefault(reason, shown[:REFUSED_SHOWN_BYTES])

    def pass_over(self, histograms: int, exemplars: int) -> None:
        """Take what is not stored, and count that."""
        self.histograms += histograms
        self.exemplars += exemplars
        self.passed_over += Counter({HISTOGRAM: histograms, EXEMPLAR: exemplars})

    def name_of(self, body: bytes) -> bytes:
        """Bytes that name the body with what of it may be stored now.  Which series are admitted differs by writer and
        from try to try: a body of which more is admitted is another one, or what is new in it would count as taken."""
        digest = self._not_admitted.digest()
        return body if digest == _ALL_ADMITTED else body + digest  # no copy of megabytes for most bodies

    @property
    def stored(self) -> int:
        """Samples that are stored."""
        return self.samples - self.passed_over[NOT_ELECTED]

    @property
    def complaint(self) -> str:
        """What was not stored, and why; empty if all was."""
        if not self.refused:
            return ""
        reasons = "; ".join(
            f"{reason}: {number}, such as {self.shown[reason]}" for reason, number in sorted(self.refused.items())
        )
        return f"{sum(self.refused.values())} samples were not stored, the others were. {reasons}"
