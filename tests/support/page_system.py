"""What the page's function stands on, in memory: sessions in a dict, a Redis that answers the same each time."""

import secrets

from carbyne.core.errors import RetryableError
from carbyne.page.api import PageDeps, PageParts
from carbyne.page.sessions import Sessions
from carbyne.page.system import Cache, Lanes, RedisNode, Seals, System

SECRET = b"s" * 32


class MemorySessions:
    """A SessionStore; it passes the same contract tests as the one in Redis.  ``away`` makes every call fail."""

    def __init__(self, now_s):
        self.now_s = now_s
        self.held = {}
        self.away = False

    def put(self, handle, session):
        self._check()
        self.held[handle] = session

    def get(self, handle):
        self._check()
        session = self.held.get(handle)
        return session if session and session.ends_s > self.now_s() else None

    def delete(self, handle, key_item):
        self._check()
        self.held.pop(handle, None)

    def of_key(self, key_item):
        self._check()
        mine = [(session.ends_s, handle) for handle, session in self.held.items() if session.key_item == key_item]
        return {handle: self.held[handle] for _, handle in sorted(mine) if self.get(handle)}

    def _check(self):
        if self.away:
            raise RetryableError("Redis is away")


class QuietRedis:
    """A RedisView of one node, at rest."""

    def nodes(self):
        return [RedisNode("127.0.0.1:7000", "master", True, 16_384, 1, 1_000_000, 0)]

    def lanes(self, now_ms):
        return Lanes(1_024, 0, 0), Seals(3, 0, None)

    def cache(self):
        return Cache(3, 1)


def page_deps(accounts, keys, sessions, now_s, new_id=lambda: secrets.token_urlsafe(32)):
    """The page's function over these."""
    page = Sessions(sessions, keys, lambda: SECRET, now_s, new_id)
    system = System(QuietRedis(), lambda: None, lambda: now_s() * 1000)
    return PageDeps(accounts, PageParts(accounts, page, system))
