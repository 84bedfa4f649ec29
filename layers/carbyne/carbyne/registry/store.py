"""What the registry asks of its table: small JSON documents, each with a version, changed only by who knows it.

A write that was applied and is sent again succeeds again, so that a lost answer is harmless.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from secrets import token_hex
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from carbyne.core.errors import RetryableError
from carbyne.core.limits import WRITE_TRIES_MAX
from carbyne.stream.putter import Entry

Settled = TypeVar("Settled")


class Key(NamedTuple):
    """``pk`` begins with the tenant; items of one pk are sorted by ``sk``."""

    pk: str
    sk: str


class RegistryItem(NamedTuple):
    """``body``: JSON; ``version``: 1 for a new item, then one more with each change."""

    key: Key
    body: bytes
    version: int


class RegistryChange(NamedTuple):
    """An item's next body, None to delete it; ``version`` is the one that it has now, 0 if there is no such item;
    ``expires_s``: seconds since 1970 from which on the table may remove it by itself, None for never."""

    key: Key
    body: bytes | None
    version: int
    expires_s: int | None = None


class Store(Protocol):
    """The table.  Reads are consistent; all methods raise RetryableError if it is away."""

    def get(self, key: Key) -> RegistryItem | None: ...

    def items(self, pk: str, prefix: str = "") -> list[RegistryItem]:
        """All items of ``pk`` whose sk begins with ``prefix``, sorted by sk."""

    def scan(self, pk: str, after: str = "") -> Iterator[RegistryItem]:
        """The items of ``pk`` whose sk is greater than ``after``, sorted by sk, read while they are taken."""

    def write(self, *changes: RegistryChange) -> bool:
        """All changes or, if an item does not have the version that its change names, none, and False.

        A change that the table already shows (the next version with the same body, or nothing to delete) is in order.
        """


class SecretStore(Protocol):
    """Secrets by name; all methods raise RetryableError if it is away."""

    def put(self, name: str, text: str) -> None: ...
    def get(self, name: str) -> str | None: ...
    def delete(self, name: str) -> None: ...


class Registry(NamedTuple):
    """What the use cases need.  ``now_s``: seconds since 1970; ``new_id``: an id for a host that none had before;
    ``put``: returns when the stream has the records, RetryableError if it does not take them; ``new_mark``: a text that
    no other write has; ``secrets``: of integrations, in the functions that need them;
    ``picture_secret``: what pictures are signed with, None before the first one."""

    store: Store
    now_s: Callable[[], int]
    new_id: Callable[[], str]
    put: Callable[[Sequence[Entry]], None]
    new_mark: Callable[[], str] = partial(token_hex, 8)
    secrets: SecretStore | None = None
    picture_secret: Callable[[], bytes | None] = lambda: None


def settle(attempt: Callable[[], Settled | None]) -> Settled:
    """The value of an attempt to read, change and write, made again as long as others are quicker (None)."""
    for _ in range(WRITE_TRIES_MAX):
        value = attempt()
        if value is not None:
            return value
    raise RetryableError(f"others changed the same item {WRITE_TRIES_MAX} times")


def body_of(value: object) -> bytes:
    """A document as it is stored."""
    return msgspec.json.encode(value)
