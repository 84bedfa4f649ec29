"""Aggregations that choose series of each group: the greatest, the least, some of them."""

from hashlib import blake2b
from typing import Final

import numpy as np

from carbyne.core.errors import QueryError
from carbyne.promql.aggregate import Groups
from carbyne.promql.frames import Floats, Frame, Ints, Mask, empty, stacked
from carbyne.promql.labels import Labels, text
from carbyne.promql.numbers import short
from carbyne.promql.remarks import Remarks, bad_ratio
from carbyne.promql.tree import Aggregate

INTEGER_MAX: Final = 2.0**63


def top(node: Aggregate, frame: Frame, number: Floats, *, is_range: bool) -> Frame:
    """``topk`` and ``bottomk``: the ``number`` [T] greatest or least of each group; of one step, ordered by value."""
    if not _counts(number):
        return empty(len(number))
    sign = -1 if node.op == "topk" else 1
    groups = Groups(node, frame)
    chosen = []
    for rows in groups.members:
        part = frame.rows(rows)
        order = _order(part, sign)
        chosen.append(_kept(part, _ranks(order) < np.trunc(number)[None, :], None if is_range else order[:, 0]))
    return stacked(chosen, len(number)).filled()


def limit(node: Aggregate, frame: Frame, number: Floats) -> Frame:
    """``limitk``: any ``number`` [T] series of each group, here the first ones that have a value."""
    if not _counts(number):
        return empty(len(number))
    parts = [frame.rows(rows) for rows in Groups(node, frame).members]
    kept = [_kept(part, (np.cumsum(part.there, axis=0) - 1) < np.trunc(number)[None, :], None) for part in parts]
    return stacked(kept, len(number)).filled()


def ratio(node: Aggregate, frame: Frame, share: Floats, notes: Remarks) -> Frame:
    """``limit_ratio``: the share of series whose hash is below it, or, of a negative share, the others."""
    if not share.any():
        return empty(len(share))
    if np.isnan(share).any():
        raise QueryError("execution", "Ratio value is NaN")
    start = node.parameter.start if node.parameter else None
    for worst, capped in ((float(share.max()), 1.0), (float(share.min()), -1.0)):
        if abs(worst) > 1 and worst * capped > 0:
            notes.add(bad_ratio(worst, capped, start))
    offsets = np.array([_offset(labels) for labels in frame.labels])[:, None]
    inside = np.where(share >= 0, offsets < share, offsets >= 1 + share)
    return _kept(frame, inside, None).filled()


def _offset(labels: Labels) -> float:
    """Where a series is between 0 and 1: always at the same place."""
    return int.from_bytes(blake2b(text(labels).encode(), digest_size=6).digest(), "big") / 2**48


def _counts(number: Floats) -> bool:
    """Whether there is anything to choose.  QueryError ``execution`` for what is no number of series."""
    if np.isnan(number).any():
        raise QueryError("execution", "Parameter value is NaN")
    if not (number >= 1).any():
        return False
    least, greatest = float(number.min()), float(number.max())
    if least <= -INTEGER_MAX:
        raise QueryError("execution", f"Scalar value {short(least)} underflows int64")
    if greatest >= INTEGER_MAX:
        raise QueryError("execution", f"Scalar value {short(greatest)} overflows int64")
    return True


def _order(frame: Frame, sign: int) -> Ints:
    """Rows by value at each step, [S, T]: numbers, then NaN, then absent ones."""
    kind = np.where(frame.there, np.isnan(frame.values).astype(np.int8), 2)
    return np.asarray(np.lexsort((sign * np.where(kind == 0, frame.values, 0.0), kind), axis=0))


def _ranks(order: Ints) -> Ints:
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(len(order))[:, None], order.shape), axis=0)
    return ranks


def _kept(frame: Frame, chosen: Mask, order: Ints | None) -> Frame:
    kept = frame.but(there=frame.there & chosen)
    return kept if order is None else kept.rows(order)
