"""Alerts as they are kept: open and closed ones, their logs, and what of each monitor and source they follow from.

A change of an alert is one transaction: the item of its monitor and source, whose version is the condition, the alert,
an entry of its log, and what must be notified.  Of two that see the same change one writes.
"""

import string
from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Final, Literal, NamedTuple

import msgspec

from carbyne.alerts.decisions import Decided, Decision, SaidAlert, Saying, decide
from carbyne.alerts.episodes import Turn, episodes, overlay
from carbyne.alerts.judging import CRITICAL, OK, Judgement, SamplePairs
from carbyne.alerts.plots import Plot, plot_of
from carbyne.core import keys
from carbyne.core.errors import RequestError
from carbyne.core.limits import ALERT_CHANGES_MAX, ALERT_KEPT_S, ALERT_LOGS_MAX, CHECK_MESSAGE_CHARACTERS_MAX
from carbyne.registry import rules
from carbyne.registry.store import Key, Registry, RegistryChange, RegistryItem, Store, body_of, settle

Trigger = Literal["monitoring", "manual", "monitorDeleted", "hostRetired", "outOfScope"]
_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_TIME_DIGITS: Final = 6
_LAST_S: Final = len(_DIGITS) ** _TIME_DIGITS - 1


class Subject(msgspec.Struct, frozen=True):
    """What is watched: a monitor on a source; ``kind``: type of the monitor, or check; ``part``: which of several
    alerts that a monitor can have on one source."""

    monitor: str
    source: str
    kind: str
    part: str = ""


class Watched(msgspec.Struct, frozen=True):
    """What is known of a subject: turns of its status, alerts that a late sample may still change, and the times (ms)
    at which a person closed one."""

    subject: Subject
    turns: tuple[Turn, ...] = ()
    said: tuple[SaidAlert, ...] = ()
    by_hand_ms: tuple[int, ...] = ()

    def is_past(self, edge_ms: int) -> bool:
        """Whether all that is known is of before, and no alert is open."""
        times = *(turn.ts_ms for turn in self.turns), *self.by_hand_ms
        is_closed = all(each.closed_ms is not None and each.closed_ms < edge_ms for each in self.said)
        return is_closed and all(ts_ms < edge_ms for ts_ms in times)

    @property
    def is_ok(self) -> bool:
        """Whether it ended so, without a person."""
        return not self.by_hand_ms and (not self.turns or self.turns[-1].status == OK)


class AlertSeries(msgspec.Struct, frozen=True):
    """The series of a query; ``name``: of its metric, empty for none."""

    name: str
    labels: dict[str, str]


