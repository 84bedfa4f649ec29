"""Monitors whose values are computed: expressions of Mackerel's functions, and queries of PromQL.

Each minute the values of the last hour are computed again and judged as samples are, so that late ones count.  What
can't be computed is an alert of its own with the status UNKNOWN.  One that takes long makes its tenant wait, no other.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Final

import msgspec
import numpy as np

from carbyne.alerts.decisions import SaidAlert
from carbyne.alerts.formula import parse_formula
from carbyne.alerts.judging import OK, UNKNOWN, Judgement, RuleVersion, SamplePairs, judge
from carbyne.core import keys
from carbyne.core.errors import QueryError, RequestError, RetryableError
from carbyne.core.limits import (
    ALERT_HORIZON_MS,
    ALERT_LABELS_CHARACTERS_MAX,
    CHECK_MESSAGE_CHARACTERS_MAX,
    COMPUTED_FAILS_MINUTES,
    COMPUTED_MONITOR_S,
    COMPUTED_TENANT_S,
    LANES,
    QUERY_MONITOR_SERIES_MAX,
)
from carbyne.evaluate.formulas import MINUTE_MS, FormulaValues, minutes_of
from carbyne.evaluate.leaves import FormulaLeaves
from carbyne.evaluate.look import ComputedSeries, Eyes, KnownSubjects, written
from carbyne.evaluate.plan import FAILED, WatchPlan, computed_rules
from carbyne.registry import alerts
from carbyne.registry.alerts import Subject, Why
from carbyne.registry.monitor_types import ExpressionMonitor, QueryMonitor, filled
from carbyne.registry.rules import MonitorVersions
from carbyne.registry.store import Key, RegistryChange, body_of

_log = logging.getLogger(__name__)
_EXPRESSION_DELAY: Final = 2
"""Minutes that an expression lies behind where its monitor says none, as Mackerel documents; a query: none."""
_ABSENCE: Final = re.compile(r"\babsent(_over_time)?\s*\(")
"""What is absent is judged by arrival, as silence is: a late sample does not change what was so."""


class ComputedState(msgspec.Struct, frozen=True):
    """``minutes``: when each monitor was computed last, since 1970; ``spent_s``: what the last minute took;
    ``failing``: since which minute a monitor can't be computed."""

    spent_s: float = 0.0
    minutes: dict[str, int] = {}
    failing: dict[str, int] = {}


