"""Limits and usage in a tenant's item of the accounts table.

``samples_per_minute`` and the other fields of ``Limits``: limits that differ from the defaults.  ``m<minute>``: samples
that arrived in this minute since 1970, of some minutes; ``w<minute>``, ``d<minute>``: old windows and deletes that were
asked for.  ``series``, ``series_hour``, ``series_estimate``: a sketch of the series, the hour since 1970 that it is of,
and how many it says they are.  ``pair_cluster``, ``pair_replica``: names of a pair's labels, where not the defaults.
``memory_used``, ``memory_allowed``, ``memory_minute``: the bytes that it held of a full shard of Redis in that minute,
and how many it may hold.  ``taken_<digest>``: the minute of the last piece of a body, and the place of its last
window, as text with a blank between them.  ``window_steps``: since when labelled sources have short windows
(``<seconds>s``) or usual ones (``<seconds>u``), with blanks between; ``often``: when they last posted more often than
once a minute, seconds.  ``parts_<target>``: since when the target is divided by how many bits of hashes
(``<seconds>/<of names>/<of labels>``), with blanks between.  ``u<month>_<field>``: the fields of
``MonthCounts`` of a month.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from carbyne.adapters.aws import retryable
from carbyne.core import keys
from carbyne.core.labels import KIND
from carbyne.core.limits import DIVIDED_TARGETS_MAX, TAKEN_BODIES_MAX, USAGE_MINUTES_HELD, USAGE_MONTHS_HELD
from carbyne.tenants.divisions import Division, Divisions
from carbyne.tenants.months import MonthCounts, MonthUse, month_of
from carbyne.tenants.usage import (
    HOUR_S,
    LIMITS,
    MINUTE_S,
    PAIR_LABELS,
    Counted,
    HeldMemory,
    Limits,
    Standing,
    TakenBody,
)
from carbyne.tenants.windows import LengthStep, Seen, Steps

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Item = Mapping[str, AttributeValueTypeDef]

PAIR: Final = ("pair_cluster", "pair_replica")
SPENT: Final = {"old_windows_per_minute": "w", "deletes_per_minute": "d"}
"""Limits that are counted when something is asked for, and what the attributes of their minutes begin with."""
MEMORY: Final = ("memory_used", "memory_allowed", "memory_minute")
BODY: Final = "taken_"
PARTS: Final = "parts_"
MONTH: Final = re.compile(rf"u(\d{{6}})_({'|'.join(MonthCounts.__struct_fields__)})")
FAILED_CONDITION: Final = "ConditionalCheckFailedException"


def standing(item: "Item") -> Standing:
    """What a tenant's item says."""
    return Standing(
        limits=_limits(item),
        samples={int(name[1:]): _number(item, name) for name in _minutes(item)},
        series=_number(item, "series_estimate"),
        hour=_number(item, "series_hour"),
        memory=HeldMemory(*(_number(item, name) for name in MEMORY)) if MEMORY[0] in item else None,
        pair_labels=(_text(item, PAIR[0], PAIR_LABELS[0]), _text(item, PAIR[1], PAIR_LABELS[1])),
        bodies=_bodies(item),
        steps=_steps(item),
        divisions=_divisions(item),
        months={month: MonthCounts(**counts) for month, counts in _months(item).items()},
    )


def set_limits(client: "DynamoDBClient", table: str, tenant: str, limits: Mapping[str, int | None]) -> bool:
    """Give a tenant these limits, or with None the default again; False if there is no such tenant."""
    given = {name: limit for name, limit in limits.items() if limit is not None}
    gone = [name for name, limit in limits.items() if limit is None]
    expression = _clause("SET", [f"{name} = :{name}" for name in given]) + _clause("REMOVE", gone)
    values = {f":{name}": {"N": str(limit)} for name, limit in given.items()}
    return _update(client, table, tenant, expression, values) is not None


def set_pair_labels(client: "DynamoDBClient", table: str, tenant: str, names: Sequence[str]) -> bool:
    """Name the labels of a tenant's pairs of senders; False if there is no such tenant."""
    expression = _clause("SET", [f"{attribute} = :{attribute}" for attribute in PAIR])
    values = {f":{attribute}": {"S": name} for attribute, name in zip(PAIR, names, strict=True)}
    return _update(client, table, tenant, expression, values) is not None


