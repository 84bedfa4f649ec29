"""``carbyne query``: asks a running Carbyne in PromQL, and prints what comes."""

import csv
import io
import json
import os
import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from carbyne.core.errors import RequestError, RetryableError

if TYPE_CHECKING:
    from carbyne.cli.desk import Desk, Groups

SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
POINTS: Final = 240
"""Steps of a span that names none: a point for each few pixels of a graph."""
BARS: Final = "▁▂▃▄▅▆▇█"
WIDTH: Final = 60
"""Characters of a graph."""


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
    form.add_argument("--graph", action="store_true", help="a line of bars for each series")
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
        desk.say_rows(("series", "least", "graph", "greatest"), [_as_graph(each) for each in series])
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


def _as_graph(series: Series) -> tuple[str, ...]:
    """The greatest value of each of WIDTH parts of the span as a bar, a space where there is none."""
    numbers = _numbers(series)
    if not numbers:
        return (series.name, "", "", "")
    least, greatest = min(numbers), max(numbers)
    start, end = series.points[0][0], series.points[-1][0]
    parts: dict[int, float] = {}
    for time, value in series.points:
        at = int((time - start) / ((end - start) or 1) * (WIDTH - 1))
        if abs(float(value)) < float("inf"):
            parts[at] = max(float(value), parts.get(at, least))
    height = (greatest - least) or 1
    bars = [BARS[int((parts[at] - least) / height * (len(BARS) - 1))] if at in parts else " " for at in range(WIDTH)]
    return (series.name, f"{least:.6g}", "".join(bars), f"{greatest:.6g}")


def _seconds(text: str) -> int:
    length = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if not length or not int(length[1]):
        raise ValueError(text)
    return int(length[1]) * SECONDS[length[2]]
