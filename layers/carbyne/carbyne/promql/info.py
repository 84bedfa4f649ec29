"""``info``: adds to series the labels of the info series (``target_info``) of the same job and instance."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import re2

from carbyne.core.errors import QueryError
from carbyne.promql.frames import Floats, Frame, Ints, Mask, groups_of, joined, single, stacked
from carbyne.promql.labels import NAME, Labels, get, keep, made, text
from carbyne.promql.scope import QuerySpan, fixed_ms
from carbyne.promql.select import test_of, tests_of
from carbyne.promql.tree import At, Expr, FunctionCall, Match, Select, Subquery, bare, children

if TYPE_CHECKING:
    from carbyne.promql.evaluator import Evaluator

IDENTIFYING: Final = ("instance", "job")
TARGET: Final = Match(NAME, "=", "target_info")
ANY_INFO: Final = Match(NAME, "=~", ".+_info")
Reference = tuple[At, int]
"""``@`` and offset in ms."""


@dataclass(frozen=True, eq=False)
class Infos:
    """Info series of one name and identity: ``labels`` [S], where they have a value and when it was, [S, T]."""

    labels: Sequence[Labels]
    there: Mask
    when: Floats


def info(evaluator: "Evaluator", node: FunctionCall) -> Frame:
    """The first argument with more labels; the second argument selects them and their info series."""
    frame = evaluator.frame(node.arguments[0])
    chosen = bare(node.arguments[1]) if len(node.arguments) > 1 else None
    matches = chosen.matches if isinstance(chosen, Select) else ()
    names = [match for match in matches if match.name == NAME]
    data = [match for match in matches if match.name != NAME]
    positive = any(match.op in {"=", "=~"} for match in names)
    sought = names if positive else ([ANY_INFO, *names] if names else [TARGET])
    is_info = tests_of(sought)
    ids = [row for row in range(frame.series) if not is_info(keep(frame.labels[row], {NAME}))]
    infos = _read(evaluator, node, [frame.labels[row] for row in ids], [*sought, *data])
    rows = [
        _enriched(frame, row, infos, data) if row in set(ids) else [frame.rows([row])] for row in range(frame.series)
    ]
    return joined(stacked([part for parts in rows for part in parts], evaluator.steps)).filled()


def _read(
    evaluator: "Evaluator", node: FunctionCall, series: Sequence[Labels], matches: Sequence[Match]
) -> Mapping[Labels, Infos]:
    """Info series by their name and identity."""
    at, offset_ms = _reference_of(node.arguments[0], evaluator.scope.span)
    infos: dict[Labels, Infos] = {}
    for identity in _identities(series):
        select = Select(node.start, "vector", (*identity, *matches), offset_ms, at)
        frame, when = evaluator.select(select)
        groups = groups_of(keep(labels, {NAME, *IDENTIFYING}) for labels in frame.labels)
        for key, rows in groups.items():
            infos[key] = Infos([frame.labels[row] for row in rows], frame.there[rows], when[rows])
    return infos


def _identities(series: Sequence[Labels]) -> list[list[Match]]:
    """Matchers of the info series: one list for the series that have both labels, one for those with one of them."""
    has = {tuple(bool(get(labels, name)) for name in IDENTIFYING) for labels in series}
    return [
        [_of_identity(series, which, name) for name in IDENTIFYING] for which in sorted(has, reverse=True) if any(which)
    ]


def _of_identity(series: Sequence[Labels], which: tuple[bool, ...], name: str) -> Match:
    alike = [labels for labels in series if tuple(bool(get(labels, each)) for each in IDENTIFYING) == which]
    values = sorted({get(labels, name) for labels in alike})
    return Match(name, "=~", "|".join(map(re2.escape, values))) if any(values) else Match(name, "=", "")


def _enriched(frame: Frame, row: int, infos_by_key: Mapping[Labels, Infos], data: Sequence[Match]) -> list[Frame]:
    """One series, cut where its info series change."""
    base = frame.labels[row]
    own = keep(base, IDENTIFYING)
    infos = [each for key, each in infos_by_key.items() if keep(key, IDENTIFYING) == own]
    chosen = np.array([_newest(each) for each in infos]).reshape(len(infos), frame.values.shape[1])
    patterns, which = np.unique(chosen, axis=1, return_inverse=True)
    parts = []
    for nth in range(patterns.shape[1]):
        steps = (which.reshape(-1) == nth) & frame.there[row]
        labels = _joined(
            base, [each.labels[at] for each, at in zip(infos, patterns[:, nth], strict=True) if at >= 0], data
        )
        if steps.any() and labels is not None:
            part = single(labels, frame.values[row], steps)
            parts.append(replace(part, unnamed=frame.unnamed[[row]]))
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


def _reference_of(node: Expr, span: QuerySpan) -> tuple[At, int]:
    """``@`` and offset of all selectors of the argument if they look at the same time, else of none: the steps."""
    references = list(_references(node, ()))
    first = references[0]
    same = first and all(each and _instant(each, span) == _instant(first, span) for each in references)
    return first if first and same else (None, 0)


def _instant(reference: Reference, span: QuerySpan) -> tuple[bool, int]:
    """Whether it is one time for all steps, and which, or how far from each step, in ms."""
    at = fixed_ms(reference[0], span)
    return (False, reference[1]) if at is None else (True, at - reference[1])


def _references(node: Expr, around: Sequence[Subquery]) -> Iterator[Reference | None]:
    """Where each selector of an instant or range vector looks, the subqueries around it included; None for a vector
    without one, which is of the steps."""
    if node.kind not in {"vector", "matrix"}:
        return
    if isinstance(node, Select):
        yield _within(node, around)
        return
    inner = (*around, node) if isinstance(node, Subquery) else around
    below = [node.arguments[0]] if isinstance(node, FunctionCall) and node.name == "info" else children(node)
    references = [reference for child in below for reference in _references(child, inner)]
    yield from references or [None]


def _within(select: Select, around: Sequence[Subquery]) -> Reference:
    at, offset_ms = select.at, select.offset_ms
    for subquery in reversed(around):
        if at is None:
            at, offset_ms = subquery.at, offset_ms + subquery.offset_ms
    return at, offset_ms
