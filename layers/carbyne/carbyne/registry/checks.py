"""Check reports: of each check of a host the latest state is kept.

Reports come late and twice, since agents keep them until they are taken: only what happened later changes a state.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from carbyne.core import keys
from carbyne.core.errors import RequestError
from carbyne.core.limits import (
    CHECK_MESSAGE_CHARACTERS_MAX,
    CHECK_REPORT_AGE_S_MAX,
    CHECKS_PER_HOST_MAX,
    NAME_BYTES_MAX,
    REPORTS_PER_BODY_MAX,
)
from carbyne.registry import hosts
from carbyne.registry.store import Key, Registry, RegistryChange, RegistryItem, body_of, settle

UNKNOWN_HOST: Final = "unknown-host"
BAD_TIME: Final = "bad-time"
TOO_MANY_CHECKS: Final = "too-many-checks"


class CheckSource(msgspec.Struct, frozen=True, rename="camel"):
    """What a report is about; Mackerel knows hosts only."""

    type: Literal["host"]
    host_id: str


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """``occurred_at``: seconds; how to notify is the host's affair and not kept."""

    source: CheckSource
    name: Annotated[str, Meta(min_length=1, max_length=NAME_BYTES_MAX)]
    status: Literal["OK", "CRITICAL", "WARNING", "UNKNOWN"]
    occurred_at: int
    message: str = ""


class State(msgspec.Struct, frozen=True):
    """The latest report of one check."""

    name: str
    status: str
    message: str
    occurred_s: int


def report(registry: Registry, tenant: str, reports: Sequence[Report]) -> Counter[str]:
    """Keep the states that are news; what was skipped, by reason.  RequestError 400 for too many reports."""
    if len(reports) > REPORTS_PER_BODY_MAX:
        raise RequestError(400, f"{len(reports)} reports; send at most {REPORTS_PER_BODY_MAX} at once")
    skipped: Counter[str] = Counter()
    by_host: dict[str, list[State]] = defaultdict(list)
    for one in reports:
        if abs(registry.now_s() - one.occurred_at) >= CHECK_REPORT_AGE_S_MAX:
            skipped[BAD_TIME] += 1
        else:
            by_host[one.source.host_id].append(_state(one))
    for host_id, states in by_host.items():
        skipped += _keep(registry, tenant, host_id, states)
    return skipped


def states(registry: Registry, tenant: str, host_id: str) -> list[tuple[State, str]]:
    """The latest states of a host's checks with the host's memos on them; RequestError 404 for an unknown host."""
    host = hosts.get(registry.store, tenant, host_id)
    memos = {check.name: check.memo for check in host.checks or ()}
    found = [_stored(item) for item in registry.store.items(_pk(tenant, host_id), "check:")]
    return [(state, memos.get(state.name, "")) for state in found]


def _keep(registry: Registry, tenant: str, host_id: str, states: list[State]) -> Counter[str]:
    try:
        hosts.live(registry.store, tenant, host_id)
    except RequestError:
        return Counter({UNKNOWN_HOST: len(states)})
    return settle(lambda: _keep_once(registry, _pk(tenant, host_id), states))


def _keep_once(registry: Registry, pk: str, states: list[State]) -> Counter[str] | None:
    known = {item.key: item for item in registry.store.items(pk, "check:")}
    latest = {_key(pk, one): one for one in sorted(states, key=lambda one: one.occurred_s)}
    room = max(0, CHECKS_PER_HOST_MAX - len(known))
    taken = latest.keys() & known.keys() | set([key for key in latest if key not in known][:room])
    news = [_change(key, latest[key], known.get(key)) for key in taken if _is_news(latest[key], known.get(key))]
    written = all(registry.store.write(change) for change in news)
    refused = sum(_key(pk, one) not in taken for one in states)
    return (Counter({TOO_MANY_CHECKS: refused}) if refused else Counter()) if written else None


def _key(pk: str, state: State) -> Key:
    return Key(pk, f"check:{keys.check_monitor(state.name)}")


def _is_news(state: State, item: RegistryItem | None) -> bool:
    return item is None or _stored(item).occurred_s < state.occurred_s


def _change(key: Key, state: State, item: RegistryItem | None) -> RegistryChange:
    return RegistryChange(key, body_of(state), item.version if item else 0)


def _state(one: Report) -> State:
    return State(one.name, one.status, one.message[:CHECK_MESSAGE_CHARACTERS_MAX], one.occurred_at)


def _stored(item: RegistryItem) -> State:
    return msgspec.json.decode(item.body, type=State)


def _pk(tenant: str, host_id: str) -> str:
    return keys.registry_owner(tenant, "host", host_id)
