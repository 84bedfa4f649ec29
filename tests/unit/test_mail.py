"""Mails of alerts through SES, as moto has it: it takes nothing from a sender who is not verified."""

from html import escape

import boto3
import pytest
from carbyne.adapters.mail import SesMail
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ses.models import ses_backends

from tests.unit.test_notifier import MAIL, Notified

REGION, SENDER = "us-east-1", "alarms@example.com"


@pytest.fixture
def ses():
    with mock_aws():
        yield boto3.client("ses", REGION, aws_access_key_id="local", aws_secret_access_key="local")


@pytest.fixture
def system(ses):
    notified = Notified()
    notified.notifier._ways = notified.notifier._ways._replace(mail=SesMail(ses, SENDER))
    notified.channel(MAIL)
    return notified


def sent():
    """What was taken; moto keeps the HTML of a body that has both forms."""
    return ses_backends[DEFAULT_ACCOUNT_ID][REGION].sent_messages


def test_an_alert_is_mailed(system, ses):
    ses.verify_email_identity(EmailAddress=SENDER)
    host = system.host()
    for status in ("CRITICAL", "OK"):
        system.report(host, status)
        assert system.notify() == 1
    opened, closed = sent()
    [alert] = system.ok("GET", "/api/v0/alerts?withClosed=true")["alerts"]
    assert (opened.source, opened.destinations["ToAddresses"]) == (SENDER, MAIL["emails"])
    assert opened.subject.startswith("[a] CRITICAL: ") and closed.subject.startswith("[a] OK: ")
    assert escape(opened.subject) in opened.body and f"alert {alert['id']}" in opened.body
    assert "closed " in closed.body and "closed " not in opened.body


def test_alerts_of_a_group_are_mailed_together(system, ses):
    ses.verify_email_identity(EmailAddress=SENDER)
    [channel] = system.ok("GET", "/api/v0/channels")["channels"]
    system.ok("PUT", f"/api/v0/channels/{channel['id']}", {**MAIL, "events": ["alertGroup"]})
    system.ok("POST", "/api/v0/alert-group-settings", {"name": "shop"})
    for _ in range(2):
        system.report(system.host(), "CRITICAL")
    assert system.notify() == 1
    [mail] = sent()
    assert mail.subject == "[a] CRITICAL: shop"
    assert all(f"alert {each['id']}" in mail.body for each in system.ok("GET", "/api/v0/alerts")["alerts"])


def test_a_sender_who_is_not_verified_is_a_failed_try(system, ses, caplog):
    system.report(system.host(), "CRITICAL")
    assert system.notify() == 0 and sent() == []
    assert "not verified" in caplog.text
    ses.verify_email_identity(EmailAddress=SENDER)
    system.world.sleep(61)
    assert system.notify() == 1 and len(sent()) == 1


def test_texts_of_any_script_are_mailed_without_control_characters():
    """A subject has no second line, which would be a header; tabs and lines of a body stay."""
    sent = []

    class Client:
        def send_email(self, **request):
            sent.append(request["Message"])

    subject = "[a] CRITICAL: ディスク\r\nBcc: x@example.com\x00\x1b[31m"
    assert SesMail(Client(), SENDER)(["to@example.com"], subject, "一\x00\tb\nc\x85\x7f", "<p>\x01</p>") == ""
    [message] = sent
    assert message["Subject"] == {"Data": "[a] CRITICAL: ディスク Bcc: x@example.com  [31m", "Charset": "UTF-8"}
    assert message["Body"]["Text"] == {"Data": "一 \tb\nc  ", "Charset": "UTF-8"}
    assert message["Body"]["Html"] == {"Data": "<p> </p>", "Charset": "UTF-8"}


@pytest.mark.parametrize(
    "address",
    ["a@example.com\n", "a@example.com\x00", "ä@example.com", "a@exämple.com", '"a b"@example.com', "a;b@example.com"],
    ids=["line", "control", "local", "domain", "quoted", "two"],
)
def test_an_address_that_ses_does_not_take_is_refused(address):
    """It would take none of the mails to the channel's other addresses."""
    notified = Notified()
    told = notified.refused(400, "POST", "/api/v0/channels", {**MAIL, "emails": ["ops@example.com", address]})
    assert "emails" in told
