"""URLs in messages: the picture of an alert, and the page's views of what the alert is about."""

import logging
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote, urlencode

from carbyne.alerts.pictures import Picture, path_of
from carbyne.core.errors import RetryableError
from carbyne.core.limits import PICTURE_S, PICTURE_TITLE_CHARACTERS_MAX
from carbyne.notify.routing import About
from carbyne.registry.alerts import Notice
from carbyne.registry.monitor_types import (
    AnomalyMonitor,
    AnyMonitor,
    ExpressionMonitor,
    HostMonitor,
    QueryMonitor,
    ServiceMonitor,
)

_log = logging.getLogger(__name__)


class Links(NamedTuple):
    """Makes URLs.  ``url``: of the page and the API; ``secret``: what pictures are signed with, RetryableError."""

    url: str
    secret: Callable[[], bytes]

    def page(self, *path: str, **parameters: object) -> str:
        """A view of the page."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        return f"{self.url}/#/{'/'.join(quote(part, safe='') for part in path)}{query}"

    def alert(self, notice: Notice) -> str:
        """An alert with its log and the way to its graphs; there is none behind a test call."""
        return self.page() if notice.alert.type == "test" else self.page("alerts", notice.alert.id)

    def picture(self, notice: Notice, subject: About) -> str | None:
        """The same in every try to send a notice.  None where nothing was measured, or the secret can't be had: the
        message goes without it."""
        if notice.plot is None:
            return None
        title = _title(notice, subject)[:PICTURE_TITLE_CHARACTERS_MAX]
        times_s = notice.alert.opened_at, notice.alert.closed_at, notice.created_s + PICTURE_S
        picture = Picture(title, notice.plot, *_bounds(subject.monitor), *times_s)
        try:
            return f"{self.url}{path_of(picture, self.secret())}"
        except RetryableError as error:
            _log.warning("an alert of %s is told without its picture: %s", notice.tenant, error)
            return None


def _title(notice: Notice, subject: About) -> str:
    """What the values are of."""
    monitor = subject.monitor
    if isinstance(monitor, HostMonitor | ServiceMonitor):
        return f"{monitor.metric} on {subject.source}"
    if isinstance(monitor, AnomalyMonitor):
        return f"{subject.source}: distance from what is usual"
    return subject.name_of(notice)


def _bounds(monitor: AnyMonitor | None) -> tuple[str, float | None, float | None]:
    """Operator, warning and critical."""
    if isinstance(monitor, HostMonitor | ServiceMonitor | ExpressionMonitor | QueryMonitor):
        return monitor.operator, monitor.warning, monitor.critical
    return (">", *monitor.scores) if isinstance(monitor, AnomalyMonitor) else (">", None, None)
