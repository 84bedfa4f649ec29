"""What a writer remembers of labelled tenants between posts, for all protocols: identities, known series, elections."""

from collections.abc import Callable, Iterable
from typing import Final

from carbyne.core.limits import PAIRS_PER_BODY_MAX
from carbyne.intake.facts import Facts
from carbyne.intake.identities import HaLabels, Identities, Identity, RawLabels
from carbyne.intake.labelled import NOT_ELECTED, Taking
from carbyne.intake.new_targets import TargetPieces
from carbyne.intake.pairs import Pairs
from carbyne.intake.series_watch import SeriesWatch
from carbyne.stream.putter import Time
from carbyne.tenants.accounts import Accounts
from carbyne.tenants.divisions import series_max, source_at

TOO_MANY_PAIRS: Final = "too-many-pairs"

PairsOf = Callable[[RawLabels], Iterable[tuple[bytes, bytes]]]


class Door:
    """Of one instance."""

    def __init__(self, accounts: Accounts, time: Time) -> None:
        self.facts = Facts(time.clock)
        self.pieces = TargetPieces(accounts, self.facts)
        self._accounts = accounts
        self._time = time
        self._series = SeriesWatch(time.clock)
        self._pairs = Pairs(accounts, time.now_ms)
        self._identities: dict[tuple[PairsOf, HaLabels], Identities] = {}

    def identities(self, tenant: str, pairs_of: PairsOf) -> Identities:
        """How labels of a protocol become series, by the names of the tenant's pair labels."""
        ha = HaLabels(*self._accounts.standing(tenant).pair_labels)
        if (pairs_of, ha) not in self._identities:
            self._identities[pairs_of, ha] = Identities(pairs_of, ha)
        return self._identities[pairs_of, ha]

    def taking(self, tenant: str, times_ms: range) -> Taking:
        """A ``Taking`` that knows the tenant's limits and elections."""
        self._series.turn()
        standing = self._accounts.standing(tenant)
        now_ms, divisions = self._time.now_ms(), standing.divisions
        full = standing.series_at(now_ms // 1000) > standing.limits.active_series
        elected: dict[tuple[str, str], str] = {}

        def place_of(source: str, key: str) -> tuple[str, int]:
            of_target = divisions.get(source, ())
            most = series_max(of_target, standing.limits.series_per_source, now_ms // 1000)
            return source_at(source, key, of_target, now_ms), most

        def admit(identity: Identity) -> str:
            if identity.replica and (reason := self._passed_over(tenant, identity, elected)):
                return reason
            return self._series.refusal(tenant, identity.source, identity.key, place_of, full=full)

        return Taking(times_ms, admit, divisions)

    def _passed_over(self, tenant: str, identity: Identity, elected: dict[tuple[str, str], str]) -> str:
        """Why the replica is not taken, empty if it is; asked once a body for each replica."""
        pair = identity.cluster, identity.replica
        if pair not in elected:
            if len(elected) >= PAIRS_PER_BODY_MAX:
                return TOO_MANY_PAIRS
            elected[pair] = "" if self._pairs.takes(tenant, *pair) else NOT_ELECTED
        return elected[pair]
