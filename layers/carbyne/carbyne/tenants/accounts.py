"""Who is asking: API keys and their tenants, cached in memory.

A result, positive or negative, is cached for TENANT_CACHE_S.  Then the store is asked again.  If the store is
unavailable the request fails with RetryableError: an expired entry is never used, so a revoked key stops in time.
"""

import time
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Mapping
from enum import Flag, auto
from typing import Generic, NamedTuple, Protocol, TypeVar

from carbyne.core import keys
from carbyne.core.errors import OverLimitError, RequestError
from carbyne.core.limits import API_KEY_BYTES_MAX, TAKEN_BODY_MINUTES, TENANT_CACHE_ENTRIES_MAX, TENANT_CACHE_S
from carbyne.tenants import tokens
from carbyne.tenants.usage import MINUTE_S, Standing

Value = TypeVar("Value")
Clock = Callable[[], float]
"""Seconds of a monotonic clock."""


class Permission(Flag):
    """What a key may do.  Mackerel's writing calls need both, except one."""

    READ = auto()
    WRITE = auto()


BOTH = Permission.READ | Permission.WRITE
NO_KEY = Permission(0)
"""Required permission of a public route: none."""


class Grant(NamedTuple):
    """The tenant and the permissions of a key."""

    tenant: str
    permission: Permission


class Who(NamedTuple):
    """``key_item``: the item of the API key that asks, directly or behind a session; ``session``: its handle, empty
    without one."""

    key_item: str
    session: str


class Elected(NamedTuple):
    """The replica of a pair of senders that is taken, and when it posted last, as far as that was noted."""

    replica: str
    seen_ms: int


class AccountStore(Protocol):
    """The store of keys and tenants.  All methods read consistently, and raise RetryableError on an outage."""

    def grant_of(self, api_key: str) -> Grant | None:
        """The grant of a key; None if there is no such key."""

    def grant_at(self, item: str) -> Grant | None:
        """The same by the key's item (``keys.api_key_item``)."""

    def token_secret(self) -> bytes | None:
        """What tokens of sessions are signed with, None before the first sign-in."""

    def has_tenant(self, tenant: str) -> bool:
        """Whether this tenant exists."""

    def standing_of(self, tenant: str) -> Standing | None:
        """Limits and usage of a tenant; None if there is no such tenant."""

    def spend(self, tenant: str, limit: str, minute: int, number: int) -> int:
        """Count ``number`` of what a limit (a field of ``Limits``) bounds; how many all counted in the minute."""

    def note_taken(self, tenant: str, body: str, taken: int, minute: int) -> None:
        """Note that a piece of a body came in this minute, and until which place it is taken; 0 forgets it."""

    def elect(self, tenant: str, cluster: str, replica: str, now_ms: int, silent_ms: int) -> Elected:
        """Elect ``replica`` of a pair if it is elected already, or the elected one was not seen for ``silent_ms``; who
        is elected then.  The mark of ``replica`` is refreshed only if it is elected."""


