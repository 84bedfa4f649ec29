"""Check reports: of each check of a host the latest state is kept, and its alert is opened and closed with it.

Reports come late and twice, since agents keep them until they are taken: only what happened later changes a state.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from carbyne.core import keys
from carbyne.core.errors import RequestError
from carbyne.core.limits import (
    CHECK_ATTEMPTS_MAX,
    CHECK_HOSTS_MAX,
    CHECK_MESSAGE_CHARACTERS_MAX,
    CHECK_REPORT_AGE_S_MAX,
    CHECKS_PER_HOST_MAX,
    NAME_BYTES_MAX,
    REPORTS_PER_BODY_MAX,
)
from carbyne.registry import alerts, hosts, rules
from carbyne.registry.alerts import Subject, Why
from carbyne.registry.store import Key, Registry, RegistryChange, RegistryItem, Store, body_of, settle

UNKNOWN_HOST: Final = "unknown-host"
BAD_TIME: Final = "bad-time"
TOO_MANY_CHECKS: Final = "too-many-checks"
OK: Final = "OK"


class CheckSource(msgspec.Struct, frozen=True, rename="camel"):
    """What a report is about; Mackerel knows hosts only."""

    type: Literal["host"]
    host_id: str


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """``occurred_at``: seconds; ``max_check_attempts``: reports in a row that are not OK before an alert opens.

    How often to notify is the host's affair and not kept.
    """

    source: CheckSource
    name: Annotated[str, Meta(min_length=1, max_length=NAME_BYTES_MAX)]
    status: Literal["OK", "CRITICAL", "WARNING", "UNKNOWN"]
    occurred_at: int
    message: str = ""
    max_check_attempts: int | None = None


class State(msgspec.Struct, frozen=True):
    """The latest report of one check.

    ``occurred_s``: when it happened, at most when it arrived; ``reported_s``: the same as the agent's clock had it;
    ``attempts``: reports in a row that are not OK, ``attempts_max``: the number of them that opens an alert.
    """

    name: str
    status: str
    message: str
    occurred_s: int
    reported_s: int = 0
    attempts: int = 1
    attempts_max: int = 1

    @property
    def alert(self) -> str:
        """The status of the check's alert: OK without one."""
        return self.status if self.attempts >= self.attempts_max else OK


class HostKey(NamedTuple):
    """A host of a tenant."""

    tenant: str
    host_id: str


def report(registry: Registry, tenant: str, reports: Sequence[Report]) -> Counter[str]:
    """Keep the states that are news; what was skipped, by reason.  RequestError 400 for too many reports."""
    if len(reports) > REPORTS_PER_BODY_MAX:
        raise RequestError(400, f"{len(reports)} reports; send at most {REPORTS_PER_BODY_MAX} at once")
    skipped: Counter[str] = Counter()
    by_host: dict[str, list[Report]] = defaultdict(list)
    for each in reports:
        if abs(registry.now_s() - each.occurred_at) >= CHECK_REPORT_AGE_S_MAX:
            skipped[BAD_TIME] += 1
        else:
            by_host[each.source.host_id].append(each)
    for host_id, of_host in by_host.items():
        skipped += _keep(registry, tenant, host_id, of_host)
    return skipped


def keep_listed(registry: Registry, tenant: str, host_id: str, checks: Sequence[hosts.Check]) -> None:
    """Forget the checks that a host no longer lists, but those with an open alert."""
    listed = {check.name for check in checks}

    def attempt() -> bool | None:
        items = registry.store.items(_pk(tenant, host_id), "check:")
        left = [item for item in items if (state := _stored(item)).name not in listed and state.alert == OK]
        return all(registry.store.write(RegistryChange(item.key, None, item.version)) for item in left) or None

    settle(attempt)


def states(registry: Registry, tenant: str, host_id: str) -> list[tuple[State, str]]:
    """The latest states of a host's checks with the host's memos on them; RequestError 404 for an unknown host."""
    host = hosts.get(registry.store, tenant, host_id)
    memos = {check.name: check.memo for check in host.checks or ()}
    stored = [_stored(item) for item in registry.store.items(_pk(tenant, host_id), "check:")]
    return [(state, memos.get(state.name, "")) for state in stored]


