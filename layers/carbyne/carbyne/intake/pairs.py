"""Pairs of senders that scrape the same targets: one replica of each pair is taken.

The election is durable (``AccountStore.elect``): a writer refreshes the mark of the replica that it takes every
PAIR_NOTED_S, and another replica can be elected PAIR_SILENT_S after the last refresh.  Between refreshes a writer goes
by what it read, so a post costs no call of the table as a rule.
"""

from collections.abc import Callable

from carbyne.core.limits import PAIR_NOTED_S, PAIR_SILENT_S, PAIRS_REMEMBERED_MAX
from carbyne.tenants.accounts import Accounts, Elected


class Pairs:
    """Elections of one instance; ``now_ms``: the clock."""

    def __init__(self, accounts: Accounts, now_ms: Callable[[], int]) -> None:
        self._accounts = accounts
        self._now_ms = now_ms
        self._elected: dict[tuple[str, str], Elected] = {}

    def takes(self, tenant: str, cluster: str, replica: str) -> bool:
        """Whether this replica of the pair is the one that is taken; RetryableError."""
        now_ms, pair = self._now_ms(), (tenant, cluster)
        elected = self._elected.get(pair)
        if elected is None or now_ms - elected.seen_ms >= self._age_ms_max(elected, replica):
            elected = self._accounts.elect(tenant, cluster, replica, now_ms, PAIR_SILENT_S * 1000)
            if len(self._elected) >= PAIRS_REMEMBERED_MAX:
                self._elected.clear()
            self._elected[pair] = elected
        return elected.replica == replica

    @staticmethod
    def _age_ms_max(elected: Elected, replica: str) -> int:
        return 1000 * (PAIR_NOTED_S if elected.replica == replica else PAIR_SILENT_S)
