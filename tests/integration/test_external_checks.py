"""Checks of real servers on loopback: every way in which one can fail, and what people read about it."""

import ssl
import time

import msgspec
import pytest
from carbyne.checks import asking as module
from carbyne.checks.asking import Asking
from carbyne.checks.targets import Targets, networks
from carbyne.checks.verdicts import judge
from carbyne.registry.monitor_types import ExternalMonitor

from tests.support.targets import Server, certificate

NAMES = {"target.example": ["127.0.0.1"], "other.example": ["127.0.0.1"], "six.example": ["2606:4700::1"]}
LOOPBACK = networks("127.0.0.0/8")


@pytest.fixture(scope="module")
def server():
    with Server() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("certificates")


def resolve(host, _port):
    if host not in NAMES:
        return [host]
    return NAMES[host]


def check(url, trusted=None, allowed=LOOPBACK, **fields):
    """(status, message) of one check."""
    monitor = msgspec.convert({"id": "m", "type": "external", "name": "n", "url": url, **fields}, ExternalMonitor)
    asking = Asking(Targets(allowed, resolve), time.monotonic, lambda: ssl.create_default_context(cafile=trusted))
    asked = asking.ask(monitor)
    return judge(monitor, asked, [asked.seconds * 1000], int(time.time()))


@pytest.mark.parametrize(
    ("path", "fields", "status", "message"),
    [
        ("/up", {}, "OK", "200 in "),
        ("/up", {"containsString": "hello"}, "OK", "200 in "),
        ("/up", {"containsString": "bye"}, "CRITICAL", "does not contain 'bye'"),
        ("/wrong", {}, "CRITICAL", "the status is 500"),
        ("/wrong", {"expectedStatusCode": 500}, "OK", "500 in "),
        ("/up", {"expectedStatusCode": 204}, "CRITICAL", "the status is 200, not 204"),
        ("/created", {"method": "POST", "requestBody": "{}"}, "OK", "201 in "),
        ("/close", {}, "CRITICAL", "the connection was closed"),
        ("/short", {}, "CRITICAL", "the answer ends 45 bytes before the length that it promised"),
        ("/chunk", {}, "CRITICAL", "before the length that it promised"),
        ("/noise", {}, "CRITICAL", "the answer is not HTTP"),
        ("/moved", {}, "OK", "302 in "),
        ("/moved", {"followRedirect": True}, "OK", "200 in "),
        ("/loop", {"followRedirect": True}, "CRITICAL", "more than 5 redirects"),
        ("/file", {"followRedirect": True}, "CRITICAL", "neither http nor https"),
        ("/metadata", {"followRedirect": True}, "CRITICAL", "169.254.169.254, which is not an address of the public"),
        ("/slow", {"responseTimeCritical": 100}, "CRITICAL", "more than 100 ms"),
        ("/slow", {"responseTimeWarning": 100, "responseTimeCritical": 5000}, "WARNING", "more than 100 ms"),
    ],
)
def test_what_a_server_does_is_told(server, path, fields, status, message):
    verdict = check(server.url(path), **fields)
    assert verdict.status == status and message in verdict.message, verdict


def test_the_request_is_as_the_monitor_says(server):
    check(server.url("/up?a=b"), method="POST", requestBody="é", headers=[{"name": "X-Token", "value": "secret"}])
    head = server.requests[-1]
    assert head.startswith("POST /up?a=b HTTP/1.1\r\n") and f"Host: target.example:{server.port}\r\n" in head
    assert "X-Token: secret\r\n" in head and "Content-Length: 2\r\n" in head


def test_headers_do_not_go_along_to_another_host(server, monkeypatch):
    elsewhere = server.url("/up", host="other.example")
    answer = f"HTTP/1.1 307 Over there\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n".encode()
    monkeypatch.setitem(__import__("tests.support.targets", fromlist=["PATHS"]).PATHS, "/away", answer)
    headers = [{"name": "Authorization", "value": "secret"}]
    assert check(server.url("/away"), headers=headers, followRedirect=True).status == "OK"
    assert "secret" in server.requests[-2] and "secret" not in server.requests[-1]


