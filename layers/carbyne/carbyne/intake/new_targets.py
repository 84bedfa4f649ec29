"""Bodies of many targets, which are taken piece by piece if many of them are new: see ``pieces``.

Each new target has the ingester read and put an entry of the directory, which costs as much as a thousand samples.  A
body may have one sample of each of 200,000.  So each try takes the next targets, in the order of their places, up to
the TARGETS_PER_BODY_MAXth that this writer has not told of before; the last one's place stands in the tenant's item.
"""

from bisect import bisect_left
from typing import Final, NamedTuple

from carbyne.core.errors import OverLimitError
from carbyne.core.limits import TARGETS_PER_BODY_MAX
from carbyne.intake.facts import Facts
from carbyne.intake.labelled import Taking
from carbyne.intake.packing import RowValues
from carbyne.intake.pieces import digest_of, place_of
from carbyne.tenants.accounts import Accounts

NEW_TARGETS_PER_BODY: Final = "new-targets-per-body"


class TargetsPiece(NamedTuple):
    """What of a body is taken now: its ``targets`` and their ``rows``; ``name``: bytes that no other piece has.

    ``upto``: targets of the body that are on the stream then, ``size``: how many it has; ``begin``, ``end``: places of
    the last target before it, and in it; ``new``: how many new ones are left; ``digest``: of a body that may need
    several pieces, else empty.
    """

    name: bytes
    targets: dict[str, str]
    rows: RowValues
    upto: int = 0
    size: int = 0
    begin: int = 0
    end: int = 0
    new: int = 0
    digest: str = ""


class TargetPieces:
    """``facts``: what this writer has told of targets."""

    def __init__(self, accounts: Accounts, facts: Facts) -> None:
        self._accounts = accounts
        self._facts = facts

    def next(self, tenant: str, body: bytes, taking: Taking, now_s: int) -> TargetsPiece:
        """The next piece of a body; RetryableError if it can't be known how far the body is."""
        targets = taking.targets
        if len(targets) <= TARGETS_PER_BODY_MAX:
            return TargetsPiece(body, targets, taking.rows)
        digest = digest_of(body, taking.rows, b"targets")
        begin, order = (
            self._accounts.taken(tenant, digest, now_s),
            sorted((place_of(source), source) for source in targets),
        )
        untold = self._facts.untold_targets(tenant, targets)
        new = [place for place, source in order if place > begin and source in untold]
        past = new[TARGETS_PER_BODY_MAX] if len(new) > TARGETS_PER_BODY_MAX else order[-1][0] + 1
        mine = {source: targets[source] for place, source in order if begin < place < past}
        rows = {row: values for row, values in taking.rows.items() if row[0] in mine}
        upto, name = bisect_left(order, (past, "")), b"%d:%b" % (begin, body)
        return TargetsPiece(name, mine, rows, upto, len(order), begin, past - 1, len(new), digest)

    def taken(self, tenant: str, piece: TargetsPiece, now_s: int) -> None:
        """The piece is on the stream; OverLimitError if the body has more."""
        is_last = piece.upto >= piece.size
        if piece.digest and (piece.begin or not is_last):
            self._accounts.note_taken(tenant, piece.digest, 0 if is_last else piece.end, now_s)
        if not is_last:
            raise OverLimitError(
                NEW_TARGETS_PER_BODY,
                piece.new,
                TARGETS_PER_BODY_MAX,
                f"the samples of the first {piece.upto} of {piece.size} targets are stored, and the same body stores"
                " more each time that it is sent",
            )
