"""Posts what must be notified to a URL of a tenant, as checks are made: to addresses of the public internet alone."""

from carbyne.checks.asking import Asking
from carbyne.registry.monitor_types import ExternalMonitor, HeaderField


class Posting:
    """One request, without redirects."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> str:
        """Why it was not taken, empty if the status is 2xx."""
        fields = [HeaderField(name, value) for name, value in headers.items()]
        request = ExternalMonitor(
            name="notification", url=url, method="POST", request_body=body.decode(), headers=fields
        )
        asked = self._asking.ask(request)
        return asked.problem or ("" if 200 <= asked.status < 300 else f"the status is {asked.status}")
