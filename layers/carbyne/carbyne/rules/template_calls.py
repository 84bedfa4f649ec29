"""Functions of templates: those of Prometheus that compute, and those of Go's text/template that compare and print."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import quote_plus

from carbyne.core.errors import QueryError
from carbyne.core.limits import TEMPLATE_OUT_BYTES_MAX, TEMPLATE_REPLACE_STEPS_MAX
from carbyne.promql.numbers import rounded
from carbyne.promql.numbers import short as of_float
from carbyne.rules.forms import duration_ms
from carbyne.rules.printf import FormatFault, GoValue, kind_of, sprint, sprintf

REPLACEMENT_STEPS: Final = 20
"""What a replacement costs beside its parts."""
GROUP: Final = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")
LARGE: Final = "kMGTPEZY"
SMALL: Final = "munpfazy"
NANOSECONDS_MAX: Final = 2**63
NUMBER: Final = re.compile(
    r"[+-]?(?:(?:(?>\d(?:_?\d)*)\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?)|nan", re.ASCII | re.IGNORECASE
)
"""Python's float takes spaces and the digits of all scripts too."""
MIDDLE: Final = frozenset(".:'\u2019\u00b7")
"""What ends no word while it stands alone between letters."""


class CallFault(Exception):
    """A function can't take what it was given."""


def number(value: GoValue) -> float:
    """A number, or text that is one."""
    if isinstance(value, str):
        if not NUMBER.fullmatch(value):
            raise CallFault(f'strconv.ParseFloat: parsing "{value[:50]}": invalid syntax')
        if math.isinf(float(value)) and value[-1].isdecimal():
            raise CallFault(f'strconv.ParseFloat: parsing "{value[:50]}": value out of range')
        return float(value)
    if isinstance(value, float | int) and not isinstance(value, bool):
        return float(value)
    raise CallFault(f"can't convert {kind_of(value)} to float")


def humanize(value: GoValue) -> str:
    """With a prefix of SI."""
    v = number(value)
    if v == 0 or not math.isfinite(v):
        return rounded(v, 4)
    return _scaled(v, 1000, LARGE) if abs(v) >= 1 else _small(v)


def humanize_1024(value: GoValue) -> str:
    """With a binary prefix."""
    v = number(value)
    return rounded(v, 4) if abs(v) <= 1 or not math.isfinite(v) else _scaled(v, 1024, LARGE, "i")


def humanize_duration(value: GoValue) -> str:
    """Of seconds."""
    v = number(value)
    if not math.isfinite(v):
        return rounded(v, 4)
    if v == 0:
        return "0s"
    if abs(v) < 1:
        return f"{_small(v)}s"
    sign, whole = "-" if v < 0 else "", int(abs(v))
    if whole < 60:
        return f"{sign}{rounded(abs(v), 4)}s"
    days, hours, minutes, seconds = whole // 86_400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    parts = [f"{minutes}m", f"{seconds}s"]
    if days or hours:
        parts.insert(0, f"{hours}h")
    if days:
        parts.insert(0, f"{days}d")
    return sign + " ".join(parts)


def humanize_percentage(value: GoValue) -> str:
    """Of a ratio."""
    return f"{rounded(number(value) * 100, 4)}%"


def humanize_timestamp(value: GoValue) -> str:
    """Of seconds since 1970."""
    v = number(value)
    if not math.isfinite(v):
        return rounded(v, 4)
    if abs(v * 1e9) >= NANOSECONDS_MAX:
        raise CallFault(f"{of_float(v)} cannot be represented as a nanoseconds timestamp since it overflows int64")
    ms = int(v * 1e9) // 1_000_000
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    part = f".{ms % 1000:03d}".rstrip("0").rstrip(".")
    return f"{at:%Y-%m-%d %H:%M:%S}{part} +0000 UTC"


def _scaled(v: float, step: int, prefixes: str, ending: str = "") -> str:
    prefix = ""
    for each in prefixes:
        if abs(v) < step:
            break
        prefix, v = f"{each}{ending}", v / step
    return rounded(v, 4) + (f"k{ending}" if prefix == f"k{ending}" else prefix)