class Accounts:
    """Cached look-ups in an AccountStore; ``now_s``: seconds since 1970, by which tokens of sessions end."""

    def __init__(self, store: AccountStore, clock: Clock, now_s: Clock = time.time) -> None:
        self._store = store
        self._now_s = now_s
        self._secrets: _Remembered[bytes] = _Remembered(clock)
        self._grants: _Remembered[Grant] = _Remembered(clock)
        self._unknown: _Remembered[None] = _Remembered(clock)  # separate: guesses must not evict keys in use
        self._tenants: _Remembered[bool] = _Remembered(clock)
        self._standings: _Remembered[Standing | None] = _Remembered(clock)

    def tenant(self, headers: Mapping[str, str], needs: Permission) -> str:
        """The tenant of a request by its headers (names in lower case).

        Raises RequestError 403 without a known key with the permissions, RetryableError if the store is unavailable.
        """
        grant = self._grant(api_keys(headers))
        if missing := needs & ~grant.permission:
            raise RequestError(403, f"the API key has no permission to {_names(missing)}")
        return grant.tenant

    def who(self, headers: Mapping[str, str]) -> Who:
        """Whose request it is, of one that ``tenant`` admits; errors as of it."""
        for api_key in api_keys(headers):
            if api_key.startswith(tokens.PREFIX):
                claims = self._claims(api_key)
                return Who(claims.key_item, claims.session)
            if _is_plausible(api_key) and self._known(api_key):
                return Who(keys.api_key_item(api_key), "")
        raise RequestError(403, "the API key is unknown")

    def standing(self, tenant: str) -> Standing:
        """Limits and usage of a tenant, at most TENANT_CACHE_S old.

        Raises RequestError 403 if the tenant does not exist, RetryableError if the store is unavailable.
        """
        remembered = self._standings.get(tenant)
        standing = remembered[0] if remembered else self._store.standing_of(tenant)
        if not remembered:
            self._standings.put(tenant, standing)
        if standing is None:
            raise RequestError(403, "the tenant of the API key is unknown")
        return standing

    def spend(self, tenant: str, limit: str, now_s: int, number: int) -> None:
        """Count ``number`` of what a limit (a field of ``Limits``) bounds in a minute, before it is done.

        Raises OverLimitError if that is more than the tenant may, RetryableError if unknowable now.
        """
        allowed: int = getattr(self.standing(tenant).limits, limit)
        used = self._store.spend(tenant, limit, now_s // MINUTE_S, number)
        if used > allowed:
            raise OverLimitError(limit.replace("_", "-"), used, allowed)

    def taken(self, tenant: str, body: str, now_s: int) -> int:
        """Until which place a body (its digest) is taken, as the store has it now, 0 for not at all; RetryableError."""
        standing = self._store.standing_of(tenant)
        taken = standing.bodies.get(body) if standing else None
        if taken is None or now_s // MINUTE_S - taken.minute > TAKEN_BODY_MINUTES:
            return 0
        return taken.place

    def note_taken(self, tenant: str, body: str, taken: int, now_s: int) -> None:
        """Note until which place it is, 0 to forget the body; RetryableError."""
        self._store.note_taken(tenant, body, taken, now_s // MINUTE_S)

    def elect(self, tenant: str, cluster: str, replica: str, now_ms: int, silent_ms: int) -> Elected:
        """As the store says."""
        return self._store.elect(tenant, cluster, replica, now_ms, silent_ms)

    def tenant_exists(self, tenant: str) -> bool:
        """Whether this tenant exists; RetryableError if the store is unavailable.

        Only a positive result is cached: after a negative one the caller sets data aside for good, so it must be fresh.
        """
        if self._tenants.get(tenant):
            return True
        exists = self._store.has_tenant(tenant)
        if exists:
            self._tenants.put(tenant, True)
        return exists

    def _grant(self, candidates: list[str]) -> Grant:
        if not candidates:
            raise RequestError(403, "no API key: send it as X-Api-Key, or in Authorization as Bearer, Token or Basic")
        for api_key in candidates:
            if api_key.startswith(tokens.PREFIX):
                claims = self._claims(api_key)
                return Grant(claims.tenant, Permission(claims.permission))
            if _is_plausible(api_key) and (grant := self._known(api_key)):
                return grant
        raise RequestError(403, "the API key is unknown")

    def _claims(self, token: str) -> tokens.Claims:
        """What the token of a session says: the session is not looked up, so it may have ended TOKEN_S ago."""
        secret = self._secret()
        claims = tokens.verify(token, secret, self._now_s()) if secret else None
        if claims is None:
            raise RequestError(403, "the session's token has ended or is unknown; ask for another one")
        return claims

    def _secret(self) -> bytes | None:
        """Only one that is there is remembered: the first sign-in makes it."""
        if remembered := self._secrets.get(""):
            return remembered[0]
        secret = self._store.token_secret()
        if secret:
            self._secrets.put("", secret)
        return secret

    def _known(self, api_key: str) -> Grant | None:
        if remembered := self._grants.get(api_key):
            return remembered[0]
        if self._unknown.get(api_key):
            return None
        if grant := self._store.grant_of(api_key):
            self._grants.put(api_key, grant)
        else:
            self._unknown.put(api_key, None)
        return grant


def api_keys(headers: Mapping[str, str]) -> list[str]:
    """The keys that a request may mean, likeliest first: X-Api-Key, else those of Authorization.

    In Basic the key is the password or the user, since some clients let you set only one of them.
    """
    if api_key := headers.get("x-api-key"):
        return [api_key]
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() in ("bearer", "token"):
        return [value.strip()] if value.strip() else []
    return _of_basic(value.strip()) if scheme.lower() == "basic" else []


def _of_basic(value: str) -> list[str]:
    try:
        user, _, password = b64decode(value, validate=True).decode().partition(":")
    except ValueError:
        raise RequestError(403, "the header Authorization is not valid Basic: base64 of user:password") from None
    return [part for part in (password, user) if part]


def _names(permission: Permission) -> str:
    return " and ".join(flag.name.lower() for flag in Permission if flag in permission and flag.name)


def _is_plausible(api_key: str) -> bool:
    return len(api_key) <= API_KEY_BYTES_MAX and api_key.isascii()


class _Remembered(Generic[Value]):
    """A cache that drops the least recently used entry when full; each entry lives TENANT_CACHE_S."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: OrderedDict[str, tuple[Value, float]] = OrderedDict()

    def get(self, name: str) -> tuple[Value, float] | None:
        """(value, when it expires), or None."""
        entry = self._entries.get(name)
        if entry is None or entry[1] <= self._clock():
            return None
        self._entries.move_to_end(name)
        return entry

    def put(self, name: str, value: Value) -> None:
        self._entries[name] = (value, self._clock() + TENANT_CACHE_S)
        self._entries.move_to_end(name)
        if len(self._entries) > TENANT_CACHE_ENTRIES_MAX:
            self._entries.popitem(last=False)
