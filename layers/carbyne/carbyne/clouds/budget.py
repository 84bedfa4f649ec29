"""What of an account is read in a run, so that no month costs more than its budget."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple

from carbyne.clouds.ports import Cloud, CloudCall
from carbyne.core.limits import CLOUD_EVERY_MINUTES, CLOUD_METRICS_MAX

RUNS_A_MONTH: Final = 31 * 24 * 60 // CLOUD_EVERY_MINUTES
"""Of the longest month, so that no budget is over before its end."""
READS_A_POINT: Final = 4
"""How often a metric that has few points is read for each of them."""


class ReadingPlan(NamedTuple):
    """``calls``: of this run; ``metrics``: read in any run, for ``dollars_a_month``; ``dollars``: of this run;
    ``over_budget`` and ``over_limit``: metrics that are never called."""

    calls: list[CloudCall]
    metrics: int
    dollars_a_month: float
    dollars: float
    over_budget: int
    over_limit: int


def plan(
    cloud: Cloud, calls: Iterable[CloudCall], budget_dollars: float, left_dollars: float, minute: int
) -> ReadingPlan:
    """``left_dollars``: of this month's budget.  Calls come in a stable order: what does not fit is always the same."""
    now, metrics, a_month, dollars, over_budget, over_limit = list[CloudCall](), 0, 0.0, 0.0, 0, 0
    for call in calls:
        fitting = call[: max(0, CLOUD_METRICS_MAX - metrics)]
        over_limit += len(call) - len(fitting)
        runs = RUNS_A_MONTH / _every(fitting)
        affordable = _affordable(cloud, fitting, (budget_dollars - a_month) / runs)
        over_budget += len(fitting) - len(affordable)
        if not affordable:
            continue
        metrics, price = metrics + len(affordable), cloud.dollars(affordable)
        a_month += price * runs
        if minute // CLOUD_EVERY_MINUTES % _every(affordable) == 0 and dollars + price <= left_dollars:
            now.append(affordable)
            dollars += price
    return ReadingPlan(now, metrics, a_month, dollars, over_budget, over_limit)


def _every(call: CloudCall) -> int:
    """In how many runs a call is made once."""
    return max(1, call[0][1].period_s // (READS_A_POINT * CLOUD_EVERY_MINUTES * 60)) if call else 1


def _affordable(cloud: Cloud, call: CloudCall, dollars: float) -> CloudCall:
    """The longest beginning of a call that costs at most so much."""
    if not call or cloud.dollars(call) <= dollars:
        return call
    return call[: bisect_right(range(1, len(call) + 1), dollars, key=lambda count: cloud.dollars(call[:count]))]
