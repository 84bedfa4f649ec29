"""A call of a function with its evaluated arguments, and what functions share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from carbyne.core.errors import InvariantError
from carbyne.promql.frames import Floats, Frame, Ints, joined, single, without_name
from carbyne.promql.remarks import Remarks
from carbyne.promql.tree import FunctionCall
from carbyne.promql.windows import SampleWindows

Evaluated = Frame | Floats | SampleWindows | str
"""What a node gives: an instant vector, a scalar [T], windows, or a string."""


@dataclass(frozen=True, eq=False)
class Naming:
    """When the name of what is another metric now goes: at once, or, if ``late``, when the query ends."""

    late: bool = False

    def loses(self, frame: Frame) -> Frame:
        """All series lose their name.  QueryError if that makes two of them one."""
        if self.late:
            return replace(frame, unnamed=np.ones(frame.series, bool))
        return joined(replace(frame, labels=tuple(map(without_name, frame.labels))))


def as_scalar(value: Evaluated) -> Floats:
    """A value that is a scalar, [T]."""
    if not isinstance(value, np.ndarray):
        raise InvariantError(f"BUG: no scalar; got {type(value)}")
    return value


def as_vector(value: Evaluated) -> Frame:
    """A value that is an instant vector."""
    if not isinstance(value, Frame):
        raise InvariantError(f"BUG: no instant vector; got {type(value)}")
    return value


def as_frame(value: Evaluated) -> Frame:
    """An instant vector, or a scalar as a series without labels."""
    return single((), value) if isinstance(value, np.ndarray) else as_vector(value)


@dataclass(frozen=True, eq=False)
class Called:
    """``times_ms`` [T]: of the steps; ``is_range``: whether there are several."""

    node: FunctionCall
    values: Sequence[Evaluated]
    times_ms: Ints
    is_range: bool
    notes: Remarks
    naming: Naming

    def __len__(self) -> int:
        return len(self.values)

    def frame(self, at: int = 0) -> Frame:
        """An argument that is an instant vector."""
        return as_vector(self.values[at])

    def scalar(self, at: int) -> Floats:
        """An argument that is a scalar, [T]."""
        return as_scalar(self.values[at])

    def text(self, at: int) -> str:
        """An argument that is a string."""
        value = self.values[at]
        if not isinstance(value, str):
            raise InvariantError(f"BUG: no string; got {type(value)}")
        return value

    def windows(self, at: int = 0) -> SampleWindows:
        """An argument that is a range vector."""
        value = self.values[at]
        if not isinstance(value, SampleWindows):
            raise InvariantError(f"BUG: no range vector; got {type(value)}")
        return value

    def start(self, at: int) -> int | None:
        """Where an argument begins in the query."""
        return self.node.arguments[at].start
