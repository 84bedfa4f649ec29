"""What queues ask of their two stores.

The table has every message from before its publish is acknowledged until its taker acknowledges it.  Redis has order
and leases alone, on one master: after a change of masters, or a loss, the queue is built out of the table again.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from carbyne.core.keys import QueueKey

WHOLE: Final = "w"
"""State of a queue: Redis has every message that the table has, but for those of publishes in progress."""
BUILDING: Final = "r"
"""It is being built out of the table."""
LOST: Final = "l"
"""It was not built on the master that answers."""
UNNOTED: Final = "n"
"""The table must note first what is to be taken, or for how long."""

ID_DIGITS: Final = 16
"""Digits of the number that an id begins with."""


def number_of(message_id: str) -> int:
    """The place of a message in its queue."""
    return int(message_id[:ID_DIGITS])


def published_ms_of(message_id: str) -> int:
    """When a message was published."""
    return int(message_id.split("-")[1], 16)


def id_of(number: int, now_ms: int, random: str) -> str:
    """``<number>-<time>-<random>``: sorts by number, and differs if a number was ever given twice."""
    return f"{number:0{ID_DIGITS}d}-{now_ms:011x}-{random}"


class StoredMessage(NamedTuple):
    """A message in the table.  ``body``: JSON; ``due_ms``: when it can be taken, 0 at once; ``tries`` and ``died_s``:
    of a dead letter."""

    id: str
    body: bytes
    due_ms: int = 0
    tries: int = 0
    died_s: int = 0


class QueueNote(NamedTuple):
    """What the table knows of a queue: messages up to number ``taken`` may have been taken, none for longer than
    ``lease_ms``; ``audited_s``: when Redis was compared with the table; ``deleted_s``: when it was
    deleted, 0 if it is not: then what is left of it goes."""

    taken: int = 0
    lease_ms: int = 0
    audited_s: int = 0
    deleted_s: int = 0


class Built(NamedTuple):
    """How far Redis has a queue: its state, and the id up to which it was built."""

    state: str
    cursor: str


class Reserved(NamedTuple):
    """``first``: of the new numbers, 0 if the queue of ``length`` messages takes no more."""

    state: str
    first: int
    length: int


class Leased(NamedTuple):
    """``messages``: id -> tries, in order; ``worn``: ids of messages that had all their tries, leased to be buried;
    ``number``: what the table must note, of state UNNOTED."""

    state: str
    number: int
    messages: dict[str, int]
    worn: list[str]


class QueueCounts(NamedTuple):
    """``first``: id of the first ready message, empty if there is none."""

    state: str
    waiting: int
    delayed: int
    leased: int
    first: str


class QueueOrder(Protocol):
    """Redis.  All methods raise RetryableError if it can't be asked, or if no replica has what was written."""

    def reserve(self, queue: QueueKey, count: int) -> Reserved:
        """Numbers for ``count`` new messages."""

    def push(self, queue: QueueKey, messages: Sequence[tuple[str, int]]) -> str:
        """Let messages (id, due time in ms) be taken, unless the queue has them; its state, WHOLE if that is done."""

    def begin(self, queue: QueueKey) -> Built:
        """Begin to build the queue unless it is whole, or being built, on the master that answers."""

    def fill(
        self, queue: QueueKey, cursor: str, to: str, done: bool, note: QueueNote, messages: Sequence[tuple[str, int]]
    ) -> Built:
        """Take in the page of (id, due time in ms) from behind ``cursor`` up to ``to``, if it was built up to there."""

    def take(self, queue: QueueKey, most: int, lease_ms: int, token: str) -> Leased:
        """Lease the first ready messages."""

    def note(self, queue: QueueKey, note: QueueNote) -> None:
        """What the table has noted."""

    def lease(self, queue: QueueKey, lease_ms: int, leases: Sequence[tuple[str, str]]) -> tuple[str, list[bool]]:
        """Change leases (id, token), 0 ends them; the queue's state, and which are still of the caller."""

    def forget(self, queue: QueueKey, ids: Sequence[str]) -> None:
        """Messages that the table does not have any more."""

    def look(self, queue: QueueKey) -> QueueCounts: ...

    def ready(self, queues: Sequence[QueueKey]) -> list[QueueKey]:
        """Those that may have a message to take: also those that are not whole.  Those whose master does not answer
        are left out: nothing can be taken of them; RetryableError if none answers."""

    def drop(self, queue: QueueKey) -> None:
        """All that Redis has of the queue: its state is LOST from then on."""

    def enter(self, tenant: str, taker: str, span_ms: int) -> bool:
        """Whether one more taker of the tenant may wait."""

    def leave(self, tenant: str, taker: str) -> None: ...


