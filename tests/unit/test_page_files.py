"""The files of the page: forms, headers, and that nothing else of the disk can be asked for."""

import base64

import pytest
from carbyne.http.message import answer
from carbyne.page import api
from carbyne.page.files import POLICY


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "static").mkdir()
    (tmp_path / "secret.js").write_text("secret")
    for name, text in {"index.html": "<p>page</p>", "main.0123.js": "run()", "main.0123.css": "p{}"}.items():
        for suffix, form in {"": "", ".br": "br ", ".gz": "gzip "}.items():
            (tmp_path / "static" / f"{name}{suffix}").write_text(form + text)
    return tmp_path / "static"


def get(folder, path, **headers):
    event = {
        "rawPath": path,
        "rawQueryString": "",
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
        "requestContext": {"http": {"method": "GET", "path": path}},
        "body": None,
    }
    return answer(event, lambda request: api.route(request, folder, lambda: pytest.fail("files need no store")))


def text(answered):
    assert answered["isBase64Encoded"]
    return base64.b64decode(answered["body"]).decode()


@pytest.mark.parametrize(
    ("accepted", "encoding", "body"),
    [
        ("gzip, deflate, br", "br", "br <p>page</p>"),
        ("gzip;q=0.5", "gzip", "gzip <p>page</p>"),
        ("", None, "<p>page</p>"),
    ],
)
def test_the_best_form_that_a_client_takes(folder, accepted, encoding, body):
    answered = get(folder, "/", accept_encoding=accepted)
    assert (answered["statusCode"], text(answered)) == (200, body)
    assert answered["headers"].get("Content-Encoding") == encoding
    assert answered["headers"]["Vary"] == "Accept-Encoding"


def test_files_are_kept_for_good_and_the_page_is_asked_for_each_time(folder):
    assert get(folder, "/assets/main.0123.js")["headers"]["Cache-Control"] == "public, max-age=31536000, immutable"
    first = get(folder, "/")["headers"]
    assert first["Cache-Control"] == "private, no-cache"
    again = get(folder, "/", if_none_match=first["ETag"])
    assert (again["statusCode"], again["body"]) == (304, "")
    assert get(folder, "/", if_none_match='"other"')["statusCode"] == 200


def test_types_and_policies(folder):
    kinds = {"/": "text/html", "/assets/main.0123.js": "text/javascript", "/assets/main.0123.css": "text/css"}
    for path, kind in kinds.items():
        headers = get(folder, path)["headers"]
        assert headers["Content-Type"] == f"{kind}; charset=utf-8"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"] == POLICY
    assert "default-src 'none'" in POLICY and "unsafe" not in POLICY and "http" not in POLICY


@pytest.mark.parametrize(
    "name",
    ["none.js", "..%2Fsecret.js", "%2e%2e%2fsecret.js", "main.0123.js.br", "index.html", "."],
)
def test_nothing_else_of_the_disk(folder, name):
    answered = get(folder, f"/assets/{name}")
    assert answered["statusCode"] == 404
    assert "secret" not in str(answered["body"]).replace(name, "").replace("secret.js", "")


def test_a_page_that_was_not_built_says_how(tmp_path):
    answered = get(tmp_path, "/")
    assert answered["statusCode"] == 404 and "make web" in answered["body"]
