"""``carbyne query``: asks a running Carbyne in PromQL, and prints what comes."""

import csv
import io
import json
import os
import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from carbyne.core.errors import RequestError, RetryableError

if TYPE_CHECKING:
    from carbyne.cli.desk import Desk, Groups

SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
POINTS: Final = 240
"""Steps of a span that names none: a point for each few pixels of a graph."""
WIDTH: Final = 72
HEIGHT: Final = 16
"""Characters of a graph."""
COLORS: Final = ("green", "yellow", "blue", "magenta", "cyan", "red", "white", "black")
GRAPHS_MAX: Final = len(COLORS)

Answered = Mapping[str, Any]
"""The body of an answer, or a part of it."""


class Series(NamedTuple):
    """``points``: (seconds, value as it was written)."""

    name: str
    points: Sequence[tuple[float, str]]


def add(groups: "Groups") -> None:
    """``query``."""
    command = groups.add_parser("query", help="ask in PromQL", description=__doc__)
    command.add_argument("query", help="in PromQL, as: rate(x[5m])")
    command.add_argument("--last", metavar="DURATION", type=_seconds, help="values over the last 6h, 30m, ...")
    command.add_argument("--step", metavar="DURATION", type=_seconds, help="between two values; 240 of them without it")
    command.add_argument("--url", default=os.environ.get("CARBYNE_URL", "http://127.0.0.1:8080"), help="CARBYNE_URL")
    command.add_argument("--key", default=os.environ.get("CARBYNE_API_KEY", ""), help="CARBYNE_API_KEY")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="a column for each series")
    form.add_argument("--graph", action="store_true", help="a plot of the values")
    command.set_defaults(run=query)


def query(arguments: Namespace, desk: "Desk") -> None:
    """RequestError with the server's words if it refuses; RetryableError if it can't be reached."""
    answered = _ask(arguments, desk)
    for note in (*answered.get("warnings", ()), *answered.get("infos", ())):
        desk.remark(note)
    series = _series(answered["data"])
    if arguments.csv:
        desk.say(_as_csv(series))
    elif arguments.graph:
        if len(series) > GRAPHS_MAX:
            desk.remark(f"{GRAPHS_MAX} of {len(series)} series are shown: aggregate, or use topk()")
        desk.say(_as_graph(series, colored=desk.is_terminal()))
    elif arguments.last:
        desk.say_rows(("series", "points", "least", "mean", "greatest", "last"), [_summary(each) for each in series])
    else:
        desk.say_rows(
            ("series", "value"), [(each.name, " ".join(value for _, value in each.points)) for each in series]
        )


def _ask(arguments: Namespace, desk: "Desk") -> Answered:
    form, path = {"query": arguments.query}, "query"
    if arguments.last:
        step_s = arguments.step or max(arguments.last // POINTS, 1)
        end_s = desk.now_s() // step_s * step_s
        form |= {"start": str(end_s - arguments.last), "end": str(end_s), "step": str(step_s)}
        path = "query_range"
    status, body = desk.post_form(f"{arguments.url}/api/v1/{path}", {"X-Api-Key": arguments.key}, form)
    try:
        answer = json.loads(body)
    except ValueError:
        raise RetryableError(f"{arguments.url} answered {status}, and no JSON: is it Carbyne's URL?") from None
    if status != 200:
        error = answer.get("error", answer)
        raise RequestError(status, error if isinstance(error, str) else str(error.get("message", answer)))
    answered: Answered = answer
    return answered


def _series(data: Answered) -> list[Series]:
    result = data["result"]
    if data["resultType"] in {"scalar", "string"}:
        return [Series("", [tuple(result)])]
    return [
        Series(_name(each["metric"]), [*each.get("values", ()), *filter(None, [each.get("value")])]) for each in result
    ]


def _name(labels: Mapping[str, str]) -> str:
    others = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "__name__")
    return labels.get("__name__", "") + (f"{{{others}}}" if others else "") or "{}"


def _as_csv(series: Sequence[Series]) -> str:
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(["time", *(each.name for each in series)])
    columns = [{time: value for time, value in each.points} for each in series]  # noqa: C416 - pairs come as lists
    for time in sorted({time for column in columns for time in column}):
        rows.writerow([time, *(column.get(time, "") for column in columns)])
    return written.getvalue().rstrip("\n")


def _numbers(series: Series) -> list[float]:
    return [number for number in (float(value) for _, value in series.points) if abs(number) < float("inf")]


def _summary(series: Series) -> tuple[str, ...]:
    numbers = _numbers(series) or [float("nan")]
    figures = min(numbers), sum(numbers) / len(numbers), max(numbers)
    last = float(series.points[-1][1])
    return (series.name, str(len(series.points)), *(f"{figure:.6g}" for figure in (*figures, last)))


def _as_graph(series: Sequence[Series], *, colored: bool) -> str:
    """A plot of at most GRAPHS_MAX series: in colours, else each with a letter of its own."""
    import plotille  # noqa: PLC0415 - of make run's environment alone, and only this needs it

    figure = plotille.Figure()
    figure.width, figure.height, figure.with_colors, figure.origin = WIDTH, HEIGHT, colored, False
    figure.register_label_formatter(float, lambda value, chars, delta, left=False: f"{value:{chars}.4g}"[:chars])
    for nth, each in enumerate(series[:GRAPHS_MAX]):
        points = [(datetime.fromtimestamp(time, UTC), float(value)) for time, value in each.points]
        shown = [(time, value) for time, value in points if abs(value) < float("inf")]
        marker = None if colored or len(series) == 1 else chr(ord("a") + nth)
        if shown:
            times, values = zip(*shown, strict=True)
            figure.plot(times, values, label=each.name, lc=COLORS[nth] if colored else None, marker=marker)
    return str(figure.show(legend=True))


def _seconds(text: str) -> int:
    length = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if not length or not int(length[1]):
        raise ValueError(text)
    return int(length[1]) * SECONDS[length[2]]
