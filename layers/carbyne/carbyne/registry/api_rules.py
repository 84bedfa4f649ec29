"""Our calls on rule files of Prometheus."""

from datetime import UTC, datetime
from typing import Final

from carbyne.core.limits import FORM_BYTES_MAX
from carbyne.http.answers import Answer
from carbyne.http.message import inflate
from carbyne.http.routes import Call, Route
from carbyne.registry import rule_files
from carbyne.registry.rule_files import FILES, RuleFile
from carbyne.registry.store import Registry
from carbyne.rules.forms import RuleGroups
from carbyne.tenants.accounts import BOTH, Permission


class RuleFileAbout(Answer, frozen=True):
    """``changed_at``: of the group that changed last, RFC 3339; ``remarks``: what is done otherwise than written."""

    name: str
    groups: int
    rules: int
    changed_at: str
    remarks: list[str]


class RuleFilesAbout(Answer, frozen=True):
    """By name."""

    files: list[RuleFileAbout]


def get_files(registry: Registry, call: Call) -> RuleFilesAbout:
    return RuleFilesAbout([_about(each) for each in rule_files.find(registry.store, call.tenant)])


def get_file(registry: Registry, call: Call) -> RuleGroups:
    return RuleGroups(groups=FILES.get(registry.store, call.tenant, call.parts["file"]).groups)


def put_file(registry: Registry, call: Call) -> RuleFileAbout:
    """The body is YAML, of which JSON is a part."""
    from carbyne.rules import files  # noqa: PLC0415 - parsers of YAML and PromQL, which only this needs

    name = rule_files.checked_name(call.parts["file"])
    form = files.read(inflate(call.request.body, FORM_BYTES_MAX), name)
    return _about(rule_files.put(registry, call.tenant, name, form))


def delete_file(registry: Registry, call: Call) -> RuleGroups:
    return RuleGroups(groups=rule_files.delete(registry, call.tenant, call.parts["file"]).groups)


def _about(file: RuleFile) -> RuleFileAbout:
    changed = datetime.fromtimestamp(max(file.since_ms.values(), default=0) / 1000, UTC)
    numbers = len(file.groups), sum(len(group.rules) for group in file.groups)
    remarks = [remark for group in file.groups for remark in group.remarks()]
    return RuleFileAbout(file.id, *numbers, changed.isoformat().replace("+00:00", "Z"), remarks)


ALL: Final = "/carbyne/v1/rules"
ONE: Final = "/carbyne/v1/rules/{file}"
ROUTES: Final[tuple[Route[Registry], ...]] = (
    Route("GET", ALL, Permission.READ, "Rule files", RuleFilesAbout, get_files),
    Route("GET", ONE, Permission.READ, "A rule file", RuleGroups, get_file),
    Route("PUT", ONE, BOTH, "Make or replace a rule file, in YAML or JSON", RuleFileAbout, put_file, body=RuleGroups),
    Route("DELETE", ONE, BOTH, "Delete a rule file", RuleGroups, delete_file),
)