class ComputedLook:
    """One look at the computed monitors of a tenant; ``known``: what is known of subjects."""

    def __init__(self, eyes: Eyes, tenant: str, made: WatchPlan, known: KnownSubjects, now_ms: int) -> None:
        self.tenant = tenant
        self._eyes, self._plan, self._known, self._now_ms = eyes, made, known, now_ms
        item = eyes.registry.store.get(_key(tenant))
        self._state = msgspec.json.decode(item.body, type=ComputedState) if item else ComputedState()
        self._version = item.version if item else 0
        self._failing: dict[str, int] = {}
        self._behind = eyes.arriving.behind(now_ms)

    @property
    def turn(self) -> tuple[int, float]:
        """Sorts looks: the tenant whose last turn is longest ago first, then the one that took less time in it."""
        return max(map(self._minute, self._plan.computed), default=0), self._state.spent_s

    def run(self, monotonic: Callable[[], float]) -> None:
        """Judge the monitors that waited longest, as far as the tenant's time goes, and note which."""
        begun_s, minutes = monotonic(), dict[str, int]()
        for monitor_id in sorted(self._plan.computed, key=lambda each: (self._minute(each), each)):
            if monotonic() - begun_s > COMPUTED_TENANT_S:
                waiting = len(self._plan.computed) - len(minutes)
                _log.error("%d expressions and queries of %s wait for the next minute", waiting, self.tenant)
                break
            try:
                self._judge(self._plan.computed[monitor_id], monotonic)
            except RetryableError as error:
                _log.warning("%s of %s is computed in the next minute: %s", monitor_id, self.tenant, error)
            except Exception as error:  # noqa: BLE001 - a bug of ours that one monitor meets must not hold up the others
                self._eyes.note_bug(f"{monitor_id} of {self.tenant} can't be computed", error)
            minutes[monitor_id] = self._now_ms // MINUTE_MS
        kept = {each: self._minute(each) for each in self._plan.computed} | minutes
        failing = {each: since for each, since in self._state.failing.items() if each in kept and each not in minutes}
        body = body_of(ComputedState(round(monotonic() - begun_s, 3), kept, failing | self._failing))
        self._eyes.registry.store.write(RegistryChange(_key(self.tenant), body, self._version))

    def _minute(self, monitor_id: str) -> int:
        return self._state.minutes.get(monitor_id, 0)

    def _judge(self, versions: MonitorVersions, monotonic: Callable[[], float]) -> None:
        rules, monitor = computed_rules(versions.versions), versions.current
        assert isinstance(monitor, ExpressionMonitor | QueryMonitor)
        from_ms = max(self._now_ms - ALERT_HORIZON_MS, rules[0].since_ms)
        default = _EXPRESSION_DELAY if isinstance(monitor, ExpressionMonitor) else 0
        delay = default if monitor.evaluate_backward_minutes is None else monitor.evaluate_backward_minutes
        until_ms = self._now_ms - delay * MINUTE_MS
        if until_ms < from_ms or len(self._behind) >= LANES:
            return
        is_absence = isinstance(monitor, QueryMonitor) and _ABSENCE.search(monitor.query) is not None
        if is_absence:
            from_ms = max(from_ms, until_ms // MINUTE_MS * MINUTE_MS)
        failed = Subject(versions.id, f"{monitor_type(monitor)}/{versions.id}", monitor_type(monitor), FAILED)
        try:
            series = self._series(monitor, from_ms, until_ms, monotonic)
        except RequestError as error:
            self._fail(failed, error.message)
            return
        is_old = rules[0].since_ms <= self._now_ms - ALERT_HORIZON_MS
        if isinstance(monitor, ExpressionMonitor) and is_old and not self._behind and not series[0].pairs:
            self._fail(failed, f"the expression has had no value for {ALERT_HORIZON_MS // MINUTE_MS} minutes")
            return
        self._fail(failed, "")
        for each in series:
            part = "" if isinstance(monitor, ExpressionMonitor) else part_of(each.labels)
            if is_absence and self._is_by_hand(msgspec.structs.replace(failed, part=part)):
                continue
            message = monitor.expression if isinstance(monitor, ExpressionMonitor) else legend(monitor, each.labels)
            self._judge_series(
                msgspec.structs.replace(failed, part=part),
                rules,
                each.pairs,
                from_ms,
                Why(message[:CHECK_MESSAGE_CHARACTERS_MAX], samples=each.pairs),
            )
        if isinstance(monitor, QueryMonitor) and not self._behind:
            parts = {part_of(each.labels) for each in series}
            self._end_gone(monitor, failed, parts, from_ms) if is_absence else self._close_gone(failed, parts)

    def _judge_series(
        self, subject: Subject, rules: Sequence[RuleVersion], pairs: SamplePairs, from_ms: int, why: Why
    ) -> None:
        judged = judge(rules, pairs, from_ms)
        if subject in self._known or any(each.status != OK for each in judged):
            written(self._eyes.registry, self.tenant, self._known, subject, judged, from_ms, why)

    def _fail(self, subject: Subject, message: str) -> None:
        """Open the alert of what can't be computed for some minutes, or close it."""
        known, minute = self._known.get(subject), self._now_ms // MINUTE_MS
        if message:
            self._failing[subject.monitor] = since = self._state.failing.get(subject.monitor, minute)
            if minute - since < COMPUTED_FAILS_MINUTES - 1:
                return
        if not (message or known) or (message and known and known[0].by_hand_ms):  # a person closed it: it waits
            return
        judgement = Judgement(minute * MINUTE_MS, UNKNOWN if message else OK, 0.0)
        why = Why(message[:CHECK_MESSAGE_CHARACTERS_MAX], has_value=False)
        written(self._eyes.registry, self.tenant, self._known, subject, [judgement], judgement.ts_ms, why)

    def _close_gone(self, failed: Subject, parts: set[str]) -> None:
        """Alerts of series that the query has not had within the horizon."""
        for _, said in self._open_of(failed, parts):
            reason = "the query does not have this series any more"
            alerts.close(self._eyes.registry, self.tenant, said.id, reason, "outOfScope")

    def _end_gone(self, monitor: QueryMonitor, failed: Subject, parts: set[str], ts_ms: int) -> None:
        """Alerts of what was absent and is there."""
        by_hand = [
            subject for subject in self._known if subject.monitor == failed.monitor and self._is_by_hand(subject)
        ]
        for subject in dict.fromkeys([*by_hand, *(subject for subject, _ in self._open_of(failed, parts))]):
            if subject.part in {*parts, FAILED}:
                continue
            labels = msgspec.json.decode(subject.part) if subject.part.startswith("{") else {}
            why = Why(legend(monitor, labels)[:CHECK_MESSAGE_CHARACTERS_MAX], has_value=False)
            written(self._eyes.registry, self.tenant, self._known, subject, [Judgement(ts_ms, OK, 0.0)], ts_ms, why)

    def _is_by_hand(self, subject: Subject) -> bool:
        """Whether a person closed its alert: it has to be there before its next absence is another alert."""
        known = self._known.get(subject)
        return bool(known and known[0].by_hand_ms)

    def _open_of(self, failed: Subject, parts: set[str]) -> list[tuple[Subject, SaidAlert]]:
        """Open alerts of a monitor's series, but those of ``parts``."""
        return [
            (subject, said)
            for subject, (watched, _) in self._known.items()
            if subject.monitor == failed.monitor and subject.part not in {*parts, FAILED}
            for said in watched.said
            if said.closed_ms is None
        ]

    def _series(
        self, monitor: ExpressionMonitor | QueryMonitor, from_ms: int, until_ms: int, monotonic: Callable[[], float]
    ) -> Sequence[ComputedSeries]:
        grid = minutes_of(from_ms, until_ms)
        if isinstance(monitor, QueryMonitor):
            span_ms = grid.start_ms, grid.end_ms - MINUTE_MS
            series = self._eyes.query(self.tenant, monitor.query, span_ms, COMPUTED_MONITOR_S, self._behind)
            if len(series) > QUERY_MONITOR_SERIES_MAX:
                raise QueryError("execution", f"the query has {len(series)} series, over {QUERY_MONITOR_SERIES_MAX}")
            return series
        samples, role = self._eyes.samples, self._plan.role
        leaves = FormulaLeaves(samples, self._eyes.threads, self.tenant, role, monotonic, behind=self._behind)
        with np.errstate(all="ignore"):
            line = FormulaValues(leaves.read, leaves.tick).line(parse_formula(monitor.expression), grid)
        there = ~np.isnan(line)
        pairs = list(zip(grid.times()[there].tolist(), line[there].tolist(), strict=True))
        return [ComputedSeries({}, pairs)]


def monitor_type(monitor: ExpressionMonitor | QueryMonitor) -> str:
    return "expression" if isinstance(monitor, ExpressionMonitor) else "query"


def part_of(labels: Mapping[str, str]) -> str:
    """What tells a series of a query from the others: its labels as JSON, or a digest of many."""
    text = msgspec.json.encode(dict(sorted(labels.items()))).decode()
    return text if len(keys.escape(text)) <= ALERT_LABELS_CHARACTERS_MAX else sha256(text.encode()).hexdigest()[:32]


def legend(monitor: QueryMonitor, labels: Mapping[str, str]) -> str:
    """The legend with the values of labels, or without one all labels."""
    if monitor.legend:
        return filled(monitor.legend, labels)
    return ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _key(tenant: str) -> Key:
    return Key(keys.registry_partition(tenant, "computed"), "all")
