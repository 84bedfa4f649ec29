"""Operations of two instant vectors: series that meet by their labels, and set operators."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from carbyne.core.errors import QueryError
from carbyne.promql import labels as of
from carbyne.promql.called import Naming
from carbyne.promql.frames import Floats, Frame, Mask, anywhere, empty, groups_of, joined, single, stacked, without_name
from carbyne.promql.labels import NAME, Labels
from carbyne.promql.operators import changes_metric, operate
from carbyne.promql.tree import Binary, Matching

GroupKey = Callable[[Labels], Labels]


def key_of(matching: Matching) -> GroupKey:
    """The labels that have to be equal on both sides."""
    if matching.on:
        names = frozenset(matching.names)
        return lambda labels: of.keep(labels, names)
    ignored = {*matching.names, NAME}
    return lambda labels: of.drop(labels, ignored)


def combined(op: str, left: Frame, right: Frame, matching: Matching) -> Frame:
    """``and``, ``or``, ``unless``: series of the sides by what the other one has at each step."""
    key = key_of(matching)
    if op == "or":
        more = right.but(there=right.there & ~_has(left, map(key, right.labels), key))
        return joined(stacked([left, more], left.values.shape[1])).filled()
    others = _has(right, map(key, left.labels), key)
    return left.but(there=left.there & (others if op == "and" else ~others)).filled()


def _has(frame: Frame, keys: "map[Labels]", key: GroupKey) -> Mask:
    """Where a frame has a series of each key, [keys, T]."""
    present = {each: frame.there[rows].any(axis=0) for each, rows in groups_of(map(key, frame.labels)).items()}
    nowhere = np.zeros(frame.values.shape[1], bool)
    rows = [present.get(each, nowhere) for each in keys]
    return np.array(rows, bool).reshape(len(rows), len(nowhere))


def operated(node: Binary, left: Frame, right: Frame, naming: Naming, tick: Callable[[], None]) -> Frame:
    """An arithmetic operation or a comparison of the series that meet.

    QueryError ``execution`` if a side has several series for one of the other and the query doesn't allow it.
    """
    steps = left.values.shape[1]
    matching = node.matching
    both = anywhere(left.there, 0) & anywhere(right.there, 0)
    if matching.fills == (None, None):
        left, right = left.but(there=left.there & both), right.but(there=right.there & both)
    many, one = (right, left) if matching.many == "right" else (left, right)
    meeting = _Meeting(node, many.filled(), one.filled())
    parts = [meeting.group(key, tick) for key in meeting.keys]
    result = stacked(parts, steps) if parts else empty(steps)
    if node.as_bool:
        result = naming.loses(result)
    return joined(result).filled()


class _Meeting:
    """``many``: the side that may have several series of one key.

    ``group_right`` changes the sides, but, as in Prometheus, not their fills: ``fill_left`` is for the many.
    """

    def __init__(self, node: Binary, many: Frame, one: Frame) -> None:
        self._node, self._many, self._one = node, many, one
        self._fill_many, self._fill_one = node.matching.fills
        key = key_of(node.matching)
        self._of_many: Mapping[Labels, list[int]] = groups_of(map(key, many.labels))
        self._of_one: Mapping[Labels, list[int]] = groups_of(map(key, one.labels))
        self.keys: Sequence[Labels] = list(dict.fromkeys([*self._of_many, *self._of_one]))
        self._steps = many.values.shape[1]

    def group(self, key: Labels, tick: Callable[[], None]) -> Frame:
        """The result of the series of one key."""
        tick()
        many, one = self._of_many.get(key, []), self._of_one.get(key, [])
        self._check_one(key, one)
        pairs = [pair for row in many for pair in self._pairs(row, one, tick)]
        if self._fill_one is not None:
            pairs += [self._filled_one(self._many.rows([row]), one, key, self._fill_one) for row in many]
        if self._fill_many is not None:
            pairs += [self._filled_many(self._one.rows([row]), many, key, self._fill_many) for row in one]
        met = [pair for pair in pairs if pair.series]
        self._check_many(met)
        return self._kept(met)

    def _pairs(self, row: int, ones: list[int], tick: Callable[[], None]) -> list[Frame]:
        tick()
        many = self._many.rows([row])
        meets = anywhere(self._one.there[ones] & many.there, 1) if ones else ()
        rows = [self._one.rows([one]) for one, does in zip(ones, meets, strict=True) if does]
        return [self._result(many, one, many.there[0] & one.there[0]) for one in rows]

    def _filled_one(self, many: Frame, one: list[int], key: Labels, fill: float) -> Frame:
        missing = ~self._one.there[one].any(axis=0) if one else np.ones(self._steps, bool)
        return self._result(many, single(key, np.full(self._steps, fill)), many.there[0] & missing)

    def _filled_many(self, one: Frame, many: list[int], key: Labels, fill: float) -> Frame:
        missing = ~self._many.there[many].any(axis=0) if many else np.ones(self._steps, bool)
        return self._result(single(key, np.full(self._steps, fill)), one, one.there[0] & missing)

    def _result(self, many: Frame, one: Frame, there: Mask) -> Frame:
        if not there.any():
            return empty(self._steps)
        labels = _result_labels(self._node, many.labels[0], one.labels[0])
        left, right = (one, many) if self._node.matching.many == "right" else (many, one)
        pair: Floats = np.stack([left.values[0], right.values[0]])
        return Frame((labels,), pair[None, :, :], there[None, :], np.zeros(1, bool))

    def _kept(self, pairs: Sequence[Frame]) -> Frame:
        rows = []
        for pair in pairs:
            left, right = pair.values[0]
            values, stays = operate(self._node.op, left, right, as_bool=self._node.as_bool)
            there = pair.there if stays is None else pair.there & stays
            rows.append(replace(pair, values=np.asarray(values)[None, :], there=there))
        return stacked(rows, self._steps)

    def _check_one(self, key: Labels, one: list[int]) -> None:
        """At most one series of a key at a step on this side."""
        there = self._one.there[one]
        twice = there.sum(axis=0) > 1
        if twice.any():
            first = np.flatnonzero(there[:, twice.argmax()])[:2]
            names = sorted(of.text(self._one.labels[one[each]]) for each in first)
            side = "left" if self._node.matching.many == "right" else "right"
            raise QueryError(
                "execution",
                f"found duplicate series for the match group {of.text(key)} on the {side} hand-side of the operation:"
                f" [{', '.join(names)}];many-to-many matching not allowed: matching labels must be unique on one side",
            )

    def _check_many(self, pairs: Sequence[Frame]) -> None:
        """No two results of a key at a step, or none with equal labels if the query allows several."""
        if not self._node.matching.many:
            if sum((pair.there[0].astype(int) for pair in pairs), np.zeros(1, int)).max() > 1:
                ways = "many-to-one matching must be explicit (group_left/group_right)"
                raise QueryError("execution", f"multiple matches for labels: {ways}")
            return
        for rows in groups_of(pair.labels[0] for pair in pairs).values():
            if sum((pairs[row].there[0].astype(int) for row in rows), np.zeros(1, int)).max() > 1:
                ways = "grouping labels must ensure unique matches"
                raise QueryError("execution", f"multiple matches for labels: {ways}")


def _result_labels(node: Binary, many: Labels, one: Labels) -> Labels:
    matching = node.matching
    labels = without_name(many) if changes_metric(node.op) else many
    if not matching.many:
        labels = of.keep(labels, matching.names) if matching.on else of.drop(labels, matching.names)
    for name in matching.include:
        labels = of.put(labels, name, of.get(one, name))
    return labels
