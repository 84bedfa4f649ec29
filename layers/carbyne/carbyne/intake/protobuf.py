"""The messages of Prometheus' remote write, as far as they are read, made from a table of their fields.

Numbers and types are those of ``prometheus.WriteRequest`` (1.0) and ``io.prometheus.write.v2.Request`` (2.0), with
three differences that the wire format allows.  Text is read as bytes, so that a label that is no UTF-8 spoils its
series and not the body.  Values of samples are read as their 64 bits, so that a NaN keeps its payload.  Messages that
may be many are read as the bytes of each: labels that are known need not be taken apart, and an empty message takes two
bytes on the wire and a hundred in memory.

The library is imported and the table compiled at the first use, some 15 ms: most instances never see such a body.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

PACKAGE: Final = "carbyne.remote_write"

DOUBLE, INT64, UINT64, ENUM, FIXED64, BYTES, UINT32, SINT32, SINT64 = 1, 3, 4, 5, 6, 12, 13, 17, 18
"""Types of fields, as descriptor.proto numbers them; an enum is read as int32."""
_MESSAGE: Final = 11
_OPTIONAL, _REPEATED = 1, 3

MessageFields = Mapping[str, tuple[int, int | str] | tuple[int, int | str, bool]]
"""Name -> number, type (text: that message), and whether it is repeated."""

MESSAGES: Final[Mapping[str, MessageFields]] = {
    "Request1": {"timeseries": (1, BYTES, True), "metadata": (3, BYTES, True)},
    "Series1": {
        "labels": (1, BYTES, True),
        "samples": (2, "Sample", True),
        "exemplars": (3, BYTES, True),
        "histograms": (4, BYTES, True),
    },
    "Label1": {"name": (1, BYTES), "value": (2, BYTES)},
    "Metadata1": {"type": (1, ENUM), "name": (2, BYTES), "help": (4, BYTES), "unit": (5, BYTES)},
    "Request2": {"symbols": (4, BYTES, True), "timeseries": (5, BYTES, True)},
    "Series2": {
        "labels": (1, UINT32, True),
        "samples": (2, "Sample", True),
        "histograms": (3, BYTES, True),
        "exemplars": (4, BYTES, True),
        "metadata": (5, "Metadata2"),
        "created": (6, INT64),
    },
    "Metadata2": {"type": (1, ENUM), "help": (3, UINT32), "unit": (4, UINT32)},
    "Sample": {"bits": (1, FIXED64), "timestamp": (2, INT64), "created": (3, INT64)},
    "Histogram": {
        "count_int": (1, UINT64),
        "count_float": (2, DOUBLE),
        "sum": (3, DOUBLE),
        "zero_int": (6, UINT64),
        "zero_float": (7, DOUBLE),
        "negative_spans": (8, "Span", True),
        "negative_deltas": (9, SINT64, True),
        "negative_counts": (10, DOUBLE, True),
        "positive_spans": (11, "Span", True),
        "positive_deltas": (12, SINT64, True),
        "positive_counts": (13, DOUBLE, True),
    },
    "Span": {"offset": (1, SINT32), "length": (2, UINT32)},
}


@cache
def message(name: str) -> Any:  # noqa: ANN401 - a class that protobuf makes
    """The class of a message of the table; ``FromString`` parses, and raises ``malformed()``."""
    return _classes()[name]


@cache
def malformed() -> type[Exception]:
    """What parsing raises for bytes that are no such message."""
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - see above

    error: type[Exception] = DecodeError
    return error


@cache
def _classes() -> Mapping[str, Any]:
    """By what the library's factory of messages is made of: the factory itself takes 60 ms to import."""
    from google.protobuf import descriptor  # noqa: PLC0415 - see above
    from google.protobuf.message import Message  # noqa: PLC0415
    from google.protobuf.pyext.cpp_message import GeneratedProtocolMessageType  # noqa: PLC0415

    file = descriptor.FileDescriptor(name=f"{PACKAGE}.proto", package=PACKAGE, serialized_pb=description())
    return {
        name: GeneratedProtocolMessageType(name, (Message,), {"DESCRIPTOR": described, "__module__": __name__})
        for name, described in file.message_types_by_name.items()
    }


def description() -> bytes:
    """The table as a ``FileDescriptorProto``: its bytes, since the library's own builder takes 50 ms to import."""
    messages = b"".join(_field(4, _message(name, fields)) for name, fields in MESSAGES.items())
    return _field(1, f"{PACKAGE}.proto") + _field(2, PACKAGE) + messages + _field(12, "proto3")


def _message(name: str, fields: MessageFields) -> bytes:
    described = (_described(field, *spec) for field, spec in fields.items())
    return _field(1, name) + b"".join(_field(2, each) for each in described)


def _described(name: str, number: int, kind: int | str, repeated: bool = False) -> bytes:
    label = _number(4, _REPEATED if repeated else _OPTIONAL)
    is_message = isinstance(kind, str)
    of = _field(6, f".{PACKAGE}.{kind}") if is_message else b""
    return _field(1, name) + _number(3, number) + label + _number(5, _MESSAGE if is_message else int(kind)) + of


def _field(number: int, value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return bytes((number << 3 | 2,)) + _varint(len(data)) + data


def _number(number: int, value: int) -> bytes:
    return bytes((number << 3, value))


def _varint(value: int) -> bytes:
    return bytes((value,)) if value < 128 else bytes((value & 127 | 128,)) + _varint(value >> 7)
