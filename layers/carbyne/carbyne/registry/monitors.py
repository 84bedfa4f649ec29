"""Monitors of the type ``external``: a URL that is asked each minute, as Mackerel's API has them.

Beside the monitor there is an item in one list of all tenants' monitors, which the scheduler reads.
"""

from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Meta

from carbyne.core import keys, names
from carbyne.core.errors import RequestError
from carbyne.core.limits import (
    CHECK_ATTEMPTS_MAX,
    CHECK_TIMES_MAX,
    EXTERNAL_BODY_CHARACTERS_MAX,
    EXTERNAL_HEADERS_MAX,
    EXTERNAL_MONITORS_PER_TENANT_MAX,
    EXTERNAL_TEXT_CHARACTERS_MAX,
    MEMO_CHARACTERS_MAX,
    TITLE_CHARACTERS_MAX,
)
from carbyne.registry.store import Key, Registry, RegistryChange, RegistryItem, Store, body_of, settle

Ms = Annotated[float, Meta(gt=0, le=3_600_000)]
Days = Annotated[int, Meta(ge=1, le=3_650)]
HeaderText = Annotated[str, Meta(max_length=EXTERNAL_TEXT_CHARACTERS_MAX, pattern=r"^[^\r\n]*$")]


class HeaderField(msgspec.Struct, frozen=True):
    """A header of the request."""

    name: Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
    value: HeaderText


