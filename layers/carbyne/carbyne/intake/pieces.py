"""Bodies with samples in many old windows, which are taken piece by piece: a piece each time that the body is sent.

A sender repeats a body until it is taken.  One that no minute allows would stop it for good, or be dropped.  So each
try puts the next windows on the stream, as many as a minute allows, and the tenant's item notes how many of this body
are there.  The last piece answers for all.  Only then is the body forgotten: whoever sends it again later, over newer
samples or deletes, has all of it stored again.
"""

from hashlib import blake2b
from typing import NamedTuple

from carbyne.core.errors import OverLimitError
from carbyne.core.keys import SourceKey, Window
from carbyne.core.limits import BACKLOG_FREE_S, OLD_WINDOWS_PER_BODY_MAX
from carbyne.intake.packing import RowValues
from carbyne.tenants.accounts import Accounts
from carbyne.tenants.windows import RawLengths

OLD_WINDOWS_PER_BODY = "old-windows-per-body"
_DIGEST_BYTES, _SALT_BYTES = 12, 8


class Piece(NamedTuple):
    """``rows``: to be put now.  ``upto``: old windows of the body that are on the stream then, ``size``: how many it
    has, ``allowed``: of one piece; ``digest``: of the body, empty if the piece is all of it."""

    rows: RowValues
    upto: int = 0
    size: int = 0
    allowed: int = 0
    digest: str = ""


def digest_of(body: bytes, rows: RowValues, salt: bytes) -> str:
    """Of a body and of what can be stored of it now.  How much was taken is a number: between two tries samples become
    too old, or not too far ahead any more, and then it would count others."""
    digest = blake2b(body, digest_size=_DIGEST_BYTES, salt=salt)
    digest.update(repr(list(rows)).encode())
    return digest.hexdigest()


class Pieces:
    """``usual_s``: length of most raw windows."""

    def __init__(self, accounts: Accounts, usual_s: int) -> None:
        self._accounts = accounts
        self._salt = usual_s.to_bytes(_SALT_BYTES, "big")  # windows of another length would be counted otherwise
        self._lengths = RawLengths(lambda tenant: accounts.standing(tenant).steps, usual_s)

    def next(self, tenant: str, body: bytes, rows: RowValues, now_ms: int) -> Piece:
        """What to put of a body now, which is counted already; OverLimitError if no more old windows may come now."""
        oldest_ms = now_ms - BACKLOG_FREE_S * 1000
        window_of = {row: self._window(tenant, row) for row in rows if row[1] < oldest_ms}
        old = sorted(set(window_of.values()))
        if not old:
            return Piece(rows)
        per_minute = self._accounts.standing(tenant).limits.old_windows_per_minute
        allowed = max(1, min(OLD_WINDOWS_PER_BODY_MAX, per_minute))
        if len(old) <= allowed:
            self._spend(tenant, len(old), now_ms)
            return Piece(rows)
        digest = digest_of(body, rows, self._salt)
        taken = self._accounts.taken(tenant, digest, now_ms // 1000)
        windows = set(old[taken : taken + allowed])
        self._spend(tenant, len(windows), now_ms)
        is_first = taken == 0  # samples that are not old come with it
        mine = {row: rows[row] for row in rows if (window_of[row] in windows if row in window_of else is_first)}
        return Piece(mine, taken + len(windows), len(old), allowed, digest)

    def taken(self, tenant: str, piece: Piece, now_ms: int) -> None:
        """The piece is on the stream; OverLimitError if the body has more."""
        if not piece.digest:
            return
        is_last = piece.upto >= piece.size
        self._accounts.note_taken(tenant, piece.digest, 0 if is_last else piece.upto, now_ms // 1000)
        if not is_last:
            raise OverLimitError(
                OLD_WINDOWS_PER_BODY,
                piece.size,
                piece.allowed,
                f"samples older than {BACKLOG_FREE_S // 3600} h lie in so many windows; the first {piece.upto} are"
                " stored, and the same body stores more each time that it is sent",
            )

    def _window(self, tenant: str, row: tuple[str, int]) -> tuple[str, Window]:
        source, ts_ms = row
        return source, self._lengths.window(SourceKey(tenant, source), ts_ms)

    def _spend(self, tenant: str, number: int, now_ms: int) -> None:
        self._accounts.spend(tenant, "old_windows_per_minute", now_ms // 1000, number)
