"""Sessions of the page and their tokens: who gets one, how long it lasts, and what ends it."""

import json
from types import SimpleNamespace

import pytest
from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.keys import api_key_item, session_handle
from carbyne.core.limits import SESSION_S, SESSION_S_MAX, SESSION_TOUCH_S, SESSIONS_PER_KEY_MAX, TOKEN_S
from carbyne.http.message import answer
from carbyne.page import api
from carbyne.page.sessions import Sessions
from carbyne.tenants import tokens
from carbyne.tenants.accounts import BOTH, Accounts, Grant, Permission
from carbyne.tenants.tokens import Claims, sign, verify

from tests.support.memory_system import APPS, MemorySystem
from tests.support.page_system import SECRET, MemorySessions, page_deps

ITEM = api_key_item("key")
CLAIMS = Claims("a", BOTH.value, "handle", ITEM, 1_000)


class Keys:
    def __init__(self):
        self.grants = {ITEM: Grant("a", BOTH), api_key_item("writes"): Grant("a", Permission.WRITE)}

    def grant_at(self, item):
        return self.grants.get(item)

    def grant_of(self, api_key):
        return self.grant_at(api_key_item(api_key))

    def token_secret(self):
        return SECRET


@pytest.fixture
def world():
    """``now_s`` may be set; ids are id1, id2, ..."""
    made = SimpleNamespace(now_s=1_000_000, keys=Keys(), number=0)

    def new_id():
        made.number += 1
        return f"id{made.number}"

    made.store = MemorySessions(lambda: made.now_s)
    made.sessions = Sessions(made.store, made.keys, lambda: SECRET, lambda: made.now_s, new_id)
    made.accounts = Accounts(made.keys, lambda: 0.0, lambda: made.now_s)
    return made


def test_a_token_says_what_was_signed():
    assert verify(sign(CLAIMS, SECRET), SECRET, 999) == CLAIMS


@pytest.mark.parametrize(("secret", "now_s"), [(b"another", 999), (SECRET, 1_000)], ids=["signed by another", "ended"])
def test_a_token_that_is_not_good_says_nothing(secret, now_s):
    assert verify(sign(CLAIMS, SECRET), secret, now_s) is None


def test_no_token_with_a_changed_character_is_good():
    good = sign(CLAIMS, SECRET)
    for at in range(len(good)):
        changed = good[:at] + chr((ord(good[at]) - 31) % 95 + 32) + good[at + 1 :]
        assert verify(changed, SECRET, 0) is None, at
        assert verify(good[:at], SECRET, 0) is None, at


@pytest.mark.parametrize("token", ["", "cbs1.", "cbs1..", "cbs1.é.é", f"cbs1.{'a' * 5_000}.b"])
def test_text_that_is_no_token_says_nothing(token):
    assert verify(token, SECRET, 0) is None


def test_the_key_gets_a_session_whose_id_is_stored_nowhere(world):
    session_id, token = world.sessions.begin("key", "a browser")
    assert (token.tenant, token.permission, token.expires_in_s) == ("a", BOTH, TOKEN_S)
    assert session_id not in repr(world.store.held) + token.text
    assert world.store.held.keys() == {session_handle(session_id)}
    assert world.sessions.renew(session_id).tenant == "a"


@pytest.mark.parametrize("api_key", ["guess", "", "writes", "é" * 1_000])
def test_another_key_gets_none(world, api_key):
    with pytest.raises(RequestError, match="unknown, or has no permission to read") as raised:
        world.sessions.begin(api_key, "")
    assert (raised.value.status, world.store.held) == (403, {})


def test_a_token_goes_where_keys_go_and_ends_by_itself(world):
    session_id, token = world.sessions.begin("key", "")
    headers = {"authorization": f"Bearer {token.text}"}
    assert world.accounts.tenant(headers, BOTH) == "a"
    assert world.accounts.who(headers) == (ITEM, session_handle(session_id))
    assert world.accounts.who({"x-api-key": "key"}) == (ITEM, "")
    world.now_s += TOKEN_S
    with pytest.raises(RequestError, match="token has ended") as raised:
        world.accounts.tenant(headers, Permission.READ)
    assert raised.value.status == 403


def test_a_session_lives_a_week_from_its_last_use_and_a_month_at_most(world):
    session_id, _ = world.sessions.begin("key", "")
    first_s = world.now_s
    while world.sessions.renew(session_id):
        assert world.now_s < first_s + SESSION_S_MAX
        world.now_s += SESSION_S - 1
    assert world.now_s >= first_s + SESSION_S_MAX
    session_id, _ = world.sessions.begin("key", "")
    world.now_s += SESSION_S
    assert world.sessions.renew(session_id) is None


def test_use_is_noted_now_and_then(world):
    session_id, _ = world.sessions.begin("key", "")
    handle, first_s = session_handle(session_id), world.now_s
    world.now_s += SESSION_TOUCH_S - 1
    world.sessions.renew(session_id)
    assert world.store.held[handle].seen_s == first_s
    world.now_s += 1
    world.sessions.renew(session_id)
    assert world.store.held[handle].seen_s == world.now_s


def test_a_revoked_key_ends_its_sessions(world):
    session_id, _ = world.sessions.begin("key", "")
    del world.keys.grants[ITEM]
    assert world.sessions.renew(session_id) is None


