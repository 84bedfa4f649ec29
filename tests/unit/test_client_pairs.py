"""Recorded pairs: what mackerel-client-go asks of all that concerns alerts and dashboards, and what it took."""

import re

import pytest

from tests.support.client_pairs import recorded, replayed
from tests.support.registry_system import System

METHODS = {
    "monitors": "GET POST GET/1 PUT/1 DELETE/1",
    "alerts": "GET GET?nextId GET?withClosed GET?nextId&withClosed GET/1 PUT/1 POST/1/close "
    "GET/1/logs?limit GET/1/logs?nextId",
    "downtimes": "GET POST PUT/1 DELETE/1",
    "channels": "GET POST PUT/1 DELETE/1",
    "notification-groups": "GET POST PUT/1 DELETE/1",
    "alert-group-settings": "GET POST GET/1 PUT/1 DELETE/1",
    "dashboards": "GET POST GET/1 PUT/1 DELETE/1",
    "graph-annotations": "GET?from&service&to POST PUT/1 DELETE/1",
    "users": "GET",
}
"""Of the 40 methods of the library's nine files: FindAlertLogs is one, with two parameters."""


def shape(pair):
    """(collection, method, place of the id, names of parameters)."""
    path, _, query = pair.url.partition("?")
    kind, _, rest = path.removeprefix("/api/v0/").partition("/")
    names = "&".join(sorted(re.findall(r"(\w+)=", query)))
    return kind, pair.method + (f"/{re.sub('^[^/]+', '1', rest)}" if rest else "") + (f"?{names}" if names else "")


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_is_recorded(kind):
    assert {method for of, method in map(shape, recorded()) if of == kind} == set(METHODS[kind].split())


def test_the_answers_are_those_that_the_client_library_took():
    system = System()

    def ask(method, url, body):
        answer = system.call(method, url if "?" in url else f"{url}?", body)
        return answer.status, answer.text

    answers = replayed(recorded(), ask)
    assert len(answers) > 70
    assert [got for _, got in answers] == [expected for expected, _ in answers]
