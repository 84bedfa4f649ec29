"""Texts that only this system can have made: a payload that anybody may read, and its signature.

    <purpose><payload>.<signature>      both base64url; HMAC-SHA256 of purpose and payload

The purpose is signed too, so what was signed for one is never taken for another.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable


def signed(purpose: str, payload: bytes, secret: bytes) -> str:
    """The text; ``payload`` is not hidden in it."""
    encoded = urlsafe_b64encode(payload)
    return f"{purpose}{encoded.decode()}.{_signature(purpose, encoded, secret).decode()}"


def verified(purpose: str, text: str, secret: bytes) -> bytes | None:
    """The payload of a text, None if it was not signed for this purpose with this secret."""
    encoded, _, signature = text.removeprefix(purpose).partition(".")
    if not (text.startswith(purpose) and text.isascii()):
        return None
    if not hmac.compare_digest(signature.encode(), _signature(purpose, encoded.encode(), secret)):
        return None
    return urlsafe_b64decode(encoded)


def once_known(secret: Callable[[], bytes | None]) -> Callable[[], bytes | None]:
    """Asks for a secret until it is there."""
    known: list[bytes] = []

    def remembered() -> bytes | None:
        if not known and (read := secret()):
            known.append(read)
        return known[0] if known else None

    return remembered


def _signature(purpose: str, encoded: bytes, secret: bytes) -> bytes:
    return urlsafe_b64encode(hmac.digest(secret, purpose.encode() + encoded, "sha256"))
