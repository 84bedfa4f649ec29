"""Rows as the version before dictionaries stored them: its own script, kept in ``tests/golden``."""

from hashlib import sha1
from pathlib import Path

from carbyne.adapters.redis.commands import Script
from carbyne.core.keys import lane_due, lane_since, lane_state
from carbyne.core.stamps import ZERO

TEXT = (Path(__file__).parents[1] / "golden" / "write-v1.lua").read_text()
WRITE = Script(TEXT, sha1(TEXT.encode(), usedforsecurity=False).hexdigest())


def write_older(nodes, group, lists_max):
    """Store a group; rows of the first ``lists_max`` lists are dense, those of others sparse."""
    source, window, due_ms, fresh, rows, arrived_ms = group
    lane = source.lane
    keys = [lane_state(lane), lane_due(lane), lane_since(lane)]
    keys += [source.rows(window), source.lists(window), source.dictionary(window), source.windows]
    args = [max(row.stamp for row in rows), ZERO, b"", lists_max]
    args += [source.member(window), window.token, due_ms, int(fresh), arrived_ms, len(rows)]
    for row in rows:
        args += (row.field, row.value, row.series)
    [reply] = nodes.run([WRITE.call(lane, keys, args)])
    assert not isinstance(reply, Exception), reply
    return reply
