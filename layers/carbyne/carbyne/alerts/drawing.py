"""The picture of an alert as PNG: the line of its samples, its bounds, and when the alert opened and closed.

An SVG is written here and drawn by resvg.  Its only font goes with it, so that pictures are alike on all machines.
"""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from carbyne.alerts.pictures import HEIGHT, WIDTH, Picture

LINE: Final = "#2563eb"
WARNING: Final = "#d97706"
CRITICAL: Final = "#dc2626"
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, WIDTH - 22, 52, HEIGHT - 36
_INK, _GREY, _GRID = "#1f2937", "#6b7280", "#e5e7eb"
_FAMILY: Final = "Source Sans Pro"
_LARGEST: Final = 1e300
"""Values beyond it are drawn at the edge, so that no difference overflows."""
_SPANS_AWAY: Final = 3
"""A bound that lies more spans of the values away is left out: with it the line would be flat."""
_TIME_STEPS_S: Final = (60, 120, 300, 600, 900, 1_800, 3_600)
_NOT_DRAWN: Final = re.compile(
    r"[^ -~\u00a0-\u017e\u0388-\u038a\u038e-\u03a1\u03a3-\u03ce\u0400-\u045f\u2013\u2014\u2018-\u201d\u2026]+"
)
"""All but Latin, Greek and Cyrillic letters, digits and punctuation."""
_SUFFIXES: Final = ("", "k", "M", "G", "T", "P", "E")


class _Axes(NamedTuple):
    """What the edges of the drawing stand for."""

    from_s: float
    to_s: float
    low: float
    high: float

    @property
    def step(self) -> float:
        """Between two lines of the grid."""
        return _round_step((self.high - self.low) / 4)

    def x(self, ts_s: float) -> float:
        return _LEFT + (_RIGHT - _LEFT) * (ts_s - self.from_s) / (self.to_s - self.from_s)

    def y(self, value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (value - self.low) / (self.high - self.low)


def png(picture: Picture) -> bytes:
    """The picture, WIDTH times HEIGHT pixels; at most 25 KB."""
    import resvg_py  # noqa: PLC0415 - of the registry's requests this one alone draws

    return resvg_py.svg_to_bytes(svg_string=svg(picture), skip_system_fonts=True, font_files=[_font()])


def svg(picture: Picture) -> str:
    """The picture as text."""
    points = [(ts_s, max(-_LARGEST, min(_LARGEST, value))) for ts_s, value in picture.plot.points()]
    axes = _axes(picture, [value for _, value in points])
    date = datetime.fromtimestamp(picture.plot.to_s, UTC)
    parts = [
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="8" fill="#fff" stroke="{_GRID}"/>',
        f'<svg width="{_RIGHT - 100}" height="48">{_text(20, 30, _drawable(picture.title), "start", _INK, 17)}</svg>',
        _text(_RIGHT, 30, f"{date.day} {date:%b %Y}, UTC", "end", _GREY),
        *_grid(axes),
        *_line(picture, axes, points),
        *_bound(axes, "warning", picture.warning, WARNING),
        *_bound(axes, "critical", picture.critical, CRITICAL),
        *_mark(axes, "opened", picture.opened_s, is_left=True),
        *_mark(axes, "closed", picture.closed_s, is_left=False),
    ]
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FAMILY}">{"".join(parts)}</svg>'


def _font() -> str:
    spec = find_spec("font_source_sans_pro")
    assert spec and spec.origin, "the layer has the font"
    return str(Path(spec.origin).parent / "files" / "SourceSansPro-Regular.ttf")


def _axes(picture: Picture, values: list[float]) -> _Axes:
    """Around the values and the bounds that are near them; from 0 where that lies near as well."""
    low, high = min(values), max(values)
    span = max(high - low, abs(high) / 10) or 1.0
    near = low - _SPANS_AWAY * span, high + _SPANS_AWAY * span
    shown = [low, high, *(each for each in _bounds(picture) if near[0] <= each <= near[1])]
    low, high = min(shown), max(shown)
    room = max((high - low) / 8, abs(high) / 1e6) if low < high else abs(high) / 10
    room = room or 1.0
    is_from_zero = 0 <= low <= high / 2
    return _Axes(picture.plot.from_s, picture.plot.to_s, 0.0 if is_from_zero else low - room, high + room)


def _bounds(picture: Picture) -> list[float]:
    return [each for each in (picture.warning, picture.critical) if each is not None]


def _grid(axes: _Axes) -> Iterator[str]:
    """Lines at round values, and times below."""
    step = axes.step
    for number in range(math.ceil(axes.low / step), math.floor(axes.high / step) + 1):
        y = axes.y(number * step)
        yield f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="{_GRID}"/>'
        yield _text(_LEFT - 8, y + 4, shown_number(number * step, step), "end", _GREY)
    span_s = axes.to_s - axes.from_s
    step_s = next((each for each in _TIME_STEPS_S if span_s / each <= 7), math.ceil(span_s / 6))
    for number in range(math.ceil(axes.from_s / step_s), math.floor(axes.to_s / step_s) + 1):
        x = axes.x(number * step_s)
        yield f'<path d="M{x:.1f} {_BOTTOM}v4" stroke="{_GREY}"/>'
        yield _text(x, _BOTTOM + 19, f"{datetime.fromtimestamp(number * step_s, UTC):%H:%M}", "middle", _GREY)


