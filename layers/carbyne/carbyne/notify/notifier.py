"""Takes what must be notified, and sends it until it was taken.

A notice leaves the table after its tenant's queue has a message of it for each channel, or a group of alerts has it,
which is told in the same way.  The queue gives a message until it is acknowledged, and sets it aside after five tries.
So an alert is announced at least once, or is a dead letter.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice, takewhile
from random import Random
from typing import NamedTuple, Protocol

import msgspec

from carbyne.core import keys
from carbyne.core.errors import RetryableError
from carbyne.core.limits import (
    DISPATCH_RESERVE_S,
    NOTICES_READ_MAX,
    NOTICES_TOGETHER,
    RECORD_RESERVE_S,
    RECORDED_BYTES,
    RECORDED_PER_TENANT,
)
from carbyne.notify import alertmanager, group_messages, messages
from carbyne.notify.deliveries import Deliveries, Delivery, FiringGroup, in_calls
from carbyne.notify.failures import TenantFailures
from carbyne.notify.grouping import Grouping, GroupMessage
from carbyne.notify.hosts import MAILS, SharedHosts, host_of
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
        deliveries: Deliveries,
        ways: Ways,
        now_s: Callable[[], int],
        put: Callable[[Sequence[Entry], Sequence[Entry]], None],
        links: Links,
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._put = put
        self._deliveries = deliveries
        self._ways = ways
        self._now_s = now_s
        self._links = links
        self._hosts = SharedHosts(now_s, monotonic)
        self._sender = Sender(deliveries, self._deliver, now_s, monotonic)

    def run(self, seconds_left: Callable[[], float]) -> int:
        """How many deliveries were taken by their channels.

        Notices of a tenant that can't be brought into its queue hold up no others, and no sending, which alone empties
        a queue that is full; the error is raised at the end.
        """
        failures = TenantFailures()
        tenants = list(rules.tenants(self._store))
        Random(self._now_s()).shuffle(tenants)  # none is always the last one

        def each(some: Sequence[str], step: Callable[[str], bool], reserve_s: float) -> list[str]:
            return list(_those(some, step, lambda: seconds_left() > reserve_s, failures))

        busy = each(tenants, self._dispatch, DISPATCH_RESERVE_S)
        each(tenants, partial(self._record, seconds_left), RECORD_RESERVE_S)
        each(busy, self._dispatch, RECORD_RESERVE_S)
        sent = self._sender.run(seconds_left, failures)
        failures.raise_last()
        return sent

    def _dispatch(self, tenant: str) -> bool:
        """Bring some of a tenant's notices into its queue, or into groups; whether there may be more.  What its group
        has no room for is passed over: the notices behind it do not wait."""
        items = list(islice(_notices(self._store, tenant), NOTICES_READ_MAX))
        grouping = Grouping(self._store, tenant, self._now_s())
        failure: Exception | None = None
        alone = 0
        if items:
            to = directions(self._store, tenant, self._now_s())
            for item in items:
                try:
                    alone += self._direct(item, to, grouping)
                except RetryableError:
                    raise
                except Exception as error:  # noqa: BLE001 - a notice that meets a bug of ours stays, the others go on
                    failure = error
                if alone == NOTICES_TOGETHER:
                    break
        grouping.tell(partial(self._publish_group, tenant))
        if failure:
            raise failure
        return len(items) > NOTICES_TOGETHER

    def _direct(self, item: RegistryItem, to: Directions, grouping: Grouping) -> bool:
        """Publish a notice for those who hear of it alone, then give it to its group if that has room, or delete it;
        whether it has no group."""
        notice = msgspec.json.decode(item.body, type=Notice)
        subject = about(self._store, notice.tenant, notice)
        setting = grouping.setting_of(notice, subject)
        if setting and not grouping.has_room(setting):
            return False
        heard = hearing(notice, subject, to, grouping.most_hearers(setting))
        told = [(Delivery(each, self._now_s(), notice), _key(item, each)) for each in heard.alone]
        self._publish(notice.tenant, told)
        if heard.grouped or grouping.is_member(setting, notice):
            grouping.add(setting, item, notice, subject, heard.grouped)
            return False
        self._store.write(RegistryChange(item.key, None, item.version))
        return True

    def _publish_group(self, tenant: str, told: Sequence[tuple[str, GroupMessage]]) -> None:
        now_s = self._now_s()
        self._publish(tenant, [(Delivery(to, now_s, group=message), f"{message.key}:{to}") for to, message in told])

    def _publish(self, tenant: str, told: Sequence[tuple[Delivery, str]]) -> None:
        for part in in_calls(told):
            self._deliveries.of(tenant).publish(part)

    def _record(self, seconds_left: Callable[[], float], tenant: str) -> bool:
        """Put on the stream what rules recorded, and bring what Alertmanagers hear of into the queue.  What was put
        twice, as an item could not be deleted, is the same samples.  Whether time was too short."""
        heard: list[str] | None = None
        for some in _some(islice(rule_states.waiting(self._store, tenant), RECORDED_PER_TENANT)):
            if seconds_left() <= RECORD_RESERVE_S:
                return True
            before = [entry for _, left in some for entry in left.before]
            entries = [entry for _, left in some for entry in left.entries]
            if before or entries:
                self._put(entries, before)
            if any(left.tells for _, left in some):
                heard = alertmanagers(self._store, tenant) if heard is None else heard
                self._announce(tenant, [each for each in some if each[1].tells], heard)
            for item, _ in some:
                self._store.write(RegistryChange(item.key, None, item.version))
        return False

    def _announce(self, tenant: str, some: Sequence[Unsent], heard: Sequence[str]) -> None:
        now_s = self._now_s()
        told = [
            (Delivery(each, now_s, firing=FiringGroup(tenant, left.name)), _key(item, each))
            for item, left in some
            for each in heard
        ]
        self._publish(tenant, told)

    def _deliver(self, delivery: Delivery) -> str:
        """Why its channel did not take it; empty if it did, or was deleted.  RestingError if its host rests."""
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
        return self._post(firing.tenant, channel, body) if body else ""

    def _tell_of_group(self, channel: Channel, message: GroupMessage) -> str:
        if message.again and not hears_of_groups(channel):  # it heard of the group once, and no longer wants to
            return ""
        item = self._store.get(SETTINGS.key(message.tenant, message.setting))
        setting = SETTINGS.read(item) if item else None
        if channel.type == "email":
            line, text = group_messages.title(message), group_messages.mail(message, setting, self._links)
            return self._mail(message.tenant, channel, line, text)
        if channel.type == "slack":
            return self._post(message.tenant, channel, group_messages.slack(message, setting, channel, self._links))
        return self._post(message.tenant, channel, group_messages.webhook(message, setting, self._links))

    def _tell(self, channel: Channel, notice: Notice, subject: About) -> str:
        if channel.type == "email":
            text, html = (form(notice, subject, self._links) for form in (messages.mail, messages.mail_html))
            return self._mail(notice.tenant, channel, messages.title(notice, subject), text, html)
        if channel.type == "alertmanager":
            body = alertmanager.test(self._now_s() * 1000)
        elif channel.type == "slack":
            body = messages.slack(notice, subject, channel, self._links)
        else:
            body = messages.webhook(notice, subject, channel, self._links)
        return self._post(notice.tenant, channel, body)

    def _mail(self, tenant: str, channel: Channel, subject: str, text: str, html: str = "") -> str:
        to = channel.emails
        return self._hosts.ask(MAILS, tenant, lambda: self._ways.mail(to, subject, text, html)) if to else ""

    def _post(self, tenant: str, channel: Channel, body: bytes) -> str:
        url = alertmanager.url(channel.url) if channel.type == "alertmanager" else channel.url
        headers = {"Content-Type": "application/json"}
        if channel.secret:
            headers[messages.SIGNATURE] = messages.signature(channel.secret, self._now_s(), body)
        return self._hosts.ask(host_of(url), tenant, lambda: self._ways.post(url, body, headers))


def _those(
    tenants: Sequence[str], step: Callable[[str], bool], has_time: Callable[[], bool], failures: TenantFailures
) -> Iterator[str]:
    """The tenants for which a step says so, each tried once while there is time."""
    for tenant in tenants:
        if not has_time():
            _log.error("notices of %s and others wait for the next minute", tenant)
            return
        with failures.of(tenant):
            if step(tenant):
                yield tenant


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
        if size > RECORDED_BYTES or len(part) >= NOTICES_TOGETHER:
            yield part
            part, size = [], 0
    if part:
        yield part


def _key(item: RegistryItem, channel: str) -> str:
    """Of a message: a notice that is dispatched again publishes nothing."""
    return f"{item.key.sk}:{channel}"
