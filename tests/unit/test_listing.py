"""Long lists: page by page, within what Lambda carries and the function's memory."""

import base64
import gzip
import itertools
import json
import tracemalloc
from types import SimpleNamespace

import pytest
from carbyne.core.errors import RequestError
from carbyne.core.limits import ANSWER_BYTES_MAX, LIST_LIMIT_MAX, SORT_KEY_BYTES_MAX
from carbyne.http import message
from carbyne.http.listing import Listing, Page, page_of, payload_of
from carbyne.http.routes import Call
from carbyne.read.mackerel import Queries, host_metric_names
from carbyne.registry.store import RegistryItem

from tests.support.registry_system import System

LAMBDA_BYTES_MAX = 6 * 1024 * 1024
HOSTS = "/api/v0/hosts"


def answered(payload):
    """The decoded body of Lambda's answer."""
    body = base64.b64decode(payload["body"]) if payload["isBase64Encoded"] else payload["body"].encode()
    return json.loads(gzip.decompress(body) if payload["headers"].get("Content-Encoding") == "gzip" else body)


def many(count, size):
    """Elements that don't pack."""
    texts = (
        base64.b64encode(number.to_bytes(4) * 3 + bytes(size % 7)).decode() * (size // 20) for number in range(count)
    )
    return Listing("all", ((f"{number:06}", text) for number, text in enumerate(texts)), Page(None, ""))


@pytest.mark.parametrize("takes_gzip", [True, False])
@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 100), (1_000, 100), (6_000, 100), (10, 200_000)])
def test_a_list_is_whole(takes_gzip, count, size):
    payload = payload_of(many(count, size), gzip=takes_gzip)
    assert answered(payload) == {"all": [text for _, text in many(count, size).elements]}
    assert len(json.dumps(payload)) < LAMBDA_BYTES_MAX


def test_without_a_limit_a_list_that_is_too_long_says_what_to_do():
    with pytest.raises(RequestError, match="accept gzip, or ask page by page") as raised:
        payload_of(many(10**9, 1_000), gzip=False)
    assert raised.value.status == 413


@pytest.mark.parametrize("takes_gzip", [True, False])
def test_with_a_limit_a_page_ends_where_the_answer_is_full(takes_gzip):
    noise = (hex(number * 0x9E3779B97F4A7C15 % 2**64) for number in itertools.count())
    elements = ((f"{number:06}", [next(noise) for _ in range(5_000)]) for number in itertools.count())
    payload = payload_of(Listing("all", elements, Page(LIST_LIMIT_MAX, "")), gzip=takes_gzip)
    page = answered(payload)
    assert 20 < len(page["all"]) < LIST_LIMIT_MAX
    assert page["next"] == f"{len(page['all']) - 1:06}"
    assert ANSWER_BYTES_MAX // 2 < len(payload["body"]) <= ANSWER_BYTES_MAX


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=x", "limit=1.5", f"limit={LIST_LIMIT_MAX + 1}", "limit=" + "9" * 9]
)
def test_malformed_limits(query):
    assert "limit must be" in System().refused(400, "GET", f"{HOSTS}?{query}")


def test_a_next_that_no_answer_gave():
    with pytest.raises(RequestError):
        page_of({"next": ["x" * (SORT_KEY_BYTES_MAX + 1)]})
    assert page_of({"limit": ["", "2"], "next": [""]}) == Page(2, "")


def pages(system, url, name, limit):
    after = ""
    for _ in range(100):
        page = system.ok("GET", f"{url}?limit={limit}&next={after}")
        yield page[name]
        if "next" not in page:
            return
        after = page["next"]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 100])
def test_every_list_is_had_page_by_page(limit):
    system = System()
    roles = [f"shop:{letter}-{letter}" for letter in "abcdefg"]
    for number in range(7):
        system.host(roleFullnames=[*roles, f"shop{number}:web"], status="working")
    system.ok("POST", "/api/v0/graph-defs/create", [{"name": f"custom.{letter}"} for letter in "abcdefg"])
    for url, name in [
        (HOSTS, "hosts"),
        ("/api/v0/graph-defs", "graphDefs"),
        ("/api/v0/services", "services"),
        ("/api/v0/services/shop/roles", "roles"),
    ]:
        whole = system.ok("GET", url)[name]
        parts = list(pages(system, url, name, limit))
        assert [each for part in parts for each in part] == whole and len(whole) >= 7
        assert all(len(part) == limit for part in parts[:-1])


def test_names_of_metrics_page_by_page():
    reader = SimpleNamespace(series=lambda source: {"b", "a", "é", "a.b", "c"})
    names, after = [], ""
    while True:
        call = Call(message.Request("GET", "", {"limit": ["2"], "next": [after]}, {}, b""), "t", {"id": "h"})
        page = answered(payload_of(host_metric_names(Queries(reader, None, None), call).body, gzip=False))
        names += page["names"]
        if "next" not in page:
            break
        after = page["next"]
    assert names == ["a", "a.b", "b", "c", "é"]


def test_six_hundred_large_hosts_are_read_within_the_functions_memory():
    """174 MB of hosts in an answer of 6 MB, one at a time."""
    system = System()
    system.host(meta={"x": "y" * 290_000})
    [item] = [item for key, item in system.store.table.items() if key.pk == "a:hosts"]

    def scan(pk, after=""):
        for number in range(600):
            yield RegistryItem(item.key._replace(sk=f"h{number:03}"), bytes(bytearray(item.body)), 1)

    system.store.scan = scan
    tracemalloc.start()
    payload = system.app.handle(
        {
            "rawPath": HOSTS,
            "requestContext": {"http": {"method": "GET"}},
            "headers": {"x-api-key": "key-a", "accept-encoding": "gzip"},
        },
        lambda: (system.accounts, system.registry),
    )
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert payload["statusCode"] == 200 and len(payload["body"]) < ANSWER_BYTES_MAX
    assert peak_bytes < 20_000_000
    assert len(answered(payload)["hosts"]) == 600


def test_a_store_that_goes_away_while_a_list_is_read_is_503():
    system = System()
    for _ in range(3):
        system.host()
    scan = system.store.scan

    def failing(pk, after=""):
        for number, item in enumerate(scan(pk, after)):
            system.store.away = number == 1
            system.store._check()
            yield item

    system.store.scan = failing
    assert "temporarily" in system.refused(503, "GET", HOSTS)
