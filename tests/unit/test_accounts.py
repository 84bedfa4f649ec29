"""API keys to tenants: where a request has its key, what is remembered, what happens when the store is away."""

from base64 import b64encode

import pytest
from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.limits import API_KEY_BYTES_MAX, TENANT_CACHE_ENTRIES_MAX, TENANT_CACHE_S
from carbyne.tenants.accounts import BOTH, Accounts, Grant, Permission


class Store:
    """A dict that counts its look-ups and can go away."""

    def __init__(self) -> None:
        self.keys = {"key-a": Grant("alpha", BOTH), "key-b": Grant("beta", BOTH)}
        self.tenants = {"alpha"}
        self.asked: list[str] = []
        self.away = False

    def grant_of(self, api_key):
        self._ask(api_key)
        return self.keys.get(api_key)

    def has_tenant(self, tenant):
        self._ask(tenant)
        return tenant in self.tenants

    def _ask(self, name):
        self.asked.append(name)
        if self.away:
            raise RetryableError("the table is away")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def ask(accounts, api_key, needs=BOTH):
    return accounts.tenant({} if api_key is None else {"x-api-key": api_key}, needs)


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def accounts(store, clock):
    return Accounts(store, clock)


def test_a_key_is_looked_up_once_within_its_time(accounts, store, clock):
    assert ask(accounts, "key-a") == "alpha"
    clock.now_s += TENANT_CACHE_S - 0.001
    assert ask(accounts, "key-a") == "alpha"
    assert store.asked == ["key-a"]
    clock.now_s += 0.001
    assert ask(accounts, "key-a") == "alpha"
    assert store.asked == ["key-a", "key-a"]


@pytest.mark.parametrize("api_key", [None, "", "nope", "k" * (API_KEY_BYTES_MAX + 1), "clé", "\ud800"])
def test_no_known_key_is_403(accounts, api_key):
    with pytest.raises(RequestError) as raised:
        ask(accounts, api_key)
    assert raised.value.status == 403


@pytest.mark.parametrize("api_key", [None, "", "k" * (API_KEY_BYTES_MAX + 1), "\ud800"])
def test_an_impossible_key_costs_no_look_up(accounts, store, api_key):
    with pytest.raises(RequestError):
        ask(accounts, api_key)
    assert store.asked == []


def test_an_unknown_key_is_remembered_and_starts_to_work_in_time(accounts, store, clock):
    for _ in range(3):
        with pytest.raises(RequestError):
            ask(accounts, "new")
    assert store.asked == ["new"]
    store.keys["new"] = Grant("alpha", BOTH)
    clock.now_s += TENANT_CACHE_S
    assert ask(accounts, "new") == "alpha"


def test_a_revoked_key_stops_in_time(accounts, store, clock):
    ask(accounts, "key-a")
    del store.keys["key-a"]
    clock.now_s += TENANT_CACHE_S
    with pytest.raises(RequestError):
        ask(accounts, "key-a")


def test_an_expired_entry_is_not_served_while_the_store_is_away(accounts, store, clock):
    ask(accounts, "key-a")
    store.away = True
    assert ask(accounts, "key-a") == "alpha"
    clock.now_s += TENANT_CACHE_S
    with pytest.raises(RetryableError):
        ask(accounts, "key-a")
    store.away = False
    assert ask(accounts, "key-a") == "alpha"


def test_unknown_keys_can_not_push_out_a_key_in_use(accounts, store):
    ask(accounts, "key-b")
    for number in range(TENANT_CACHE_ENTRIES_MAX + 10):
        with pytest.raises(RequestError):
            ask(accounts, f"guess{number}")
    ask(accounts, "key-b")
    assert store.asked.count("key-b") == 1
    with pytest.raises(RequestError):
        ask(accounts, "guess0")
    assert store.asked.count("guess0") == 2, "the least recently used is forgotten"


def test_a_known_tenant_is_remembered_and_an_unknown_one_is_not(accounts, store):
    assert accounts.tenant_exists("alpha")
    assert accounts.tenant_exists("alpha")
    assert not accounts.tenant_exists("gamma")
    store.tenants.add("gamma")
    assert accounts.tenant_exists("gamma")
    assert store.asked == ["alpha", "gamma", "gamma"]


def test_a_tenant_that_can_not_be_looked_up_is_neither_known_nor_unknown(accounts, store):
    store.away = True
    with pytest.raises(RetryableError):
        accounts.tenant_exists("alpha")


@pytest.mark.parametrize(
    ("permission", "needs", "missing"),
    [
        (Permission.READ, Permission.READ, None),
        (Permission.READ, Permission.WRITE, "write"),
        (Permission.READ, BOTH, "write"),
        (Permission.WRITE, Permission.WRITE, None),
        (Permission.WRITE, BOTH, "read"),
        (Permission.WRITE, Permission.READ, "read"),
        (Permission(0), BOTH, "read and write"),
        (BOTH, BOTH, None),
    ],
)
def test_a_key_may_do_what_it_was_made_for(accounts, store, permission, needs, missing):
    store.keys["key-a"] = Grant("alpha", permission)
    if missing is None:
        assert ask(accounts, "key-a", needs) == "alpha"
        return
    with pytest.raises(RequestError, match=f"permission to {missing}$") as raised:
        ask(accounts, "key-a", needs)
    assert raised.value.status == 403


def basic(pair):
    return "Basic " + b64encode(pair.encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "key-a"},
        {"authorization": "Bearer key-a"},
        {"authorization": "bearer  key-a "},
        {"authorization": "Token key-a"},
        {"authorization": basic("anyone:key-a")},
        {"authorization": basic(":key-a")},
        {"authorization": basic("key-a:")},
        {"authorization": basic("key-a")},
        {"authorization": basic("key-a:x-oauth-basic")},
        {"x-api-key": "key-a", "authorization": "Bearer key-b"},
    ],
)
def test_where_a_key_may_stand(accounts, headers):
    assert accounts.tenant(headers, BOTH) == "alpha"


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "key-a", "Digest key-a", "Basic", "Basic ???", "Basic /w==", basic(":"), basic("a:b")],
)
def test_where_no_key_stands(accounts, authorization):
    with pytest.raises(RequestError) as raised:
        accounts.tenant({"authorization": authorization}, Permission.READ)
    assert raised.value.status == 403
