"""One look at the monitors of a tenant."""

import itertools
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from heapq import nsmallest
from typing import Final, NamedTuple, Protocol, TypeVar
from zlib import crc32

import msgspec

from carbyne.alerts.absence import Heard, listen
from carbyne.alerts.judging import OK, Judgement, SamplePairs, back_ms, judge
from carbyne.alerts.rates import NAMED_RATE, pairs_of, parts_of
from carbyne.core import keys
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey
from carbyne.core.limits import (
    AHEAD_MS_MAX,
    ALERT_HORIZON_MS,
    ANOMALY_BASELINES_PER_LOOK,
    CLEARED_PER_LOOK,
    HEARD_SHARDS,
    REMINDED_PER_LOOK,
    REREAD_MINUTES,
)
from carbyne.evaluate.anomaly import SPREADS, Baselines, learned_until_ms, worst
from carbyne.evaluate.bugs import NoteBug
from carbyne.evaluate.filesystems import Filesystems
from carbyne.evaluate.plan import AnomalyTarget, SilenceTarget, ValueTarget, WatchPlan, WatchTargets
from carbyne.evaluate.recent import RecentSamples
from carbyne.registry import alerts
from carbyne.registry.alerts import StoredAlert, Subject, Trigger, Watched, Why
from carbyne.registry.downtimes import DOWNTIMES
from carbyne.registry.hosts import RolesByService
from carbyne.registry.muting import Muting
from carbyne.registry.store import Key, Registry, RegistryChange, body_of

_log = logging.getLogger(__name__)
Turned = TypeVar("Turned")
MINUTE_MS: Final = 60_000
_REASONS: Final[dict[Trigger, str]] = {
    "monitorDeleted": "the monitor was deleted",
    "hostRetired": "the host was retired",
    "outOfScope": "the monitor does not look at this any more",
}


class Arriving(Protocol):
    """Rows in Redis; None for a source of which they can't be known: its lane is not whole, or does not answer."""

    def rows(self, sources: Sequence[SourceKey], from_ms: int, to_ms: int) -> Mapping[SourceKey, int | None]: ...
    def behind(self, now_ms: int) -> Collection[int]:
        """Lanes of which the stream has records that are not in Redis yet: their silence says nothing."""


class ComputedSeries(NamedTuple):
    """One series of a query."""

    labels: Mapping[str, str]
    pairs: SamplePairs


class RunQuery(Protocol):
    """Values of a query of PromQL at each minute of a span, both ends included.

    QueryError if it can't be computed in the time, RetryableError if a store is away, or a lane is behind that has what
    it reads.
    """

    def __call__(
        self, tenant: str, query: str, span_ms: tuple[int, int], timeout_s: float, behind: Collection[int]
    ) -> Sequence[ComputedSeries]: ...


class Eyes(NamedTuple):
    """What a look sees with; ``threads``: for the reads of sources."""

    registry: Registry
    arriving: Arriving
    samples: RecentSamples
    threads: Executor
    query: RunQuery
    baselines: Baselines
    filesystems: Filesystems
    note_bug: NoteBug


KnownSubjects = Mapping[Subject, tuple[Watched, int]]
"""What is known of subjects, each with the version of its item."""


class HeardShard(msgspec.Struct, frozen=True):
    """What was heard of some sources at the last look, in ``minute`` since 1970: by source, or source and metric."""

    minute: int
    heard: dict[str, Heard]


class SourceShard(NamedTuple):
    """Sources that are looked at together; ``before``: what was heard last, and ``version``: of its item."""

    number: int
    sources: list[str]
    before: HeardShard
    version: int


class _Seen(NamedTuple):
    """One source.  ``newest``: minute of the newest sample of each series that has one; ``is_done``: all that changed
    was read and written."""

    newest: Mapping[str, int]
    is_done: bool


_UNCHANGED: Final = _Seen({}, is_done=True)
_LATER: Final = _Seen({}, is_done=False)


