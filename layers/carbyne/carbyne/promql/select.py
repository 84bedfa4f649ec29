"""What the evaluator reads: the port behind which the store is, and the matchers that select series."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
import re2
from numpy.typing import NDArray

from carbyne.core.errors import QueryError
from carbyne.core.labels import STALE_BITS
from carbyne.core.limits import PATTERNS_REMEMBERED
from carbyne.promql.labels import Labels, get
from carbyne.promql.tree import Match


class SeriesSamples(NamedTuple):
    """A series: ``ts_ms`` int64 [N] ascending, each once; ``values`` float64 [N], stale markers among them;
    ``weights`` float64 [N]: how many samples each stands for, None where that is one."""

    labels: Labels
    ts_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    weights: NDArray[np.float64] | None = None


class Selection(NamedTuple):
    """All series that match, with their samples after ``after_ms`` and until ``until_ms``, the latter included.

    ``function``: what the samples are for, empty if they are read as they are; ``window_ms``: of how long a time each
    value is computed; ``step_ms``: between two values.
    """

    matches: tuple[Match, ...]
    after_ms: int
    until_ms: int
    function: str = ""
    window_ms: int = 0
    step_ms: int = 0


class Selector(Protocol):
    """Where series are.  ``select``: series in the order of their labels; RetryableError if they can't be had."""

    def select(self, selection: Selection) -> Sequence[SeriesSamples]: ...


Test = Callable[[str], bool]


def pattern(source: str, about: str, kind: str = "bad_data") -> "re2._Regexp":
    """A regular expression of RE2 in which ``.`` takes line ends too.  QueryError of ``kind`` if it is none."""
    try:
        return _compiled(source)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        said = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise QueryError(kind, f"invalid regular expression in {about}: {source}: {said}") from None


@lru_cache(maxsize=PATTERNS_REMEMBERED)
def _compiled(source: str) -> "re2._Regexp":
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    return re2.compile(source, options)


def test_of(match: Match) -> Test:
    """Whether a value of the matcher's label matches; a label that a series lacks is empty."""
    if match.op == "=":
        return lambda value: value == match.value
    if match.op == "!=":
        return lambda value: value != match.value
    compiled = pattern(match.value, f"the matcher of {match.name}")
    is_like = match.op == "=~"
    return lambda value: (compiled.fullmatch(value) is not None) == is_like


def tests_of(matches: Sequence[Match]) -> Callable[[Labels], bool]:
    """Whether labels match all matchers."""
    tests = [(match.name, test_of(match)) for match in matches]
    return lambda labels: all(test(get(labels, name)) for name, test in tests)


def is_stale(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which values are stale markers."""
    return np.asarray(values.view(np.uint64) == STALE_BITS)
