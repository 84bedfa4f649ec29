"""Posts what must be notified to a URL of a tenant, as checks are made: to addresses of the public internet alone."""

from base64 import b64encode
from typing import Final
from urllib.parse import unquote, urlsplit

from carbyne.checks.asking import Asking
from carbyne.registry.monitor_types import ExternalMonitor, HeaderField

AGENT: Final = "carbyne-notifier"


class Posting:
    """One request, without redirects; user and password of its URL are sent as Basic authorization."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> str:
        """Why it was not taken, empty if the status is 2xx."""
        fields = [HeaderField(name, value) for name, value in {**headers, "User-Agent": AGENT, **_basic(url)}.items()]
        request = ExternalMonitor(
            name="notification", url=url, method="POST", request_body=body.decode(), headers=fields
        )
        asked = self._asking.ask(request)
        return asked.problem or ("" if 200 <= asked.status < 300 else f"the status is {asked.status}")


def _basic(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