def test_a_key_sees_and_ends_its_own_sessions_alone(world):
    first, _ = world.sessions.begin("key", "one")
    world.keys.grants[api_key_item("other")] = Grant("a", BOTH)
    other, _ = world.sessions.begin("other", "two")
    assert [session.agent for session in world.sessions.of_key(ITEM).values()] == ["one"]
    with pytest.raises(RequestError, match="no such session"):
        world.sessions.revoke(ITEM, session_handle(other))
    world.sessions.revoke(ITEM, session_handle(first))
    assert (world.sessions.renew(first), world.sessions.of_key(ITEM)) == (None, {})
    world.sessions.end(other)
    world.sessions.end(other)
    assert world.sessions.renew(other) is None


def test_sign_ins_do_not_pile_up(world):
    ids = []
    for _ in range(SESSIONS_PER_KEY_MAX + 3):
        ids.append(world.sessions.begin("key", "")[0])
        world.now_s += 1
    assert len(world.store.held) == SESSIONS_PER_KEY_MAX
    assert [world.sessions.renew(session_id) is None for session_id in ids[:4]] == [True, True, True, False]


def ask(world, method, body=None, cookie="", path="/carbyne/v1/session", **headers):
    """The Lambda answer of the page's function."""
    headers = {"content-type": "application/json", "x-forwarded-proto": "https"} | headers
    event = {
        "rawPath": path,
        "rawQueryString": "",
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
        "cookies": ["theme=dark", f"carbyne-session={cookie}"] if cookie else [],
        "requestContext": {"http": {"method": method, "path": path}},
        "body": None if body is None else json.dumps(body),
    }
    deps = page_deps(world.accounts, world.keys, world.store, lambda: world.now_s, lambda: "the-id")
    return answer(event, lambda request: api.route(request, None, lambda: deps))


def test_the_cookie_is_for_no_script_no_other_site_and_no_other_path(world):
    answered = ask(world, "POST", {"key": "key"})
    assert answered["cookies"] == [
        "carbyne-session=the-id; Path=/carbyne/v1/session; Max-Age=2592000; HttpOnly; SameSite=Strict; Secure"
    ]
    assert answered["headers"]["Cache-Control"] == "no-store"
    assert "the-id" not in answered["body"]
    [plain] = ask(world, "POST", {"key": "key"}, x_forwarded_proto="http")["cookies"]
    assert "Secure" not in plain


def test_the_cookie_gets_tokens_until_it_is_signed_out(world):
    ask(world, "POST", {"key": "key"})
    session = json.loads(ask(world, "GET", cookie="the-id")["body"])["session"]
    assert session.keys() == {"tenant", "permissions", "key", "token", "expiresIn"}
    assert session["permissions"] == ["read", "write"]
    out = ask(world, "DELETE", cookie="the-id")
    assert "Max-Age=0" in out["cookies"][0]
    again = ask(world, "GET", cookie="the-id")
    assert (json.loads(again["body"]), "Max-Age=0" in again["cookies"][0]) == ({"session": None}, True)
    assert json.loads(ask(world, "GET")["body"]) == {"session": None}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_type": "text/plain"}, 400),
        ({"content_type": "application/x-www-form-urlencoded"}, 400),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
    ],
)
def test_no_form_of_another_site_signs_in(world, headers, status):
    answered = ask(world, "POST", {"key": "key"}, **headers)
    assert (answered["statusCode"], answered.get("cookies")) == (status, None)
    assert world.store.held == {}


def test_a_cookie_alone_opens_nothing_but_the_session(world):
    ask(world, "POST", {"key": "key"})
    assert ask(world, "GET", cookie="the-id", path="/carbyne/v1/sessions")["statusCode"] == 403


@pytest.mark.parametrize("body", [None, [], {"key": 1}, {}])
def test_a_malformed_sign_in_is_400(world, body):
    assert ask(world, "POST", body)["statusCode"] == 400


def test_without_redis_it_is_later(world):
    world.store.away = True
    for method in ("POST", "GET", "DELETE"):
        assert ask(world, method, {"key": "key"}, cookie="the-id")["statusCode"] == 503
    with pytest.raises(RetryableError):
        world.sessions.of_key(ITEM)


def test_accounts_remember_no_missing_secret(world):
    world.keys.token_secret = lambda: None
    headers = {"authorization": f"Bearer {sign(CLAIMS, SECRET)}"}
    world.now_s = 0
    with pytest.raises(RequestError):
        world.accounts.tenant(headers, Permission.READ)
    world.keys.token_secret = lambda: SECRET
    assert world.accounts.tenant(headers, Permission.READ) == "a"
    assert headers["authorization"].startswith(f"Bearer {tokens.PREFIX}")


DEEP = b'{"key":"a","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
ENDLESS = b'{"key":"' + b'\\"' * 50_000


@pytest.mark.parametrize("body", [DEEP, ENDLESS], ids=["deep", "endless"])
def test_a_sign_in_without_a_key_that_is_hostile_is_refused(body):
    headers = {"content-type": "application/json"}
    http = {"method": "POST", "path": "/carbyne/v1/session"}
    sent = {"rawPath": http["path"], "requestContext": {"http": http}, "headers": headers, "body": body.decode()}
    assert APPS["page"].handle(sent, lambda: MemorySystem().deps["page"])["statusCode"] == 400
