"""API keys to tenants: what is remembered, for how long, and what happens when the store is away."""

import pytest
from carbyne.accounts import Accounts
from carbyne.errors import RequestError, RetryableError
from carbyne.limits import API_KEY_BYTES_MAX, TENANT_CACHE_ENTRIES_MAX, TENANT_CACHE_S


class Store:
    """A dict that counts its look-ups and can go away."""

    def __init__(self) -> None:
        self.keys = {"key-a": "alpha", "key-b": "beta"}
        self.tenants = {"alpha"}
        self.asked: list[str] = []
        self.away = False

    def tenant_of(self, api_key):
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
    assert accounts.tenant("key-a") == "alpha"
    clock.now_s += TENANT_CACHE_S - 0.001
    assert accounts.tenant("key-a") == "alpha"
    assert store.asked == ["key-a"]
    clock.now_s += 0.001
    assert accounts.tenant("key-a") == "alpha"
    assert store.asked == ["key-a", "key-a"]


@pytest.mark.parametrize("api_key", [None, "", "nope", "k" * (API_KEY_BYTES_MAX + 1), "clé", "\ud800"])
def test_no_known_key_is_403(accounts, api_key):
    with pytest.raises(RequestError) as raised:
        accounts.tenant(api_key)
    assert raised.value.status == 403


@pytest.mark.parametrize("api_key", [None, "", "k" * (API_KEY_BYTES_MAX + 1), "\ud800"])
def test_an_impossible_key_costs_no_look_up(accounts, store, api_key):
    with pytest.raises(RequestError):
        accounts.tenant(api_key)
    assert store.asked == []


def test_an_unknown_key_is_remembered_and_starts_to_work_in_time(accounts, store, clock):
    for _ in range(3):
        with pytest.raises(RequestError):
            accounts.tenant("new")
    assert store.asked == ["new"]
    store.keys["new"] = "alpha"
    clock.now_s += TENANT_CACHE_S
    assert accounts.tenant("new") == "alpha"


def test_a_revoked_key_stops_in_time(accounts, store, clock):
    accounts.tenant("key-a")
    del store.keys["key-a"]
    clock.now_s += TENANT_CACHE_S
    with pytest.raises(RequestError):
        accounts.tenant("key-a")


def test_an_expired_entry_is_not_served_while_the_store_is_away(accounts, store, clock):
    accounts.tenant("key-a")
    store.away = True
    assert accounts.tenant("key-a") == "alpha"
    clock.now_s += TENANT_CACHE_S
    with pytest.raises(RetryableError):
        accounts.tenant("key-a")
    store.away = False
    assert accounts.tenant("key-a") == "alpha"


def test_unknown_keys_can_not_push_out_a_key_in_use(accounts, store):
    accounts.tenant("key-b")
    for number in range(TENANT_CACHE_ENTRIES_MAX + 10):
        with pytest.raises(RequestError):
            accounts.tenant(f"guess{number}")
        if number % 1000 == 0:
            accounts.tenant("key-b")
    accounts.tenant("key-b")
    assert store.asked.count("key-b") == 1
    with pytest.raises(RequestError):
        accounts.tenant("guess0")
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