class QueueTable(Protocol):
    """The table.  Reads are consistent.  All methods raise RetryableError if it is away."""

    def put(self, queue: QueueKey, messages: Sequence[StoredMessage]) -> None:
        """New messages; some may be there after an error."""

    def put_once(self, queue: QueueKey, message: StoredMessage, key: str, now_s: int, *, later: bool) -> str:
        """A new message, unless ``key`` was published within MESSAGE_KEY_S; the id of the one that has the key."""

    def bodies(self, queue: QueueKey, ids: Sequence[str]) -> dict[str, bytes]:
        """Of those messages that are there."""

    def remove(self, queue: QueueKey, ids: Sequence[str]) -> None:
        """Messages that are done."""

    def page(self, queue: QueueKey, after: str, most: int) -> list[tuple[str, int]]:
        """(id, due time in ms) of at most ``most`` messages behind ``after``, ascending."""

    def put_later(self, queue: QueueKey, messages: Sequence[StoredMessage]) -> None:
        """New messages that are due in more than some minutes."""

    def remove_later(self, queue: QueueKey, messages: Sequence[StoredMessage]) -> None: ...

    def due(self, queue: QueueKey, until_ms: int, most: int) -> list[StoredMessage]:
        """Of those, the first that are due until then."""

    def wake(self, queue: QueueKey, message: StoredMessage) -> bool:
        """Make a message of those, due later, one as any other; False if it was already."""

    def count_later(self, queue: QueueKey) -> int:
        """Messages that are due later, at most DEAD_COUNTED_MAX."""

    def bury(self, queue: QueueKey, message: StoredMessage) -> None:
        """Make a message a dead letter."""

    def dead(self, queue: QueueKey, after: str, most: int) -> list[StoredMessage]:
        """Dead letters behind an id, the oldest first."""

    def count_dead(self, queue: QueueKey) -> int:
        """Dead letters, at most DEAD_COUNTED_MAX."""

    def revive(self, queue: QueueKey, message: StoredMessage) -> bool:
        """Make a dead letter a message again; False if it is none."""

    def remove_dead(self, queue: QueueKey, ids: Sequence[str]) -> None: ...

    def note(self, queue: QueueKey) -> QueueNote | None:
        """None if nothing was published in the queue since it was deleted, or ever."""

    def make(self, queue: QueueKey) -> None:
        """A note, unless there is one."""

    def raise_note(self, queue: QueueKey, note: QueueNote) -> QueueNote | None:
        """Note at least so much, if there is a note; what is noted then."""

    def audited(self, queue: QueueKey, now_s: int) -> None: ...

    def condemn(self, queue: QueueKey, now_s: int) -> bool:
        """Note that the queue is deleted; False if there is no note."""

    def clear(self, queue: QueueKey, most: int) -> int:
        """Delete at most ``most`` items of the queue, of whatever kind but its note; how many, 0 if it has none."""

    def end(self, queue: QueueKey, note: QueueNote) -> None:
        """Remove the note of a queue that is deleted, unless it was deleted once more since ``note``."""

    def queues(self, tenant: str = "") -> list[tuple[QueueKey, QueueNote]]:
        """Every queue, or every one of a tenant."""
