"""What is kept of a group between two evaluations."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b

import msgspec

from carbyne.core import labels as canonical
from carbyne.rules.alerting import KeptAlert
from carbyne.rules.forms import FileGroup, GroupRule


class KeptRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``error``: why the last evaluation failed; ``took_s``: how long it took."""

    alerts: list[KeptAlert] = []
    error: str = ""
    took_s: float = 0.0


class KeptGroup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``evaluated_ms``: the time of the last evaluation, None before the first; ``interval_s``: of the group then;
    ``rules``: by the key of the rule."""

    evaluated_ms: int | None = None
    interval_s: int = 60
    rules: dict[str, KeptRule] = {}

    @property
    def took_s(self) -> float:
        return sum(rule.took_s for rule in self.rules.values())


class KeptSeries(msgspec.Struct, frozen=True):
    """The series, as canonical text, that each rule made at the last evaluation: what is missing next time is over."""

    rules: dict[str, list[str]] = {}


def keys_of(group: FileGroup) -> Iterator[tuple[str, GroupRule]]:
    """Each rule with its key, which is short: a hash of its kind, name and labels, and which of several that are alike
    in these it is."""
    seen: dict[str, int] = {}
    for rule in group.rules:
        kind = "record" if rule.record else "alert"
        named = canonical.text({**labels_of(group, rule), canonical.NAME: rule.name})
        key = blake2b(f"{kind} {named}".encode(), digest_size=12).hexdigest()
        seen[key] = seen.get(key, -1) + 1
        yield (f"{key} {seen[key]}" if seen[key] else key), rule


def labels_of(group: FileGroup, rule: GroupRule) -> dict[str, str]:
    """Those of the group, then those of the rule."""
    return {**group.labels, **rule.labels}


def alerts_in(kept: KeptGroup) -> Sequence[KeptAlert]:
    """All alerts of a group."""
    return [alert for rule in kept.rules.values() for alert in rule.alerts]


def not_recorded(kept: KeptGroup, why: str) -> KeptGroup:
    """A group whose samples are not recorded: its rules say why, where they did not fail by themselves."""
    rules = {key: msgspec.structs.replace(rule, error=rule.error or why) for key, rule in kept.rules.items()}
    return msgspec.structs.replace(kept, rules=rules)
