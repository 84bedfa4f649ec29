"""Downtimes: when alerts are not notified, of which services, roles and monitors."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from carbyne.core.errors import RequestError
from carbyne.core.limits import DOWNTIME_MINUTES_MAX, DOWNTIMES_PER_TENANT_MAX, SCOPES_MAX
from carbyne.registry.documents import Documents
from carbyne.registry.monitor_types import MemoText, Title
from carbyne.registry.scopes import Scopes, check_scopes

UnixS = Annotated[int, Meta(ge=0, le=2**33)]
Weekday = Literal["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
MonitorIds = Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=SCOPES_MAX)]


class Recurrence(msgspec.Struct, frozen=True, omit_defaults=True):
    """Every ``interval`` hours, days, weeks, months or years, until ``until`` (seconds); ``weekdays``: in UTC."""

    type: Literal["hourly", "daily", "weekly", "monthly", "yearly"]
    interval: Annotated[int, Meta(ge=1, le=1_000)]
    weekdays: Annotated[list[Weekday], Meta(max_length=7)] | None = None
    until: UnixS | None = None


class Downtime(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """``start`` in seconds, ``duration`` in minutes; without any scope it is of everything."""

    id: Annotated[str, Meta(max_length=64)] = ""
    name: Title
    memo: MemoText = ""
    start: UnixS
    duration: Annotated[int, Meta(ge=1, le=DOWNTIME_MINUTES_MAX)]
    recurrence: Recurrence | None = None
    service_scopes: Scopes | None = None
    service_exclude_scopes: Scopes | None = None
    role_scopes: Scopes | None = None
    role_exclude_scopes: Scopes | None = None
    monitor_scopes: MonitorIds | None = None
    monitor_exclude_scopes: MonitorIds | None = None


DOWNTIMES: Final[Documents[Downtime]] = Documents("downtimes", "downtime", Downtime, DOWNTIMES_PER_TENANT_MAX)


def checked(form: Downtime) -> Downtime:
    """RequestError 400 that names the field."""
    check_scopes("serviceScopes", form.service_scopes)
    check_scopes("serviceExcludeScopes", form.service_exclude_scopes)
    check_scopes("roleScopes", form.role_scopes)
    check_scopes("roleExcludeScopes", form.role_exclude_scopes)
    if form.recurrence and form.recurrence.weekdays and form.recurrence.type != "weekly":
        raise RequestError(400, "recurrence.weekdays: only a weekly recurrence has days of the week")
    return form
