"""Bodies with samples in many old windows, which are taken piece by piece: a piece each time that the body is sent.

A sender repeats a body until it is taken.  One that no minute allows would stop it for good, or be dropped.  So each
try puts the next windows on the stream, as many as a minute allows, and the tenant's item notes the last of this body
that is there.  The last piece answers for all.  Only then is the body forgotten: whoever sends it again later, over
newer samples or deletes, has all of it stored again.

What can be stored of a body changes between two tries.  Samples become too old: what is noted is a place in an order of
all windows that could be, which is the same with and without them, and no number of windows.  Samples that were too far
ahead can be stored now: then the body counts as another one.  So it does when other series of it are admitted
(``Taking.name_of``).
"""

from bisect import bisect_right
from functools import cache
from hashlib import blake2b
from operator import itemgetter
from typing import NamedTuple

from carbyne.core.errors import OverLimitError
from carbyne.core.keys import SourceKey, Window
from carbyne.core.limits import BACKLOG_FREE_S, OLD_WINDOWS_PER_BODY_MAX
from carbyne.intake.packing import RowValues
from carbyne.tenants.accounts import Accounts
from carbyne.tenants.windows import RawLengths

OLD_WINDOWS_PER_BODY = "old-windows-per-body"
_DIGEST_BYTES, _SALT_BYTES, _PLACE_BYTES, _START_BITS = 12, 8, 4, 40


class Piece(NamedTuple):
    """``rows``: to be put now.  ``upto``: old windows of the body that are on the stream then, ``size``: how many it
    has, ``allowed``: of one piece; ``place``: of the last one; ``digest``: of the body, empty if the piece is all of
    it."""

    rows: RowValues
    upto: int = 0
    size: int = 0
    allowed: int = 0
    place: int = 0
    digest: str = ""


def digest_of(body: bytes, rows: RowValues, salt: bytes) -> str:
    """Of a body, and of its newest sample that can be stored now: another one once more of it can be."""
    digest = blake2b(body, digest_size=_DIGEST_BYTES, salt=salt)
    digest.update(repr(max(rows, key=itemgetter(1, 0))).encode())
    return digest.hexdigest()


def place_of(source: str) -> int:
    """In an order of all sources that there may be: a number above 0, which few of them share."""
    return 1 + int.from_bytes(blake2b(source.encode(), digest_size=_PLACE_BYTES).digest(), "big")


def _place(source: str, window: Window) -> int:
    """As ``place_of``, those of a source by time."""
    return place_of(source) << _START_BITS | window.start_s


class Pieces:
    """``usual_s``: length of most raw windows."""

    def __init__(self, accounts: Accounts, usual_s: int) -> None:
        self._accounts = accounts
        self._salt = usual_s.to_bytes(_SALT_BYTES, "big")  # windows of another length would be counted otherwise
        self._lengths = RawLengths(lambda tenant: accounts.standing(tenant).steps, usual_s)

    def next(self, tenant: str, body: bytes, rows: RowValues, now_ms: int) -> Piece:
        """What to put of a body now, which is counted already; OverLimitError if no more old windows may come now."""
        oldest_ms = now_ms - BACKLOG_FREE_S * 1000
        place_by_window = cache(_place)
        places = {row: place_by_window(*self._window(tenant, row)) for row in rows if row[1] < oldest_ms}
        old = sorted(set(places.values()))
        if not old:
            return Piece(rows)
        per_minute = self._accounts.standing(tenant).limits.old_windows_per_minute
        allowed = max(1, min(OLD_WINDOWS_PER_BODY_MAX, per_minute))
        if len(old) <= allowed:
            self._spend(tenant, len(old), now_ms)
            return Piece(rows)
        digest = digest_of(body, rows, self._salt)
        begin = self._accounts.taken(tenant, digest, now_ms // 1000)
        first = bisect_right(old, begin)
        upto = min(first + allowed, len(old))
        end = old[upto - 1]
        self._spend(tenant, upto - first, now_ms)
        is_first = begin == 0  # samples that are not old come with it
        mine = {row: rows[row] for row in rows if (begin < places[row] <= end if row in places else is_first)}
        return Piece(mine, upto, len(old), allowed, max(begin, end), digest)

    def taken(self, tenant: str, piece: Piece, now_ms: int) -> None:
        """The piece is on the stream; OverLimitError if the body has more."""
        if not piece.digest:
            return
        is_last = piece.upto >= piece.size
        self._accounts.note_taken(tenant, piece.digest, 0 if is_last else piece.place, now_ms // 1000)
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