def _line(picture: Picture, axes: _Axes, points: list[tuple[float, float]]) -> Iterator[str]:
    """In the colours of the bounds where it is beyond them; a gap in the samples is one in the line."""
    for row in _rows(points):
        at = " ".join(f"{axes.x(ts_s):.1f},{axes.y(value):.1f}" for ts_s, value in row)
        first, last = axes.x(row[0][0]), axes.x(row[-1][0])
        yield f'<polygon points="{first:.1f},{_BOTTOM} {at} {last:.1f},{_BOTTOM}" fill="{LINE}" fill-opacity=".1"/>'
        yield _stroke(at, LINE)
        for number, (bound, colour) in enumerate(((picture.warning, WARNING), (picture.critical, CRITICAL))):
            if bound is not None:
                yield _beyond(axes, picture.operator, bound, f"b{number}-{first:.1f}", _stroke(at, colour))


def _rows(points: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Points that lie as far apart as most do."""
    usual_s = median([after[0] - before[0] for before, after in pairwise(points)] or [0.0])
    rows = [points[:1]]
    for before, after in pairwise(points):
        if after[0] - before[0] > 3.5 * max(usual_s, 1):
            rows.append([])
        rows[-1].append(after)
    return rows


def _stroke(at: str, colour: str) -> str:
    """A single point is a dot, which a round end makes of no length."""
    width, length = (2.5, "") if " " in at else (7, "h0")
    ends = f'fill="none" stroke-width="{width}" stroke-linejoin="round" stroke-linecap="round"'
    return f'<path d="M{at.replace(" ", "L")}{length}" stroke="{colour}" {ends}/>'


def _beyond(axes: _Axes, operator: str, bound: float, name: str, drawn: str) -> str:
    """What is drawn, but only where values are beyond a bound."""
    y = max(_TOP, min(_BOTTOM, axes.y(max(-_LARGEST, min(_LARGEST, bound)))))
    top, bottom = (_TOP - 3, y) if operator == ">" else (y, _BOTTOM + 3)
    clip = f'<clipPath id="{name}"><rect x="0" y="{top:.1f}" width="{WIDTH}" height="{bottom - top:.1f}"/></clipPath>'
    return f'{clip}<g clip-path="url(#{name})">{drawn}</g>'


def _bound(axes: _Axes, name: str, bound: float | None, colour: str) -> Iterator[str]:
    if bound is not None and axes.low <= bound <= axes.high:
        y = axes.y(bound)
        yield f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="{colour}" stroke-width="1.2" stroke-dasharray="6 4"/>'
        label = _text(_LEFT + 6, y - 5, f"{name} {shown_number(bound, axes.step)}", "start", colour)
        yield f'<g stroke="#fff" stroke-width="3" paint-order="stroke">{label}</g>'


def _mark(axes: _Axes, name: str, ts_s: int | None, *, is_left: bool) -> Iterator[str]:
    """A time of the alert, its name at one side of it: at the other one where that is too narrow."""
    if ts_s is not None and axes.from_s <= ts_s <= axes.to_s:
        x = axes.x(ts_s)
        is_left = x > _LEFT + 60 if is_left else x > _RIGHT - 60
        yield f'<path d="M{x:.1f} {_TOP - 14}V{_BOTTOM}" stroke="{_GREY}" stroke-dasharray="2 3"/>'
        yield _text(x - 5 if is_left else x + 5, _TOP - 5, name, "end" if is_left else "start", _GREY)


def _round_step(least: float) -> float:
    """1, 2, 2.5 or 5 times a power of ten, not less than ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return next((factor * power for factor in (1, 2, 2.5, 5) if factor * power >= least), 10 * power)


def shown_number(value: float, step: float = 0.0) -> str:
    """With a suffix for thousands; four digits, or as many as tell it from others that are a step away."""
    size, number = abs(value), 0
    digits = 2 + math.floor(math.log10(size / step)) if step and size >= step else 0
    while size >= 1000 and number < len(_SUFFIXES) - 1:
        size, number = size / 1000, number + 1
    return f"{math.copysign(size, value) if size else 0:.{max(4, min(7, digits))}g}{_SUFFIXES[number]}"


def _drawable(text: str) -> str:
    """What the font lacks is left out, and what XML can't hold, not even escaped."""
    return escape(_NOT_DRAWN.sub("…", text))


def _text(x: float, y: float, text: str, anchor: str, colour: str, size: int = 13) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{colour}" font-size="{size}">{text}</text>'
