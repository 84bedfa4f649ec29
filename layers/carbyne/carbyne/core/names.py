"""Names by Mackerel's rules."""

import re
from typing import Final

from carbyne.core.errors import RequestError
from carbyne.core.limits import SOURCE_NAME_BYTES_MAX

OPERATOR: Final = "carbyne"
"""The operator's tenant, which keeps what the system tells of itself; no other tenant may have this name."""
OVER_LIMIT_HEADER: Final = "Carbyne-Over-Limit"
"""Of an answer of one function to another: ``<limit> <used> <allowed>``."""
_SERVICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{1,62}")
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_NAMESPACE: Final = re.compile(r"[-a-zA-Z0-9_]{1,128}")


def tenant(name: str) -> str:
    """The name of a tenant, checked; RequestError 400."""
    if not _TENANT.fullmatch(name):
        rule = "has 1 to 63 characters of a-z A-Z 0-9 _ . - and begins with a letter or digit"
        raise RequestError(400, f"the name of a tenant {rule}; got {name[:128]!r}")
    return name


def service(name: str) -> str:
    """The name of a service, checked; RequestError 400."""
    return _service_or_role("service", name)


def source(text: str) -> str:
    """A source that accepts posts, ``host/<id>`` or ``service/<name>``, checked; RequestError 400."""
    kind, _, name = text.partition("/")
    if kind not in ("host", "service") or not is_source_name(name):
        rule = f"a source is host/<id> or service/<name>, with 1 to {SOURCE_NAME_BYTES_MAX} bytes behind the slash"
        raise RequestError(400, f"{rule}; got {text[:128]!r}")
    return text


def is_source_name(name: str) -> bool:
    """Whether a host id or the name of a service is short enough to have samples; posts keep them shorter still."""
    return 1 <= len(name.encode()) <= SOURCE_NAME_BYTES_MAX


def role(name: str) -> str:
    """The name of a role, checked; RequestError 400."""
    return _service_or_role("role", name)


def role_fullname(fullname: str) -> tuple[str, str]:
    """Service and role of ``<service>:<role>``, checked; RequestError 400."""
    service_name, colon, role_name = fullname.partition(":")
    if not colon:
        raise RequestError(400, f"a role is written <service>:<role>; got {fullname[:128]!r}")
    return service(service_name), role(role_name)


def namespace(name: str) -> str:
    """A namespace of metadata, checked; RequestError 400."""
    if not _NAMESPACE.fullmatch(name):
        raise RequestError(400, f"a namespace has 1 to 128 characters of a-z A-Z 0-9 _ -; got {name[:128]!r}")
    return name


def _service_or_role(kind: str, name: str) -> str:
    if not _SERVICE.fullmatch(name):
        rule = "has 2 to 63 characters of a-z A-Z 0-9 _ - and begins with a letter or digit"
        raise RequestError(400, f"the name of a {kind} {rule}; got {name[:128]!r}")
    return name
