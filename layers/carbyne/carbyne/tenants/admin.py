"""Tenants and API keys as the operator's commands list and change them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from carbyne.tenants.accounts import Permission
from carbyne.tenants.usage import Standing


class ApiKey(NamedTuple):
    """What is known of an API key; ``key_id`` tells it apart and can't be used in its place."""

    key_id: str
    name: str
    tenant: str
    permission: Permission
    created_s: int


class Tenancies(Protocol):
    """All tenants of a deployment; every method raises RetryableError if they can't be asked for."""

    def add(self, tenant: str) -> bool:
        """Make a tenant known; False if it was."""

    def has(self, tenant: str) -> bool: ...
    def all(self) -> list[str]:
        """Every tenant, sorted."""

    def standing_of(self, tenant: str) -> Standing | None: ...
    def set_limits(self, tenant: str, limits: Mapping[str, int | None]) -> bool:
        """Give a tenant these limits, or with None the default again; False if there is no such tenant."""

    def set_pair_labels(self, tenant: str, names: Sequence[str]) -> bool:
        """Name the labels of a tenant's pairs of senders; False if there is no such tenant."""

    def add_key(self, api_key: str, tenant: str, permission: Permission, name: str, created_s: int) -> str:
        """Let ``api_key`` speak for ``tenant``; only the key's hash is stored.  Its id."""

    def api_keys(self, key_id: str = "") -> list[ApiKey]:
        """Every API key, or those whose id begins like ``key_id``, oldest first."""

    def revoke(self, key_id: str) -> None:
        """Forget the keys of this id; functions stop to believe them within TENANT_CACHE_S."""
