"""A plan is shown, confirmed and carried out step by step; after each it is made again from what the cluster is now."""

import time
from collections.abc import Callable
from typing import Protocol

from carbyne.cli.desk import Desk
from carbyne.cluster.plan import Plan
from carbyne.cluster.steps import Follow, Step
from carbyne.cluster.topology import Newcomer, Topology
from carbyne.core.errors import RetryableError
from carbyne.core.limits import STATUS_S


class Cluster(Protocol):
    """``agreed``: what the cluster is once its nodes agree; ``do``: one step, which tells its progress.
    RetryableError."""

    def agreed(self) -> Topology: ...
    def do(self, step: Step, progress: Callable[[str], None]) -> None: ...


class ManagedCluster(Cluster, Protocol):
    """``look``: what the cluster is now; ``newcomer``: a server that is to join it."""

    def look(self) -> Topology: ...
    def newcomer(self, host: str, port: int) -> Newcomer: ...


def carry_out(plan: Plan, cluster: Cluster, desk: Desk, *, confirmed: bool) -> None:
    """Do what the plan says until nothing is left.  RequestError if it must not be done, RetryableError if a step
    failed or was interrupted: the same command goes on there."""
    steps = plan(cluster.agreed())
    if not steps:
        desk.remark("nothing to do: the cluster is so already")
        return
    _show(steps, desk)
    if not confirmed and not desk.agrees("Do this?"):
        desk.remark("nothing was changed")
        return
    try:
        _carry_out(plan, steps, cluster, desk)
    except KeyboardInterrupt:
        raise RetryableError("interrupted: the same command goes on where this one stopped") from None


def _carry_out(plan: Plan, steps: list[Step], cluster: Cluster, desk: Desk) -> None:
    done, begun_s = 0, time.monotonic()
    while steps:
        step = steps[0]
        desk.remark(f"{done + 1}/{done + len(steps)}  {step}")
        cluster.do(step, _seldom(desk))
        done, steps = done + 1, plan(cluster.agreed())
        if steps and type(steps[0]) is type(step) and steps[0] == step:
            raise RetryableError(f"it had no effect: {step}. See status, then try again")
    desk.say(f"done: {done} step{'' if done == 1 else 's'} in {time.monotonic() - begun_s:.1f} s")


def _show(steps: list[Step], desk: Desk) -> None:
    for number, step in enumerate(steps, start=1):
        desk.say(f"{number:>3}  {step}")
    for step in steps:
        if isinstance(step, Follow) and _host(step.node) == _host(step.master):
            desk.remark(f"{step.node} and its master are on one host: whoever loses it loses both copies")


def _seldom(desk: Desk) -> Callable[[str], None]:
    """Remarks at most each STATUS_S."""
    said_s = time.monotonic()

    def progress(text: str) -> None:
        nonlocal said_s
        if time.monotonic() >= said_s + STATUS_S:
            said_s = time.monotonic()
            desk.remark(f"      {text}")

    return progress


def _host(name: str) -> str:
    return name.rpartition(":")[0]
