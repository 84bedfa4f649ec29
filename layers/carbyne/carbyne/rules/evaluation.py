"""One evaluation of a group: its rules in their order, each seeing what those before it recorded at the same time."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from carbyne.core import labels as canonical
from carbyne.core.errors import QueryError
from carbyne.core.labels import STALE_BITS
from carbyne.core.limits import (
    GROUP_ALERTS_BYTES_MAX,
    GROUP_S,
    GROUP_SERIES_BYTES_MAX,
    RULE_ERROR_CHARACTERS_MAX,
    RULE_S,
    RULE_SERIES_MAX,
)
from carbyne.promql import query
from carbyne.promql.labels import NAME, Labels, drop, made
from carbyne.promql.numbers import of_answer
from carbyne.rules.alerting import FoundAlert, KeptAlert, is_active, moved, step
from carbyne.rules.forms import FileGroup, GroupRule
from carbyne.rules.kept import KeptGroup, KeptRule, KeptSeries, keys_of, labels_of
from carbyne.rules.overlay import Overlay, RecordedSample
from carbyne.rules.templates import TemplateData, expand

STALE: Final = float(np.array([STALE_BITS], np.uint64).view(np.float64)[0])
ALERT_NAME: Final = "alertname"


@dataclass(frozen=True)
class EvaluatedGroup:
    """What is kept now, and the samples to record."""

    kept: KeptGroup
    series: KeptSeries
    samples: list[RecordedSample]


class RuleFailed(Exception):
    """A rule can't be evaluated; the others of its group are."""


def evaluate(
    group: FileGroup, kept: KeptGroup, series: KeptSeries, at_ms: int, overlay: Overlay, now_s: Callable[[], float]
) -> EvaluatedGroup:
    """The group at one time.  What its rules record is added to ``overlay``.  RetryableError if samples can't be read:
    then nothing is known of the group at this time.

    The time that is missing between two evaluations counts for no deadline.
    """
    gap_ms = 0 if kept.evaluated_ms is None else max(0, at_ms - kept.evaluated_ms - group.interval_s * 1000)
    run = _GroupRun(group, series, at_ms, overlay, now_s)
    rules = {key: run.rule(key, rule, _moved(kept.rules.get(key, KeptRule()), gap_ms)) for key, rule in keys_of(group)}
    gone = {key: texts for key, texts in series.rules.items() if key not in rules}
    run.end(text for texts in gone.values() for text in texts)
    after = KeptGroup(evaluated_ms=at_ms, interval_s=group.interval_s, rules=rules)
    return EvaluatedGroup(after, KeptSeries(_some(run.series)), run.samples)


def stale(series: KeptSeries, ts_ms: int) -> list[RecordedSample]:
    """The ends of series."""
    return [RecordedSample(_labels(text), ts_ms, STALE) for texts in series.rules.values() for text in texts]


def _labels(text: str) -> Labels:
    return made(canonical.parse(text))


def _is_same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


