"""How long the raw windows of a source are: a function of its tenant, its kind and the time of a sample.

Sources with labels that post more often than once a minute have windows of SHORT_WINDOW_S, since four hours of them do
not fit an item.  All others have the usual length; Mackerel's hosts and services always, as they post once a minute.
The ingester sees how often the labelled sources of a tenant post.  It stores a change of length ahead, to hold from a
boundary of both lengths on that no sample can lie behind yet.  So instances that learn of it a minute apart agree, a
replay and late samples come to the same windows as before, and no time lies in windows of two lengths.
"""

from collections.abc import Callable, Sequence
from math import lcm
from typing import Final, NamedTuple

from carbyne.core import labels
from carbyne.core.errors import RequestError
from carbyne.core.keys import SourceKey, Window
from carbyne.core.limits import (
    AHEAD_MS_MAX,
    CADENCE_MINUTES_MAX,
    SHORT_KEPT_S,
    SHORT_WINDOW_S,
    STEP_AHEAD_S,
    TENANT_CACHE_S,
    WINDOW_STEPS_MAX,
)

OFTEN_SHARE: Final = 4
"""Sources post more often than once a minute if at least one in so many samples is not of the first time of its source
in its minute.  One that posts each minute and drifts has two times in a minute now and then."""


class LengthStep(NamedTuple):
    """From ``from_s`` on labelled sources have short windows, or again the usual ones."""

    from_s: int
    is_short: bool


Steps = tuple[LengthStep, ...]
"""Ascending by time; before the first one windows have the usual length."""


class Seen(NamedTuple):
    """What a tenant's item says of its labelled sources; ``often_s``: when they last posted often, 0 for never."""

    steps: Steps = ()
    often_s: int = 0


class RawLengths:
    """``steps_of``: those of a tenant, or RequestError for an unknown one; ``usual_s``: the length of most windows."""

    def __init__(self, steps_of: Callable[[str], Steps], usual_s: int) -> None:
        self._steps_of = steps_of
        self._usual_s = usual_s

    def window(self, source: SourceKey, ts_ms: int) -> Window:
        """The window of a sample of this source; RetryableError if the tenant can't be looked up."""
        return Window.holding(ts_ms, self._length_s(source, ts_ms))

    def _length_s(self, source: SourceKey, ts_ms: int) -> int:
        if not labels.is_labelled(source.source):
            return self._usual_s
        try:
            steps = self._steps_of(source.tenant)
        except RequestError:  # the tenant is gone
            return self._usual_s
        return length_s(steps, ts_ms // 1000, self._usual_s)


def length_s(steps: Sequence[LengthStep], at_s: int, usual_s: int) -> int:
    """Of the window of a labelled source that holds this time."""
    is_short = next((step.is_short for step in reversed(steps) if step.from_s <= at_s), False)
    return min(SHORT_WINDOW_S, usual_s) if is_short else usual_s


def stepped(seen: Seen, now_s: int, usual_s: int, *, often: bool) -> Seen:
    """What the item should say once the labelled sources of a tenant were seen to post often, or not.

    Short windows begin with the next boundary, and end after SHORT_KEPT_S in which the sources did not post often.
    """
    is_short = bool(seen.steps) and seen.steps[-1].is_short
    often_s = max(seen.often_s, now_s - now_s % SHORT_WINDOW_S) if often else seen.often_s
    changes = often != is_short and (often or now_s - often_s >= SHORT_KEPT_S)
    if not changes:
        return seen._replace(often_s=often_s)
    last_s = seen.steps[-1].from_s if seen.steps else 0  # later than this clock's next one if another clock is ahead
    step = LengthStep(_boundary_s(max(now_s + STEP_AHEAD_S, last_s), usual_s), often)
    return Seen((*seen.steps, step)[-WINDOW_STEPS_MAX:], often_s)


def _boundary_s(from_s: int, usual_s: int) -> int:
    """The first boundary of windows of both lengths from a time on."""
    both_s = lcm(usual_s, min(SHORT_WINDOW_S, usual_s))
    return -(-from_s // both_s) * both_s


class Cadence:
    """How often the labelled sources of a tenant post, by the samples of the last CADENCE_MINUTES_MAX pairs of source
    and minute at most."""

    def __init__(self) -> None:
        self._first_ms: dict[tuple[str, int], int] = {}
        self._samples = self._more = 0

    def note(self, source: str, ts_ms: int, samples: int) -> None:
        """Count the samples of a row."""
        if len(self._first_ms) >= CADENCE_MINUTES_MAX:
            return
        first_ms = self._first_ms.setdefault((source, ts_ms // 60_000), ts_ms)
        self._samples += samples
        self._more += samples * (ts_ms != first_ms)

    @property
    def often(self) -> bool | None:
        """Whether they post more often than once a minute; None if there were none."""
        return self._more * OFTEN_SHARE >= self._samples if self._samples else None


assert STEP_AHEAD_S >= AHEAD_MS_MAX // 1000 + 2 * TENANT_CACHE_S, "a sample could lie behind a step not known of yet"
