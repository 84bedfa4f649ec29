"""What all nodes of a query share."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from carbyne.promql.budget import Budget
from carbyne.promql.called import Naming
from carbyne.promql.frames import Ints
from carbyne.promql.remarks import Remarks
from carbyne.promql.select import Selection, Selector, SeriesSamples
from carbyne.promql.tree import At


class QuerySpan(NamedTuple):
    """Of a query, in ms, both ends included; ``step_ms`` 0 if it has one step only."""

    start_ms: int
    end_ms: int
    step_ms: int

    def times(self) -> Ints:
        """The steps."""
        return np.arange(self.start_ms, self.end_ms + 1, self.step_ms or 1, dtype=np.int64)


def fixed_ms(at: At, span: QuerySpan) -> int | None:
    """The time that ``@`` means, in ms; None without it."""
    if isinstance(at, str):
        return span.start_ms if at == "start" else span.end_ms
    return at


@dataclass(frozen=True, eq=False)
class Scope:
    """``span``: of the whole query; ``memory``: what was read already."""

    selector: Selector
    span: QuerySpan
    lookback_ms: int
    naming: Naming
    notes: Remarks
    budget: Budget
    memory: dict[Selection, list[SeriesSamples]]
