"""Reads the series that an expression names, within a time."""

import re
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Final

import numpy as np

from carbyne.alerts.formula import NamedMetrics
from carbyne.alerts.judging import SamplePairs
from carbyne.core import names
from carbyne.core.errors import QueryError, RetryableError
from carbyne.core.keys import SourceKey
from carbyne.core.limits import COMPUTED_MONITOR_S, EXPRESSION_POINTS_MAX, EXPRESSION_SOURCES_MAX
from carbyne.evaluate.formulas import LinePoints, PointGrid
from carbyne.evaluate.recent import RecentSamples

_RESOLUTIONS: Final = {300_000: "5m", 3_600_000: "1h", 86_400_000: "1d"}


class FormulaLeaves:
    """Of one expression.  ``role``: the sources of a role's hosts; ``called``: what people call a source; ``behind``:
    lanes of which nothing may be read; ``labels``: of the lines of each read, in order."""

    def __init__(
        self,
        samples: RecentSamples,
        threads: Executor,
        tenant: str,
        role: Callable[[str], Sequence[str]],
        monotonic: Callable[[], float],
        called: Callable[[str], str] = str,
        behind: Collection[int] = (),
    ) -> None:
        self._samples, self._threads, self._tenant, self._role = samples, threads, tenant, role
        self._monotonic, self._called, self._behind = monotonic, called, behind
        self._deadline_s = monotonic() + COMPUTED_MONITOR_S
        self._sources = 0
        self.labels: list[list[str]] = []

    def tick(self) -> None:
        """QueryError ``timeout`` if the time is over."""
        if self._monotonic() > self._deadline_s:
            raise QueryError("timeout", f"the expression takes more than {COMPUTED_MONITOR_S:g} s")

    def read(self, leaf: NamedMetrics, grid: PointGrid) -> LinePoints:
        """RequestError for what is no name of a host or service; QueryError for too many of them; RetryableError if
        the stream is behind with one."""
        sources = self._role(leaf.owner) if leaf.kind == "role" else [names.source(f"{leaf.kind}/{leaf.owner}")]
        self._sources += len(sources)
        if self._sources > EXPRESSION_SOURCES_MAX:
            raise QueryError("execution", f"the expression reads more than {EXPRESSION_SOURCES_MAX} hosts and services")
        parts = self._threads.map(partial(self._lines, leaf.metric, grid), sources)
        named = [(source, name, line) for source, of in zip(sources, parts, strict=True) for name, line in of]
        self.labels.append([f"{self._called(source)} {name}" for source, name, _ in named])
        return np.array([line for _, _, line in named]) if named else np.empty((0, grid.steps))

    def _lines(self, metric: str, grid: PointGrid, source: str) -> list[tuple[str, LinePoints]]:
        self.tick()
        key, samples = SourceKey(self._tenant, source), self._samples
        if key.lane in self._behind:
            raise RetryableError(f"the stream is behind with {source}")
        series = [metric] if "*" not in metric else sorted(filter(_like(metric), samples.names(key)))
        last_ms, resolution = grid.end_ms - 1, _RESOLUTIONS.get(grid.step_ms)
        if not series:
            return []
        if len(series) * grid.steps > EXPRESSION_POINTS_MAX:
            raise QueryError("execution", f"the expression reads more than {EXPRESSION_POINTS_MAX} points")
        if resolution:
            read = samples.means(key, series, grid.start_ms, last_ms, resolution)
        else:
            read = samples.read(key, series, grid.start_ms, last_ms)
        return [(name, _on_grid(read[name], grid)) for name in series if read.get(name)]


def _like(metric: str) -> Callable[[str], bool]:
    first, *between, last = map(re.escape, metric.split("*"))
    # Atomic: each text lies where it stands first.  To try every other place takes hours with ten stars.
    pattern = re.compile(first + "".join(f"(?>[^.]*?{text})" for text in between) + f"[^.]*{last}")
    return lambda name: pattern.fullmatch(name) is not None


def _on_grid(pairs: SamplePairs, grid: PointGrid) -> LinePoints:
    """The last sample within each step."""
    line = np.full(grid.steps, np.nan)
    for ts_ms, value in pairs:
        line[(ts_ms - grid.start_ms) // grid.step_ms] = value
    return line