def _small(v: float) -> str:
    prefix = ""
    for each in SMALL:
        if abs(v) >= 1:
            break
        prefix, v = each, v * 1000
    return rounded(v, 4) + prefix


def _text(value: GoValue) -> str:
    if isinstance(value, str):
        return value
    raise CallFault(f"expected string; found {kind_of(value)}")


def _compiled(pattern: GoValue) -> Any:  # noqa: ANN401 - a type of the library
    from carbyne.promql.select import pattern as compiled  # noqa: PLC0415 - numpy, which checking a file needs not

    try:
        return compiled(f"(?-s){_text(pattern)}", "a template")  # a dot takes no line end, unlike in queries
    except QueryError as error:
        raise CallFault(error.message) from None


def match(pattern: GoValue, text: GoValue) -> bool:
    return _compiled(pattern).search(_text(text)) is not None


def replace_all(pattern: GoValue, by: GoValue, text: GoValue) -> str:
    """As Go's; CallFault before it has taken some ten milliseconds."""
    parts, bytes_left, steps_left = _parts_of(_text(by)), TEMPLATE_OUT_BYTES_MAX, TEMPLATE_REPLACE_STEPS_MAX

    end = -1

    def expanded(matched: Any) -> str:  # noqa: ANN401 - a type of the library
        nonlocal bytes_left, steps_left, end
        follows, end = matched.start() == end, matched.end()
        if follows and end == matched.start():
            return ""  # Go has no empty match right behind another match
        steps_left -= REPLACEMENT_STEPS + len(parts)
        if steps_left < 0:
            raise CallFault("reReplaceAll: too many replacements")
        written = "".join(part if is_text else _group(matched, part) for part, is_text in parts)
        bytes_left -= len(written)
        if bytes_left < 0:
            raise CallFault(f"reReplaceAll: the text is longer than {TEMPLATE_OUT_BYTES_MAX} bytes")
        return written

    return str(_compiled(pattern).sub(expanded, _text(text)))


def _parts_of(template: str) -> list[tuple[str, bool]]:
    """Texts, and names or numbers of groups; and whether it is a text."""
    parts, at = list[tuple[str, bool]](), 0
    for reference in GROUP.finditer(template):
        name = reference[1] or reference[2]
        parts += [(template[at : reference.start()], True), ("$", True) if name is None else (name, False)]
        at = reference.end()
    return [*parts, (template[at:], True)]


def _group(matched: Any, name: str) -> str:  # noqa: ANN401 - a type of the library
    at = int(name[:9]) if name.isdecimal() else matched.re.groupindex.get(name, -1)
    return (matched.group(at) or "") if 0 <= at <= matched.re.groups else ""


def title(text: GoValue) -> str:
    """The first letter of each word in upper case."""
    written, is_inside, was_middle = "", False, False
    for character in _text(text):
        is_middle = character in MIDDLE
        if character.lower() != character.upper():
            written += character if is_inside else character.title()
            is_inside = True
        else:
            written += character
            is_inside = is_inside and (_is_in_word(character) or (is_middle and not was_middle))
        was_middle = is_middle
    return written


def _is_in_word(character: str) -> bool:
    is_other = not character.isascii() and not character.isspace() and character not in MIDDLE
    return character.isalnum() or character == "_" or is_other


def _host_port(text: str) -> tuple[str, str] | None:
    """Host and port of ``host:port``; None for another text."""
    bracketed = re.fullmatch(r"\[([^\[\]]*)\]:([^:\[\]]*)", text)
    matched = bracketed or re.fullmatch(r"([^:\[\]]*):([^:\[\]]*)", text)
    return (matched[1], matched[2]) if matched else None


def strip_port(text: GoValue) -> str:
    parts = _host_port(_text(text))
    return parts[0] if parts else _text(text)


def strip_domain(text: GoValue) -> str:
    whole = _text(text)
    host, port = _host_port(whole) or (whole, "")
    try:
        ip_address(host)
    except ValueError:
        first = host.split(".")[0]
        return f"{first}:{port}" if port else first
    return whole


def parse_duration(text: GoValue) -> float:
    """Seconds."""
    given_ms = duration_ms(_text(text).removeprefix("-"))
    if given_ms is None:
        raise CallFault(f"not a valid duration string: {_text(text)[:50]!r}")
    return (-given_ms if _text(text).startswith("-") else given_ms) / 1000


