"""Sessions of the page: an API key shown once, then a random id in a cookie.

The id is nowhere but in the cookie: what is stored and listed is its hash.  A session ends when it was not used for a
week, after a month, when it is revoked, or when its API key is.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from carbyne.core import keys
from carbyne.core.errors import RequestError
from carbyne.core.limits import (
    SESSION_AGENT_CHARACTERS_MAX,
    SESSION_S,
    SESSION_S_MAX,
    SESSION_TOUCH_S,
    SESSIONS_PER_KEY_MAX,
    TOKEN_S,
)
from carbyne.tenants import tokens
from carbyne.tenants.accounts import Grant, Permission


class Session(msgspec.Struct, frozen=True):
    """``key_item``: item of its API key; ``created_s`` and ``seen_s``: seconds since 1970; ``agent``: a browser."""

    tenant: str
    key_item: str
    created_s: int
    seen_s: int
    agent: str

    @property
    def ends_s(self) -> int:
        return min(self.seen_s + SESSION_S, self.created_s + SESSION_S_MAX)


class SessionStore(Protocol):
    """Redis.  All methods raise RetryableError if it can't be asked, or takes no more."""

    def put(self, handle: str, session: Session) -> None:
        """Keep it until it ends, also among its API key's."""

    def get(self, handle: str) -> Session | None: ...
    def delete(self, handle: str, key_item: str) -> None: ...

    def of_key(self, key_item: str) -> dict[str, Session]:
        """By handle, the one that ends first first."""


class Keys(Protocol):
    """API keys, read consistently and without a cache: a revoked key ends its sessions."""

    def grant_at(self, item: str) -> Grant | None: ...


class Token(NamedTuple):
    """``text`` is good for ``expires_in_s``."""

    tenant: str
    permission: Permission
    key_id: str
    text: str
    expires_in_s: int


class Sessions:
    """``secret``: what tokens are signed with; ``new_id``: an id that can't be guessed."""

    def __init__(
        self,
        store: SessionStore,
        api_keys: Keys,
        secret: Callable[[], bytes],
        now_s: Callable[[], int],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._keys = api_keys
        self._secret = secret
        self._now_s = now_s
        self._new_id = new_id

    def begin(self, api_key: str, agent: str) -> tuple[str, Token]:
        """The id of a new session, and its first token; RequestError 403 unless the key is known and may read."""
        item = keys.api_key_item(api_key)
        grant = self._keys.grant_at(item)
        if grant is None or Permission.READ not in grant.permission:
            raise RequestError(403, "the API key is unknown, or has no permission to read")
        session_id, now_s = self._new_id(), self._now_s()
        session = Session(grant.tenant, item, now_s, now_s, agent[:SESSION_AGENT_CHARACTERS_MAX])
        handle = keys.session_handle(session_id)
        self._store.put(handle, session)
        known = self._store.of_key(item)
        for surplus in list(known)[: max(0, len(known) - SESSIONS_PER_KEY_MAX)]:
            self._store.delete(surplus, item)
        return session_id, self._token(handle, session, grant)

    def renew(self, session_id: str) -> Token | None:
        """The next token of a session, None if there is no such session any more."""
        handle = keys.session_handle(session_id)
        session = self._store.get(handle)
        now_s = self._now_s()
        if session is None or session.ends_s <= now_s:
            return None
        grant = self._keys.grant_at(session.key_item)
        if grant is None or grant.tenant != session.tenant:
            return None
        if now_s - session.seen_s >= SESSION_TOUCH_S:
            self._store.put(handle, msgspec.structs.replace(session, seen_s=now_s))
        return self._token(handle, session, grant)

    def end(self, session_id: str) -> None:
        """Nothing if there is none."""
        handle = keys.session_handle(session_id)
        session = self._store.get(handle)
        if session:
            self._store.delete(handle, session.key_item)

    def of_key(self, key_item: str) -> Mapping[str, Session]:
        """The sessions of an API key by their handles."""
        return self._store.of_key(key_item)

    def revoke(self, key_item: str, handle: str) -> None:
        """End one of the sessions of an API key; RequestError 404 if it is none of them."""
        if handle not in self._store.of_key(key_item):
            raise RequestError(404, "this API key has no such session")
        self._store.delete(handle, key_item)

    def _token(self, handle: str, session: Session, grant: Grant) -> Token:
        claims = tokens.Claims(grant.tenant, grant.permission.value, handle, session.key_item, self._now_s() + TOKEN_S)
        text = tokens.sign(claims, self._secret())
        return Token(grant.tenant, grant.permission, keys.api_key_id(session.key_item), text, TOKEN_S)
