"""Evaluates the groups of Prometheus' rules of all tenants, each at its times.

A time of a group is evaluated once: the item of the group has the time of its last evaluation, and its version is the
condition of the next.  While Redis is rebuilt, the stream is behind, or what was recorded before is not on the stream
yet, nothing is known: no alert opens or closes, and the missed times are made up for.
"""

import logging
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Final
from zlib import crc32

from carbyne.core.errors import OverLimitError, RetryableError
from carbyne.core.limits import (
    EVALUATE_RESERVE_S,
    LANES,
    RECORDED_WAITING_BYTES_MAX,
    RULE_CATCH_UP,
    RULES_S,
    RULES_TENANT_S,
)
from carbyne.evaluate.bugs import NoteBug
from carbyne.evaluate.look import MINUTE_MS, Arriving
from carbyne.evaluate.turns import TenantTurns
from carbyne.registry import rule_files, rule_states, rules
from carbyne.registry.rule_states import GroupName, LeftToSend, StoredGroup
from carbyne.registry.store import RegistryChange, Store
from carbyne.rules.forms import FileGroup
from carbyne.rules.kept import KeptGroup, alerts_in, not_recorded

if TYPE_CHECKING:
    from carbyne.evaluate.recording import Recording
    from carbyne.promql.select import Selector
    from carbyne.rules.evaluation import EvaluatedGroup
    from carbyne.rules.overlay import RecordedSample

_log = logging.getLogger(__name__)
SeriesOf = Callable[[str, Collection[int]], "Selector"]
"""The series of a tenant, all tiers; RetryableError for what lies in one of the lanes."""
OverLimit = Callable[[str, int], OverLimitError | None]
"""Of a tenant and a time in seconds: why it may write no samples, None if it may; RetryableError."""
STATES_TOLD: Final = ("firing", "inactive")