def is_true(value: GoValue) -> bool:
    return bool(value)


def equal(first: GoValue, *others: GoValue) -> bool:
    """Whether the first equals one of the others."""
    if not others:
        raise CallFault("missing argument for comparison")
    return any(_same_kind(first, other) and first == other for other in others)


def _same_kind(left: GoValue, right: GoValue) -> bool:
    if isinstance(left, Mapping) or isinstance(right, Mapping):
        raise CallFault("non-comparable type map[string]string")
    if type(left) is not type(right) and left is not None and right is not None:
        raise CallFault("incompatible types for comparison")
    return True


def less(left: GoValue, right: GoValue) -> bool:
    _same_kind(left, right)
    if isinstance(left, bool) or left is None or right is None:
        raise CallFault("invalid type for comparison")
    return left < right  # type: ignore[operator]


def at_most(left: GoValue, right: GoValue) -> bool:
    """Of NaN it is not, so that Go's ``gt`` of NaN is true."""
    return less(left, right) or equal(left, right)


def length(value: GoValue) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Mapping):
        return len(value)
    raise CallFault(f"len of type {kind_of(value)}")


def index(value: GoValue, *names: GoValue) -> GoValue:
    for name in names:
        if not isinstance(value, Mapping):
            raise CallFault(f"can't index item of type {kind_of(value)}")
        value = value.get(_text(name), "")
    return value


def printf(form: GoValue, *values: GoValue) -> str:
    try:
        return sprintf(_text(form), list(values))
    except FormatFault as fault:
        raise CallFault(str(fault)) from None


def println(*values: GoValue) -> str:
    return " ".join(sprint([value]) for value in values) + "\n"


CALLS: Final[Mapping[str, tuple[Callable[..., GoValue], int, int]]] = {
    "humanize": (humanize, 1, 1),
    "humanize1024": (humanize_1024, 1, 1),
    "humanizeDuration": (humanize_duration, 1, 1),
    "humanizePercentage": (humanize_percentage, 1, 1),
    "humanizeTimestamp": (humanize_timestamp, 1, 1),
    "title": (title, 1, 1),
    "toUpper": (lambda text: _text(text).upper(), 1, 1),
    "toLower": (lambda text: _text(text).lower(), 1, 1),
    "stripPort": (strip_port, 1, 1),
    "stripDomain": (strip_domain, 1, 1),
    "match": (match, 2, 2),
    "reReplaceAll": (replace_all, 3, 3),
    "graphLink": (lambda text: f"/graph?g0.expr={quote_plus(_text(text))}&g0.tab=0", 1, 1),
    "tableLink": (lambda text: f"/graph?g0.expr={quote_plus(_text(text))}&g0.tab=1", 1, 1),
    "urlQueryEscape": (lambda text: quote_plus(_text(text)), 1, 1),
    "parseDuration": (parse_duration, 1, 1),
    "safeHtml": (_text, 1, 1),
    "externalURL": (lambda: "", 0, 0),
    "pathPrefix": (lambda: "", 0, 0),
    "not": (lambda value: not is_true(value), 1, 1),
    "eq": (equal, 2, 20),
    "ne": (lambda left, right: not equal(left, right), 2, 2),
    "lt": (less, 2, 2),
    "le": (at_most, 2, 2),
    "gt": (lambda left, right: not at_most(left, right), 2, 2),
    "ge": (lambda left, right: not less(left, right), 2, 2),
    "len": (length, 1, 1),
    "index": (index, 1, 20),
    "print": (lambda *values: sprint(list(values)), 0, 20),
    "println": (println, 0, 20),
    "printf": (printf, 1, 20),
    "urlquery": (lambda *values: quote_plus(sprint(list(values))), 0, 20),
}
"""Name -> function, and how many arguments it takes at least and at most."""
LAZY: Final = frozenset({"and", "or"})
"""Which take no argument behind the one that decides."""
OF_TIME: Final = "now"
"""Which takes the time of the evaluation."""
NAMES: Final[Sequence[str]] = sorted([*CALLS, *LAZY, OF_TIME])
