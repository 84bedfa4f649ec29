"""Tokens of sessions: what a session may, signed, for a minute.

Functions outside the VPC reach no Redis, where sessions are.  A token lets them answer a session's requests without
it: the page asks for another one before it ends.  It goes where an API key goes, as ``Authorization: Bearer``.

    cbs1.<payload>.<signature>      both base64url; payload: JSON [tenant, permission, session, key, expires_s]
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

import msgspec

from carbyne.core.limits import TOKEN_BYTES_MAX

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
    payload = urlsafe_b64encode(msgspec.json.encode(claims))
    return f"{PREFIX}{payload.decode()}.{_signature(payload, secret).decode()}"


def verify(token: str, secret: bytes, now_s: float) -> Claims | None:
    """What a token says, None if it was not signed so, or has ended."""
    payload, _, signature = token.removeprefix(PREFIX).partition(".")
    if len(token) > TOKEN_BYTES_MAX or not token.isascii():
        return None
    if not hmac.compare_digest(signature.encode(), _signature(payload.encode(), secret)):
        return None
    claims = msgspec.json.decode(urlsafe_b64decode(payload), type=Claims)
    return claims if claims.expires_s > now_s else None


def _signature(payload: bytes, secret: bytes) -> bytes:
    return urlsafe_b64encode(hmac.digest(secret, PREFIX.encode() + payload, "sha256"))
