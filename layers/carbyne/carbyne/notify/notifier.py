"""Takes what must be notified, and sends it until it was taken.

A notice leaves the table after the queue has a message of it for each channel, or a group of alerts has it, which is
told in the same way; the queue gives a message until it is acknowledged, and sets it aside after five tries.  So an
alert is announced at least once, or is a dead letter.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, takewhile
from typing import Final, NamedTuple, Protocol

import msgspec

from carbyne.core import keys
from carbyne.core.errors import CarbyneError, InvariantError, RetryableError
from carbyne.core.limits import (
    DISPATCH_RESERVE_S,
    NOTICES_PER_TENANT,
    RECORDED_BYTES,
    RECORDED_PER_TENANT,
)
from carbyne.notify import alertmanager, group_messages, messages
from carbyne.notify.deliveries import Delivery, DeliveryQueue, FiringGroup, in_calls
from carbyne.notify.grouping import Grouping, GroupMessage
from carbyne.notify.links import Links
from carbyne.notify.routing import About, Directions, about, alertmanagers, directions, hearing, hears_of_groups
from carbyne.notify.sending import Sender
from carbyne.registry import rule_states, rules
from carbyne.registry.alerts import Notice
from carbyne.registry.channels import CHANNELS, SETTINGS, Channel
from carbyne.registry.rule_states import LeftToSend
from carbyne.registry.store import RegistryChange, RegistryItem, Store
from carbyne.stream.putter import Entry

_log = logging.getLogger(__name__)
QUEUE: Final = "notifications"
"""The queue's name, among those of the operator's tenant."""
Unsent = tuple[RegistryItem, LeftToSend]
"""What an evaluation of rules left, and its item."""


class Poster(Protocol):
    """Posts to a URL of a tenant; why it was not taken, empty if it was.  What a target does raises nothing."""

    def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> str: ...


class Mailer(Protocol):
    """Mails a text, and the same as HTML if there is one; why it was not taken, empty if it was."""

    def __call__(self, addresses: Sequence[str], subject: str, text: str, html: str = "") -> str: ...


class Ways(NamedTuple):
    """How channels are reached."""

    post: Poster
    mail: Mailer


class Notifier:
    """``store``: the registry's table; ``put``: returns when the stream has the records, those of its second argument
    first; RetryableError if it does not take them; ``links``: to what messages link; ``monotonic``: seconds, by which
    channels are slow."""

    def __init__(
        self,
        store: Store,
        queue: DeliveryQueue,
        ways: Ways,
        now_s: Callable[[], int],
        put: Callable[[Sequence[Entry], Sequence[Entry]], None],
        links: Links,
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._put = put
        self._queue = queue
        self._ways = ways
        self._now_s = now_s
        self._links = links
        self._sender = Sender(queue, self._deliver, now_s, monotonic)

    def run(self, seconds_left: Callable[[], float]) -> int:
        """How many deliveries were taken by their channels.

        Notices of a tenant that can't be brought into the queue hold up no others, and no sending, which alone empties
        a queue that is full; the error is raised at the end.
        """
        failure: CarbyneError | None = None
        for tenant in rules.tenants(self._store):
            if seconds_left() < DISPATCH_RESERVE_S:
                _log.error("notices of %s and others wait for the next minute", tenant)
                break
            for step in (self._dispatch, partial(self._record, seconds_left)):
                try:
                    step(tenant)
                except CarbyneError as error:
                    _log.exception("notices of %s wait for the next minute", tenant)
                    failure = error
                except Exception as error:  # noqa: BLE001 - a bug of ours that one tenant meets; its text may hold secrets
                    _log.error("BUG: notices of %s wait for the next minute: %s", tenant, type(error).__name__)
                    failure = InvariantError(f"BUG: {type(error).__name__}")
        sent = self._sender.run(seconds_left)
        if failure:
            raise failure
        return sent

    def _dispatch(self, tenant: str) -> None:
        """Bring a tenant's notices into the queue, or into groups: so many a minute, that others are not held up."""
        items = list(islice(_notices(self._store, tenant), NOTICES_PER_TENANT))
        grouping = Grouping(self._store, tenant, self._now_s())
        failure: Exception | None = None
        if items:
            to = directions(self._store, tenant)
            for item in items:
                try:
                    self._direct(item, to, grouping)
                except RetryableError:
                    raise
                except Exception as error:  # noqa: BLE001 - a notice that meets a bug of ours stays, the others go on
                    failure = error
        grouping.tell(self._publish_group)
        if failure:
            raise failure

    def _direct(self, item: RegistryItem, to: Directions, grouping: Grouping) -> None:
        """Publish a notice for those who hear of it alone, then give it to its group, or delete it."""
        notice = msgspec.json.decode(item.body, type=Notice)
        subject = about(self._store, notice.tenant, notice)
        setting = grouping.setting_of(notice, subject)
        if setting and not grouping.has_room(setting):
            return
        heard = hearing(notice, subject, to, self._now_s(), grouping.most_hearers(setting))
        self._publish([(Delivery(each, self._now_s(), notice), _key(item, each)) for each in heard.alone])
        if heard.grouped or grouping.is_member(setting, notice):
            grouping.add(setting, item, notice, subject, heard.grouped)
        else:
            self._store.write(RegistryChange(item.key, None, item.version))

    def _publish_group(self, told: Sequence[tuple[str, GroupMessage]]) -> None:
        now_s = self._now_s()
        self._publish([(Delivery(to, now_s, group=message), f"{message.key}:{to}") for to, message in told])

    def _publish(self, told: Sequence[tuple[Delivery, str]]) -> None:
        for part in in_calls(told):
            self._queue.publish(part)

    def _record(self, seconds_left: Callable[[], float], tenant: str) -> None:
        """Put on the stream what rules recorded, and bring what Alertmanagers hear of into the queue.  What was put
        twice, as an item could not be deleted, is the same samples."""
        heard: list[str] | None = None
        for some in _some(islice(rule_states.waiting(self._store, tenant), RECORDED_PER_TENANT)):
            if seconds_left() < DISPATCH_RESERVE_S:
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
        now_s = self._now_s()
        self._publish(
            [
                (Delivery(each, now_s, firing=FiringGroup(tenant, left.name)), _key(item, each))
                for item, left in some
                for each in heard
            ]
        )

    def _deliver(self, delivery: Delivery) -> str:
        """Why its channel did not take it; empty if it did, or was deleted."""
        item = self._store.get(CHANNELS.key(delivery.tenant, delivery.channel))
        if item is None:
            return ""
        channel = CHANNELS.read(item)
        if delivery.notice:
            return self._tell(channel, delivery.notice, about(self._store, delivery.tenant, delivery.notice))
        if delivery.group:
            return self._tell_of_group(channel, delivery.group)
        return self._tell_of_rules(channel, delivery.firing) if delivery.firing else ""

    def _tell_of_rules(self, channel: Channel, firing: FiringGroup) -> str:
        """Its alerts as they are now: a message that is late tells nothing old."""
        kept = rule_states.of(self._store, firing.tenant, firing.name)
        body = alertmanager.alerts(kept, self._now_s() * 1000, self._links)
        return self._post(channel, alertmanager.url(channel.url), body) if body else ""

    def _tell_of_group(self, channel: Channel, message: GroupMessage) -> str:
        if message.again and not hears_of_groups(channel):  # it heard of the group once, and no longer wants to
            return ""
        item = self._store.get(SETTINGS.key(message.tenant, message.setting))
        setting = SETTINGS.read(item) if item else None
        if channel.type == "email":
            line, text = group_messages.title(message), group_messages.mail(message, setting, self._links)
            return self._ways.mail(channel.emails, line, text) if channel.emails else ""
        if channel.type == "slack":
            return self._post(channel, channel.url, group_messages.slack(message, setting, channel, self._links))
        return self._post(channel, channel.url, group_messages.webhook(message, setting, self._links))

    def _tell(self, channel: Channel, notice: Notice, subject: About) -> str:
        if channel.type == "email":
            text, html = (form(notice, subject, self._links) for form in (messages.mail, messages.mail_html))
            head = messages.title(notice, subject)
            return self._ways.mail(channel.emails, head, text, html) if channel.emails else ""
        if channel.type == "alertmanager":
            return self._post(channel, alertmanager.url(channel.url), alertmanager.test(self._now_s() * 1000))
        if channel.type == "slack":
            body = messages.slack(notice, subject, channel, self._links)
        else:
            body = messages.webhook(notice, subject, self._links)
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