class ExternalForm(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What makes or replaces a monitor.  Response times in ms, averaged over ``response_time_duration`` minutes; the
    expiry of certificates in days; ``expected_status_code``: without it any below 400 will do."""

    type: Literal["external"]
    name: Annotated[str, Meta(min_length=1, max_length=TITLE_CHARACTERS_MAX)]
    url: Annotated[str, Meta(min_length=1, max_length=2_048)]
    memo: Annotated[str, Meta(max_length=MEMO_CHARACTERS_MAX)] = ""
    is_mute: bool = False
    notification_interval: Annotated[int, Meta(ge=0)] | None = None
    method: Literal["GET", "POST", "PUT", "DELETE", "HEAD"] = "GET"
    service: str = ""
    max_check_attempts: Annotated[int, Meta(ge=1, le=CHECK_ATTEMPTS_MAX)] = 1
    response_time_duration: Annotated[int, Meta(ge=1, le=CHECK_TIMES_MAX)] | None = None
    response_time_warning: Ms | None = None
    response_time_critical: Ms | None = None
    contains_string: Annotated[str, Meta(max_length=EXTERNAL_TEXT_CHARACTERS_MAX)] = ""
    certification_expiration_warning: Days | None = None
    certification_expiration_critical: Days | None = None
    skip_certificate_verification: bool = False
    follow_redirect: bool = False
    expected_status_code: Annotated[int, Meta(ge=100, le=599)] | None = None
    request_body: Annotated[str, Meta(max_length=EXTERNAL_BODY_CHARACTERS_MAX)] = ""
    headers: Annotated[list[HeaderField], Meta(max_length=EXTERNAL_HEADERS_MAX)] = []


class ExternalMonitor(ExternalForm, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One as it is kept."""

    id: str


class ExternalState(msgspec.Struct, frozen=True):
    """What the last check of a monitor found.  ``minute``: of the check, since 1970; ``attempts``: checks in a row that
    were not OK; ``alert``: the status after as many as the monitor allows; ``times_ms``: the last response times."""

    status: str
    message: str
    minute: int
    attempts: int = 0
    alert: str = "OK"
    times_ms: list[float] = []


class ExternalJob(msgspec.Struct, frozen=True):
    """One monitor to be checked."""

    tenant: str
    monitor: str


def find(store: Store, tenant: str) -> list[ExternalMonitor]:
    """All of a tenant, by name."""
    found = [_monitor(item) for item in store.items(_key(tenant, "").pk)]
    return sorted(found, key=lambda monitor: (monitor.name, monitor.id))


def get(store: Store, tenant: str, monitor_id: str) -> ExternalMonitor:
    """RequestError 404 for an unknown id."""
    return _monitor(_item(store, tenant, monitor_id))


def create(registry: Registry, tenant: str, form: ExternalForm) -> ExternalMonitor:
    """A new one; RequestError 400 for a URL that can't be asked, or one monitor too many."""
    _check(form)
    known = len(registry.store.items(_key(tenant, "").pk))
    if known >= EXTERNAL_MONITORS_PER_TENANT_MAX:
        raise RequestError(400, f"there are {known} external monitors, which is the limit; delete one first")
    made = ExternalMonitor(id=registry.new_id(), **msgspec.structs.asdict(form))
    job = RegistryChange(_job_key(tenant, made.id), body_of(ExternalJob(tenant, made.id)), 0)
    settle(lambda: registry.store.write(RegistryChange(_key(tenant, made.id), body_of(made), 0), job) or None)
    return made


def replace(registry: Registry, tenant: str, monitor_id: str, form: ExternalForm) -> ExternalMonitor:
    """RequestError 404 for an unknown id, 400 as of ``create``."""
    _check(form)
    made = ExternalMonitor(id=monitor_id, **msgspec.structs.asdict(form))

    def attempt() -> bool | None:
        item = _item(registry.store, tenant, monitor_id)
        return registry.store.write(RegistryChange(item.key, body_of(made), item.version)) or None

    settle(attempt)
    return made


def delete(registry: Registry, tenant: str, monitor_id: str) -> ExternalMonitor:
    """One as it was; RequestError 404 for an unknown id."""

    def attempt() -> RegistryItem | None:
        item = _item(registry.store, tenant, monitor_id)
        beside = map(registry.store.get, (_job_key(tenant, monitor_id), _state_key(tenant, monitor_id)))
        changes = [RegistryChange(each.key, None, each.version) for each in (item, *beside) if each]
        return item if registry.store.write(*changes) else None

    return _monitor(settle(attempt))


def jobs(store: Store) -> Iterator[ExternalJob]:
    """Every monitor of every tenant."""
    return (msgspec.json.decode(item.body, type=ExternalJob) for item in store.scan(keys.EXTERNAL_ITEM))


def state(store: Store, tenant: str, monitor_id: str) -> ExternalState | None:
    """What the last check found; None before the first one."""
    item = store.get(_state_key(tenant, monitor_id))
    return msgspec.json.decode(item.body, type=ExternalState) if item else None


def states(store: Store, tenant: str) -> dict[str, ExternalState]:
    """What the last checks found, by monitor."""
    items = store.items(_state_key(tenant, "").pk)
    return {unquote(item.key.sk): msgspec.json.decode(item.body, type=ExternalState) for item in items}


def keep_state(registry: Registry, tenant: str, monitor_id: str, found: ExternalState) -> bool:
    """Unless a check of this minute, or of a later one, was kept already; whether it was kept now."""
    key = _state_key(tenant, monitor_id)

    def attempt() -> bool | None:
        item = registry.store.get(key)
        if item and msgspec.json.decode(item.body, type=ExternalState).minute >= found.minute:
            return False
        written = registry.store.write(RegistryChange(key, body_of(found), item.version if item else 0))
        return True if written else None

    return settle(attempt)


def _check(form: ExternalForm) -> None:
    try:
        parts = urlsplit(form.url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and form.url.isprintable()
    except ValueError:
        sound = False
    if not sound or " " in form.url or "@" in urlsplit(form.url).netloc:
        raise RequestError(400, "url is http:// or https:// and a host, without user and password")
    if form.service:
        names.service(form.service)


def _item(store: Store, tenant: str, monitor_id: str) -> RegistryItem:
    if found := store.get(_key(tenant, monitor_id)):
        return found
    raise RequestError(404, f"monitor {monitor_id[:100]!r} is unknown")


def _monitor(item: RegistryItem) -> ExternalMonitor:
    return msgspec.json.decode(item.body, type=ExternalMonitor)


def _key(tenant: str, monitor_id: str) -> Key:
    return Key(keys.registry_partition(tenant, "monitors"), keys.escape(monitor_id))


def _job_key(tenant: str, monitor_id: str) -> Key:
    return Key(keys.EXTERNAL_ITEM, f"{keys.escape(tenant)}:{keys.escape(monitor_id)}")


def _state_key(tenant: str, monitor_id: str) -> Key:
    return Key(keys.registry_partition(tenant, "monitor-states"), keys.escape(monitor_id))
