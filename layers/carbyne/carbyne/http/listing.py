"""Long lists: encoded element by element into one answer that Lambda can carry, and asked for page by page.

An element is in memory once, then in the answer, packed where the client takes gzip.  Without ``limit`` an answer is
whole or 413, as Mackerel's clients expect; with it the answer may end early, and its ``next`` continues it.
"""

import re
import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from carbyne.core.errors import RequestError
from carbyne.core.limits import (
    ANSWER_BYTES_MAX,
    ANSWER_PLAIN_BYTES_MAX,
    DEFLATE_PENDING_BYTES,
    LIST_LIMIT_MAX,
    SORT_KEY_BYTES_MAX,
)

GZIP_WBITS: Final = 16 + zlib.MAX_WBITS
_RAW_BYTES_MAX: Final = ANSWER_BYTES_MAX // 4 * 3
"""Before base64."""
_END_BYTES: Final = 2 * SORT_KEY_BYTES_MAX
"""For the brackets and ``next``."""


class Page(NamedTuple):
    """Which part of a list is asked for: at most ``limit`` elements, all if None, behind ``after``."""

    limit: int | None
    after: str


class Listing(NamedTuple):
    """The answer ``{"<name>": [...]}``; ``elements``: those behind ``page.after``, with what continues behind each."""

    name: str
    elements: Iterator[tuple[str, object]]
    page: Page


def page_of(query: Mapping[str, list[str]]) -> Page:
    """``limit`` and ``next`` of a query, which may be left out; of several the last.  RequestError 400."""
    limit, after = (query.get(name, [""])[-1] for name in ("limit", "next"))
    if limit and not (re.fullmatch(r"[0-9]{1,6}", limit) and 1 <= int(limit) <= LIST_LIMIT_MAX):
        raise RequestError(400, f"limit must be a number from 1 to {LIST_LIMIT_MAX}; got {limit[:32]!r}")
    if len(after.encode()) > SORT_KEY_BYTES_MAX:
        raise RequestError(400, "next is none that an answer gave")
    return Page(int(limit) if limit else None, after)


def listing(name: str, elements: Iterable[tuple[str, object]], page: Page) -> Listing:
    """A list that is in memory, sorted by what continues behind each element."""
    return Listing(name, (pair for pair in elements if pair[0] > page.after), page)


class _ListBody:
    """The bytes of an answer: plain while they are few, then through gzip if the client takes it."""

    def __init__(self, *, gzip: bool) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._gzip = gzip
        self._deflate: Any = None

    @property
    def is_plain(self) -> bool:
        return self._size <= ANSWER_PLAIN_BYTES_MAX and self._deflate is None

    def has_room(self, size: int) -> bool:
        """Whether ``size`` more bytes fit, however badly they pack."""
        pending = DEFLATE_PENDING_BYTES if self._gzip else 0
        return self._size + size + pending + _END_BYTES <= _RAW_BYTES_MAX

    def add(self, data: bytes) -> None:
        self._keep(self._deflate.compress(data) if self._deflate else data)
        if self._gzip and self._deflate is None and not self.is_plain:
            chunks, self._chunks, self._size = self._chunks, [], 0
            self._deflate = zlib.compressobj(1, wbits=GZIP_WBITS)
            self._keep(self._deflate.compress(b"".join(chunks)))

    def whole(self) -> bytes:
        if self._deflate:
            self._keep(self._deflate.flush())
        return b"".join(self._chunks)

    def _keep(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)


def payload_of(listed: Listing, *, gzip: bool) -> dict[str, Any]:
    """Body and encoding of Lambda's answer.  RequestError 413 if it has no end that fits and no ``limit``."""
    body = _ListBody(gzip=gzip)
    _write(listed, body)
    if body.is_plain:
        return {"headers": {}, "body": body.whole().decode(), "isBase64Encoded": False}
    headers = {"Content-Encoding": "gzip"} if gzip else {}
    return {"headers": headers, "body": b64encode(body.whole()).decode(), "isBase64Encoded": True}


def _write(listed: Listing, body: _ListBody) -> None:
    count, last, more = 0, "", False
    body.add(b'{"%b":[' % listed.name.encode())
    for token, element in listed.elements:
        data = msgspec.json.encode(element)
        is_full = not body.has_room(len(data))
        if is_full and (listed.page.limit is None or count == 0):
            raise RequestError(413, "the answer is too large; accept gzip, or ask page by page with limit and next")
        if is_full or count == listed.page.limit:
            more = True
            break
        body.add(b"," + data if count else data)
        count, last = count + 1, token
    body.add(b'],"next":%b}' % msgspec.json.encode(last) if more else b"]}")