def spend(client: "DynamoDBClient", table: str, tenant: str, limit: str, minute: int, number: int) -> int:
    """Count ``number`` of what ``limit`` bounds in a minute; how many that makes, 0 if there is no such tenant."""
    name = f"{SPENT[limit]}{minute}"
    item = _update(client, table, tenant, f"ADD {name} :number", {":number": {"N": str(number)}})
    if item is None:
        return 0
    _tidy(client, table, tenant, sorted(_minutes(item, SPENT[limit])))
    return _number(item, name)


def note_taken(client: "DynamoDBClient", table: str, tenant: str, body: str, taken: int, minute: int) -> None:
    """Note until which place a body is taken, 0 to forget it; those that came longest ago are forgotten."""
    name = BODY + body
    if not taken:
        _update(client, table, tenant, f"REMOVE {name}", {})
        return
    item = _update(client, table, tenant, f"SET {name} = :taken", {":taken": {"S": f"{minute} {taken}"}})
    bodies = _bodies(item or {})
    if len(bodies) > TAKEN_BODIES_MAX:
        oldest = min(bodies, key=lambda digest: (bodies[digest].minute, digest))
        _update(client, table, tenant, f"REMOVE {BODY}{oldest}", {})


class DynamoUsage:
    """A UsageStore, a MonthStore and the sealer's Admission in DynamoDB."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def add(self, tenant: str, samples: Mapping[int, int], use: MonthUse) -> Counted | None:
        item = self._add(tenant, {**{f"m{minute}": number for minute, number in samples.items()}, **_of_month(use)})
        if item is None:
            return None
        _tidy(self._client, self._table, tenant, sorted(_minutes(item)))
        self._forget_months(tenant, item)
        seen = Seen(_steps(item), _number(item, "often"))
        return Counted(
            bytes(item.get("series", {}).get("B", b"")),
            _number(item, "series_hour"),
            seen,
            _limits(item).series_per_source,
            _divisions(item),
        )

    def add_month(self, tenant: str, use: MonthUse) -> None:
        if item := self._add(tenant, _of_month(use)):
            self._forget_months(tenant, item)

    def put_series(self, tenant: str, counted: Counted, estimate: int) -> None:
        values = {
            ":series": {"B": counted.registers},
            ":hour": {"N": str(counted.hour)},
            ":estimate": {"N": str(estimate)},
        }
        self._update(tenant, "SET series = :series, series_hour = :hour, series_estimate = :estimate", values)
        most = f"u{month_of(counted.hour * HOUR_S)}_series"
        is_more = f"attribute_exists(pk) AND (attribute_not_exists({most}) OR {most} < :estimate)"
        rise = {":estimate": values[":estimate"]}
        _update(self._client, self._table, tenant, f"SET {most} = :estimate", rise, is_more)

    def _add(self, tenant: str, numbers: Mapping[str, int]) -> "Item | None":
        values = {f":{name}": {"N": str(number)} for name, number in numbers.items()}
        return self._update(tenant, _clause("ADD", [f"{name} :{name}" for name in numbers]), values)

    def _forget_months(self, tenant: str, item: "Item") -> None:
        months = _months(item)
        old = sorted(months)[:-USAGE_MONTHS_HELD]
        if old:
            fields = [f"u{month}_{field}" for month in old for field in months[month]]
            self._update(tenant, _clause("REMOVE", fields), {})

    def put_seen(self, tenant: str, seen: Seen, before: Seen) -> None:
        values = {
            ":steps": {"S": _text_of(seen.steps)},
            ":often": {"N": str(seen.often_s)},
            **({":before": {"S": _text_of(before.steps)}} if before.steps else {}),
        }
        unchanged = "window_steps = :before" if before.steps else "attribute_not_exists(window_steps)"
        unchanged = f"attribute_exists(pk) AND {unchanged}"
        expression = "SET often = :often, window_steps = :steps" if seen.steps else "SET often = :often"
        if not seen.steps:
            del values[":steps"]
        self._update(tenant, expression, values, unchanged)

    def put_divisions(
        self, tenant: str, source: str, divisions: tuple[Division, ...], before: tuple[Division, ...]
    ) -> None:
        """The target that was divided longest ago is forgotten if there are too many."""
        name = _attribute_of(source)
        values = {":parts": {"S": _text_of_divisions(divisions)}}
        if before:
            values[":before"] = {"S": _text_of_divisions(before)}
        unchanged = f"{name} = :before" if before else f"attribute_not_exists({name})"
        item = self._update(tenant, f"SET {name} = :parts", values, f"attribute_exists(pk) AND {unchanged}")
        known = _divisions(item or {})
        if len(known) > DIVIDED_TARGETS_MAX:
            oldest = min(known, key=lambda target: (known[target][-1].from_s, target))
            self._update(tenant, f"REMOVE {_attribute_of(oldest)}", {})

    def refuse(self, tenant: str, used_bytes: int, allowed_bytes: int, now_s: int) -> None:
        numbers = dict(zip(MEMORY, (used_bytes, allowed_bytes, now_s // MINUTE_S), strict=True))
        values = {f":{name}": {"N": str(number)} for name, number in numbers.items()}
        self._update(tenant, _clause("SET", [f"{name} = :{name}" for name in MEMORY]), values)

    def _update(
        self, tenant: str, expression: str, values: dict[str, Any], condition: str = "attribute_exists(pk)"
    ) -> "Item | None":
        return _update(self._client, self._table, tenant, expression, values, condition)


def _update(
    client: "DynamoDBClient",
    table: str,
    tenant: str,
    expression: str,
    values: dict[str, Any],
    condition: str = "attribute_exists(pk)",
) -> "Item | None":
    """The item as it is then, None if there is no such tenant or the condition does not hold."""
    request: dict[str, Any] = {
        "TableName": table,
        "Key": {"pk": {"S": keys.tenant_item(tenant)}},
        "UpdateExpression": expression,
        "ConditionExpression": condition,
        "ReturnValues": "ALL_NEW",
        **({"ExpressionAttributeValues": values} if values else {}),
    }
    with retryable("tenant UpdateItem", passing=[FAILED_CONDITION]):
        try:
            answer = client.update_item(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] != FAILED_CONDITION:
                raise
            return None
    return answer["Attributes"]


def _tidy(client: "DynamoDBClient", table: str, tenant: str, minutes: Sequence[str]) -> None:
    """Keep the item small, with one write in many minutes."""
    if len(minutes) > 2 * USAGE_MINUTES_HELD:
        _update(client, table, tenant, _clause("REMOVE", minutes[:-USAGE_MINUTES_HELD]), {})


def _clause(verb: str, parts: Sequence[str]) -> str:
    return f" {verb} {', '.join(parts)}" if parts else ""


def _minutes(item: "Item", kind: str = "m") -> list[str]:
    return [name for name in item if name[0] == kind and name[1:].isdecimal()]


def _of_month(use: MonthUse) -> dict[str, int]:
    return {f"u{use.month}_{field}": number for field, number in use.counts.items()}


def _months(item: "Item") -> dict[int, dict[str, int]]:
    """Month -> field -> number."""
    months: dict[int, dict[str, int]] = {}
    for name in item:
        if known := MONTH.fullmatch(name):
            months.setdefault(int(known[1]), {})[known[2]] = _number(item, name)
    return months


def _limits(item: "Item") -> Limits:
    return Limits(**{name: _number(item, name) for name in LIMITS if name in item})


def _bodies(item: "Item") -> dict[str, TakenBody]:
    texts = {name: _text(item, name, "") for name in item if name.startswith(BODY)}
    split = {name: text.split() for name, text in texts.items()}
    return {name[len(BODY) :]: TakenBody(int(taken), int(minute)) for name, (minute, taken) in split.items()}


def _steps(item: "Item") -> Steps:
    words = _text(item, "window_steps", "").split()
    return tuple(LengthStep(int(word[:-1]), word[-1] == "s") for word in words)


def _text_of(steps: Steps) -> str:
    return " ".join(f"{step.from_s}{'s' if step.is_short else 'u'}" for step in steps)


def _divisions(item: "Item") -> Divisions:
    return {
        f"{KIND}/{name.removeprefix(PARTS).replace('_', '-')}": tuple(
            Division(*map(int, word.split("/"))) for word in _text(item, name, "").split()
        )
        for name in item
        if name.startswith(PARTS)
    }


def _attribute_of(source: str) -> str:
    """A target's; expressions take no ``-`` in names."""
    return PARTS + source.removeprefix(f"{KIND}/").replace("-", "_")


def _text_of_divisions(divisions: Sequence[Division]) -> str:
    return " ".join("/".join(map(str, division)) for division in divisions)


def _number(item: "Item", name: str) -> int:
    return int(item.get(name, {}).get("N", "0"))


def _text(item: "Item", name: str, default: str) -> str:
    return item.get(name, {}).get("S", default)
