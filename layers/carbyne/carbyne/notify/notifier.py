"""Takes what must be notified, and sends it until it was taken.

A notice leaves the table after the queue has a message of it for each channel; the queue gives a message until it is
acknowledged, and sets it aside after five tries.  So an alert is announced at least once, or is a dead letter.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice, takewhile
from typing import Final, NamedTuple, Protocol

import msgspec

from carbyne.core import keys
from carbyne.core.errors import CarbyneError, RetryableError
from carbyne.core.limits import (
    MESSAGES_PER_CALL_MAX,
    NOTICES_PER_TENANT,
    RECORDED_BYTES,
    RECORDED_PER_TENANT,
    SEND_LEASE_S,
    SEND_PAUSES_S,
    SEND_RESERVE_S,
    SENT_AT_ONCE,
)
from carbyne.notify import alertmanager, messages
from carbyne.notify.routing import About, about, alertmanagers, directions, hearing
from carbyne.registry import rule_states, rules
from carbyne.registry.alerts import Notice
from carbyne.registry.channels import CHANNELS, Channel
from carbyne.registry.rule_states import GroupName, LeftToSend
from carbyne.registry.store import RegistryChange, RegistryItem, Store
from carbyne.stream.putter import Entry

_log = logging.getLogger(__name__)
QUEUE: Final = "notifications"
"""The queue's name, among those of the operator's tenant."""
Unsent = tuple[RegistryItem, LeftToSend]
"""What an evaluation of rules left, and its item."""


class FiringGroup(msgspec.Struct, frozen=True):
    """A group of rules with alerts of which an Alertmanager hears."""

    tenant: str
    name: GroupName


class Delivery(msgspec.Struct, frozen=True):
    """A notice, or a group, for one channel."""

    channel: str
    notice: Notice | None = None
    firing: FiringGroup | None = None


class TakenDelivery(msgspec.Struct, frozen=True):
    """``tries``: how often it was taken, this time included."""

    lease: str
    body: Delivery
    tries: int


class DeliveryQueue(Protocol):
    """The queue of the operator's tenant.  All methods raise RetryableError."""

    def publish(self, deliveries: Sequence[tuple[Delivery, str]]) -> None:
        """Deliveries with their keys."""

    def take(self, most: int, lease_s: int) -> list[TakenDelivery]: ...
    def acknowledge(self, leases: Sequence[str]) -> None: ...
    def extend(self, lease: str, lease_s: int) -> None: ...


class Poster(Protocol):
    """Posts to a URL of a tenant; why it was not taken, empty if it was.  What a target does raises nothing."""

    def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> str: ...


class Mailer(Protocol):
    """Mails a text; why it was not taken, empty if it was."""

    def __call__(self, addresses: Sequence[str], subject: str, text: str) -> str: ...


class Ways(NamedTuple):
    """How channels are reached."""

    post: Poster
    mail: Mailer


