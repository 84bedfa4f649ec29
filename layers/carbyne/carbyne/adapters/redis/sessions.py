"""Sessions of the page in Redis: a string each, and for each API key a sorted set of those that it has.

The two are in different slots, so the set may name a session that is gone; listing removes such names.
"""

from collections.abc import Callable

import msgspec

from carbyne.adapters.redis.commands import Command, checked
from carbyne.adapters.redis.nodes import Nodes
from carbyne.core import keys
from carbyne.core.limits import SESSION_S_MAX
from carbyne.page.sessions import Session


class RedisSessions:
    """A ``page.sessions.SessionStore``.  A replica has each write before it counts, so it survives the loss of a
    master."""

    def __init__(self, nodes: Nodes, now_s: Callable[[], int]) -> None:
        self._nodes = nodes
        self._now_s = now_s

    def put(self, handle: str, session: Session) -> None:
        left_s = max(1, session.ends_s - self._now_s())
        listed = keys.sessions_of(session.key_item)
        lane = keys.session_lane(session.key_item)
        calls = [
            Command(
                keys.session_lane(handle),
                ("SET", keys.session(handle), msgspec.json.encode(session), "EX", left_s),
            ),
            Command(lane, ("ZADD", listed, session.ends_s, handle)),
            Command(lane, ("EXPIRE", listed, SESSION_S_MAX)),
        ]
        for reply in self._nodes.run(calls, replicated=True):
            checked(reply)

    def get(self, handle: str) -> Session | None:
        encoded = checked(self._nodes.run([Command(keys.session_lane(handle), ("GET", keys.session(handle)))])[0])
        return None if encoded is None else msgspec.json.decode(encoded, type=Session)

    def delete(self, handle: str, key_item: str) -> None:
        calls = [
            Command(keys.session_lane(handle), ("DEL", keys.session(handle))),
            Command(keys.session_lane(key_item), ("ZREM", keys.sessions_of(key_item), handle)),
        ]
        for reply in self._nodes.run(calls, replicated=True):
            checked(reply)

    def of_key(self, key_item: str) -> dict[str, Session]:
        listed, lane = keys.sessions_of(key_item), keys.session_lane(key_item)
        members = checked(self._nodes.run([Command(lane, ("ZRANGE", listed, 0, -1))])[0])
        handles = [member.decode() for member in members]
        calls = [Command(keys.session_lane(handle), ("GET", keys.session(handle))) for handle in handles]
        encoded = [checked(reply) for reply in self._nodes.run(calls)]
        gone = [handle for handle, session in zip(handles, encoded, strict=True) if session is None]
        if gone:
            checked(self._nodes.run([Command(lane, ("ZREM", listed, *gone))])[0])
        pairs = zip(handles, encoded, strict=True)
        return {handle: msgspec.json.decode(session, type=Session) for handle, session in pairs if session is not None}
