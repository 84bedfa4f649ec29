"""Requests that mackerel-client-go made, and the answers that it took, one pair a line in ``golden``.

Ids are each time others: ``id-01`` stands for the first one that an answer gave.  Times are those of the test's clock.
"""

import io
import json
import re
from pathlib import Path
from typing import NamedTuple

from tests.support.registry_system import NOW_S

GOLDEN = Path(__file__).parents[1] / "golden" / "mackerel-client-go.jsonl"
IDS, TIMES = {"id", "hostId", "monitorId", "nextId"}, {"openedAt", "closedAt", "createdAt", "updatedAt", "occurredAt"}
PLACE = re.compile(r"id-[0-9]{2}")


class Pair(NamedTuple):
    """``url``: path and query; ``body`` and ``answer``: texts as they were sent."""

    method: str
    url: str
    body: str
    status: int
    answer: str


class Recorder:
    """A WSGI application that notes what another one is asked and what it answers."""

    def __init__(self, application, pairs):
        self._application, self._pairs = application, pairs

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"], told = io.BytesIO(body), []

        def start(status, headers, *rest):
            told.append(int(status[:3]))
            return start_response(status, headers, *rest)

        answer = b"".join(self._application(environ, start))
        url = environ["PATH_INFO"] + (f"?{query}" if (query := environ.get("QUERY_STRING")) else "")
        self._pairs.append(Pair(environ["REQUEST_METHOD"], url, body.decode(), told[0], answer.decode()))
        return [answer]


def plain(pairs):
    """With places for ids, and one time."""
    ids = {}
    for pair in pairs:
        for name, value in _leaves(json.loads(pair.answer)):
            if name in IDS and isinstance(value, str) and len(value) >= 11:
                ids.setdefault(value, f"id-{len(ids) + 1:02d}")
    times = "|".join(TIMES)

    def placed(text):
        for value, place in ids.items():
            text = text.replace(value, place)
        return re.sub(rf'("(?:{times})":)[0-9]+', rf"\g<1>{NOW_S}", text)

    return [Pair(*(placed(part) if isinstance(part, str) else part for part in pair)) for pair in pairs]


def recorded():
    return [Pair(*json.loads(line)) for line in GOLDEN.read_text().splitlines()]


def replayed(pairs, ask):
    """(recorded, got) answers to the same requests, with today's ids; ``ask``: (status, text) of a request."""
    ids, answers = {}, []
    for pair in pairs:
        url, body = (PLACE.sub(lambda match: ids[match[0]], text) for text in (pair.url, pair.body))
        status, text = ask(pair.method, url, body)
        for (name, place), (_, value) in zip(_leaves(json.loads(pair.answer)), _leaves(json.loads(text)), strict=True):
            if name in IDS and PLACE.fullmatch(str(place)):
                ids.setdefault(place, value)
        expected = PLACE.sub(lambda match: ids[match[0]], pair.answer)
        answers.append(((pair.status, expected), (status, text)))
    return answers


def _leaves(value, name=""):
    """(name of the field, value), in their order."""
    if isinstance(value, dict):
        return [leaf for field, part in value.items() for leaf in _leaves(part, field)]
    return [leaf for part in value for leaf in _leaves(part, name)] if isinstance(value, list) else [(name, value)]