class Notifier:
    """``store``: the registry's table; ``put``: returns when the stream has the records, those of its second argument
    first; RetryableError if it does not take them."""

    def __init__(
        self,
        store: Store,
        queue: DeliveryQueue,
        ways: Ways,
        now_s: Callable[[], int],
        put: Callable[[Sequence[Entry], Sequence[Entry]], None],
    ) -> None:
        self._store = store
        self._put = put
        self._queue = queue
        self._ways = ways
        self._now_s = now_s

    def run(self, seconds_left: Callable[[], float]) -> int:
        """How many deliveries were taken by their channels.

        Notices of a tenant that can't be brought into the queue hold up no others, and no sending, which alone empties
        a queue that is full; the error is raised at the end.
        """
        failure: CarbyneError | None = None
        for tenant in rules.tenants(self._store):
            if seconds_left() < SEND_RESERVE_S:
                _log.error("notices of %s and others wait for the next minute", tenant)
                break
            for step in (self._dispatch, partial(self._record, seconds_left)):
                try:
                    step(tenant)
                except CarbyneError as error:
                    _log.exception("notices of %s wait for the next minute", tenant)
                    failure = error
        sent = self._send(seconds_left)
        if failure:
            raise failure
        return sent

    def _dispatch(self, tenant: str) -> None:
        """Bring a tenant's notices into the queue: so many a minute, that others are not held up."""
        items = list(islice(_notices(self._store, tenant), NOTICES_PER_TENANT))
        if not items:
            return
        to = directions(self._store, tenant)
        for item in items:
            notice = msgspec.json.decode(item.body, type=Notice)
            told = hearing(notice, about(self._store, tenant, notice), to, self._now_s())
            for first in range(0, len(told), MESSAGES_PER_CALL_MAX):
                part = told[first : first + MESSAGES_PER_CALL_MAX]
                self._queue.publish([(Delivery(each, notice), _key(item, each)) for each in part])
            self._store.write(RegistryChange(item.key, None, item.version))

    def _record(self, seconds_left: Callable[[], float], tenant: str) -> None:
        """Put on the stream what rules recorded, and bring what Alertmanagers hear of into the queue.  What was put
        twice, as an item could not be deleted, is the same samples."""
        heard: list[str] | None = None
        for some in _some(islice(rule_states.waiting(self._store, tenant), RECORDED_PER_TENANT)):
            if seconds_left() < SEND_RESERVE_S:
                return
            before = [entry for _, left in some for entry in left.before]
            entries = [entry for _, left in some for entry in left.entries]
            if before or entries:
                self._put(entries, before)
            if any(left.tells for _, left in some):
                heard = alertmanagers(self._store, tenant) if heard is None else heard
                self._announce(tenant, [each for each in some if each[1].tells], heard)
            for item, _ in some:
                self._store.write(RegistryChange(item.key, None, item.version))

    def _announce(self, tenant: str, some: Sequence[Unsent], heard: Sequence[str]) -> None:
        told = [
            (Delivery(each, firing=FiringGroup(tenant, left.name)), _key(item, each))
            for item, left in some
            for each in heard
        ]
        for first in range(0, len(told), MESSAGES_PER_CALL_MAX):
            self._queue.publish(told[first : first + MESSAGES_PER_CALL_MAX])

    def _send(self, seconds_left: Callable[[], float]) -> int:
        sent = 0
        with ThreadPoolExecutor(SENT_AT_ONCE) as threads:
            while seconds_left() > SEND_RESERVE_S:
                taken = self._queue.take(SENT_AT_ONCE, SEND_LEASE_S)
                if not taken:
                    return sent
                done = [lease for lease in threads.map(self._deliver, taken) if lease]
                if done:
                    self._queue.acknowledge(done)
                sent += len(done)
        return sent

    def _deliver(self, taken: TakenDelivery) -> str:
        """The lease if the channel took it; else it comes again, later each time."""
        what = taken.body.notice or taken.body.firing
        item = self._store.get(CHANNELS.key(what.tenant, taken.body.channel)) if what else None
        if item is None or what is None:  # the channel was deleted
            return taken.lease
        channel = CHANNELS.read(item)
        problem = self._tell_of(channel, what)
        if not problem:
            return taken.lease
        about_what = what.alert.id if isinstance(what, Notice) else what.name
        _log.error("%s of %s was not told of %s: %s", channel.id, what.tenant, about_what, problem[:300])
        try:
            self._queue.extend(taken.lease, SEND_PAUSES_S[min(taken.tries, len(SEND_PAUSES_S)) - 1])
        except RetryableError:
            _log.warning("the next try comes after the lease")
        return ""

    def _tell_of(self, channel: Channel, what: Notice | FiringGroup) -> str:
        """Of a group its alerts as they are now: a message that is late tells nothing old."""
        if isinstance(what, Notice):
            return self._tell(channel, what, about(self._store, what.tenant, what))
        kept = rule_states.of(self._store, what.tenant, what.name)
        body = alertmanager.alerts(kept, self._now_s() * 1000)
        return self._post(channel, alertmanager.url(channel.url), body) if body else ""

    def _tell(self, channel: Channel, notice: Notice, subject: About) -> str:
        if channel.type == "email":
            addresses = channel.emails or []
            text = messages.mail(notice, subject)
            return self._ways.mail(addresses, messages.title(notice, subject), text) if addresses else ""
        if channel.type == "alertmanager":
            return self._post(channel, alertmanager.url(channel.url), alertmanager.test(self._now_s() * 1000))
        is_slack = channel.type == "slack"
        body = messages.slack(notice, subject, channel) if is_slack else messages.webhook(notice, subject)
        return self._post(channel, channel.url, body)

    def _post(self, channel: Channel, url: str, body: bytes) -> str:
        headers = {"Content-Type": "application/json"}
        if channel.secret:
            headers[messages.SIGNATURE] = messages.signature(channel.secret, self._now_s(), body)
        return self._ways.post(url, body, headers)


def _notices(store: Store, tenant: str) -> Iterator[RegistryItem]:
    prefix = f"{keys.escape(tenant)}:"
    return takewhile(lambda item: item.key.sk.startswith(prefix), store.scan(keys.NOTIFICATIONS_ITEM, prefix))


def _some(waiting: Iterator[Unsent]) -> Iterator[list[Unsent]]:
    """In parts that fit the memory."""
    part: list[Unsent] = []
    size = 0
    for item, left in waiting:
        part.append((item, left))
        size += len(item.body)
        if size > RECORDED_BYTES or len(part) >= NOTICES_PER_TENANT:
            yield part
            part, size = [], 0
    if part:
        yield part


def _key(item: RegistryItem, channel: str) -> str:
    """Of a message: a notice that is dispatched again publishes nothing."""
    return f"{item.key.sk}:{channel}"
