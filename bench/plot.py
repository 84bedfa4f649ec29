"""Line plots as SVG, for the documentation: readable in light and dark, without a library or a script."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 190, 40, 50
COLOURS = ("#0072b2", "#56b4e9", "#d55e00", "#cc79a7", "#009e73", "#e69f00")


def logarithmic(title: str, at: Sequence[float], lines: Mapping[str, Sequence[float]]) -> str:
    """Lines over ``at``, both axes by powers of ten; each line's name stands at its end."""
    values = [value for line in lines.values() for value in line]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    first, last = math.log10(at[0]), math.log10(at[-1])

    def x(value: float) -> float:
        return LEFT + (math.log10(value) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (math.log10(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [text(LEFT, 22, title, "start", 15)]
    for power in range(low, high + 1):
        parts.append(grid(LEFT, y(10**power), WIDTH - RIGHT, y(10**power)))
        parts.append(text(LEFT - 8, y(10**power) + 4, f"{10**power:,}", "end"))
    for power in range(math.ceil(first), math.floor(last) + 1):
        parts.append(grid(x(10**power), TOP, x(10**power), HEIGHT - BOTTOM))
        parts.append(text(x(10**power), HEIGHT - BOTTOM + 18, f"{10**power:,}", "middle"))
    for (name, line), colour, end in zip(lines.items(), COLOURS, apart(lines, y), strict=False):
        points = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in zip(at, line, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        parts.append(text(WIDTH - RIGHT + 8, end + 4, name, "start", 12, colour))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" font-family="sans-serif">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def apart(lines: Mapping[str, Sequence[float]], y: Callable[[float], float]) -> list[float]:
    """Heights of the names at the lines' ends, each at least a line of text from the next."""
    ends = [y(values[-1]) for values in lines.values()]
    placed: dict[int, float] = {}
    lowest = -math.inf
    for number in sorted(range(len(ends)), key=ends.__getitem__):
        lowest = placed[number] = max(ends[number], lowest + 15)
    return [placed[number] for number in range(len(ends))]


def grid(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ccc" stroke-width="1"/>'


def text(x: float, y: float, words: str, anchor: str, size: int = 12, colour: str = "#333") -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'
