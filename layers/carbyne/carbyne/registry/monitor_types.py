"""The types of monitors, with Mackerel's fields.  A field that is left out or null has no default that is kept, so that
mkr pulls what it pushed."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from carbyne.alerts.formula import parse_formula
from carbyne.alerts.rates import RATES
from carbyne.core import names
from carbyne.core.errors import RequestError
from carbyne.core.limits import (
    CHECK_ATTEMPTS_MAX,
    CHECK_TIMES_MAX,
    EXPRESSION_CHARACTERS_MAX,
    EXTERNAL_BODY_CHARACTERS_MAX,
    EXTERNAL_HEADERS_MAX,
    EXTERNAL_TEXT_CHARACTERS_MAX,
    MEMO_CHARACTERS_MAX,
    MISSING_MINUTES_MAX,
    NAME_BYTES_MAX,
    NOTIFICATION_MINUTES_MAX,
    TITLE_CHARACTERS_MAX,
)
from carbyne.registry.scopes import Scopes, check_scopes

Ms = Annotated[float, Meta(gt=0, le=3_600_000)]
Days = Annotated[int, Meta(ge=1, le=3_650)]
HeaderText = Annotated[str, Meta(max_length=EXTERNAL_TEXT_CHARACTERS_MAX, pattern=r"^[^\r\n]*$(?!\n)")]
Title = Annotated[str, Meta(min_length=1, max_length=TITLE_CHARACTERS_MAX)]
MemoText = Annotated[str, Meta(max_length=MEMO_CHARACTERS_MAX)]
Operator = Literal[">", "<"]
Attempts = Annotated[int, Meta(ge=1, le=CHECK_ATTEMPTS_MAX)]
AveragedMinutes = Annotated[int, Meta(ge=1, le=CHECK_TIMES_MAX)]
MetricText = Annotated[str, Meta(min_length=1, max_length=NAME_BYTES_MAX)]
Missing = Annotated[int, Meta(ge=1, le=MISSING_MINUTES_MAX)]
Formula = Annotated[str, Meta(min_length=1, max_length=EXPRESSION_CHARACTERS_MAX)]
Backward = Annotated[int, Meta(ge=0, le=60)]
Sensitivity = Literal["insensitive", "normal", "sensitive"]
_SCORES: Final = {"sensitive": 4.0, "normal": 6.0, "insensitive": 10.0}
NotificationMinutes = Annotated[int, Meta(ge=0, le=NOTIFICATION_MINUTES_MAX)]


class _Monitor(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag_field="type"):
    """``id``: given by the registry; ``notification_interval``: minutes between two notifications of an open alert,
    None for one alone."""

    id: Annotated[str, Meta(max_length=64)] = ""
    memo: MemoText = ""
    is_mute: bool = False
    notification_interval: NotificationMinutes | None = None


class _Named(_Monitor, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    name: Title


class _Compared(_Named, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A value that is worse than a bound; without both bounds it never is."""

    operator: Operator
    warning: float | None = None
    critical: float | None = None


class ConnectivityMonitor(_Monitor, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag="connectivity"):
    """Hosts that post nothing any more."""

    name: Annotated[str, Meta(max_length=TITLE_CHARACTERS_MAX)] = ""
    alert_status_on_gone: Literal["CRITICAL", "WARNING"] | None = None
    scopes: Scopes | None = None
    exclude_scopes: Scopes | None = None


class HostMonitor(_Compared, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag="host"):
    """A metric of each host in scope, or a rate; ``duration``: samples that are averaged."""

    metric: MetricText
    duration: AveragedMinutes
    max_check_attempts: Attempts | None = None
    scopes: Scopes | None = None
    exclude_scopes: Scopes | None = None


class ServiceMonitor(_Compared, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag="service"):
    """A metric of a service; ``missing_duration_...``: minutes without a sample."""

    service: str
    metric: MetricText
    duration: AveragedMinutes
    max_check_attempts: Attempts | None = None
    missing_duration_warning: Missing | None = None
    missing_duration_critical: Missing | None = None


class HeaderField(msgspec.Struct, frozen=True):
    """A header of the request."""

    name: Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$(?!\n)")]
    value: HeaderText


class ExternalMonitor(_Named, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag="external"):
    """A URL.  Response times in ms, averaged over ``response_time_duration`` minutes; the expiry of certificates in
    days; ``expected_status_code``: without it any below 400 will do; ``headers``: null leaves them as they are."""

    url: Annotated[str, Meta(min_length=1, max_length=2_048)]
    method: Literal["GET", "POST", "PUT", "DELETE", "HEAD"] | None = None
    service: str = ""
    max_check_attempts: Attempts | None = None
    response_time_duration: AveragedMinutes | None = None
    response_time_warning: Ms | None = None
    response_time_critical: Ms | None = None
    contains_string: Annotated[str, Meta(max_length=EXTERNAL_TEXT_CHARACTERS_MAX)] = ""
    certification_expiration_warning: Days | None = None
    certification_expiration_critical: Days | None = None
    skip_certificate_verification: bool = False
    follow_redirect: bool = False
    expected_status_code: Annotated[int, Meta(ge=100, le=599)] | None = None
    request_body: Annotated[str, Meta(max_length=EXTERNAL_BODY_CHARACTERS_MAX)] = ""
    headers: Annotated[list[HeaderField], Meta(max_length=EXTERNAL_HEADERS_MAX)] | None = None


