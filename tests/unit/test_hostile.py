"""Requests that are made to hurt are answered at once and without a 5xx."""

import gc
import json
import re
import time

import pytest
from carbyne.wiring.openapi import TABLES

from tests.support.fuzz import KNOWN_BODIES
from tests.support.hostile import GOOD, HOST, REQUESTS, listed
from tests.support.memory_system import MemorySystem
from tests.support.registry_system import answer_of, event

NOW_S = 1_700_000_000
CPU_S_MAX = 0.5
YARDSTICK = listed(GOOD, 20_000)
YARDSTICK_S = 0.007  # to decode it, on a core of 2024 to itself; a shared or a slower one takes longer for everything


def yardstick_s():
    """The best of three: one that was interrupted would let anything pass."""
    spent = []
    for _ in range(3):
        start_s = time.process_time()
        json.loads(YARDSTICK)
        spent.append(time.process_time() - start_s)
    return min(spent)


def cpu_s(call):
    """What a call takes of a core that it has to itself, in seconds; and what it returns.

    Processor time alone, of all threads, and in proportion to what a plain decoding takes at the same time.
    """
    gc.collect()
    slowness = max(1.0, yardstick_s() / YARDSTICK_S)
    start_s = time.process_time()
    returned = call()
    spent_s = time.process_time() - start_s
    return spent_s / slowness, returned


@pytest.fixture(scope="module")
def small_heap():
    """The collector walks through nothing that other tests left."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def system(small_heap):
    made = MemorySystem(lambda: NOW_S, lambda: 0.0)
    accounts, registry = made.deps["registry"]
    made.deps["registry"] = accounts, registry._replace(new_id=lambda: "host1")
    assert made.handle(event("POST", "/api/v0/hosts", {"name": "web"}))["statusCode"] == 200
    return made


@pytest.mark.parametrize("name", REQUESTS)
def test_a_hostile_request_is_answered_at_once(system, name):
    """The best of three times: what else the machine does comes and goes."""
    sent, spent = event(*REQUESTS[name]), []
    for _ in range(3):
        spent_s, payload = cpu_s(lambda: system.handle(sent))
        spent.append(spent_s)
        if spent_s < CPU_S_MAX:
            break
    assert answer_of(payload).status in (200, 400, 404, 413)
    assert min(spent) < CPU_S_MAX, spent
    for path in (HOST, "/api/v0/hosts", f"{HOST}/metadata"):
        assert system.handle(event("GET", path))["statusCode"] == 200, "what was accepted can be read"


NAMED = [row for table in TABLES.values() for row in table if "{" in row.path]


@pytest.mark.parametrize("row", NAMED, ids=lambda row: f"{row.method} {row.path}")
def test_a_name_over_the_length_of_a_key_is_refused_by_every_route(system, row):
    """DynamoDB refuses a sort key of more than 1,024 bytes, and a partition key of more than 2,048."""
    body = KNOWN_BODIES.get(f"{row.method} {row.path}", {} if row.method in ("POST", "PUT") else None)
    for name in ("x" * 1_100, "%2F" * 400, "%C3%A9" * 1_100):
        path = re.sub(r"{[^}]*}", name, row.path)
        answer = answer_of(system.handle(event(row.method, f"{path}?query=up&name=m&from=0&to=9", body)))
        assert answer.status in (400, 404) or answer.body == {"status": "success", "data": []}, answer.text
