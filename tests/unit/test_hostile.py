"""Requests that are made to hurt are answered at once and without a 5xx."""

import time

import pytest

from tests.support.hostile import HOST, REQUESTS
from tests.support.memory_system import MemorySystem
from tests.support.registry_system import answer_of, event

NOW_S = 1_700_000_000
CPU_S_MAX = 2.0  # 0.5 on a quiet core; a busy one takes longer, and what is quadratic takes minutes


@pytest.fixture(scope="module")
def system():
    made = MemorySystem(lambda: NOW_S, lambda: 0.0)
    accounts, registry = made.deps["registry"]
    made.deps["registry"] = accounts, registry._replace(new_id=lambda: "host1")
    assert made.handle(event("POST", "/api/v0/hosts", {"name": "web"}))["statusCode"] == 200
    return made


@pytest.mark.parametrize("name", REQUESTS)
def test_a_hostile_request_is_answered_at_once(system, name):
    """The better of two times: another process on the machine makes one of them longer."""
    sent, spent = event(*REQUESTS[name]), []
    for _ in range(2):
        start = time.process_time()
        payload = system.handle(sent)
        spent.append(time.process_time() - start)
        if spent[-1] < CPU_S_MAX:
            break
    assert answer_of(payload).status in (200, 400, 404, 413)
    assert min(spent) < CPU_S_MAX, spent
    for path in (HOST, "/api/v0/hosts", f"{HOST}/metadata"):
        assert system.handle(event("GET", path))["statusCode"] == 200, "what was accepted can be read"