class TenantLook:
    """``known``: what is known of subjects; ``now_ms``: of the whole look; ``is_over``: whether its time is."""

    def __init__(
        self,
        eyes: Eyes,
        tenant: str,
        made: WatchPlan,
        known: KnownSubjects,
        now_ms: int,
        is_over: Callable[[], bool],
    ) -> None:
        self._eyes = eyes
        self._is_over = is_over
        self._tenant = tenant
        self._plan = made
        self._known = known
        self._now_ms = now_ms
        self._behind = eyes.arriving.behind(now_ms)
        self._lessons = itertools.count()

    def shards(self) -> list[SourceShard]:
        """All sources, those that waited longest first."""
        sources: dict[int, list[str]] = {}
        for source in self._plan.sources:
            sources.setdefault(crc32(source.encode()) % HEARD_SHARDS, []).append(source)
        shards = [SourceShard(number, of, *self._heard(number)) for number, of in sources.items()]
        return sorted(shards, key=lambda shard: (shard.before.minute, shard.number))

    def judge(self, shard: SourceShard) -> None:
        """Judge the sources of a shard, then note what was heard of them.  RetryableError if a store is away.  What is
        not judged when the time is over comes in the next look; each minute begins with another source."""
        sources = [SourceKey(self._tenant, source) for source in self._turned(shard.sources)]
        span = self._now_ms - ALERT_HORIZON_MS, self._now_ms + AHEAD_MS_MAX
        rows = self._eyes.arriving.rows(sources, *span)
        minutes = shard.before.minute, self._now_ms // MINUTE_MS
        heard_before = shard.before.heard
        changed = [each for each in sources if _is_read(heard_before.get(each.source), rows[each], each, *minutes)]
        seen = dict(zip(changed, self._eyes.threads.map(self._judge_source, changed), strict=True))
        heard = {
            name: each
            for source in sources
            for name, each in self._listen(source.source, shard.before, rows[source], seen.get(source, _UNCHANGED))
        }
        body = body_of(HeardShard(self._now_ms // MINUTE_MS, heard))
        self._eyes.registry.store.write(RegistryChange(_heard_key(self._tenant, shard.number), body, shard.version))

    def clear(self) -> None:
        """Close alerts of what is not watched any more, then remind of those that are open for long: of those first of
        which nothing was said for longest.  And forget what no sample can change."""
        registry = self._eyes.registry
        for subject, version in itertools.islice(self._past(), CLEARED_PER_LOOK):
            alerts.forget(registry.store, self._tenant, subject, version)
        for stored in nsmallest(REMINDED_PER_LOOK, self._silent(), key=lambda stored: stored.notified_s):
            alerts.remind(registry, self._tenant, stored)

    def _silent(self) -> Iterator[StoredAlert]:
        """The open alerts of which it is time to remind; what is not watched any more is closed meanwhile."""
        registry, closed = self._eyes.registry, 0
        for stored in alerts.opened(registry.store, self._tenant):
            interval = (
                0 if _is_resting(stored.subject, self._plan) else self._plan.reminders.get(stored.subject.monitor, 0)
            )
            if trigger := _why_over(stored.subject, self._plan):
                if closed < CLEARED_PER_LOOK:
                    alerts.close(registry, self._tenant, stored.alert.id, _REASONS[trigger], trigger)
                closed += 1
            elif interval and self._now_ms // 1000 - stored.notified_s >= interval * 60:
                yield stored

    def _past(self) -> Iterator[tuple[Subject, int]]:
        """What ended before the horizon and all that reaches behind it: of hosts that are gone, and series of queries.
        What a person closed is kept while it is watched, since its silence may go on."""
        for subject, (known, version) in self._known.items():
            is_over = known.is_ok or _why_over(subject, self._plan) is not None
            if is_over and known.is_past(self._now_ms - 2 * ALERT_HORIZON_MS):
                yield subject, version

    def _judge_source(self, source: SourceKey) -> _Seen:
        targets = self._plan.of(source.source)
        if targets.is_empty or not (
            targets.values or targets.anomalies or any(each.series for each in targets.silences)
        ):
            return _UNCHANGED
        if self._is_over():
            return _LATER
        try:
            samples = self._samples(source, targets)
            is_done = self._judge_samples(source, targets, samples)
        except RetryableError as error:
            _log.warning("%s of %s is judged in the next minute: %s", source.source, source.tenant, error)
            return _LATER
        except Exception as error:  # noqa: BLE001 - a bug of ours that one source meets must not hold up the others
            self._eyes.note_bug(f"{source.source} of {source.tenant} can't be judged", error)
            return _LATER
        newest = {name: pairs[-1][0] // MINUTE_MS for name, pairs in samples.items() if pairs}
        return _Seen(newest, is_done)

    def _samples(self, source: SourceKey, targets: WatchTargets) -> Mapping[str, SamplePairs]:
        waited = [each.series for each in targets.silences if each.series]
        versions = *(each.versions for each in targets.values), *(each.versions for each in targets.anomalies)
        reach_ms = max(map(back_ms, versions), default=0)
        spreads = SPREADS if targets.anomalies else ()
        series = sorted({*self._parts(source, targets.values), *waited, *spreads})
        from_ms = self._now_ms - ALERT_HORIZON_MS - reach_ms
        return self._eyes.samples.read(source, series, from_ms, self._now_ms + AHEAD_MS_MAX)

    def _judge_samples(self, source: SourceKey, targets: WatchTargets, samples: Mapping[str, SamplePairs]) -> bool:
        """Whether all that changed was written; not if the time was over before."""
        from_ms = max(self._now_ms - ALERT_HORIZON_MS, self._plan.since_ms.get(source.source, 0))
        done = []
        for value in self._turned(targets.values):
            if self._is_over():
                return False
            done.append(self._judge_value(value, source, samples, from_ms))
        for anomaly in self._turned(targets.anomalies):
            if self._is_over():
                return False
            done.append(self._judge_anomaly(anomaly, source, samples, from_ms))
        return all(done)

    def _turned(self, some: Sequence[Turned]) -> Sequence[Turned]:
        """The same, from another one on each minute: when the time is too short, none is always the last.  By a hash,
        since shards have turns of their own."""
        first = crc32(b"%d" % (self._now_ms // MINUTE_MS)) % (len(some) or 1)
        return [*some[first:], *some[:first]]

    def _parts(self, source: SourceKey, targets: Sequence[ValueTarget]) -> set[str]:
        """Series of what is judged."""
        metrics = {target.series for target in targets}
        filesystems = self._eyes.filesystems.of(source, self._now_ms) if NAMED_RATE in metrics else ()
        return {part for metric in metrics for part in parts_of(metric, filesystems)}

    def _judge_value(
        self, target: ValueTarget, source: SourceKey, samples: Mapping[str, SamplePairs], from_ms: int
    ) -> bool:
        """Whether what changed was written.  What another metric said before stays said."""
        subject = target.watch.of(source.source)
        from_ms = max(from_ms, target.versions[0].since_ms)
        pairs = pairs_of(target.series, samples, target.versions[-1].rule.operator)
        judged = judge(target.versions, pairs, from_ms)
        if subject not in self._known and all(each.status == OK for each in judged):
            return True
        return self._write(subject, judged, from_ms, Why(target.series, samples=pairs))

    def _judge_anomaly(
        self, target: AnomalyTarget, source: SourceKey, samples: Mapping[str, SamplePairs], from_ms: int
    ) -> bool:
        """As ``_judge_value``; False also if what is usual has to be learned, and this look learned enough."""
        from_ms = max(from_ms, target.versions[0].since_ms)
        times = {ts_ms for name in SPREADS for ts_ms, _ in samples.get(name, ())}
        scores = []
        for until_ms in sorted({learned_until_ms(source, ts_ms) for ts_ms in times}):
            is_known = self._eyes.baselines.has(source, until_ms, target.since_ms)
            if not is_known and next(self._lessons) >= ANOMALY_BASELINES_PER_LOOK:
                return False
            usual = self._eyes.baselines.of(source, until_ms, target.since_ms)
            of_day = {
                name: [pair for pair in samples.get(name, ()) if learned_until_ms(source, pair[0]) == until_ms]
                for name in SPREADS
            }
            scores += worst(usual, of_day)
        pairs = [(each.ts_ms, each.score) for each in scores]
        judged = judge(target.versions, pairs, from_ms)
        subject = target.watch.of(source.source)
        if subject not in self._known and all(each.status == OK for each in judged):
            return True
        bad = {each.ts_ms for each in judged if each.status != OK}
        metric = next((each.metric for each in reversed(scores) if each.ts_ms in bad), "every metric")
        return self._write(
            subject, judged, from_ms, Why(f"{metric} is unlike at this hour of other weeks", samples=pairs)
        )

    def _listen(self, source: str, before: HeardShard, rows: int | None, seen: _Seen) -> Iterator[tuple[str, Heard]]:
        """What is heard now of a source and of metrics of it that are waited for; their silence is judged."""
        minute = self._now_ms // MINUTE_MS
        last_minute = before.minute or minute
        known = before.heard.get(source)
        is_new = rows is not None and (known is None or rows > known.rows)
        if SourceKey(self._tenant, source).lane in self._behind and not is_new:
            rows = None
        heard = listen(known, rows, minute, last_minute)
        yield source, heard if seen.is_done else Heard(known.rows if known else -1, heard.minute)  # changed still
        for target in self._plan.of(source).silences:
            if not target.series:
                self._judge_silence(target, source, heard, is_seen=rows is not None)
                continue
            name = f"{source} {target.series}"
            newest = _newest(rows, seen, before.heard.get(name), target.series)
            sampled = listen(before.heard.get(name), newest, minute, last_minute)
            yield name, sampled
            self._judge_silence(target, source, sampled, is_seen=newest is not None)

    def _judge_silence(self, target: SilenceTarget, source: str, heard: Heard, *, is_seen: bool) -> None:
        """What can't be seen is neither silent nor heard.  After a person closed its alert the source has to be heard
        before another one opens."""
        minute = self._now_ms // MINUTE_MS
        silent = heard.silent_minutes(minute)
        judgement = Judgement(minute * MINUTE_MS, target.bounds.status_of(silent), float(silent))
        subject = target.watch.of(source)
        known = self._known.get(subject)
        is_by_hand = known and any(ms > heard.minute * MINUTE_MS for ms in known[0].by_hand_ms)
        if not is_seen or is_by_hand or (known is None and judgement.status == OK):
            return
        is_open = known and any(alert.closed_ms is None for alert in known[0].said)
        if not is_open and judgement.status != OK and self._waits(subject):
            return
        what = f"no sample of {target.series}" if target.series else "nothing was posted"
        self._write(subject, [judgement], judgement.ts_ms, Why(f"{what} for {silent} minutes"))

    def _waits(self, subject: Subject) -> bool:
        """Whether a downtime is of a host that is gone: its alert opens, and is told, if it is gone still after it."""
        if subject.kind != "connectivity":
            return False
        return self._muting.mutes(subject.monitor, self._roles.get(subject.source, {}))

    @cached_property
    def _muting(self) -> Muting:
        return Muting(DOWNTIMES.find(self._eyes.registry.store, self._tenant), self._now_ms // 1000)

    @cached_property
    def _roles(self) -> dict[str, RolesByService]:
        return self._plan.roles_by_source()

    def _write(self, subject: Subject, judged: Sequence[Judgement], from_ms: int, why: Why) -> bool:
        return written(self._eyes.registry, self._tenant, self._known, subject, judged, from_ms, why)

    def _heard(self, number: int) -> tuple[HeardShard, int]:
        item = self._eyes.registry.store.get(_heard_key(self._tenant, number))
        return (msgspec.json.decode(item.body, type=HeardShard), item.version) if item else (HeardShard(0, {}), 0)


def written(
    registry: Registry,
    tenant: str,
    known: KnownSubjects,
    subject: Subject,
    judged: Sequence[Judgement],
    from_ms: int,
    why: Why,
) -> bool:
    """Whether all that judgements change of a subject was written; False if another look was quicker."""
    before = known.get(subject, (Watched(subject), 0))
    changes = alerts.changes(registry, tenant, before, judged, from_ms, why)
    return not changes or registry.store.write(*changes)


def _is_read(before: Heard | None, rows: int | None, source: SourceKey, last_minute: int, minute: int) -> bool:
    """Whether its number of rows changed since the last look, or it is its turn: a row that overwrites another one
    changes no number, nor does a late one of a window that left Redis."""
    own = crc32(source.source.encode()) % REREAD_MINUTES
    is_turn = (minute + own) // REREAD_MINUTES > (last_minute + own) // REREAD_MINUTES
    return rows is not None and (before is None or before.rows != rows or is_turn)


def _newest(rows: int | None, seen: _Seen, known: Heard | None, series: str) -> int | None:
    """Minute of the newest sample of a series; None if it can't be known."""
    if rows is None or not seen.is_done:
        return None
    return max(seen.newest.get(series, 0), known.rows if known else 0)


def _why_over(subject: Subject, made: WatchPlan) -> Trigger | None:
    """Why an open alert has to be closed although no sample says so; None if it is watched."""
    kind, _, name = subject.source.partition("/")
    if kind == "host" and name not in made.hosts:
        return "hostRetired"
    if subject.kind in ("check", "external"):
        return None
    if subject.monitor not in made.rules:
        return "monitorDeleted"
    return None if made.has(subject) or _is_resting(subject, made) else "outOfScope"


def _is_resting(subject: Subject, made: WatchPlan) -> bool:
    """Whether it is of a host that is not judged now: its alerts stay, as Mackerel documents."""
    kind, _, name = subject.source.partition("/")
    return kind == "host" and name in made.resting


def _heard_key(tenant: str, number: int) -> Key:
    return Key(keys.registry_partition(tenant, "heard"), f"{number:02d}")
