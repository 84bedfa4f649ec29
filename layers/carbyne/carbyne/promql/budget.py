"""What one query may cost: each bound is checked as work is done, and its error says the figures."""

from collections.abc import Callable, Sequence

from carbyne.core.errors import QueryError
from carbyne.core.limits import QUERY_SAMPLES_MAX, QUERY_SERIES_MAX
from carbyne.promql.frames import Frame
from carbyne.promql.select import SeriesSamples


class Budget:
    """``deadline_s``: until when, on the clock ``now_s``."""

    def __init__(self, timeout_s: float, now_s: Callable[[], float]) -> None:
        self._timeout_s, self._now_s = timeout_s, now_s
        self._deadline_s = now_s() + timeout_s
        self.series = 0
        self.samples = 0

    def read(self, selected: Sequence[SeriesSamples]) -> None:
        """Count what was read.  QueryError ``execution`` if it is too much in all."""
        self.series += len(selected)
        self.samples += sum(len(each.ts_ms) for each in selected)
        if self.series > QUERY_SERIES_MAX:
            _refuse("series", self.series, QUERY_SERIES_MAX, "name more labels")
        if self.samples > QUERY_SAMPLES_MAX:
            _refuse("samples", self.samples, QUERY_SAMPLES_MAX, "ask for fewer series or a shorter time")
        self.tick()

    def gives(self, series: int, steps: int) -> None:
        """Before values are made.  QueryError ``execution`` if there would be too many."""
        if series * steps > QUERY_SAMPLES_MAX:
            _refuse(
                "values", series * steps, QUERY_SAMPLES_MAX, f"{series} series at {steps} steps; take a longer step"
            )
        self.tick()

    def made(self, frame: Frame) -> Frame:
        """After an operation that can multiply series."""
        self.gives(frame.series, frame.values.shape[1])
        return frame

    def tick(self) -> None:
        """QueryError ``timeout`` if the time is over."""
        if self._now_s() > self._deadline_s:
            raise QueryError("timeout", f"query timed out in expression evaluation after {self._timeout_s:g} s")


def _refuse(what: str, number: int, most: int, advice: str) -> None:
    raise QueryError("execution", f"the query has {number} {what}, more than {most}: {advice}")