class AlertRecord(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An alert as Mackerel has it; times in seconds; ``status``: OK once it is closed."""

    id: str
    status: str
    monitor_id: str
    type: str
    opened_at: int
    host_id: str = ""
    series: AlertSeries | None = None
    value: float | None = None
    message: str = ""
    reason: str = ""
    closed_at: int | None = None
    memo: str = ""


class StoredAlert(msgspec.Struct, frozen=True):
    """With what it is about; ``logs``: number of entries of its log; ``notified_s``: when the last one was notified;
    ``changed_s``: since when it has its status, 0 where that was not kept."""

    alert: AlertRecord
    subject: Subject
    logs: int = 0
    notified_s: int = 0
    changed_s: int = 0


class StatusText(msgspec.Struct, frozen=True):
    """What a check said."""

    message: str
    memo: str = ""


class StatusDetail(msgspec.Struct, frozen=True):
    """Of a check's entry."""

    type: str
    detail: StatusText


class LogEntry(msgspec.Struct, frozen=True, rename="camel"):
    """One thing that was said of an alert; ``saying``: how it relates to what was said before."""

    id: str
    created_at: int
    status: str
    trigger: str
    monitor_id: str
    target_value: float | None
    status_detail: StatusDetail | None
    saying: str


class Notice(msgspec.Struct, frozen=True):
    """What must be notified; ``entry``: number of the log's entry; ``again``: nothing changed, it is a reminder;
    ``was``: the last status that was not OK; ``channel``: the only one that is told, empty for all; ``plot``: of the
    samples that decided, None where there are none; ``changed_s``: as of the alert; ``trigger``: as in the log."""

    tenant: str
    alert: AlertRecord
    subject: Subject
    saying: str
    status: str
    entry: int
    created_s: int
    again: bool = False
    was: str = ""
    channel: str = ""
    plot: Plot | None = None
    changed_s: int = 0
    trigger: Trigger = "monitoring"


class Why(NamedTuple):
    """``message``: for people; ``trigger``: of the entries of the log; ``has_value``: whether values are some;
    ``samples``: what was judged, for the graph."""

    message: str = ""
    trigger: Trigger = "monitoring"
    has_value: bool = True
    samples: SamplePairs = ()


def alert_id(now_s: int, mark: str) -> str:
    """Ids ascend from the latest to the earliest, so that a list is read from its beginning."""
    left_s, digits = _LAST_S - now_s, ""
    for _ in range(_TIME_DIGITS):
        left_s, digit = divmod(left_s, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits + mark


def watched(store: Store, tenant: str) -> dict[Subject, tuple[Watched, int]]:
    """Every subject with turns or alerts, and the version of its item."""
    items = store.items(keys.registry_partition(tenant, "judgements"))
    known = [(msgspec.json.decode(item.body, type=Watched), item.version) for item in items]
    return {each.subject: (each, version) for each, version in known}


def known_of(store: Store, tenant: str, subject: Subject) -> tuple[Watched, int]:
    """As of ``watched``, of one subject."""
    item = store.get(_subject_key(tenant, subject))
    return (msgspec.json.decode(item.body, type=Watched), item.version) if item else (Watched(subject), 0)


def forget(store: Store, tenant: str, subject: Subject, version: int) -> bool:
    """Whether the subject's item of this version is not there any more."""
    return store.write(RegistryChange(_subject_key(tenant, subject), None, version))


def changes(
    registry: Registry,
    tenant: str,
    before: tuple[Watched, int],
    judged: Sequence[Judgement],
    from_ms: int,
    why: Why,
) -> list[RegistryChange]:
    """What to write after a subject was judged from ``from_ms`` on; empty if nothing changed.

    At most ALERT_CHANGES_MAX alerts change at once: the others are found again by the next call.
    """
    known, version = before
    by_hand_ms = tuple(ms for ms in known.by_hand_ms if ms >= from_ms)
    turns = overlay(known.turns, judged, from_ms, by_hand_ms)
    decided = decide(known.said, episodes(turns), from_ms, lambda: alert_id(registry.now_s(), registry.new_mark()))
    said = _bounded(known.said, decided)
    plot = plot_of(why.samples) if said.decisions else None
    written = [change for each in said.decisions for change in _said(registry, tenant, known.subject, each, why, plot)]
    return [*_kept(tenant, known, version, Watched(known.subject, turns, said.alerts, by_hand_ms)), *written]


def turned(registry: Registry, tenant: str, subject: Subject, status: str, at_s: int, why: Why) -> list[RegistryChange]:
    """What to write after a report about a subject: one that is judged by whoever makes it, as checks are.

    Reports come in the order of their times; of two within a second the later one is a turn of its own.
    """
    before = known_of(registry.store, tenant, subject)
    at_ms = max([at_s * 1000, *(turn.ts_ms + 1 for turn in before[0].turns)])
    return changes(registry, tenant, before, [Judgement(at_ms, status, 0.0)], at_ms, why)


def close(registry: Registry, tenant: str, alert_id: str, reason: str, trigger: Trigger = "manual") -> AlertRecord:
    """The alert, closed; one that is closed stays as it is.  RequestError 404 for an unknown id."""

    def attempt() -> AlertRecord | None:
        item = _item(registry.store, tenant, alert_id)
        stored = msgspec.json.decode(item.body, type=StoredAlert)
        if stored.alert.closed_at is not None:
            return stored.alert
        before = known_of(registry.store, tenant, stored.subject)
        now_ms = registry.now_s() * 1000
        by_hand_ms = max([now_ms, *(turn.ts_ms + 1 for turn in before[0].turns)])
        known = msgspec.structs.replace(before[0], by_hand_ms=(*before[0].by_hand_ms, by_hand_ms))
        why = Why(reason[:CHECK_MESSAGE_CHARACTERS_MAX], trigger, has_value=False)
        written = changes(registry, tenant, (known, before[1]), [], by_hand_ms, why)
        if not registry.store.write(*written):
            return None
        return msgspec.json.decode(_item(registry.store, tenant, alert_id).body, type=StoredAlert).alert

    return settle(attempt)


def get(store: Store, tenant: str, alert_id: str) -> AlertRecord:
    """RequestError 404 for an unknown id."""
    return msgspec.json.decode(_item(store, tenant, alert_id).body, type=StoredAlert).alert


def set_memo(registry: Registry, tenant: str, alert_id: str, memo: str) -> None:
    """RequestError 404 for an unknown id."""

    def attempt() -> bool | None:
        item = _item(registry.store, tenant, alert_id)
        stored = msgspec.json.decode(item.body, type=StoredAlert)
        made = msgspec.structs.replace(stored, alert=msgspec.structs.replace(stored.alert, memo=memo))
        return registry.store.write(_kept_alert(item.key, made, item.version)) or None

    settle(attempt)


def find(store: Store, tenant: str, *, with_closed: bool, after: str, most: int) -> tuple[list[AlertRecord], str]:
    """A page of alerts, the latest opened first, and what continues it, empty at the end."""
    scans = [
        store.scan(_partition(tenant, is_open=is_open), after)
        for is_open in ((True, False) if with_closed else (True,))
    ]
    items = _first(merge(*scans, key=lambda item: item.key.sk), most)
    alerts = [msgspec.json.decode(item.body, type=StoredAlert).alert for item in items[:most]]
    return alerts, items[most - 1].key.sk if len(items) > most else ""


def opened(store: Store, tenant: str) -> Iterator[StoredAlert]:
    """The open alerts of a tenant."""
    return (msgspec.json.decode(item.body, type=StoredAlert) for item in store.scan(_partition(tenant, is_open=True)))


def opened_one(store: Store, tenant: str, alert_id: str) -> StoredAlert | None:
    """An alert as the table has it now, None if it is closed."""
    item = store.get(Key(_partition(tenant, is_open=True), alert_id))
    return msgspec.json.decode(item.body, type=StoredAlert) if item else None


def open_status(store: Store, tenant: str, alert_id: str) -> str:
    """The status of an alert as the table has it now, OK if it is closed."""
    stored = opened_one(store, tenant, alert_id)
    return stored.alert.status if stored else OK


def logs(store: Store, tenant: str, alert_id: str, after: str, most: int) -> tuple[list[LogEntry], str]:
    """A page of an alert's log, the newest first, as of ``find``; RequestError 404 for an unknown alert."""
    _item(store, tenant, alert_id)
    items = _first(store.scan(_log_partition(tenant, alert_id), after), most)
    entries = [msgspec.json.decode(item.body, type=LogEntry) for item in items[:most]]
    return entries, items[most - 1].key.sk if len(items) > most else ""


def reminder(tenant: str, stored: StoredAlert, now_s: int) -> Notice:
    """What is told once more of an open alert."""
    status = stored.alert.status
    notice = Notice(tenant, stored.alert, stored.subject, "again", status, stored.logs, now_s, again=True, was=status)
    return msgspec.structs.replace(notice, changed_s=stored.changed_s)


def remind(registry: Registry, tenant: str, stored: StoredAlert) -> bool:
    """Notify an open alert again; False if it changed meanwhile."""
    item = registry.store.get(Key(_partition(tenant, is_open=True), stored.alert.id))
    now_s = registry.now_s()
    if item is None or msgspec.json.decode(item.body, type=StoredAlert) != stored:
        return False
    made, notice = msgspec.structs.replace(stored, notified_s=now_s), reminder(tenant, stored, now_s)
    return registry.store.write(RegistryChange(item.key, body_of(made), item.version), _noticed(notice, now_s))


def test_call(registry: Registry, tenant: str, channel: str) -> None:
    """Notify one channel of an alert that there is not; once a minute, however often it is asked for."""
    now_s = registry.now_s()
    alert = AlertRecord(
        id=f"test-{channel}", status=CRITICAL, monitor_id="", type="test", opened_at=now_s, message="a test"
    )
    subject = Subject("", "", "test")
    notice = Notice(tenant, alert, subject, "test", CRITICAL, 1, now_s, was=CRITICAL, channel=channel)
    registry.store.write(_noticed(notice, now_s // 60 * 60), *rules.listed(registry.store, tenant))


def _first(items: Iterator[RegistryItem], most: int) -> list[RegistryItem]:
    """One more than ``most``, which says that there are more."""
    return [item for _, item in zip(range(most + 1), items, strict=False)]


def _kept(tenant: str, before: Watched, version: int, after: Watched) -> list[RegistryChange]:
    """The subject's item: none for one that is OK and has nothing that a late sample may change."""
    is_trivial = not after.said and all(turn.status == OK for turn in after.turns) and not after.by_hand_ms
    if is_trivial:
        return [RegistryChange(_subject_key(tenant, after.subject), None, version)] if version else []
    changed = after != before or not version
    return [RegistryChange(_subject_key(tenant, after.subject), body_of(after), version)] if changed else []


def _bounded(said: Sequence[SaidAlert], decided: Decided) -> Decided:
    """The first of the decisions, and alerts as if the others had not been made."""
    done, undone = decided.decisions[:ALERT_CHANGES_MAX], decided.decisions[ALERT_CHANGES_MAX:]
    if not undone:
        return decided
    left = {decision.alert.id for decision in undone}
    kept = [alert for alert in decided.alerts if alert.id not in left]
    return Decided((*kept, *(alert for alert in said if alert.id in left)), done)


def _said(
    registry: Registry, tenant: str, subject: Subject, decision: Decision, why: Why, plot: Plot | None
) -> list[RegistryChange]:
    """The alert, its log and its notification."""
    opened_key, closed_key = (Key(_partition(tenant, is_open=is_open), decision.alert.id) for is_open in (True, False))
    open_item, closed_item = map(registry.store.get, (opened_key, closed_key))
    item = open_item or closed_item
    stored = msgspec.json.decode(item.body, type=StoredAlert) if item else None
    number = stored.logs + 1 if stored else 1
    alert = _record(subject, decision, why, stored.alert if stored else None)
    now_s = registry.now_s()
    made = StoredAlert(alert, subject, min(number, ALERT_LOGS_MAX), now_s, _changed_s(alert, stored, now_s))
    is_open = alert.closed_at is None
    target, other = (open_item, closed_item) if is_open else (closed_item, open_item)
    moved = [_kept_alert(opened_key if is_open else closed_key, made, target.version if target else 0)]
    if other:
        moved.append(RegistryChange(other.key, None, other.version))
    entry = _entry(registry, decision, alert, why, number)
    notice = Notice(
        *(tenant, alert, subject, decision.kind.value, entry.status, number, now_s),
        was=decision.alert.status,
        plot=plot,
        changed_s=made.changed_s,
        trigger=why.trigger,
    )
    log = RegistryChange(Key(_log_partition(tenant, alert.id), entry.id), body_of(entry), 0, now_s + ALERT_KEPT_S)
    return [*moved, log, _noticed(notice, now_s)]


def _changed_s(alert: AlertRecord, before: StoredAlert | None, now_s: int) -> int:
    """Since when an alert has its status: by its samples where it opened or closed, else by the clock."""
    if alert.closed_at is not None:
        return alert.closed_at
    if before is None:
        return alert.opened_at
    return before.changed_s if before.alert.status == alert.status else now_s


def _kept_alert(key: Key, stored: StoredAlert, version: int) -> RegistryChange:
    """An open alert is kept for ever, a closed one for its time."""
    closed_s = stored.alert.closed_at
    return RegistryChange(key, body_of(stored), version, None if closed_s is None else closed_s + ALERT_KEPT_S)


def _record(subject: Subject, decision: Decision, why: Why, before: AlertRecord | None) -> AlertRecord:
    kind, _, name = subject.source.partition("/")
    closed_ms = decision.alert.closed_ms
    reason = {Saying.WITHDRAWN: "late samples show that this was not so"}.get(decision.kind, "")
    return AlertRecord(
        id=decision.alert.id,
        status=decision.alert.status if closed_ms is None else OK,
        monitor_id=subject.monitor,
        type=subject.kind,
        opened_at=decision.alert.opened_ms // 1000,
        host_id=name if kind == "host" else "",
        series=_series(subject),
        value=decision.value if why.has_value else (before.value if before else None),
        message=why.message if why.trigger == "monitoring" else (before.message if before else ""),
        reason=(reason or (why.message if why.trigger != "monitoring" else "")) if closed_ms is not None else "",
        closed_at=None if closed_ms is None else closed_ms // 1000,
        memo=before.memo if before else "",
    )


def _series(subject: Subject) -> AlertSeries | None:
    """Of what has a series: not of a query that can't be computed, nor of one whose labels are too long to keep."""
    if subject.kind != "query" or not subject.part.startswith("{"):
        return None
    labels = msgspec.json.decode(subject.part, type=dict[str, str])
    return AlertSeries(labels.pop("__name__", ""), labels)


def _entry(registry: Registry, decision: Decision, alert: AlertRecord, why: Why, number: int) -> LogEntry:
    detail = StatusDetail("check", StatusText(why.message)) if alert.type in ("check", "external") else None
    return LogEntry(
        id=f"{ALERT_LOGS_MAX - min(number, ALERT_LOGS_MAX):06d}",
        created_at=registry.now_s(),
        status=alert.status,
        trigger=why.trigger,
        monitor_id=alert.monitor_id,
        target_value=decision.value if why.has_value else None,
        status_detail=detail,
        saying=decision.kind.value,
    )


def _noticed(notice: Notice, at_s: int) -> RegistryChange:
    """Sorted by time: of notices that have to wait the oldest is told first."""
    number = f"{notice.entry:06d}{'r' if notice.again else ''}"
    sort = f"{keys.escape(notice.tenant)}:{at_s:011d}:{notice.alert.id}:{number}"
    return RegistryChange(Key(keys.NOTIFICATIONS_ITEM, sort), body_of(notice), 0)


def _item(store: Store, tenant: str, alert_id: str) -> RegistryItem:
    for is_open in (True, False):
        if item := store.get(Key(_partition(tenant, is_open=is_open), keys.escape(alert_id))):
            return item
    raise RequestError(404, f"alert {alert_id[:100]!r} is unknown")


def _partition(tenant: str, *, is_open: bool) -> str:
    return keys.registry_partition(tenant, "alerts-open" if is_open else "alerts-closed")


def _log_partition(tenant: str, alert_id: str) -> str:
    return keys.registry_owner(tenant, "alert", alert_id)


def _subject_key(tenant: str, subject: Subject) -> Key:
    parts = (subject.monitor, subject.source, subject.part)
    return Key(keys.registry_partition(tenant, "judgements"), ":".join(map(keys.escape, parts)))
