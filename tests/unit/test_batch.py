"""Batch reads: exactly what single reads give, for many series of many sources, and bounded before anything is read."""

import json
from unittest.mock import patch

import pytest
from carbyne.core.limits import BATCH_POINTS_MAX, BATCH_SOURCES_MAX
from carbyne.read.reader import Reader

from tests.support.memory_system import MemorySystem
from tests.support.registry_system import answer_of, event

NOW_S = 1_700_000_000 // 86_400 * 86_400 + 50_000
NAMES = ("cpu.user", "cpu.system", "loadavg5")


@pytest.fixture
def system():
    """Two hosts of three metrics and a service, two hours with a hole; ``b`` misses a metric half of the time."""
    made = MemorySystem(lambda: NOW_S, lambda: 0.0)
    body = [
        {"hostId": host, "name": name, "time": time_s, "value": time_s % 997 / 7 + number}
        for host in ("a", "b")
        for time_s in range(NOW_S - 7_200, NOW_S, 60)
        for number, name in enumerate(NAMES)
        if not NOW_S - 4_000 < time_s < NOW_S - 3_000 and (host == "a" or number or time_s % 120)
    ]
    assert ask(made, "POST", "/api/v0/tsdb", body)["statusCode"] == 200
    return made


def ask(system, method, url, body=None, **headers):
    asked = event(method, url, body)
    return system.handle({**asked, "headers": {**asked["headers"], **headers}})


def batch(system, query):
    answer = answer_of(ask(system, "GET", f"/carbyne/v1/batch?{query}"))
    assert answer.status == 200, answer.text
    return answer


def points(source, name, part="values"):
    """time -> value of one series of a batch."""
    [series] = [entry for entry in source["series"] if entry["name"] == name]
    return {time: value for time, value in zip(source["times"], series[part], strict=True) if value is not None}


@pytest.mark.parametrize("resolution", ["raw", "5m", "1h", "1d"])
@pytest.mark.parametrize("part", ["values", "min", "max"])
def test_it_is_what_single_reads_give(system, resolution, part):
    span = f"from={NOW_S - 7_200}&to={NOW_S}&resolution={resolution}"
    answer = batch(system, f"source=host/a&source=host/b&{span}").body
    assert answer["step"] == {"raw": 0, "5m": 300, "1h": 3600, "1d": 86_400}[resolution]
    if resolution == "raw" and part != "values":
        assert all(part not in series for source in answer["sources"] for series in source["series"])
        return
    for host, source in zip("ab", answer["sources"], strict=True):
        assert [series["name"] for series in source["series"]] == sorted(NAMES)
        for name in NAMES:
            agg = "" if part == "values" else f"&agg={part}"
            single = answer_of(ask(system, "GET", f"/api/v0/hosts/{host}/metrics?name={name}&{span}{agg}")).body
            assert points(source, name, part) == {point["time"]: point["value"] for point in single["metrics"]}


def test_names_are_exact_or_beginnings(system):
    def names(query):
        answer = batch(system, f"source=host/a&from={NOW_S - 600}&to={NOW_S}&resolution=raw{query}").body
        return [series["name"] for series in answer["sources"][0]["series"]]

    assert names("&name=loadavg5&name=none") == ["loadavg5"]
    assert names("&name=cpu.*") == ["cpu.system", "cpu.user"]
    assert names("&name=cpu.*&name=loadavg5") == ["cpu.system", "cpu.user", "loadavg5"]
    assert names("&name=none*") == []
    assert names("") == sorted(NAMES)


def test_a_source_without_samples_is_there_and_empty(system):
    answer = batch(system, f"source=host/none&from={NOW_S - 600}&to={NOW_S}").body
    assert answer["sources"] == [{"source": "host/none", "times": [], "series": []}]


def test_all_of_a_lost_tier_is_an_error_or_a_warning(system):
    system.hot.away = True
    query = f"source=host/a&from={NOW_S - 600}&to={NOW_S}"
    assert ask(system, "GET", f"/carbyne/v1/batch?{query}")["statusCode"] == 503
    answer = batch(system, f"{query}&partial=true")
    assert answer.body["sources"][0]["series"] == []
    assert "hot tier could not be read" in answer.headers["Carbyne-Warnings"]


