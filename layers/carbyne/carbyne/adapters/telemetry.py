"""Logs as JSON lines and metrics as CloudWatch's embedded metric format, both through Powertools.

The dimensions of a metric are function and stack, so that several stacks share an account.
"""

from collections.abc import Mapping
from typing import Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from carbyne.core.meter import Emit

NAMESPACE: Final = "Carbyne"


def log_as_json(function: str) -> None:
    """From now on every logger of ours writes JSON lines to stdout, with this function's name as ``service``."""
    Logger(service="carbyne").append_keys(service=function)


def emf(function: str, stack: str) -> Emit:
    """Writes metrics to stdout in the embedded metric format.  Each call has a state of its own, unlike ``Metrics``."""
    metrics = EphemeralMetrics(namespace=NAMESPACE, service=function)
    metrics.set_default_dimensions(stack=stack)

    def emit(sums: Mapping[str, float]) -> None:
        for name, amount in sums.items():
            metrics.add_metric(name, MetricUnit.Count, amount)
        metrics.flush_metrics()

    return emit
