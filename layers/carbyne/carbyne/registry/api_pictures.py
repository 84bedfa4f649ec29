"""The pictures of messages, which are asked for without an API key."""

from typing import Final

from carbyne.alerts.pictures import PARAMETER, PATH, is_plausible, verified_picture
from carbyne.core.errors import RequestError
from carbyne.http.message import Response, parameter
from carbyne.http.routes import Call, Parameter, Route, Text
from carbyne.registry.store import Registry
from carbyne.tenants.accounts import NO_KEY

PNG: Final = "image/png"


def get_picture(registry: Registry, call: Call) -> Response:
    """RequestError 404 unless the URL was signed here, and has not expired."""
    token, now_s = parameter(call.request, PARAMETER), registry.now_s()
    secret = registry.picture_secret() if is_plausible(token) else None
    picture = verified_picture(token, secret, now_s) if secret else None
    if picture is None:
        raise RequestError(404, "there is no such picture (any more): its URL is that of a message, whole, for 30 days")
    from carbyne.alerts.drawing import png  # noqa: PLC0415 - no other request draws

    headers = {"Content-Type": PNG, "Cache-Control": f"public, max-age={picture.expires_s - now_s}, immutable"}
    return Response(200, png(picture), {**headers, "X-Content-Type-Options": "nosniff"})


ROUTES: Final[tuple[Route[Registry], ...]] = (
    Route(
        "GET",
        PATH,
        NO_KEY,
        "The picture of an alert, by the URL in its message",
        bytes,
        get_picture,
        parameters=(Parameter(PARAMETER, Text, "What is drawn, signed", required=True),),
        not_found="The URL was not signed here, or has expired",
        answer_media=PNG,
    ),
)
