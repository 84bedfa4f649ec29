"""The table of functions, by name.  Mathematics and dates have tables of their own."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np

from carbyne.promql import buckets, elementwise, on_labels, over_time, rates
from carbyne.promql.called import Called
from carbyne.promql.frames import Floats, Frame, single
from carbyne.promql.labels import NONE
from carbyne.promql.over_time import Computed
from carbyne.promql.windows import SampleWindows


class OfWindows(NamedTuple):
    """A function of a range vector.  ``compute``: of the windows and the scalars; ``named``: series keep their name."""

    compute: Callable[..., Computed]
    named: bool = False


OF_WINDOWS: Final[Mapping[str, OfWindows]] = {
    "avg_over_time": OfWindows(over_time.mean),
    "changes": OfWindows(rates.changes),
    "count_over_time": OfWindows(over_time.count),
    "delta": OfWindows(rates.delta),
    "deriv": OfWindows(rates.slope),
    "double_exponential_smoothing": OfWindows(rates.smoothed),
    "first_over_time": OfWindows(over_time.first, named=True),
    "idelta": OfWindows(rates.instant_delta),
    "increase": OfWindows(rates.increase),
    "irate": OfWindows(rates.instant_rate),
    "last_over_time": OfWindows(over_time.last, named=True),
    "mad_over_time": OfWindows(over_time.median_deviation),
    "max_over_time": OfWindows(over_time.greatest),
    "min_over_time": OfWindows(over_time.least),
    "predict_linear": OfWindows(rates.predicted),
    "present_over_time": OfWindows(over_time.present),
    "quantile_over_time": OfWindows(over_time.quantile),
    "rate": OfWindows(rates.rate),
    "resets": OfWindows(rates.resets),
    "stddev_over_time": OfWindows(over_time.deviation),
    "stdvar_over_time": OfWindows(over_time.variance),
    "sum_over_time": OfWindows(over_time.total),
    "ts_of_first_over_time": OfWindows(over_time.first_time),
    "ts_of_last_over_time": OfWindows(over_time.last_time),
    "ts_of_max_over_time": OfWindows(over_time.greatest_time),
    "ts_of_min_over_time": OfWindows(over_time.least_time),
}


def of_windows(called: Called) -> Frame:
    """One of OF_WINDOWS."""
    function = OF_WINDOWS[called.node.name]
    windows = next(value for value in called.values if isinstance(value, SampleWindows))
    scalars = [value for value in called.values if isinstance(value, np.ndarray)]
    if called.node.name == "quantile_over_time" and windows.there.any():
        buckets.note_quantiles(called, scalars[0], called.start(0))
    values, there = function.compute(windows, *scalars)
    frame = Frame(windows.labels, values, there, windows.unnamed).filled()
    return frame if function.named else called.naming.loses(frame)


def _scalar(called: Called) -> Floats:
    frame = called.frame()
    single_valued = frame.there.sum(axis=0) == 1
    totals = np.where(frame.there, frame.values, 0.0).sum(axis=0) if frame.series else np.zeros(len(single_valued))
    return np.where(single_valued, totals, np.nan)


def _vector(called: Called) -> Frame:
    return single(NONE, called.scalar(0))


def _time(called: Called) -> Floats:
    return called.times_ms / 1000


def _pi(called: Called) -> Floats:
    return np.full(len(called.times_ms), np.pi)


OTHERS: Final[Mapping[str, Callable[[Called], Frame | Floats]]] = {
    "absent": on_labels.absent,
    "absent_over_time": on_labels.absent_over_time,
    "clamp": elementwise.clamp,
    "clamp_max": elementwise.clamp_max,
    "clamp_min": elementwise.clamp_min,
    "histogram_fraction": buckets.fraction,
    "histogram_quantile": buckets.quantile,
    "histogram_quantiles": buckets.quantiles,
    "label_join": on_labels.join_labels,
    "label_replace": on_labels.replace_label,
    "max_of": lambda called: np.maximum(called.scalar(0), called.scalar(1)),
    "min_of": lambda called: np.minimum(called.scalar(0), called.scalar(1)),
    "pi": _pi,
    "round": elementwise.round_to,
    "scalar": _scalar,
    "sort": on_labels.sort_ascending,
    "sort_by_label": on_labels.sort_by_label,
    "sort_by_label_desc": on_labels.sort_by_label_descending,
    "sort_desc": on_labels.sort_descending,
    "time": _time,
    "vector": _vector,
}
FUNCTIONS: Final[Mapping[str, Callable[[Called], Frame | Floats]]] = {
    **OTHERS,
    **dict.fromkeys(OF_WINDOWS, of_windows),
    **dict.fromkeys(elementwise.OF_NUMBERS, elementwise.number),
    **dict.fromkeys(elementwise.OF_DATES, elementwise.date),
}
