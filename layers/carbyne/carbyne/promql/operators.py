"""Binary operators on values: arithmetic gives a value, a comparison says whether the left one stays."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from carbyne.promql.frames import Floats, Mask
from carbyne.promql.tree import COMPARISONS

ARITHMETIC: Final[Mapping[str, Callable[[Floats, Floats], Floats]]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARED: Final[Mapping[str, Callable[[Floats, Floats], Mask]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}


def changes_metric(op: str) -> bool:
    """Whether the result is another metric than the left side."""
    return op in ARITHMETIC


def operate(op: str, left: Floats, right: Floats, *, as_bool: bool) -> tuple[Floats, Mask | None]:
    """Values, and which of them stay, None for all."""
    if op not in COMPARISONS:
        return ARITHMETIC[op](left, right), None
    stays = COMPARED[op](left, right)
    if as_bool:
        return stays.astype(np.float64), None
    return np.broadcast_to(left, stays.shape), stays
