"""How many rows Redis has of sources: more than before means that something arrived, whatever its time."""

from collections.abc import Iterator, Sequence

from carbyne.adapters.redis.commands import Command, Reply, checked
from carbyne.adapters.redis.nodes import Nodes
from carbyne.adapters.redis.windows import TICK
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window, lane_since, lane_state
from carbyne.core.limits import INGEST_LAG_MS_MAX, LANES, TICK_MINUTES
from carbyne.samples.rows import WHOLE


class HotArrivals:
    """Two pipelines a node, whatever the number of sources."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def rows(self, sources: Sequence[SourceKey], from_ms: int, to_ms: int) -> dict[SourceKey, int | None]:
        """Of the windows that overlap the span, both ends included; None for a source whose lane is not whole or does
        not answer."""
        asked = [
            command
            for source in sources
            for command in (
                Command(source.lane, ("GET", lane_state(source.lane))),
                Command(source.lane, ("HKEYS", source.windows)),
            )
        ]
        replies = self._nodes.run(asked) if asked else []
        windows = {
            source: _windows(state, tokens, from_ms, to_ms)
            for source, state, tokens in zip(sources, replies[::2], replies[1::2], strict=True)
        }
        return self._counted({source: of for source, of in windows.items() if of is not None}) | {
            source: None for source, of in windows.items() if of is None
        }

    def behind(self, now_ms: int) -> set[int]:
        """Lanes of which the stream has records that are not in Redis yet.

        Each minute a tenth of the lanes get a tick: one that is old is a lag, and so is the newest of all.  A lane
        whose tick is unknown is not among them.
        """
        calls = [Command(lane, ("ZSCORE", lane_since(lane), TICK)) for lane in range(LANES)]
        ticks = {
            lane: int(float(reply))
            for lane, reply in enumerate(self._nodes.run(calls))
            if reply is not None and not isinstance(reply, RetryableError)
        }
        if ticks and max(ticks.values()) < now_ms - INGEST_LAG_MS_MAX:
            return set(range(LANES))
        oldest_ms = now_ms - INGEST_LAG_MS_MAX - TICK_MINUTES * 60_000
        return {lane for lane, tick_ms in ticks.items() if tick_ms < oldest_ms}

    def _counted(self, windows: dict[SourceKey, list[Window]]) -> dict[SourceKey, int | None]:
        calls = [
            (source, Command(source.lane, ("HLEN", source.rows(window))))
            for source, of in windows.items()
            for window in of
        ]
        replies = self._nodes.run([call for _, call in calls]) if calls else []
        counted: dict[SourceKey, int | None] = dict.fromkeys(windows, 0)
        for (source, _), reply in zip(calls, replies, strict=True):
            before = counted[source]
            counted[source] = None if before is None or isinstance(reply, RetryableError) else before + int(reply)
        return counted


def _windows(state: Reply, tokens: Reply, from_ms: int, to_ms: int) -> list[Window] | None:
    """Those that overlap the span; None if they can't be known.  A source that Redis never had has none."""
    try:
        if (checked(state) or b"")[:1] != WHOLE:
            return None
        parsed = _parsed(checked(tokens))
    except RetryableError:
        return None
    return [window for window in parsed if window.overlaps(from_ms, to_ms)]


def _parsed(tokens: Sequence[bytes]) -> Iterator[Window]:
    return (Window.parse(token.decode()) for token in tokens)
