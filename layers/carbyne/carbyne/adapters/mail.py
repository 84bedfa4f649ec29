"""Mails through Amazon SES."""

from collections.abc import Sequence
from typing import Any, Protocol

from carbyne.adapters.aws import AWS_ERRORS


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
        body = {"Text": {"Data": text}} | ({"Html": {"Data": html}} if html else {})
        message = {"Subject": {"Data": subject}, "Body": body}
        try:
            self._client.send_email(
                Source=self._sender,
                Destination={"ToAddresses": list(addresses)},
                Message=message,
            )
        except AWS_ERRORS as error:
            return str(error)
        return ""