class GroupEvaluator:
    """``monotonic``: seconds, by which the time of a run and of a tenant is bounded."""

    def __init__(
        self,
        store: Store,
        arriving: Arriving,
        series: SeriesOf,
        now_ms: Callable[[], int],
        monotonic: Callable[[], float],
        note_bug: NoteBug,
        over: OverLimit,
    ) -> None:
        self._store, self._arriving, self._series = store, arriving, series
        self._now_ms, self._monotonic, self._note_bug, self._over = now_ms, monotonic, note_bug, over
        self._turns = TenantTurns(RULES_S / 2, now_ms, monotonic)
        self._recording: Recording | None = None

    def run(self, seconds_left: Callable[[], float]) -> int:
        """How many evaluations were made.  A tenant that fails holds up no other, one that takes long only its like."""
        tenants = self._turns.ordered(list(rules.tenants(self._store)))
        begun_s, done = self._monotonic(), 0
        for number, tenant in enumerate(tenants):
            if self._monotonic() - begun_s > RULES_S or seconds_left() < EVALUATE_RESERVE_S:
                _log.error("rules of %d tenants wait for the next minute", len(tenants) - number)
                break
            try:
                with self._turns.turn(tenant):
                    done += self._tenant(tenant)
            except RetryableError as error:
                _log.warning("rules of %s wait for the next minute: %s", tenant, error)
            except Exception as error:  # noqa: BLE001 - a bug of ours must not hold up others, nor monitors
                self._note_bug(f"rules of {tenant} can't be evaluated", error)
        return done

    def _tenant(self, tenant: str) -> int:
        """The groups of a tenant that are due, those that waited longest first."""
        groups = {
            GroupName(file.id, group.name): (group, file.since_ms.get(group.name, 0))
            for file in rule_files.find(self._store, tenant)
            for group in file.groups
        }
        known = rule_states.find(self._store, tenant)
        if not groups and not known:
            return 0
        waiting = self._waiting(tenant)
        if waiting is None:
            _log.error("rules of %s wait until the stream has what they recorded", tenant)
            return 0
        left = {each.name for each in waiting}
        unsent = {each.name for each in waiting if each.entries or each.before}
        now_ms, begun_s, done = self._now_ms(), self._monotonic(), 0
        behind = self._arriving.behind(now_ms)
        for name in sorted(groups, key=lambda name: (_evaluated(known.get(name, StoredGroup())), name)):
            if self._monotonic() - begun_s > RULES_TENANT_S:
                _log.error("some groups of %s wait for the next minute", tenant)
                break
            group, since_ms = groups[name]
            stored = known.get(name, StoredGroup())
            times = list(due(name, group, stored.kept.evaluated_ms, since_ms, now_ms))
            if times and (name in unsent or len(behind) >= LANES):
                if name not in left:
                    self._still(tenant, name, stored, now_ms)
            elif times:
                until_s = begun_s + RULES_TENANT_S
                done += self._group(tenant, name, group, stored, times, behind, until_s)
        for name in sorted(known.keys() - groups.keys() - unsent):
            self._end(tenant, name, known[name], now_ms)
        return done

    def _waiting(self, tenant: str) -> list[LeftToSend] | None:
        """What must be sent still, None if it is too much to be read here."""
        waiting, size = list[LeftToSend](), 0
        for item, left in rule_states.waiting(self._store, tenant):
            size += len(item.body)
            if size > RECORDED_WAITING_BYTES_MAX:
                return None
            waiting.append(left)
        return waiting

    def _group(
        self,
        tenant: str,
        name: GroupName,
        group: FileGroup,
        stored: StoredGroup,
        times: "list[int]",
        behind: Collection[int],
        until_s: float,
    ) -> int:
        """How many of the times were evaluated; the first is, whatever the time."""
        from carbyne.rules.evaluation import evaluate  # noqa: PLC0415 - PromQL, which only tenants with rules cost
        from carbyne.rules.overlay import Overlay  # noqa: PLC0415

        overlay = Overlay(self._series(tenant, behind))
        before = rule_states.with_series(self._store, tenant, name, stored)
        for number, at_ms in enumerate(times):
            if number and self._monotonic() > until_s:
                return number
            try:
                done = evaluate(group, before.kept, before.series, at_ms, overlay, self._monotonic)
            except RetryableError as error:
                _log.warning("nothing is known of %s of %s at %d: %s", name, tenant, at_ms, error)
                self._still(tenant, name, before, self._now_ms())
                return number
            tells = any(alert.state in STATES_TOLD for alert in alerts_in(done.kept))
            kept, samples = self._admitted(tenant, name, done)
            left, told = self._left(tenant, name, samples, at_ms, tells=tells)
            after = rule_states.write(self._store, tenant, name, before, kept, done.series, left)
            if after is None:
                _log.info("another evaluator was quicker with %s of %s", name, tenant)
                return number
            told()
            before = after
        return len(times)

    def _admitted(
        self, tenant: str, name: GroupName, done: "EvaluatedGroup"
    ) -> "tuple[KeptGroup, list[RecordedSample]]":
        """What is kept and recorded: nothing is recorded for a tenant over its limits, as its posts are refused.  They
        count behind the stream, as posts do."""
        refusal = self._over(tenant, self._now_ms() // 1000) if done.samples else None
        if not refusal:
            return done.kept, done.samples
        _log.error("%d samples of %s of %s are not recorded: %s", len(done.samples), name, tenant, refusal)
        return not_recorded(done.kept, f"not recorded: {refusal}"), []

    def _still(self, tenant: str, name: GroupName, stored: StoredGroup, now_ms: int) -> None:
        """What fires goes on while nothing is known: Alertmanagers end an alert that they don't hear of."""
        if any(alert.state == "firing" for alert in alerts_in(stored.kept)):
            self._store.write(rule_states.still(tenant, name, now_ms))

    def _end(self, tenant: str, name: GroupName, stored: StoredGroup, now_ms: int) -> None:
        """A group that is no more: its series end."""
        from carbyne.rules.evaluation import stale  # noqa: PLC0415

        stored = rule_states.with_series(self._store, tenant, name, stored)
        at_ms = max(now_ms, _evaluated(stored) + 1)
        samples = stale(stored.series, at_ms)
        left, _ = self._left(tenant, name, samples, at_ms, tells=False)
        rule_states.remove(self._store, tenant, name, stored, left)

    def _left(
        self, tenant: str, name: GroupName, samples: "list[RecordedSample]", at_ms: int, *, tells: bool
    ) -> tuple[list[RegistryChange], Callable[[], None]]:
        """What must be sent, and what to call when it is kept."""
        from carbyne.evaluate.recording import Recording  # noqa: PLC0415

        recording = self._recording = self._recording or Recording(self._monotonic)
        taking = recording.taking(samples)
        if taking.complaint:
            _log.error("rules of %s, %s: %s", tenant, name, taking.complaint)
        entries, before, untold = recording.entries(tenant, taking)
        left = LeftToSend(tenant, name, entries, tells, before)
        return rule_states.to_send(left, at_ms), lambda: recording.told(tenant, untold)


def due(name: GroupName, group: FileGroup, evaluated_ms: int | None, since_ms: int, now_ms: int) -> Iterator[int]:
    """The times at which a group is to be evaluated now: whole minutes, a group of several at one that its name
    decides; none from before the group was as it is."""
    interval_ms = group.interval_s * 1000
    minutes = group.interval_s // 60
    phase_ms = crc32(f"{name.file}:{name.group}".encode()) % minutes * MINUTE_MS
    newest_ms = (now_ms - phase_ms) // interval_ms * interval_ms + phase_ms
    if evaluated_ms is None:
        yield newest_ms
        return
    first_ms = newest_ms - (RULE_CATCH_UP - 1) * interval_ms
    for at_ms in range(first_ms, newest_ms + 1, interval_ms):
        if at_ms > evaluated_ms and (at_ms >= since_ms or at_ms == newest_ms):
            yield at_ms


def _evaluated(stored: StoredGroup) -> int:
    return -1 if stored.kept.evaluated_ms is None else stored.kept.evaluated_ms