class _GroupRun:
    """``ts_ms``: of samples that are read and recorded; ``series``: by key, those that go on.

    Several rules may have one name.  Of two values of a series the first is recorded, as in Prometheus, and a series
    ends only if no rule of the group has a value of it.
    """

    def __init__(
        self, group: FileGroup, before: KeptSeries, at_ms: int, overlay: Overlay, now_s: Callable[[], float]
    ) -> None:
        self._group, self._before, self._at_ms, self._overlay, self._now_s = group, before, at_ms, overlay, now_s
        self._alert_bytes = self._series_bytes = 0
        self._begun_s = self._until_s = now_s()
        self.ts_ms = at_ms - group.offset_ms
        self.series: dict[str, list[str]] = {}
        self._values: dict[Labels, float] = {}
        self._ended: dict[Labels, float] = {}

    @property
    def samples(self) -> list[RecordedSample]:
        return self._samples({**self._ended, **self._values})

    def end(self, texts: Iterable[str]) -> None:
        """Ends of series, which the rules behind see."""
        ended = {labels: STALE for labels in map(_labels, texts) if labels not in self._values}
        self._ended |= ended
        self._overlay.add(self._samples(ended))

    def rule(self, key: str, rule: GroupRule, kept: KeptRule) -> KeptRule:
        begun_s = self._now_s()
        if begun_s - self._begun_s >= GROUP_S:
            return self._failed(key, kept, f"the rules before it took the {GROUP_S:g} s of a group")
        self._until_s = min(begun_s + RULE_S, self._begun_s + GROUP_S)
        try:
            after = self._record(key, rule) if rule.record else self._alert(key, rule, kept)
        except (QueryError, RuleFailed) as error:
            message = str(error).removeprefix('invalid parameter "query": ')[:RULE_ERROR_CHARACTERS_MAX]
            after = self._failed(key, KeptRule() if isinstance(error, _TooMany) else kept, message)
        return msgspec.structs.replace(after, took_s=round(self._now_s() - begun_s, 6))

    def _record_values(self, values: Mapping[Labels, float]) -> str:
        """Values, which the rules behind see; what is wrong with those that are not recorded."""
        new = {labels: value for labels, value in values.items() if labels not in self._values}
        twice = sum(not _is_same(self._values[labels], value) for labels, value in values.items() if labels not in new)
        self._values |= new
        self._overlay.add(self._samples(new))
        return f"duplicate sample for timestamp: a rule before has other values of {twice} series" if twice else ""

    def _samples(self, values: Mapping[Labels, float]) -> list[RecordedSample]:
        return [RecordedSample(labels, self.ts_ms, value) for labels, value in values.items()]

    def _record(self, key: str, rule: GroupRule) -> KeptRule:
        values: dict[Labels, float] = {}
        for labels, value in self._vector(rule):
            named = made({**dict(labels), NAME: rule.record, **labels_of(self._group, rule)})
            if named in values:
                raise RuleFailed("vector contains metrics with the same labelset after applying rule labels")
            values[named] = value
        if 0 < self._group.limit < len(values):
            raise RuleFailed(f"exceeded limit of {self._group.limit} with {len(values)} series")
        return KeptRule(error=self._keep(key, values))

    def _alert(self, key: str, rule: GroupRule, kept: KeptRule) -> KeptRule:
        seen: dict[Labels, FoundAlert] = {}
        written_bytes = 0
        for labels, value in self._vector(rule):
            alert_labels, alert = self._found(rule, labels, value)
            if alert_labels in seen:
                raise RuleFailed("vector contains metrics with the same labelset after applying alert labels")
            seen[alert_labels] = alert
            written_bytes += sum(map(len, alert.annotations.values())) + sum(len(text) for _, text in alert_labels)
            if written_bytes > GROUP_ALERTS_BYTES_MAX:  # before they fill the memory
                raise _too_long(seen)
        before = {made(alert.labels): alert for alert in kept.alerts}
        after = step(before, seen, self._at_ms, rule.hold_ms, rule.keep_ms)
        active = {labels: alert for labels, alert in after.items() if is_active(alert)}
        if 0 < self._group.limit < len(active):
            raise _TooMany(f"exceeded limit of {self._group.limit} with {len(active)} alerts")
        alerts = list(after.values())
        if not self._have_room(alerts):
            raise _too_long(active)
        error = self._keep(key, dict(_of_alerts(active)))
        self._alert_bytes += _bytes(alerts)
        return KeptRule(alerts=alerts, error=error)

    def _have_room(self, alerts: Sequence[KeptAlert]) -> bool:
        return self._alert_bytes + _bytes(alerts) <= GROUP_ALERTS_BYTES_MAX

    def _failed(self, key: str, kept: KeptRule, error: str) -> KeptRule:
        """Nothing is known of its alerts and series: they stay, as far as the group has room for them."""
        texts = self._before.rules.get(key, [])
        if self._series_bytes + _bytes(texts) <= GROUP_SERIES_BYTES_MAX:
            self._series_bytes += _bytes(texts)
            self.series[key] = texts
        else:
            self.end(texts)
        alerts = kept.alerts if self._have_room(kept.alerts) else []
        self._alert_bytes += _bytes(alerts)
        return KeptRule(alerts=alerts, error=error)

    def _found(self, rule: GroupRule, labels: Labels, value: float) -> tuple[Labels, FoundAlert]:
        data = TemplateData(dict(labels), value, self._at_ms)
        written = {name: expand(text, data, self._check_time) for name, text in labels_of(self._group, rule).items()}
        annotations = {name: expand(text, data, self._check_time) for name, text in sorted(rule.annotations.items())}
        alert_labels = made({**dict(drop(labels, {NAME})), **written, ALERT_NAME: rule.alert})
        return alert_labels, FoundAlert(annotations, of_answer(value))

    def _check_time(self) -> None:
        if self._now_s() > self._until_s:
            raise RuleFailed(f"templates take more than {RULE_S:g} s: write simpler ones, or aggregate")

    def _vector(self, rule: GroupRule) -> Iterator[tuple[Labels, float]]:
        options = query.Options(self._now_s, timeout_s=self._until_s - self._now_s())
        frame = query.instant(rule.expr, self.ts_ms, self._overlay, options).frame
        assert frame is not None, rule.expr
        if frame.series > RULE_SERIES_MAX:
            raise _TooMany(f"{frame.series} series; a rule may give {RULE_SERIES_MAX}: aggregate, or set a limit")
        return zip(frame.labels, map(float, frame.values[:, 0]), strict=True)

    def _keep(self, key: str, values: Mapping[Labels, float]) -> str:
        """Values, and ends of the series that the rule makes no more; what is wrong with values."""
        texts = [canonical.text(dict(labels)) for labels in values]
        if self._series_bytes + _bytes(texts) > GROUP_SERIES_BYTES_MAX:
            raise _TooMany(f"its {len(texts)} series take more than {GROUP_SERIES_BYTES_MAX} bytes with the group's")
        self._series_bytes += _bytes(texts)
        self.series[key] = texts
        error = self._record_values(values)
        self.end(sorted(set(self._before.rules.get(key, ())).difference(texts)))
        return error


class _TooMany(RuleFailed):
    """More than a rule may give; its alerts end, as Prometheus' do."""


def _too_long(alerts: Collection[Labels]) -> _TooMany:
    return _TooMany(f"{len(alerts)} alerts take more than the {GROUP_ALERTS_BYTES_MAX} bytes of a group")


def _bytes(kept: Sequence[KeptAlert] | Sequence[str]) -> int:
    return len(msgspec.json.encode(kept))


def _of_alerts(active: Mapping[Labels, KeptAlert]) -> Iterator[tuple[Labels, float]]:
    for labels, alert in active.items():
        yield made({**dict(labels), NAME: "ALERTS", "alertstate": alert.state}), 1.0
        yield made({**dict(labels), NAME: "ALERTS_FOR_STATE"}), float(alert.active_ms // 1000)


def _moved(kept: KeptRule, gap_ms: int) -> KeptRule:
    if not gap_ms:
        return kept
    return msgspec.structs.replace(kept, alerts=[moved(alert, gap_ms) for alert in kept.alerts])


def _some(series: dict[str, list[str]]) -> dict[str, list[str]]:
    return {key: texts for key, texts in series.items() if texts}
