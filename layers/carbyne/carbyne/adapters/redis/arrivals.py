"""How many rows Redis has of sources: more than before means that something arrived, whatever its time."""

from collections.abc import Iterator, Sequence

from carbyne.adapters.redis.commands import Command, Reply, checked
from carbyne.adapters.redis.nodes import Nodes
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey, Window, lane_state
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