def test_a_server_that_drips_is_given_up_in_time(server, monkeypatch):
    monkeypatch.setattr(module, "CHECK_S", 0.5)
    begun_s = time.monotonic()
    verdict = check(server.url("/drip"))
    assert verdict == ("CRITICAL", "no whole answer within 0.5 s")
    assert time.monotonic() - begun_s < 2


def test_nothing_listens(server):
    with Server() as gone:
        url = gone.url("/up")
    assert "the connection was refused" in check(url).message


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("target.example", "is 127.0.0.1, which is not an address of the public internet"),
        ("10.0.0.1", "not an address of the public"),
        ("192.168.1.1", "not an address of the public"),
        ("169.254.169.254", "not an address of the public"),
        ("100.100.1.1", "not an address of the public"),
        ("168.63.129.16", "not an address of the public"),
        ("0.0.0.0", "not an address of the public"),
        ("224.0.0.1", "not an address of the public"),
        ("255.255.255.255", "not an address of the public"),
        ("six.example", "IPv6 alone, which this deployment can't reach"),
        ("[::1]", "IPv6 alone"),
        ("nowhere.invalid", "has no address"),
    ],
)
def test_only_the_world_is_asked(host, message):
    verdict = check(f"http://{host}/", allowed=[])
    assert verdict.status == "CRITICAL" and message in verdict.message, verdict


def test_one_bad_address_of_a_name_is_enough(monkeypatch):
    monkeypatch.setitem(NAMES, "both.example", ["1.1.1.1", "10.0.0.1"])
    assert "10.0.0.1" in check("http://both.example/", allowed=[]).message


def test_the_address_that_was_judged_is_the_one_that_is_asked(server):
    """A name that has another address the second time gets no second time."""
    answers = iter([["127.0.0.1"]])
    asking = Asking(Targets(LOOPBACK, lambda *_: next(answers)), time.monotonic, ssl.create_default_context)
    monitor = ExternalMonitor(id="m", name="n", url=server.url("/up"))
    assert asking.ask(monitor).status == 200


def test_looking_names_up_is_no_response_time(server):
    def slowly(*_):
        time.sleep(0.2)
        return ["127.0.0.1"]

    asking = Asking(Targets(LOOPBACK, slowly), time.monotonic, ssl.create_default_context)
    monitor = ExternalMonitor(id="m", name="n", url=server.url("/moved"), follow_redirect=True)
    assert 0 < asking.ask(monitor).seconds < 0.2


@pytest.mark.parametrize(
    ("days", "fields", "status", "message"),
    [
        (90, {}, "OK", "200 in "),
        (90, {"certificationExpirationWarning": 30, "certificationExpirationCritical": 15}, "OK", "200 in "),
        (20, {"certificationExpirationWarning": 30, "certificationExpirationCritical": 15}, "WARNING", "in 20 days"),
        (10, {"certificationExpirationWarning": 30, "certificationExpirationCritical": 15}, "CRITICAL", "in 10 days"),
        (-5, {}, "CRITICAL", "the certificate is not valid: certificate has expired"),
        (-5, {"skipCertificateVerification": True}, "OK", "200 in "),
        (-5, {"skipCertificateVerification": True, "certificationExpirationCritical": 1}, "CRITICAL", "expired"),
    ],
)
def test_certificates(folder, days, fields, status, message):
    both, trusted = certificate(folder, days=days)
    with Server(both) as secured:
        verdict = check(secured.url("/up"), trusted, **fields)
    assert verdict.status == status and message in verdict.message, verdict


def test_an_untrusted_certificate_or_one_of_another_name_is_refused(folder):
    both, trusted = certificate(folder)
    with Server(both) as secured:
        assert "self-signed certificate" in check(secured.url("/up")).message
        assert "not valid for 'other.example'" in check(secured.url("/up", host="other.example"), trusted).message


def test_plain_http_behind_https_is_told(server):
    verdict = check(server.url("/up").replace("http:", "https:"))
    assert verdict.status == "CRITICAL" and "no TLS" in verdict.message
