"""``info``: adds to series the labels of the info series (``target_info``) of the same job and instance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import re2

from carbyne.core.errors import QueryError
from carbyne.promql.frames import Floats, Frame, Ints, Mask, joined, single, stacked
from carbyne.promql.labels import NAME, Labels, get, keep, made, text
from carbyne.promql.select import test_of, tests_of
from carbyne.promql.tree import At, Expr, FunctionCall, Match, Select, Subquery, bare, children

if TYPE_CHECKING:
    from carbyne.promql.evaluator import Evaluator

IDENTIFYING: Final = ("instance", "job")
TARGET: Final = Match(NAME, "=", "target_info")
ANY_INFO: Final = Match(NAME, "=~", ".+_info")


@dataclass(frozen=True, eq=False)
class Infos:
    """Info series of one name and identity: ``labels`` [S], where they have a value and when it was, [S, T]."""

    labels: Sequence[Labels]
    there: Mask
    when: Floats


def info(evaluator: "Evaluator", node: FunctionCall) -> Frame:
    """The first argument with more labels; the second one says which, and of which info series."""
    frame = evaluator.frame(node.arguments[0])
    chosen = bare(node.arguments[1]) if len(node.arguments) > 1 else None
    matches = chosen.matches if isinstance(chosen, Select) else ()
    names = [match for match in matches if match.name == NAME]
    data = [match for match in matches if match.name != NAME]
    positive = any(match.op in {"=", "=~"} for match in names)
    sought = names if positive else ([ANY_INFO, *names] if names else [TARGET])
    is_info = tests_of(sought)
    ids = [row for row in range(frame.series) if not is_info(keep(frame.labels[row], {NAME}))]
    found = _read(evaluator, node, [frame.labels[row] for row in ids], [*sought, *data])
    rows = [
        _enriched(frame, row, found, data) if row in set(ids) else [frame.rows([row])] for row in range(frame.series)
    ]
    return joined(stacked([part for parts in rows for part in parts], evaluator.steps)).filled()


def _read(
    evaluator: "Evaluator", node: FunctionCall, series: Sequence[Labels], matches: Sequence[Match]
) -> Mapping[Labels, Infos]:
    """Info series by their name and identity."""
    ids = [_of_identity(series, name) for name in IDENTIFYING]
    if not any(ids):
        return {}
    first = _first_selector(node.arguments[0])
    at, offset_ms = _reference_of(first) if first else (None, 0)
    select = Select(node.start, "vector", (*(each for each in ids if each), *matches), offset_ms, at)
    frame, when = evaluator.select(select)
    groups: dict[Labels, list[int]] = {}
    for row, labels in enumerate(frame.labels):
        groups.setdefault(keep(labels, {NAME, *IDENTIFYING}), []).append(row)
    return {key: Infos([frame.labels[r] for r in rows], frame.there[rows], when[rows]) for key, rows in groups.items()}


def _of_identity(series: Sequence[Labels], name: str) -> Match | None:
    values = sorted({get(labels, name) for labels in series} - {""})
    return Match(name, "=~", "|".join(map(re2.escape, values))) if values else None


def _enriched(frame: Frame, row: int, found: Mapping[Labels, Infos], data: Sequence[Match]) -> list[Frame]:
    """One series, cut where its info series change."""
    base = frame.labels[row]
    own = keep(base, IDENTIFYING)
    infos = [each for key, each in found.items() if keep(key, IDENTIFYING) == own]
    chosen = np.array([_newest(each) for each in infos]).reshape(len(infos), frame.values.shape[1])
    patterns, which = np.unique(chosen, axis=1, return_inverse=True)
    parts = []
    for nth in range(patterns.shape[1]):
        steps = (which.reshape(-1) == nth) & frame.there[row]
        labels = _joined(
            base, [each.labels[at] for each, at in zip(infos, patterns[:, nth], strict=True) if at >= 0], data
        )
        if steps.any() and labels is not None:
            one = single(labels, frame.values[row], steps)
            parts.append(replace(one, unnamed=frame.unnamed[[row]]))
    return parts


def _newest(infos: Infos) -> Ints:
    """At each step the series with the newest sample, -1 without one.  QueryError if two are as new."""
    when = np.where(infos.there, infos.when, -np.inf)
    best = when.argmax(axis=0)
    ties = (when == when.max(axis=0)) & infos.there
    if (ties.sum(axis=0) > 1).any():
        rows = np.flatnonzero(ties[:, (ties.sum(axis=0) > 1).argmax()])
        names = ", ".join(text(infos.labels[row]) for row in rows[:2])
        raise QueryError("execution", f"found duplicate series for info metric: {names}")
    return np.where(infos.there.any(axis=0), best, -1)


def _joined(base: Labels, infos: Sequence[Labels], data: Sequence[Match]) -> Labels | None:
    """None: the series is left out, since the query asks for a label that no info series gives it."""
    if not infos and not all(test_of(match)("") for match in data):
        return None
    sought, own, more = {match.name for match in data}, dict(base), dict[str, str]()
    for name, value in (pair for labels in infos for pair in labels):
        if name == NAME or (sought and name not in sought):
            continue
        if more.get(name, value) != value:
            raise QueryError("execution", f"conflicting label: {name}")
        if name not in own:
            more[name] = value
    return made({**own, **more})


def _reference_of(path: Sequence[Expr]) -> tuple[At, int]:
    """Where the innermost selector looks: its ``@`` and offset, with those of the subqueries around it."""
    select = path[-1]
    assert isinstance(select, Select)
    at, offset_ms = select.at, select.offset_ms
    for node in reversed(path[:-1]):
        if at is None and isinstance(node, Subquery):
            offset_ms += node.offset_ms
            at = node.at
    return at, offset_ms


def _first_selector(node: Expr) -> list[Expr] | None:
    """The way from a node to the first selector in it."""
    for child in children(node):
        path = [child] if isinstance(child, Select) else _first_selector(child)
        if path:
            return [node, *path]
    return [node] if isinstance(node, Select) else None
