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
