"""Ports that fail: at a chosen call, before or after it was applied, with an error or by the death of the function."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from carbyne.adapters.redis.nodes import MasterMemory
from carbyne.core.errors import RetryableError
from carbyne.core.limits import LANES
from carbyne.hot.followers import Followers


class KilledError(BaseException):
    """The function ends here, whatever it was doing; nothing of ours catches it."""


MEMORY_BYTES = 10_000
"""Of the Redis of the model; a window has some hundreds."""
KINDS = ("kill before", "kill after", "fail before", "fail after", "deny after")
"""``deny after``: a put that says it was not made although it was, as a repeated call that met its own success."""


class Faults:
    """Counts the calls of the ports of one function, and lets some of them fail.

    ``plan``: {number of the call: kind}; ``step``: called before each call, for others to come in between;
    ``silent``: lanes whose master does not say who it is.
    """

    def __init__(self, step: Callable[[], None] = lambda: None, silent: Collection[int] = ()) -> None:
        self.silent = silent
        self.plan: Mapping[int, str] = {}
        self.count = 0
        self.step = step

    def begin(self, plan: Mapping[int, str]) -> None:
        self.plan, self.count = plan, 0

    def call(self, ask: Callable[[], Any], failed: Callable[[], Any], denied: Callable[[Any], Any]) -> Any:
        """``failed``: gives or raises what a failed call gives; ``denied``: what becomes of an answer on its way."""
        self.step()
        kind = self.plan.get(self.count, "")
        self.count += 1
        if kind == "kill before":
            raise KilledError
        if kind == "fail before":
            return failed()
        answer = ask()
        if kind == "kill after":
            raise KilledError
        if kind == "fail after":
            return failed()
        return denied(answer) if kind == "deny after" else answer


def _raise() -> Any:
    raise RetryableError("the store is away")


class FaultyStore:
    """A table, archive, quarantine or store of accounts."""

    def __init__(self, store: Any, faults: Faults) -> None:
        self._store, self._faults = store, faults

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._store, name)

        def call(*args: Any, **options: Any) -> Any:
            denied = name in ("put", "remove")
            return self._faults.call(
                lambda: method(*args, **options), _raise, lambda answer: False if denied and answer else answer
            )

        return call


class FaultyNodes:
    """Redis nodes: a failed call gives an error for each command; ``deny after`` for every second one alone.

    ``followers``: of the instance, by which a write counts as ``Nodes`` has it; a replica that hangs has got none.
    ``used_bytes``: of MEMORY_BYTES, what the one shard uses.
    """

    def __init__(self, nodes: Any, faults: Faults, followers: Followers | None = None, used_bytes: int = 0) -> None:
        self._nodes, self._faults, self._followers, self._used_bytes = nodes, faults, followers, used_bytes

    def run(self, calls: Sequence[Any], *, replicated: bool = False) -> list[Any]:
        error = RetryableError("the node is away")
        return self._faults.call(
            lambda: self._run(calls, replicated),
            lambda: [error] * len(calls),
            lambda replies: [error if at % 2 else reply for at, reply in enumerate(replies)],
        )

    def _run(self, calls: Sequence[Any], replicated: bool) -> list[Any]:
        replies = self._nodes.run(calls, replicated=replicated)
        if not replicated or self._followers is None:
            return replies
        errors = {lane: self._unacknowledged(lane) for lane in {call.lane for call in calls}}
        return [errors[call.lane] or reply for call, reply in zip(calls, replies, strict=True)]

    def _unacknowledged(self, lane: int) -> RetryableError | None:
        assert self._followers
        master = self._nodes.master(lane)
        try:
            if lacking := set(self._followers.required(master.id) or ()) - master.replicas:
                self._followers.leave(master.id, lacking)
        except RetryableError as error:
            return error
        return None

    def followers(self, names: Collection[str]) -> Any:
        return self._nodes.followers(names)

    def masters(self) -> Any:
        return {lane: master for lane, master in self._nodes.masters().items() if lane not in self._faults.silent}

    def fill(self) -> float:
        return self._nodes.fill()

    def shards(self) -> list[MasterMemory]:
        return [MasterMemory(frozenset(range(LANES)), self._used_bytes, MEMORY_BYTES)]


class Inline:
    """A ThreadPoolExecutor whose work is done at once by the caller, so that a schedule repeats."""

    def __init__(self, *args: Any, **options: Any) -> None:
        pass

    def __enter__(self) -> "Inline":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def map(self, work: Callable[..., Any], *items: Any) -> list[Any]:
        return [work(*each) for each in zip(*items, strict=False)]
