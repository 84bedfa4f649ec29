"""Rule files of a tenant: groups of Prometheus' rules, under the name of the file that they came in."""

import re
from typing import Final

import msgspec

from carbyne.core.errors import RequestError
from carbyne.core.limits import RULE_FILE_BYTES_MAX, RULE_FILE_ITEM_BYTES_MAX, RULE_FILES_PER_TENANT_MAX
from carbyne.registry import rules
from carbyne.registry.documents import Documents
from carbyne.registry.store import Registry, Store, body_of
from carbyne.rules.forms import FileGroup, RuleGroups

NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RuleFile(msgspec.Struct, frozen=True, kw_only=True):
    """``id``: the name of the file; ``since_ms``: by group, from when on it is as it is now."""

    id: str = ""
    groups: list[FileGroup]
    since_ms: dict[str, int]


FILES: Final[Documents[RuleFile]] = Documents("rule-files", "rule file", RuleFile, RULE_FILES_PER_TENANT_MAX)


def checked_name(name: str) -> str:
    """RequestError 400."""
    if not NAME.fullmatch(name):
        raise RequestError(400, f"a rule file's name has 1 to 128 characters of a-z A-Z 0-9 . _ -; got {name[:128]!r}")
    return name


def find(store: Store, tenant: str) -> list[RuleFile]:
    """All of a tenant, by name."""
    return FILES.find(store, tenant)


def put(registry: Registry, tenant: str, name: str, form: RuleGroups) -> RuleFile:
    """Make or replace a file.  Groups that stay as they are keep their history; RequestError 400 for a file too
    many, 413 for one that is too large."""
    now_ms = registry.now_s() * 1000
    made = RuleFile(groups=form.groups, since_ms={group.name: now_ms for group in form.groups})
    if (stored_bytes := len(body_of(form))) > RULE_FILE_BYTES_MAX:
        most = f"a rule file has at most {RULE_FILE_BYTES_MAX}"
        raise RequestError(413, f"{name}: {stored_bytes} bytes as JSON; {most}: write several files")
    if len(body_of(made)) > RULE_FILE_ITEM_BYTES_MAX:
        raise RequestError(413, f"{name}: the names of its groups are too long together: write several files")

    def joined(old: RuleFile, _: RuleFile) -> RuleFile:
        same = {group.name for group in old.groups if group in form.groups}
        return msgspec.structs.replace(made, since_ms=made.since_ms | {each: old.since_ms[each] for each in same})

    if registry.store.get(FILES.key(tenant, name)):
        return FILES.replace(registry, tenant, name, made, joined)
    return FILES.create(registry, tenant, made, lambda _: rules.listed(registry.store, tenant), name)


def delete(registry: Registry, tenant: str, name: str) -> RuleFile:
    """A file as it was; RequestError 404 for an unknown one."""
    return FILES.delete(registry, tenant, name)
