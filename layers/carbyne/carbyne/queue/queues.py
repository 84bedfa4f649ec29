"""Queues: publish, take under a lease, acknowledge.  At least once, in order but for retries.

A message is in the table before its publish is acknowledged and until its taker acknowledges it.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from carbyne.core.errors import OverLimitError, RequestError, RetryableError
from carbyne.core.keys import QueueKey
from carbyne.core.limits import (
    DELAY_IN_REDIS_S,
    MESSAGE_TRIES_MAX,
    PURGE_MESSAGES_MAX,
    QUEUE_LENGTH_MAX,
    QUEUE_NAME_CHARACTERS_MAX,
    QUEUE_PAGE,
    QUEUES_PER_TENANT_MAX,
    TAKE_POLL_S,
    TAKEN_AHEAD,
    TAKERS_WAITING_MAX,
)
from carbyne.core.names import OPERATOR
from carbyne.queue.building import Builder, Stated, unknown
from carbyne.queue.deletion import Deletion
from carbyne.queue.ports import (
    UNNOTED,
    Leased,
    QueueCounts,
    QueueNote,
    QueueOrder,
    QueueTable,
    Reserved,
    StoredMessage,
    id_of,
    published_ms_of,
)

_NAME: Final = re.compile(rf"[A-Za-z0-9_.-]{{1,{QUEUE_NAME_CHARACTERS_MAX}}}")
_ID: Final = re.compile(r"\d{16}-[0-9a-f]{11}-[0-9a-f]{8}")
_LEASE: Final = re.compile(rf"({_ID.pattern})\.([0-9a-f]{{16}})")
TAKER_EXTRA_MS: Final = 5_000
"""How much longer than it waits a taker counts as waiting if it died."""


class NewMessage(NamedTuple):
    """``body``: JSON; ``delay_ms``: from now on; ``key``: publish it once, empty: always."""

    body: bytes
    delay_ms: int = 0
    key: str = ""


class TakenMessage(NamedTuple):
    """``lease``: what acknowledges it."""

    id: str
    lease: str
    body: bytes
    tries: int


class QueueState(NamedTuple):
    """``oldest_ms``: since when the first waiting message was published, None without one."""

    waiting: int
    delayed: int
    leased: int
    dead: int
    oldest_ms: int | None


class QueueTime(NamedTuple):
    """``now_ms``: since 1970; ``monotonic`` and ``sleep`` in seconds; ``random``: so many hexadecimal digits."""

    now_ms: Callable[[], int]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    random: Callable[[int], str]


class Queues:
    """All queues of all tenants."""

    def __init__(self, order: QueueOrder, table: QueueTable, time: QueueTime) -> None:
        self._order = order
        self._table = table
        self._time = time
        self._builder = Builder(order, table, time.monotonic)
        self._deletion = Deletion(order, table, time.now_ms)
        self._known: set[QueueKey] = set()

    def publish(self, queue: QueueKey, messages: Sequence[NewMessage]) -> list[str]:
        """The ids of the messages, once the table and Redis have them.

        RequestError 400 for the name of a queue, or one queue too many; OverLimitError if the queue is too long;
        RetryableError while the queue is being deleted.
        """
        self._make(queue)
        reserved = self._reserve(queue, len(messages))
        if reserved.first == 0:
            raise OverLimitError("queue-length", reserved.length, QUEUE_LENGTH_MAX)
        now_ms = self._time.now_ms()
        stored = [_new(each, reserved.first + at, now_ms, self._time.random(8)) for at, each in enumerate(messages)]
        ids = [message.id for message in stored]
        is_soon = [message.delay_ms <= DELAY_IN_REDIS_S * 1000 for message in messages]
        plain = [each for each, new, soon in zip(stored, messages, is_soon, strict=True) if soon and not new.key]
        later = [each for each, new, soon in zip(stored, messages, is_soon, strict=True) if not soon and not new.key]
        self._table.put_later(queue, later)
        try:
            self._table.put(queue, plain)
            for at, new in enumerate(messages):
                if new.key:
                    now_s = now_ms // 1000
                    ids[at] = self._table.put_once(queue, stored[at], new.key, now_s, later=not is_soon[at])
            soon = [(ids[at], stored[at].due_ms) for at in range(len(ids)) if is_soon[at]]
            if soon:
                self._builder.push(queue, soon)
            if not all(is_soon) and not self._is_there(queue):
                raise unknown(queue)
        except (RetryableError, RequestError) as error:
            with suppress(RetryableError):  # or a message that its publisher sends again would be there twice
                self._table.remove(queue, [each.id for each in plain])
                self._table.remove_later(queue, later)
            raise RetryableError(f"not published: {error}") from error  # a queue that was deleted is made again
        return ids

    def take(self, queue: QueueKey, most: int, wait_s: float, lease_s: int) -> list[TakenMessage]:
        """The first messages; no other taker gets them for ``lease_s``; empty if none came within ``wait_s``.

        RequestError 404 for an unknown queue; OverLimitError if too many takers of the tenant wait.
        """
        self._require(queue)
        end_s = self._time.monotonic() + wait_s
        if taken := self._take(queue, most, lease_s * 1000):
            return taken
        if self._time.monotonic() >= end_s:
            return []
        taker = self._time.random(16)
        if not self._order.enter(queue.tenant, taker, int(wait_s * 1000) + TAKER_EXTRA_MS):
            raise OverLimitError("waiting-takers", TAKERS_WAITING_MAX + 1, TAKERS_WAITING_MAX)
        try:
            return self._wait(queue, most, lease_s * 1000, end_s)
        finally:
            with suppress(RetryableError):
                self._order.leave(queue.tenant, taker)

    def acknowledge(self, queue: QueueKey, leases: Sequence[str]) -> None:
        """The messages are done, even if their leases ended meanwhile; RequestError 400 for what is no lease."""
        self._require(queue)
        ids = [message_id for message_id, _ in map(_parts, leases)]
        self._table.remove(queue, ids)
        with suppress(RetryableError):  # the table says it; a taker who meets such a message drops it
            self._order.forget(queue, ids)

    def extend(self, queue: QueueKey, leases: Sequence[str], lease_s: int) -> list[str]:
        """Keep the messages for ``lease_s`` from now on, 0 gives them back; the leases that had ended already."""
        self._require(queue)
        pairs = [_parts(lease) for lease in leases]
        lease_ms, mine = lease_s * 1000, list[bool]()

        def ask() -> Leased:
            nonlocal mine
            state, mine = self._order.lease(queue, lease_ms, pairs)
            return Leased(state, 0, {}, [])

        while self._whole(queue, ask).state == UNNOTED:
            self._note(queue, 0, lease_ms)
        return [lease for lease, kept in zip(leases, mine, strict=True) if not kept]

    def state(self, queue: QueueKey) -> QueueState:
        """RequestError 404 for an unknown queue."""
        self._require(queue)
        look: QueueCounts = self._whole(queue, lambda: self._order.look(queue))
        later, dead = self._table.count_later(queue), self._table.count_dead(queue)
        oldest_ms = self._time.now_ms() - published_ms_of(look.first) if look.first else None
        return QueueState(look.waiting, look.delayed + later, look.leased, dead, oldest_ms)

    def names(self, tenant: str) -> list[str]:
        """The queues of a tenant, sorted."""
        return sorted(queue.name for queue in self._of(tenant))

    def ready(self, tenant: str) -> list[str]:
        """Those that may have a message to take now, sorted: all of them are asked together.  RetryableError if Redis
        does not answer for any of them; those for which alone it does not are left out."""
        return sorted(queue.name for queue in self._order.ready(self._of(tenant)))

    def dead(self, queue: QueueKey, after: str, most: int) -> list[StoredMessage]:
        """Dead letters behind an id, the oldest first."""
        self._require(queue)
        return self._table.dead(queue, _checked_id(after) if after else "", most)

    def put_back(self, queue: QueueKey, ids: Sequence[str]) -> int:
        """Let dead letters be taken again, with all their tries; how many there were of these ids."""
        self._require(queue)
        chosen = set(map(_checked_id, ids))
        letters = [
            letter
            for each in sorted(chosen)
            for letter in self._table.dead(queue, _before(each), 1)
            if letter.id == each
        ]
        revived = [each for each in letters if self._table.revive(queue, each._replace(tries=0, died_s=0, due_ms=0))]
        if revived:
            self._builder.push(queue, [(each.id, 0) for each in revived])
        return len(revived)

    def purge_dead(self, queue: QueueKey) -> tuple[int, bool]:
        """Delete dead letters; how many, and whether there are more."""
        self._require(queue)
        letters = self._table.dead(queue, "", PURGE_MESSAGES_MAX)
        self._table.remove_dead(queue, [each.id for each in letters])
        return len(letters), len(letters) == PURGE_MESSAGES_MAX

    def purge(self, queue: QueueKey) -> tuple[int, bool]:
        """Delete messages that are no dead letters, the first ones first; how many, and whether there are more."""
        self._require(queue)
        purged = 0
        while purged < PURGE_MESSAGES_MAX:
            ids = [message_id for message_id, _ in self._table.page(queue, "", QUEUE_PAGE)]
            if not ids:
                return purged, False
            self._table.remove(queue, ids)
            self._order.forget(queue, ids)
            purged += len(ids)
        return purged, True

    def delete(self, queue: QueueKey) -> tuple[int, bool]:
        """Delete the queue with all that is in it; how many items, and whether there are more: the sweep deletes them.

        RequestError 404 for an unknown queue.
        """
        self._known.discard(queue)
        return self._deletion.begin(queue)

    def _of(self, tenant: str) -> list[QueueKey]:
        return [queue for queue, note in self._table.queues(tenant) if not note.deleted_s]

    def _wait(self, queue: QueueKey, most: int, lease_ms: int, end_s: float) -> list[TakenMessage]:
        while (left_s := end_s - self._time.monotonic()) > 0:
            self._time.sleep(min(TAKE_POLL_S, left_s))
            if taken := self._take(queue, most, lease_ms):
                return taken
        return []

    def _take(self, queue: QueueKey, most: int, lease_ms: int) -> list[TakenMessage]:
        """Messages that are ready now.  What the table does not have any more is dropped, and others are looked for."""
        token = self._time.random(16)
        while True:
            leased = self._whole(queue, lambda: self._order.take(queue, most, lease_ms, token))
            if leased.state == UNNOTED:
                self._note(queue, leased.number + TAKEN_AHEAD, lease_ms)
                continue
            ids = [*leased.messages, *leased.worn]
            bodies = self._bodies(queue, ids, token) if ids else {}
            self._bury(queue, [StoredMessage(each, bodies[each]) for each in leased.worn if each in bodies])
            gone = [each for each in ids if each not in bodies or each in leased.worn]
            if gone:
                self._order.forget(queue, gone)
            taken = [
                TakenMessage(each, f"{each}.{token}", bodies[each], tries)
                for each, tries in leased.messages.items()
                if each in bodies
            ]
            if taken or not ids:
                return taken

    def _bodies(self, queue: QueueKey, ids: Sequence[str], token: str) -> dict[str, bytes]:
        try:
            return self._table.bodies(queue, ids)
        except RetryableError:
            with suppress(RetryableError):
                self._order.lease(queue, 0, [(each, token) for each in ids])
            raise

    def _bury(self, queue: QueueKey, worn: Sequence[StoredMessage]) -> None:
        now_s = self._time.now_ms() // 1000
        for each in worn:
            self._table.bury(queue, each._replace(tries=MESSAGE_TRIES_MAX, died_s=now_s))

    def _note(self, queue: QueueKey, taken: int, lease_ms: int) -> None:
        note = self._table.raise_note(queue, QueueNote(taken, lease_ms))
        if note is None:
            self._known.discard(queue)
            raise unknown(queue)
        self._order.note(queue, note)

    def _whole(self, queue: QueueKey, ask: Callable[[], Stated]) -> Stated:
        """As the builder's; a queue that was deleted, perhaps by another instance, is known no longer."""
        try:
            return self._builder.whole(queue, ask)
        except RequestError:
            self._known.discard(queue)
            raise

    def _reserve(self, queue: QueueKey, count: int) -> Reserved:
        try:
            return self._whole(queue, lambda: self._order.reserve(queue, count))
        except RequestError:
            self._make(queue)
            return self._whole(queue, lambda: self._order.reserve(queue, count))

    def _is_there(self, queue: QueueKey) -> bool:
        note = self._table.note(queue)
        return note is not None and note.deleted_s == 0

    def _make(self, queue: QueueKey) -> None:
        if not _NAME.fullmatch(queue.name):
            rule = f"has 1 to {QUEUE_NAME_CHARACTERS_MAX} characters of a-z A-Z 0-9 _ . -"
            raise RequestError(400, f"the name of a queue {rule}; got {queue.name[:128]!r}")
        if queue in self._known:
            return
        note = self._table.note(queue)
        if note and note.deleted_s:
            raise RetryableError(f"queue {queue.name} is being deleted; publish again in two minutes")
        if not note:
            known = len(self._table.queues(queue.tenant))
            if known >= QUEUES_PER_TENANT_MAX and queue.tenant != OPERATOR:
                raise RequestError(400, f"there are {known} queues, which is the limit; delete one first")
            self._table.make(queue)
        self._known.add(queue)

    def _require(self, queue: QueueKey) -> None:
        if queue not in self._known:
            if not _NAME.fullmatch(queue.name) or not self._is_there(queue):
                raise unknown(queue)
            self._known.add(queue)


def _new(message: NewMessage, number: int, now_ms: int, random: str) -> StoredMessage:
    due_ms = now_ms + message.delay_ms if message.delay_ms else 0
    return StoredMessage(id_of(number, now_ms, random), message.body, due_ms)


def _checked_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise RequestError(400, f"{text[:100]!r} is no id of a message")
    return text


def _parts(lease: str) -> tuple[str, str]:
    """Id and token of a lease."""
    parts = _LEASE.fullmatch(lease)
    if not parts:
        raise RequestError(400, f"{lease[:100]!r} is no lease")
    return parts[1], parts[2]


def _before(message_id: str) -> str:
    """What sorts before an id and behind every other one: it ends in a hexadecimal digit, and all are as long."""
    return f"{message_id[:-1]}{chr(ord(message_id[-1]) - 1)}~"
