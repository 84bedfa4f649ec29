"""Mails through Amazon SES.

Texts are of monitors, hosts and checks: in any script, and with control characters, which no mail may have.
"""

import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

from carbyne.adapters.aws import AWS_ERRORS

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class MailClient(Protocol):
    """The part of boto3's client of SES that is used."""

    def send_email(self, **request: Any) -> object: ...  # noqa: ANN401 - boto3 has no types of it here


class SesMail:
    """``sender``: an address that SES knows as the account's own; without one nothing is mailed."""

    def __init__(self, client: MailClient, sender: str) -> None:
        self._client = client
        self._sender = sender

    def __call__(self, addresses: Sequence[str], subject: str, text: str, html: str = "") -> str:
        """Why it was not taken, empty if it was."""
        if not self._sender:
            return "the stack has no AlarmEmail, which is the sender of mails"
        body = {"Text": _content(text)} | ({"Html": _content(html)} if html else {})
        message = {"Subject": _content(" ".join(subject.split())), "Body": body}
        try:
            self._client.send_email(
                Source=self._sender,
                Destination={"ToAddresses": list(addresses)},
                Message=message,
            )
        except AWS_ERRORS as error:
            return str(error)
        return ""


def _content(text: str) -> dict[str, str]:
    """Without a character set SES takes text for ASCII."""
    return {"Data": _CONTROLS.sub(" ", text), "Charset": "UTF-8"}
