"""Values as text in the forms of Go's fmt, which templates of rules were written for."""

import re
from collections.abc import Mapping
from typing import Final

from carbyne.core.limits import TEMPLATE_WIDTH_MAX
from carbyne.promql.numbers import rounded, short
from carbyne.promql.numbers import short as of_float

GoValue = str | float | int | bool | Mapping[str, str] | None
VERB: Final = re.compile(r"%([-+# 0]*)(\d*)(?:\.(\d*))?(.?)", re.DOTALL)
FLOATS: Final = frozenset("eEfFgG")
ESCAPES: Final = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


class FormatFault(Exception):
    """A format that is not served."""


def plain(value: GoValue) -> str:
    """As ``%v``."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return of_float(value)
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{name}:{value[name]}' for name in sorted(value))}]"
    return str(value)


def sprint(values: "list[GoValue]") -> str:
    """Go's Sprint: a space between two values neither of which is text."""
    written = ""
    for at, value in enumerate(values):
        apart = at and not isinstance(value, str) and not isinstance(values[at - 1], str)
        written += (" " if apart else "") + plain(value)
    return written


def sprintf(form: str, values: "list[GoValue]") -> str:
    """Go's Sprintf of v, T, s, q, d, t, x, X and those of floats; FormatFault for a width that is too large."""
    left = list(values)

    def written(match: "re.Match[str]") -> str:
        flags, width, precision, verb = match.groups()
        if max(len(width), len(precision or "")) > 3 or int(width or 0) > TEMPLATE_WIDTH_MAX:
            raise FormatFault(f"a width above {TEMPLATE_WIDTH_MAX}")
        if verb == "%":
            return "%"
        if not verb:
            return "%!(NOVERB)"
        if not left:
            return f"%!{verb}(MISSING)"
        digits = None if precision is None else int(precision or 0)
        if digits is not None and digits > TEMPLATE_WIDTH_MAX:
            raise FormatFault(f"a precision above {TEMPLATE_WIDTH_MAX}")
        value = left.pop(0)
        return _padded(_of_verb(value, verb, digits, flags), flags, int(width or 0), value)

    text = VERB.sub(written, form)
    extra = ", ".join(f"{kind_of(value)}={plain(value)}" for value in left)
    return text + (f"%!(EXTRA {extra})" if extra else "")


def quoted(text: str) -> str:
    """As Go's %q."""
    written = ""
    for character in text:
        if character in '"\\':
            written += f"\\{character}"
        elif character in ESCAPES:
            written += ESCAPES[character]
        elif character.isprintable():
            written += character
        elif ord(character) < 0x80:
            written += f"\\x{ord(character):02x}"
        else:
            written += f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
    return f'"{written}"'


def kind_of(value: GoValue) -> str:
    """The name of Go's type."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, Mapping):
        return "map[string]string"
    return {float: "float64", int: "int"}.get(type(value), "string")


def _of_verb(value: GoValue, verb: str, digits: int | None, flags: str) -> str:
    if verb == "v":
        return _of_verb(value, "g", digits, flags) if isinstance(value, float) else plain(value)
    if isinstance(value, float) and verb in FLOATS:
        return _signed(_float(value, verb, digits), flags)
    if isinstance(value, int) and not isinstance(value, bool) and verb in "dxX":
        return _signed(format(value, verb), flags)
    if verb == "T" or (isinstance(value, bool) and verb == "t"):
        return kind_of(value) if verb == "T" else plain(value)
    if isinstance(value, str) and verb in "sqxX":
        cut = value if digits is None or verb in "xX" else value[:digits]
        as_hex = value.encode().hex()
        return {"s": cut, "q": quoted(cut), "x": as_hex, "X": as_hex.upper()}[verb]
    return f"%!{verb}(<nil>)" if value is None else f"%!{verb}({kind_of(value)}={plain(value)})"


def _float(value: float, verb: str, digits: int | None) -> str:
    special = rounded(value, 1)
    if not special[-1].isdigit():
        return special
    if verb in "gG":
        written = short(value) if digits is None else rounded(value, digits or 1)
    else:
        written = format(value, f".{6 if digits is None else digits}{verb.lower()}")
    return written.upper() if verb.isupper() else written


def _signed(text: str, flags: str) -> str:
    if text[0] in "+-":
        return text
    return f"+{text}" if "+" in flags else f" {text}" if " " in flags else text


def _padded(text: str, flags: str, width: int, value: GoValue) -> str:
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and isinstance(value, float | int) and text[-1:].isalnum() and "n" not in text.lower():
        sign = text[0] if text[:1] in ("+", "-", " ") else ""
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)