def name_of(store: Store, tenant: str, host_id: str, monitor: str) -> str:
    """The name of the check that a monitor stands for; empty for one that the host no longer has."""
    item = store.get(Key(_pk(tenant, host_id), f"check:{monitor}"))
    return _stored(item).name if item else ""


def of_hosts(store: Store, tenant: str, host_ids: Sequence[str]) -> dict[str, list[State]]:
    """The latest states of the checks of several hosts, by host; RequestError 400 for too many."""
    if len(host_ids) > CHECK_HOSTS_MAX:
        raise RequestError(400, f"{len(host_ids)} hosts; ask for at most {CHECK_HOSTS_MAX} at once")
    with ThreadPoolExecutor(8) as threads:
        states = threads.map(lambda host_id: store.items(_pk(tenant, host_id), "check:"), host_ids)
        return {host_id: list(map(_stored, items)) for host_id, items in zip(host_ids, states, strict=True)}


def _keep(registry: Registry, tenant: str, host_id: str, reports: list[Report]) -> Counter[str]:
    try:
        hosts.live(registry.store, tenant, host_id)
    except RequestError:
        return Counter({UNKNOWN_HOST: len(reports)})
    return settle(lambda: _keep_once(registry, HostKey(tenant, host_id), reports))


def _keep_once(registry: Registry, host: HostKey, reports: list[Report]) -> Counter[str] | None:
    pk = _pk(*host)
    items = {item.key: item for item in registry.store.items(pk, "check:")}
    now_s, states, refused = registry.now_s(), {key: _stored(item) for key, item in items.items()}, 0
    for each in sorted(reports, key=lambda each: min(each.occurred_at, now_s)):
        key = _key(pk, each.name)
        if key in states or len(states) < CHECKS_PER_HOST_MAX:
            states[key] = _after(states.get(key), each, now_s)
        else:
            refused += 1
    changes = {key: _change(key, state, items.get(key)) for key, state in states.items()}
    news = [change for key, change in changes.items() if change.version == 0 or change.body != items[key].body]
    written = all(
        registry.store.write(change, *_alerted(registry, host, items.get(change.key), states[change.key]))
        for change in news
    )
    return (Counter({TOO_MANY_CHECKS: refused}) if refused else Counter()) if written else None


def _alerted(registry: Registry, host: HostKey, item: RegistryItem | None, state: State) -> list[RegistryChange]:
    """What a report changes of the check's alert; a bad one opens another alert after a person closed the first."""
    before = _stored(item).alert if item else OK
    if state.alert == before == OK:
        return []
    subject = Subject(keys.check_monitor(state.name), f"host/{host.host_id}", "check")
    why = Why(state.message, has_value=False)
    changes = alerts.turned(registry, host.tenant, subject, state.alert, state.occurred_s, why)
    return [*changes, *rules.listed(registry.store, host.tenant)]  # the evaluator closes those of retired hosts


def _after(state: State | None, report: Report, now_s: int) -> State:
    """The state after a report: the same after one that is older, or that was taken before.

    One from the future counts as of now, or no other would be news until then; of two within a second the later
    arrival wins, since a command can fail and succeed within one.
    """
    occurred_s, message = min(report.occurred_at, now_s), report.message[:CHECK_MESSAGE_CHARACTERS_MAX]
    bad_before = state.attempts if state and state.status != OK else 0
    if state and occurred_s < state.occurred_s:
        return state
    if state and (report.occurred_at, report.status, message) == (state.reported_s, state.status, state.message):
        return state
    attempts_max = min(max(report.max_check_attempts or 1, 1), CHECK_ATTEMPTS_MAX)
    attempts = bad_before + 1 if report.status != OK else attempts_max
    return State(report.name, report.status, message, occurred_s, report.occurred_at, attempts, attempts_max)


def _key(pk: str, name: str) -> Key:
    return Key(pk, f"check:{keys.check_monitor(name)}")


def _change(key: Key, state: State, item: RegistryItem | None) -> RegistryChange:
    return RegistryChange(key, body_of(state), item.version if item else 0)


def _stored(item: RegistryItem) -> State:
    return msgspec.json.decode(item.body, type=State)


def _pk(tenant: str, host_id: str) -> str:
    return keys.registry_owner(tenant, "host", host_id)
