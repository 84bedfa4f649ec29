"""Arrival stamps: the order in which the stream took the samples.

    +----------------+--------------------------------------+
    | stream epoch   | sequence number of the stream record |
    | u16 big-endian | u192 big-endian                      |
    +----------------+--------------------------------------+

A stamp is 26 bytes and compares by plain bytes (``memcmp``), so a later arrival is a greater stamp.  Kinesis writes
sequence numbers as decimal text of 56 digits today (2**186); 24 bytes hold 57.  The epoch is raised when the stream is
replaced, since a new stream may start with lower numbers.
"""

from typing import Final

from carbyne.core.errors import InvariantError

STAMP_BYTES: Final = 26
EPOCH_MAX: Final = 0xFFFF
SEQUENCE_MAX: Final = (1 << 192) - 1
ZERO: Final = bytes(STAMP_BYTES)
"""Before every real stamp."""


def pack(epoch: int, sequence: str) -> bytes:
    """The stamp of the record with this decimal ``sequence`` number in stream epoch ``epoch``.

    Raises InvariantError if either is out of range: such a record must stay in the stream until a wider stamp exists.
    """
    number = int(sequence)
    if not 0 <= epoch <= EPOCH_MAX or not 0 <= number <= SEQUENCE_MAX:
        raise InvariantError(f"BUG: a stamp holds epoch <= {EPOCH_MAX}, sequence < 2**192; got {epoch}, {sequence}")
    return epoch.to_bytes(2, "big") + number.to_bytes(24, "big")


def unpack(stamp: bytes) -> tuple[int, str]:
    """(epoch, decimal sequence number) of a stamp; the mirror of ``pack``."""
    if len(stamp) != STAMP_BYTES:
        raise InvariantError(f"BUG: a stamp has {STAMP_BYTES} bytes; got {len(stamp)}: {stamp[:32].hex()}")
    return int.from_bytes(stamp[:2], "big"), str(int.from_bytes(stamp[2:], "big"))