def test_a_lane_that_lost_all_of_its_names_says_so(system):
    real = system.hot.read_each

    def lost(*arguments, **named):
        return {source: answer._replace(whole=False) for source, answer in real(*arguments, **named).items()}

    system.hot.columns.clear()
    system.hot.read_each = lost
    query = f"source=host/a&from={NOW_S - 600}&to={NOW_S}"
    assert ask(system, "GET", f"/carbyne/v1/batch?{query}")["statusCode"] == 503
    assert "being rebuilt" in batch(system, f"{query}&partial=true").headers["Carbyne-Warnings"]


def test_the_same_answer_is_not_sent_twice(system):
    url = f"/carbyne/v1/batch?source=host/a&from={NOW_S - 600}&to={NOW_S}&resolution=raw"
    tag = ask(system, "GET", url)["headers"]["ETag"]
    again = ask(system, "GET", url, **{"if-none-match": f'"x", W/{tag}'})
    assert (again["statusCode"], again["body"]) == (304, "")
    body = [{"hostId": "a", "name": "loadavg5", "time": NOW_S - 60, "value": 9}]
    ask(system, "POST", "/api/v0/tsdb", body)
    changed = ask(system, "GET", url, **{"if-none-match": tag})
    assert changed["statusCode"] == 200 and changed["headers"]["ETag"] != tag


def test_of_a_sealed_span_that_a_client_has_nothing_is_read(system):
    url = f"/carbyne/v1/batch?source=host/a&from={NOW_S - 600}&to={NOW_S - 60}&resolution=raw"
    with patch.object(Reader, "sealed", lambda *_: b"version"):
        tag = ask(system, "GET", url)["headers"]["ETag"]
        with patch.object(Reader, "read_many", side_effect=AssertionError("was read")):
            again = ask(system, "GET", url, **{"if-none-match": tag})
            assert (again["statusCode"], again["body"], again["headers"]["ETag"]) == (304, "", tag)
        other = ask(system, "GET", url + "&name=loadavg5", **{"if-none-match": tag})
        assert other["statusCode"] == 200 and other["headers"]["ETag"] != tag
    assert ask(system, "GET", url, **{"if-none-match": tag})["statusCode"] == 200


def test_an_answer_that_lacks_something_is_not_named_by_what_is_sealed(system):
    system.hot.away = True
    url = f"/carbyne/v1/batch?source=host/a&from={NOW_S - 600}&to={NOW_S - 60}&resolution=raw&partial=true"
    with patch.object(Reader, "sealed", lambda *_: b"version"):
        tag = ask(system, "GET", url)["headers"]["ETag"]
        system.hot.away = False
        whole = ask(system, "GET", url, **{"if-none-match": tag})
    assert whole["statusCode"] == 200 and whole["headers"]["ETag"] != tag


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("from=0&to=1", "the query needs source at least once"),
        ("source=job/a&from=0&to=1", "a source is host/<id> or service/<name>"),
        ("source=host/a&name=&from=0&to=1", "the query needs name at least once"),
        ("source=host/a&from=0&to=1&resolution=2m", "resolution must be one of"),
        ("&".join(f"source=host/h{n}" for n in range(BATCH_SOURCES_MAX + 1)) + "&from=0&to=1", "at most 100 at once"),
        (f"source=host/a&from={NOW_S - BATCH_POINTS_MAX * 60}&to={NOW_S}&resolution=raw", "a coarser resolution"),
    ],
)
def test_what_makes_no_sense_or_is_too_much_is_400(system, query, message):
    answer = answer_of(ask(system, "GET", f"/carbyne/v1/batch?{query}"))
    assert answer.status == 400 and message in json.dumps(answer.body)


def test_too_much_is_refused_before_a_sample_is_read(system):
    system.hot.read_each = lambda *_, **__: pytest.fail("was read")
    query = f"source=host/a&from=0&to={NOW_S}&resolution=raw"
    assert ask(system, "GET", f"/carbyne/v1/batch?{query}")["statusCode"] == 400
