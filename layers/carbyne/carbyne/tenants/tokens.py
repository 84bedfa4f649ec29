"""Tokens of sessions: what a session may, signed, for a minute.

Functions outside the VPC reach no Redis, where sessions are.  A token lets them answer a session's requests without
it: the page asks for another one before it ends.  It goes where an API key goes, as ``Authorization: Bearer``.  Its
payload is JSON: [tenant, permission, session, key, expires_s].
"""

from typing import Final

import msgspec

from carbyne.core.limits import TOKEN_BYTES_MAX
from carbyne.core.signing import signed, verified

PREFIX: Final = "cbs1."


class Claims(msgspec.Struct, frozen=True, array_like=True):
    """``permission``: value of the flags; ``session``: its handle; ``key_item``: item of the API key behind it;
    ``expires_s``: seconds since 1970."""

    tenant: str
    permission: int
    session: str
    key_item: str
    expires_s: int


def sign(claims: Claims, secret: bytes) -> str:
    """The token."""
    return signed(PREFIX, msgspec.json.encode(claims), secret)


def verify(token: str, secret: bytes, now_s: float) -> Claims | None:
    """What a token says, None if it was not signed so, or has ended."""
    payload = verified(PREFIX, token, secret) if len(token) <= TOKEN_BYTES_MAX else None
    claims = None if payload is None else msgspec.json.decode(payload, type=Claims)
    return claims if claims and claims.expires_s > now_s else None
