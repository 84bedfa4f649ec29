"""Pictures of alerts as URLs: all that is drawn is in the URL and signed, so a picture needs no store.

A URL shows no more than its message says, to those who have the message.  The signature makes it ours: the door draws
nothing that a stranger made up.
"""

from typing import Final

import msgspec

from carbyne.alerts.plots import Plot
from carbyne.core.limits import PICTURE_TOKEN_BYTES_MAX
from carbyne.core.signing import signed, verified

PATH: Final = "/carbyne/v1/picture.png"
PARAMETER: Final = "of"
WIDTH: Final = 640
HEIGHT: Final = 280
"""Pixels: what Slack shows without a scroll bar."""
_PURPOSE: Final = "cbp1."


class Picture(msgspec.Struct, frozen=True, array_like=True):
    """``title``: at most PICTURE_TITLE_CHARACTERS_MAX; ``operator``: > or <; times in seconds since 1970;
    ``closed_s``: None while the alert is open."""

    title: str
    plot: Plot
    operator: str
    warning: float | None
    critical: float | None
    opened_s: int
    closed_s: int | None
    expires_s: int


def path_of(picture: Picture, secret: bytes) -> str:
    """Path and query of the picture's URL."""
    return f"{PATH}?{PARAMETER}={signed(_PURPOSE, msgspec.msgpack.encode(picture), secret)}"


def is_plausible(token: str) -> bool:
    """Whether it looks like one of ours; what does not costs no look-up of the secret."""
    return token.startswith(_PURPOSE) and len(token) <= PICTURE_TOKEN_BYTES_MAX


def verified_picture(token: str, secret: bytes, now_s: int) -> Picture | None:
    """What a token says, None if it was not signed so, has expired, or is of a version with other fields."""
    payload = verified(_PURPOSE, token, secret) if is_plausible(token) else None
    if payload is None:
        return None
    try:
        picture = msgspec.msgpack.decode(payload, type=Picture)
    except msgspec.ValidationError:
        return None
    return picture if picture.expires_s > now_s else None
