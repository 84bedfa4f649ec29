"""The HTTP side of queues: sizes, permissions, and calls of the stack's own functions."""

import json
from functools import partial

import pytest
from carbyne.core.limits import MESSAGE_BYTES_MAX
from carbyne.queue.api import QueueDeps
from carbyne.tenants.accounts import Accounts

from tests.support.queue_stores import MemoryQueueWorld
from tests.support.registry_system import Keys, answer_of, event, load_app

APP = load_app("queue")
URL = "/carbyne/v1/queues/jobs"


@pytest.fixture
def world():
    return MemoryQueueWorld()


@pytest.fixture
def ask(world):
    deps = QueueDeps(Accounts(Keys(), lambda: 0.0), world.queues, None)
    return partial(call, lambda: deps)


def call(deps, method, url, body=None, key="key-a", **outer):
    return answer_of(APP.handle({**event(method, URL + url, body, key), **outer}, deps))


def publish(ask, *bodies, **options):
    return ask("POST", "/messages", {"messages": [{"body": body} for body in bodies]}, **options)


def test_a_message_comes_as_it_was_sent(ask):
    body = {"a": [1.0, None, "é"], "": {}}
    [message_id] = publish(ask, body).body["ids"]
    [taken] = ask("POST", "/take", {}).body["messages"]
    assert (taken["id"], taken["body"], taken["tries"]) == (message_id, body, 1)
    assert ask("POST", "/ack", {"leases": [taken["lease"]]}).body == {"success": True}
    assert ask("GET", "").body == {"waiting": 0, "delayed": 0, "leased": 0, "dead": 0, "oldest_s": None}


def test_figures_say_how_old_the_first_message_is(ask, world):
    publish(ask, 1)
    world.sleep(7)
    publish(ask, 2)
    assert ask("GET", "").body == {"waiting": 2, "delayed": 0, "leased": 0, "dead": 0, "oldest_s": 7}


def test_a_message_has_a_size(ask):
    publish(ask, "x" * (MESSAGE_BYTES_MAX - 2))
    answer = publish(ask, "x" * (MESSAGE_BYTES_MAX - 1))
    assert (answer.status, str(MESSAGE_BYTES_MAX) in answer.text) == (413, True)


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/messages", {"messages": []}),
        ("/messages", {"messages": [{"body": 1}] * 101}),
        ("/messages", {"messages": [{}]}),
        ("/messages", {"messages": [{"body": 1, "key": ""}]}),
        ("/messages", {"messages": [{"body": 1, "key": "k" * 257}]}),
        ("/messages", {"messages": [{"body": 1, "delay_s": -1}]}),
        ("/messages", {"messages": [{"body": 1, "delay_s": 30 * 86_400 + 1}]}),
        ("/take", {"max": 0}),
        ("/take", {"max": 101}),
        ("/take", {"wait_s": 21}),
        ("/take", {"lease_s": 0}),
        ("/take", {"lease_s": 901}),
        ("/ack", {"leases": []}),
        ("/extend", {"leases": ["x"] * 101}),
        ("/dead/put-back", {"ids": ["x"]}),
    ],
)
def test_what_is_too_much_or_nothing_is_refused(ask, url, body):
    publish(ask, 1)
    answer = ask("POST", url, body)
    assert answer.status == 400 and answer.body["error"]["message"]


def test_keys_need_their_permissions(ask):
    assert publish(ask, 1, key="key-a-reads").status == 403
    assert publish(ask, 1, key="key-a-writes").status == 200
    assert ask("GET", "", key="key-a-writes").status == 403
    assert ask("GET", "", key="key-a-reads").status == 200
    for key in ("key-a-reads", "key-a-writes"):
        assert ask("POST", "/take", {}, key=key).status == 403
    assert ask("GET", "", key="key-b").status == 404


def test_dead_letters_come_in_pages(ask, world):
    for _ in range(3):
        publish(ask, *range(50))
    for _ in range(6):
        for _ in range(2):
            ask("POST", "/take", {"max": 100})
        world.sleep(30)
    first = ask("GET", "/dead").body
    second = ask("GET", f"/dead?next={first['next']}").body
    assert (len(first["messages"]), len(second["messages"]), second["next"]) == (100, 50, None)
    assert ask("POST", "/dead/put-back", {"ids": [first["messages"][0]["id"]]}).body == {"put_back": 1}
    assert ask("DELETE", "/dead").body == {"purged": 149, "more": False}
    assert ask("DELETE", "/messages").body == {"purged": 1, "more": False}


def test_a_function_of_the_stack_says_the_tenant_itself(ask):
    assert publish(ask, 1, key="", tenant="b").status == 200
    assert ask("GET", "", key="key-b").body["waiting"] == 1
    assert json.loads(ask("GET", "/nothing", key="", tenant="b").text)["error"]


def test_a_queue_is_deleted_by_who_may_read_and_write(ask):
    publish(ask, 1, 2)
    assert ask("DELETE", "", key="key-a-reads").status == 403
    assert ask("DELETE", "").body == {"deleted": 2, "more": False}
    assert ask("GET", "").status == 404
    assert publish(ask, 3).status == 503
