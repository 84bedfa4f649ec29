"""Bodies of requests as typed values."""

import re
from itertools import accumulate
from typing import Any, Final, TypeVar

import msgspec

from carbyne.core.errors import RequestError
from carbyne.core.limits import FORM_BYTES_MAX, JSON_DEPTH_MAX
from carbyne.http.message import inflate
from carbyne.http.routes import Call

Form = TypeVar("Form")

_STRING: Final = re.compile(rb'"[^"\\]*+(?>(?:\\.[^"\\]*+)*)"?', re.DOTALL)  # atomic: see intake.mackerel
"""With or without an end, and never given back: else the end of one that has none is looked for at each quote in it."""
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = dict.fromkeys(b"[{", 1) | dict.fromkeys(b"]}", -1)
_PATH: Final = re.compile(r"`\$(.*)`$")
_CHOICES: Final = ("Invalid enum value", "Invalid value")
"""How the decoder begins what it says of an enum, and of the tag of a union."""
_SEGMENT: Final = re.compile(r"\.(\w+)|\[[^]]*\]")


def form(call: Call, kind: type[Form]) -> Form:
    """The body of a request as ``kind``; RequestError 400 if it is not of this form, 413 if it is too large."""
    body = json_of(call)
    try:
        return msgspec.json.decode(body, type=kind)
    except ValueError as error:
        raise _refusal(f"{error}{allowed(kind, str(error))}") from None


def loose_form(call: Call, kind: type[Form]) -> Form:
    """As ``form``, for what Mackerel documents: null is a field that is left out, and 3.0 is a whole number."""
    body = json_of(call)
    try:
        return msgspec.json.decode(body, type=kind)
    except ValueError as error:
        try:
            return msgspec.convert(_plain(msgspec.json.decode(body)), kind)
        except ValueError:
            raise _refusal(f"{error}{allowed(kind, str(error))}") from None


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Without fields that are null, and with whole numbers as such: neither changes what a form that takes them has."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return list(map(_plain, value))
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def json_of(call: Call) -> bytes:
    """The body of a request, inflated: JSON that can be stored as it is and read again; RequestError as of ``form``."""
    body = inflate(call.request.body, FORM_BYTES_MAX)
    if depth_of(body) > JSON_DEPTH_MAX:
        raise RequestError(400, f"the body is nested deeper than {JSON_DEPTH_MAX} levels")
    try:
        msgspec.json.decode(body)  # a form only skips over its Raw parts, so every byte is decoded once without it
    except (ValueError, RecursionError) as error:
        raise _refusal(str(error)) from None
    return body


def depth_of(body: bytes) -> int:
    """How deep arrays and objects of a JSON text are nested: no decoder is asked, since each has a limit of its own."""
    brackets = _STRING.sub(b"", body).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def _refusal(reason: str) -> RequestError:
    return RequestError(400, f"the body is not as it should be: {reason}")


def allowed(kind: Any, message: str) -> str:  # noqa: ANN401 - any type of a form
    """What an enum, or the tag of a union, would take, if the decoder's message is about one: it names the place
    alone."""
    path = _PATH.search(message)
    if not message.startswith(_CHOICES) or not path:
        return ""
    import msgspec.inspect  # noqa: PLC0415 - 3 ms that only a refusal costs

    place: Any = msgspec.inspect.type_info(kind)
    for segment in _SEGMENT.finditer(path[1]):
        place = _inside(place, segment[1])
    values = [value for option in getattr(place, "types", (place,)) for value in _values(option)]
    return f"; it must be one of {', '.join(values)}" if values else ""


def _values(option: Any) -> list[str]:  # noqa: ANN401 - as of ``_inside``
    """Of an enum all its values; of a struct in a union its tag, which is no field of it."""
    return [str(value) for value in (*getattr(option, "values", ()), getattr(option, "tag", None)) if value is not None]


def _inside(place: Any, field: str | None) -> Any:  # noqa: ANN401 - types of msgspec.inspect, which have no union
    """The type of a field of an object, or of the elements of an array; in a union, of the member that has it."""
    for option in getattr(place, "types", (place,)):
        if field is None and hasattr(option, "item_type"):
            return option.item_type
        for each in getattr(option, "fields", ()) if field else ():
            if each.encode_name == field:
                return each.type
    return place