class ExpressionMonitor(_Compared, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag="expression"):
    """An expression of Mackerel's functions."""

    expression: Formula
    evaluate_backward_minutes: Backward | None = None


class QueryMonitor(_Compared, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag="query"):
    """A query of PromQL: an alert for each of its series."""

    query: Formula
    legend: Annotated[str, Meta(max_length=TITLE_CHARACTERS_MAX)] = ""
    evaluate_backward_minutes: Backward | None = None


class AnomalyMonitor(_Named, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag="anomalyDetection"):
    """Roles whose hosts behave unlike before; ``training_period_from``: seconds since 1970; without
    ``max_check_attempts`` three samples in a row."""

    scopes: Scopes | None = None
    warning_sensitivity: Sensitivity | None = None
    critical_sensitivity: Sensitivity | None = None
    training_period_from: Annotated[int, Meta(ge=0, le=2**33)] | None = None
    max_check_attempts: Attempts | None = None

    @property
    def scores(self) -> tuple[float | None, float | None]:
        """Warning and critical: scores of a host from which on it is unlike before."""
        return _SCORES.get(self.warning_sensitivity or ""), _SCORES.get(self.critical_sensitivity or "")


AnyMonitor = (
    ConnectivityMonitor
    | HostMonitor
    | ServiceMonitor
    | ExternalMonitor
    | ExpressionMonitor
    | QueryMonitor
    | AnomalyMonitor
)


def filled(template: str, labels: Mapping[str, str]) -> str:
    """A text in which ``{{label}}`` stands for the value of a label."""
    return re.sub(r"\{\{\s*([^{}]*?)\s*\}\}", lambda match: labels.get(match[1], ""), template)


def checked(monitor: AnyMonitor) -> AnyMonitor:
    """As it is kept; RequestError 400 that names the field."""
    _check_service(monitor)
    if isinstance(monitor, ConnectivityMonitor | HostMonitor):
        check_scopes("excludeScopes", monitor.exclude_scopes)
    if isinstance(monitor, ConnectivityMonitor | HostMonitor | AnomalyMonitor):
        check_scopes("scopes", monitor.scopes)
    if isinstance(monitor, HostMonitor) and monitor.metric.endswith("%"):
        _check_rate(monitor)
    if isinstance(monitor, ExpressionMonitor):
        _check("expression", parse_formula, monitor.expression)
    if isinstance(monitor, QueryMonitor):
        _check("query", _parse_query, monitor.query)
    if isinstance(monitor, ExternalMonitor):
        check_url("url", monitor.url)
        return monitor if monitor.headers is not None else msgspec.structs.replace(monitor, headers=[])
    if isinstance(monitor, AnomalyMonitor):
        if monitor.warning_sensitivity is monitor.critical_sensitivity is None:
            raise RequestError(400, "warningSensitivity: it or criticalSensitivity must be given")
        return msgspec.structs.replace(monitor, scopes=monitor.scopes or [])
    return monitor


def _check_service(monitor: AnyMonitor) -> None:
    if isinstance(monitor, ServiceMonitor) or (isinstance(monitor, ExternalMonitor) and monitor.service):
        _check("service", names.service, monitor.service)


def _check_rate(monitor: HostMonitor) -> None:
    if monitor.metric not in RATES:
        raise RequestError(400, f"metric: a share in percent is one of {', '.join(RATES)}")
    for field, bound in (("warning", monitor.warning), ("critical", monitor.critical)):
        if bound is not None and not 0 <= bound <= 100:
            raise RequestError(400, f"{field}: a share of 0 to 100 percent")


def _check(field: str, parse: Callable[[str], object], text: str) -> None:
    """RequestError 400 that names the field, for what can't be parsed."""
    try:
        parse(text)
    except RequestError as error:
        raise RequestError(400, f"{field}: {error.message}") from None


def _parse_query(text: str) -> None:
    from carbyne.promql.parsed import parse  # noqa: PLC0415 - which only such monitors need

    kind = parse(text).kind
    if kind not in ("scalar", "vector"):
        raise RequestError(400, f"it gives a {kind}; a monitor compares a scalar or an instant vector")


def check_url(field: str, url: str, *, may_sign_in: bool = False) -> None:
    """RequestError 400 for one that can't be asked; ``may_sign_in``: it may have user and password."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and url.isprintable()
    except ValueError:
        sound = False
    if not sound or " " in url:
        raise RequestError(400, f"{field} is http:// or https:// and a host")
    if not may_sign_in and "@" in urlsplit(url).netloc:
        raise RequestError(400, f"{field} is http:// or https:// and a host, without user and password")
