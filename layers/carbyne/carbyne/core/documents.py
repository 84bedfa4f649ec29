"""Small documents of our own beside the blocks: MessagePack in a frame, each with a version.

Used for pages of the catalogue, markers of deletes, the job of a replay and its notes.
"""

from typing import Generic, TypeVar

import msgspec

from carbyne.core import frame
from carbyne.core.errors import UnknownVersionError

Body = TypeVar("Body")


class Document(Generic[Body]):
    """One kind of document.  ``what``: its name in errors; ``body``: its type; ``level``: of zstd; ``bytes_max`` and
    ``inflated_max``: bounds of what is read."""

    def __init__(
        self, what: str, body: type[Body], *, version: int, level: int, bytes_max: int, inflated_max: int
    ) -> None:
        self._what = what
        self._decoder = msgspec.msgpack.Decoder(body)
        self._version = version
        self._level = level
        self._bytes_max = bytes_max
        self._inflated_max = inflated_max

    def pack(self, body: Body) -> bytes:
        """The document's bytes."""
        return frame.pack(bytes((self._version,)), msgspec.msgpack.encode(body), self._level)

    def unpack(self, data: bytes) -> Body:
        """The mirror of ``pack``.  CorruptDataError for bytes that it did not write, UnknownVersionError for sound ones
        of a later version."""
        (version,) = frame.check(data, 1, self._bytes_max)
        if version == 0:
            raise frame.corrupt(data, "version 0")
        if version > self._version:
            raise UnknownVersionError(f"{self._what} of version {version}; this code knows {self._version}")
        try:
            return self._decoder.decode(frame.inflate(data, 1, self._inflated_max))
        except ValueError as error:
            raise frame.corrupt(data, f"not a {self._what}: {error}") from None
