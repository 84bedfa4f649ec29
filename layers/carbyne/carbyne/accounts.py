"""Who is asking: API keys to tenants, remembered in memory for a while.

A key that was found, and one that was not, is believed for TENANT_CACHE_S; then the store is asked again, and if it is
away the answer is "later": an expired entry is never served, so that a revoked key stops in time.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from carbyne.errors import RequestError
from carbyne.limits import API_KEY_BYTES_MAX, TENANT_CACHE_ENTRIES_MAX, TENANT_CACHE_S

Value = TypeVar("Value")
Clock = Callable[[], float]
"""Seconds of a monotonic clock."""


class AccountStore(Protocol):
    """Where keys and tenants are kept.  Both methods read consistently, and raise RetryableError if they can't."""

    def tenant_of(self, api_key: str) -> str | None:
        """The tenant of a key, None if there is no such key."""

    def has_tenant(self, tenant: str) -> bool:
        """Whether this tenant exists."""


class Accounts:
    """Cached look-ups in an AccountStore."""

    def __init__(self, store: AccountStore, clock: Clock) -> None:
        self._store = store
        self._tenants_of_keys: _Remembered[str | None] = _Remembered(clock)
        self._tenants: _Remembered[bool] = _Remembered(clock)

    def tenant(self, api_key: str | None) -> str:
        """The tenant of an X-Api-Key header; RequestError 403 without a known key, RetryableError if unknowable now."""
        if not api_key:
            raise RequestError(403, "the header X-Api-Key is missing")
        tenant = self._tenant_of(api_key) if _is_plausible(api_key) else None
        if tenant is None:
            raise RequestError(403, "the key in the header X-Api-Key is unknown")
        return tenant

    def tenant_exists(self, tenant: str) -> bool:
        """Whether this tenant is known; RetryableError if unknowable now.

        Only a yes is remembered: on a no the caller sets data aside for good, so a no is always fresh.
        """
        if self._tenants.get(tenant):
            return True
        exists = self._store.has_tenant(tenant)
        if exists:
            self._tenants.put(tenant, True)
        return exists

    def _tenant_of(self, api_key: str) -> str | None:
        remembered = self._tenants_of_keys.get(api_key)
        if remembered is not None:
            return remembered[0]
        tenant = self._store.tenant_of(api_key)
        self._tenants_of_keys.put(api_key, tenant)
        return tenant


def _is_plausible(api_key: str) -> bool:
    return len(api_key) <= API_KEY_BYTES_MAX and api_key.isascii()


class _Remembered(Generic[Value]):
    """The least recently used give way when full; each lives TENANT_CACHE_S."""

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
