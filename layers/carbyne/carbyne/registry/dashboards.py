"""Dashboards, as Mackerel's API has them: what a widget shows is its own affair and kept as it was sent.

A dashboard is two items: its head, which lists read, and its widgets.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from carbyne.core import keys
from carbyne.core.errors import RequestError
from carbyne.core.limits import (
    DASHBOARD_BYTES_MAX,
    DASHBOARDS_PER_TENANT_MAX,
    MEMO_CHARACTERS_MAX,
    TITLE_CHARACTERS_MAX,
    WIDGETS_MAX,
)
from carbyne.http.forms import allowed
from carbyne.registry.store import Key, Registry, RegistryChange, RegistryItem, Store, body_of, settle

Cells = Annotated[int, Meta(ge=0, le=10_000)]


class Layout(msgspec.Struct, frozen=True):
    """Where a widget is, in cells of a grid 24 wide."""

    x: Cells
    y: Cells
    width: Cells
    height: Cells


class Widget(msgspec.Struct, frozen=True):
    """What every widget has."""

    type: Literal["graph", "value", "markdown", "alertStatus"]
    layout: Layout
    title: str = ""


class DashboardForm(msgspec.Struct, frozen=True, rename="camel"):
    """What makes or replaces one; ``widgets`` null replaces all but them, as `mkr dashboards push` means what it pulled
    out of the list."""

    title: Annotated[str, Meta(min_length=1, max_length=TITLE_CHARACTERS_MAX)]
    memo: Annotated[str, Meta(max_length=MEMO_CHARACTERS_MAX)] = ""
    url_path: Annotated[str, Meta(max_length=TITLE_CHARACTERS_MAX)] = ""
    widgets: Annotated[list[dict[str, Raw]], Meta(max_length=WIDGETS_MAX)] | None = []


class Head(msgspec.Struct, frozen=True, rename="camel"):
    """A dashboard in a list; times in seconds."""

    id: str
    title: str
    memo: str
    url_path: str
    created_at: int
    updated_at: int


class Dashboard(Head, frozen=True, rename="camel"):
    """One as a whole."""

    widgets: list[dict[str, Raw]]


def find(store: Store, tenant: str) -> list[Head]:
    """All dashboards of a tenant, the oldest first."""
    heads = [_head(item) for item in store.items(_head_key(tenant, "").pk)]
    return sorted(heads, key=lambda head: (head.created_at, head.id))


def get(store: Store, tenant: str, dashboard_id: str) -> Dashboard:
    """RequestError 404 for an unknown id."""
    head, widgets = _items(store, tenant, dashboard_id)
    return _whole(_head(head), _widgets(widgets))


def create(registry: Registry, tenant: str, form: DashboardForm) -> Dashboard:
    """A new one; RequestError 400 for a malformed widget or one dashboard too many, 413 for a large one."""
    body = _checked(form)
    known = len(registry.store.items(_head_key(tenant, "").pk))
    if known >= DASHBOARDS_PER_TENANT_MAX:
        raise RequestError(400, f"there are {known} dashboards, which is the limit; delete one first")
    now_s = registry.now_s()
    head = Head(registry.new_id(), form.title, form.memo, form.url_path, now_s, now_s)
    settle(lambda: registry.store.write(*_changes(tenant, head, body, 0, 0)) or None)
    return _whole(head, form.widgets or [])


def replace(registry: Registry, tenant: str, dashboard_id: str, form: DashboardForm) -> Dashboard:
    """RequestError 404 for an unknown id; else as of ``create``."""
    body = _checked(form)

    def attempt() -> Dashboard | None:
        old, widgets = _items(registry.store, tenant, dashboard_id)
        created_s = _head(old).created_at
        head = Head(dashboard_id, form.title, form.memo, form.url_path, created_s, registry.now_s())
        kept = widgets.body if form.widgets is None else body
        written = registry.store.write(*_changes(tenant, head, kept, old.version, widgets.version))
        return _whole(head, msgspec.json.decode(kept, type=list[dict[str, Raw]])) if written else None

    return settle(attempt)


def delete(registry: Registry, tenant: str, dashboard_id: str) -> Dashboard:
    """One as it was; RequestError 404 for an unknown id."""

    def attempt() -> Dashboard | None:
        head, widgets = _items(registry.store, tenant, dashboard_id)
        gone = registry.store.write(*(RegistryChange(item.key, None, item.version) for item in (head, widgets)))
        return _whole(_head(head), _widgets(widgets)) if gone else None

    return settle(attempt)


def _checked(form: DashboardForm) -> bytes:
    """The widgets as they are stored."""
    body = body_of(form.widgets or [])
    if len(body) > DASHBOARD_BYTES_MAX:
        raise RequestError(413, f"the widgets have {len(body)} bytes; send at most {DASHBOARD_BYTES_MAX}")
    try:
        msgspec.json.decode(body, type=list[Widget])
    except msgspec.ValidationError as error:
        told = f"{error}{allowed(list[Widget], str(error))}"
        raise RequestError(400, f"a widget is not as it should be: {told}") from None
    return body


def _changes(
    tenant: str, head: Head, body: bytes, version: int, widgets_version: int
) -> tuple[RegistryChange, RegistryChange]:
    return (
        RegistryChange(_head_key(tenant, head.id), body_of(head), version),
        RegistryChange(_widgets_key(tenant, head.id), body, widgets_version),
    )


def _items(store: Store, tenant: str, dashboard_id: str) -> tuple[RegistryItem, RegistryItem]:
    head, widgets = store.get(_head_key(tenant, dashboard_id)), store.get(_widgets_key(tenant, dashboard_id))
    if head is None or widgets is None:
        raise RequestError(404, f"dashboard {dashboard_id[:100]!r} is unknown")
    return head, widgets


def _head_key(tenant: str, dashboard_id: str) -> Key:
    return Key(keys.registry_partition(tenant, "dashboards"), keys.escape(dashboard_id))


def _widgets_key(tenant: str, dashboard_id: str) -> Key:
    return Key(keys.registry_owner(tenant, "dashboard", dashboard_id), "widgets")


def _head(item: RegistryItem) -> Head:
    return msgspec.json.decode(item.body, type=Head)


def _widgets(item: RegistryItem) -> list[dict[str, Raw]]:
    return msgspec.json.decode(item.body, type=list[dict[str, Raw]])


def _whole(head: Head, widgets: list[dict[str, Raw]]) -> Dashboard:
    return Dashboard(**msgspec.structs.asdict(head), widgets=widgets)
