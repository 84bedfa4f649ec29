"""The page in a real browser, over `make run`: what people see is what the API says."""

import contextlib
import json
import re
import shutil
import signal
import time
import urllib.parse

import psutil
import pytest
from redis.cluster import RedisCluster

from servers.process import ROOT
from tests.support import browser as browsers
from tests.support.browser import Browser
from tests.support.make_run import running

pytestmark = pytest.mark.skipif(bool(browsers.LACKING), reason=browsers.LACKING)
HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>\'"{{7*7}}javascript:alert(1)'
WEIGHT_MAX = 150_000
QUERY = {"type": "query", "query": 'label_replace(vector(4), "x", "four", "", "")'}
SEVEN = {"type": "query", "query": "vector(7.5)"}
AXE = ROOT / "web/node_modules/axe-core/axe.min.js"


@pytest.fixture(scope="module")
def system():
    with running(API_KEY="secret", PARAMETERS="RawWindowSeconds=3600 IngesterBatchWindowSeconds=0") as started:
        fill(started)
        yield started


@pytest.fixture(scope="module")
def window():
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture
def browser(window, system):
    """Signed in, on the list of hosts."""
    sign_in(window, system)
    return window


@pytest.fixture
def operator(window, system):
    """Signed in with a key of the system's own tenant."""
    sign_out(window, system)
    sign_in(window, system, f"operator-{system.key}")
    yield window
    sign_out(window, system)


def sign_out(browser, system):
    browser.open(system.url)
    browser.until(lambda: browser.find("#key") or browser.find("#sign-out"), "neither form nor page")
    if browser.find("#sign-out"):
        browser.click("#sign-out")
        browser.until(lambda: browser.find("#key"), "no form")


def fill(system):
    """A host with three hours of samples and a gap, one whose every text is hostile, a service, a dashboard."""
    now_s = int(time.time()) // 60 * 60
    form = {"name": "web1", "roleFullnames": ["shop:web"], "customIdentifier": "web1"}
    system.host = system.call("/api/v0/hosts", form)[1]["id"]
    hostile = {"name": HOSTILE, "displayName": HOSTILE, "memo": HOSTILE, "meta": {"x": HOSTILE}}
    system.hostile = system.call("/api/v0/hosts", {**hostile, "checks": [{"name": HOSTILE, "memo": HOSTILE}]})[1]["id"]
    names = {"loadavg5": 1.0, "cpu.user.percentage": 30.0, "cpu.system.percentage": 10.0, "memory.used": 2e9}
    body = [
        {"hostId": system.host, "name": name, "time": time_s, "value": value * (1 + (time_s // 60 % 17) / 10)}
        for time_s in range(now_s - 3 * 3600, now_s + 60, 60)
        if not now_s - 2400 < time_s < now_s - 1200
        for name, value in names.items()
    ]
    assert system.call("/api/v0/tsdb", body)[0] == 200
    system.call("/api/v0/tsdb", [{"hostId": system.hostile, "name": "custom.x.y", "time": now_s, "value": 1}])
    graph = {"name": "custom.x", "displayName": HOSTILE, "metrics": [{"name": "custom.x.y", "displayName": HOSTILE}]}
    system.call("/api/v0/graph-defs/create", [graph])
    source = {"type": "host", "hostId": system.hostile}
    report = {"source": source, "name": HOSTILE, "status": "CRITICAL", "message": HOSTILE, "occurredAt": now_s}
    system.call("/api/v0/monitoring/checks/report", {"reports": [report]})
    [system.alert] = system.call("/api/v0/alerts")[1]["alerts"]
    bounds = {"operator": ">", "warning": 0.5, "critical": 99}
    load = {**bounds, "type": "host", "name": "load", "metric": "loadavg5", "duration": 1, "scopes": ["shop"]}
    system.call("/api/v0/monitors", load)
    system.call("/api/v0/monitors", {**bounds, "type": "query", "name": HOSTILE, "query": "vector(0)", "isMute": True})
    channel = {
        "type": "webhook",
        "name": HOSTILE,
        "url": "https://me:hidden@hook.example/path-hidden",
        "suspendedAt": 1,
    }
    system.channel = system.call("/api/v0/channels", channel)[1]["id"]
    text = HOSTILE.replace("{{7*7}}", "")  # which is no template that Go would parse
    rule = {"alert": "Up", "expr": "vector(5) > 4", "labels": {"team": text}, "annotations": {"summary": text}}
    assert put(system, "/carbyne/v1/rules/page.yml", {"groups": [{"name": "g", "rules": [rule]}]}) == 200
    note = {"service": "shop", "from": now_s - 600, "to": now_s - 300}
    for title in ("deploy", HOSTILE):
        assert system.call("/api/v0/graph-annotations", {**note, "title": title})[0] == 200
    layout = {"x": 0, "y": 0, "width": 24, "height": 8}
    double = f"alias(scale(host({system.host}, loadavg5), 2), 'double')"
    text = f"# {HOSTILE}\n[link](javascript:window.hacked=1) [good](https://example.com/) {HOSTILE}"
    graph = {"type": "host", "hostId": system.host, "name": "loadavg"}
    widgets = [
        {"type": "markdown", "title": HOSTILE, "markdown": text, "layout": layout},
        {"type": "graph", "title": "Load", "graph": graph, "layout": {**layout, "y": 8, "height": 14}},
        {"type": "graph", "title": "Odd", "graph": {"type": "pie"}, "layout": layout},
        {"type": "graph", "title": "Query", "graph": {**QUERY, "legend": "is {{x}}"}, "layout": layout},
        {"type": "value", "title": "Value", "metric": SEVEN, "suffix": "apples", "layout": layout},
        {"type": "graph", "title": "Sum", "graph": {"type": "expression", "expression": double}, "layout": layout},
        {"type": "graph", "title": "Bad", "graph": {"type": "expression", "expression": "x"}, "layout": layout},
    ]
    system.dashboard = system.call("/api/v0/dashboards", {"title": HOSTILE, "widgets": widgets})[1]["id"]
    path = f"/api/v0/tsdb/latest?hostId={system.host}&name=loadavg5"
    while not system.call(path)[1]["tsdbLatest"][system.host]:
        time.sleep(0.1)


def sign_in(browser, system, key="secret", fragment=""):
    browser.open(f"{system.url}/{fragment}")
    browser.until(lambda: browser.find("#key") or browser.find("#sign-out"), "neither form nor page")
    if browser.find("#key"):
        browser.find("#key")[0].clear()
        browser.find("#key")[0].send_keys(key)
        browser.click("form .primary")
        browser.until(lambda: browser.find("#sign-out"), "not signed in")


def show(browser, system, fragment, css):
    browser.open(f"{system.url}/#/{fragment}")
    browser.until(lambda: browser.find(css), f"{css} is not there")


def drawn(browser, graph):
    """What a graph draws: metric -> {time: value}."""
    script = "return document.querySelector(`[data-graph='${arguments[0]}']`)?.graph.drawn()"
    lines = browser.until(lambda: browser.run(script, graph), f"graph {graph} draws nothing")
    return {line["name"]: dict(zip(line["times"], line["values"], strict=True)) for line in lines}


def stored(system, name, from_s, to_s, resolution="raw"):
    """What the API says of one metric: time -> value."""
    span = f"from={from_s}&to={to_s}&resolution={resolution}"
    answer = system.call(f"/api/v0/hosts/{system.host}/metrics?name={name}&{span}")[1]
    return {point["time"]: point["value"] for point in answer["metrics"]}


def test_a_wrong_key_is_refused_in_words(window, system):
    window.open(system.url)
    window.until(lambda: window.find("#key"), "no form")
    window.find("#key")[0].send_keys("guess")
    window.click("form .primary")
    window.until_text("This API key is not known here", "#problem")
    assert not window.find("#sign-out")


def test_a_host_is_drawn_soon_after_its_key_is_given(window, system):
    sign_out(window, system)
    window.open(f"{system.url}/#/hosts/{system.host}?range=1h")
    window.until(lambda: window.find("#key"), "no form")
    window.find("#key")[0].send_keys("secret")
    begun_s = time.monotonic()
    window.click("form .primary")
    window.until(lambda: window.find(".graph canvas"), "no graph")
    print(f"\nsign-in to first graphs: {(time.monotonic() - begun_s) * 1000:.0f} ms")
    assert "loadavg5" in drawn(window, "loadavg")


def test_sign_in_and_this_machine_is_there_with_its_load(browser, system):
    begun_s = time.monotonic()
    browser.until(lambda: browser.find(".spark path"), "no load of any host", 60)
    assert "This machine" in browser.text(".hostlist")
    assert time.monotonic() - begun_s < 60
    cookies = {entry["name"]: entry for entry in browser.cdp("Network.getAllCookies")["cookies"]}
    cookie = cookies["carbyne-session"]
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict" and cookie["path"] == "/carbyne/v1/session"
    assert "secret" not in json.dumps(browser.run("return {...localStorage, ...sessionStorage, c: document.cookie}"))


def test_every_point_that_is_drawn_is_what_the_api_says(browser, system):
    show(browser, system, f"hosts/{system.host}?range=1h", ".graph canvas")
    marks = "return document.querySelector(\"[data-graph='loadavg'] .canvas\").getAttribute('aria-label')"
    browser.until(lambda: "deploy at" in browser.run(marks), "no mark")
    expected = {
        "loadavg": ["loadavg5"],
        "cpu": ["cpu.user.percentage", "cpu.system.percentage"],
        "memory": ["memory.used"],
    }
    for graph, names in expected.items():
        lines = drawn(browser, graph)
        assert lines.keys() == set(names)
        for name in names:
            times = sorted(lines[name])
            assert len(times) > 35
            assert lines[name] == stored(system, name, times[0], times[-1])


def test_another_range_a_zoom_and_the_way_back(browser, system):
    show(browser, system, f"hosts/{system.host}?range=1h", ".graph canvas")
    browser.click("[data-range='1d']")
    browser.until(lambda: len(drawn(browser, "loadavg")["loadavg5"]) < 40, "no buckets of five minutes")
    lines = drawn(browser, "loadavg")["loadavg5"]
    times = sorted(lines)
    assert all(time_s % 300 == 0 for time_s in times)
    assert lines == stored(system, "loadavg5", times[0], times[-1], "5m")
    assert "range=1d" in browser.driver.current_url
    browser.click("[data-range='6h']")
    browser.until(lambda: len(drawn(browser, "loadavg")["loadavg5"]) > 100, "no samples")
    begun_s = time.monotonic()
    drag(browser, "[data-graph='cpu'] .u-over", 0.7, 0.95)
    browser.until(lambda: "from=" in browser.driver.current_url, "no zoom")
    browser.until(lambda: not browser.find(".stale"), "still loading")
    zoom_s = time.monotonic() - begun_s
    place = dict(urllib.parse.parse_qsl(browser.driver.current_url.partition("?")[2]))
    from_s, to_s = int(place["from"]), int(place["to"])
    assert to_s - from_s == pytest.approx(0.25 * 6 * 3600, rel=0.05)
    for name in ("cpu.user.percentage", "cpu.system.percentage"):
        assert drawn(browser, "cpu")[name] == stored(system, name, from_s, to_s)
    print(f"\nzoom, drag and drawing included: {zoom_s * 1000:.0f} ms")
    browser.driver.back()
    browser.until(lambda: browser.find("[data-range='6h'][aria-pressed='true']"), "not back")


def drag(browser, css, start, end):
    box = browser.run("return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()", css)
    y = box["top"] + box["height"] / 2
    for kind, part in (("mouseMoved", start), ("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
        x = box["left"] + box["width"] * part
        buttons = {"button": "left", "buttons": 1, "clickCount": 1} if kind != "mouseMoved" or part == end else {}
        browser.cdp("Input.dispatchMouseEvent", type=kind, x=x, y=y, **buttons)


def test_a_legend_isolates_and_the_keyboard_moves_the_crosshair(browser, system):
    show(browser, system, f"hosts/{system.host}?range=1h", ".graph canvas")
    line = "[data-graph='cpu'] .line"
    browser.click(line)
    browser.until(lambda: drawn(browser, "cpu").keys() == {"cpu.user.percentage"}, "not alone")
    browser.click(line)
    browser.until(lambda: len(drawn(browser, "cpu")) == 2, "not all")
    press = "document.querySelector(arguments[0]).dispatchEvent(new KeyboardEvent('keydown', {key: 'Home'}))"
    browser.run(press, "[data-graph=loadavg] .canvas")
    head = "[data-graph='{}'] .legend thead th:nth-child(2)"
    graphs = ("loadavg", "cpu", "memory")  # one crosshair over all graphs
    browser.until(
        lambda: all(":" in browser.text(head.format(graph_id)) for graph_id in graphs), "no crosshair over all graphs"
    )
    box = browser.run("return document.querySelector('[data-graph=cpu] .u-over').getBoundingClientRect().toJSON()")
    x, y = box["left"] + box["width"] * 0.9, box["top"] + 20
    before = browser.text(head.format("memory"))
    browser.cdp("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    browser.until(lambda: browser.text(head.format("memory")) != before, "the mouse moves no crosshair")
    assert len({browser.text(head.format(graph)) for graph in graphs}) == 1


def test_a_gap_stays_a_gap_and_news_come_by_themselves(browser, system):
    show(browser, system, f"hosts/{system.host}?range=1h", ".graph canvas")
    script = "return document.querySelector(\"[data-graph='loadavg']\").graph.data.lines[0].series.values"
    assert None in browser.run(script)
    now_s = int(time.time()) // 60 * 60
    system.call("/api/v0/tsdb", [{"hostId": system.host, "name": "loadavg5", "time": now_s, "value": 42.5}])
    sent = len(browser.requests)
    time.sleep(1)
    browser.run("window.dispatchEvent(new Event('online'))")
    browser.until(lambda: drawn(browser, "loadavg")["loadavg5"].get(now_s) == 42.5, "the new sample is not drawn")
    [batch] = [url for url in browser.requests[sent:] if "/batch" in url]
    span = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(batch).query))
    assert int(span["to"]) - int(span["from"]) < 1000  # and not the whole hour


def test_a_reload_gets_the_open_part_of_a_long_span_alone(browser, system):
    """What is sealed has a URL that stays for hours, and the browser asks only whether it is another one."""
    show(browser, system, f"hosts/{system.host}?range=1w", ".graph canvas")
    before = len(browser.events)
    browser.open("about:blank")
    now_s = int(time.time()) // 60 * 60
    system.call("/api/v0/tsdb", [{"hostId": system.host, "name": "loadavg5", "time": now_s, "value": 41.5}])
    time.sleep(2)  # until it can be read
    show(browser, system, f"hosts/{system.host}?range=1w", ".graph canvas")
    events = browser.events[before:]
    urls = {
        event["params"]["requestId"]: event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent" and "/batch" in event["params"]["request"]["url"]
    }
    said = {
        urls[event["params"]["requestId"]]: event["params"]["statusCode"]
        for event in events
        if event["method"] == "Network.responseReceivedExtraInfo" and event["params"]["requestId"] in urls
    }
    spans = {url: dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query)) for url in said}
    sealed, opened = sorted(said, key=lambda url: int(spans[url]["to"]))
    assert int(spans[sealed]["to"]) + 1 == int(spans[opened]["from"])
    assert int(spans[opened]["from"]) % 14_400 == int(spans[sealed]["from"]) % 14_400 == 0
    assert (said[sealed], said[opened]) == (304, 200)
    lines = drawn(browser, "loadavg")["loadavg5"]
    times = sorted(lines)
    assert lines == stored(system, "loadavg5", times[0], times[-1], "1h")


MANY = """
const real = window.fetch;
const host = (at) => ({id: `id${String(at).padStart(4, "0")}`, name: `host${at}`, status: "working", memo: "",
  roles: {shop: ["web"]}, isRetired: false, createdAt: 1700000000, meta: {}, interfaces: []});
window.fetch = (path, init) => {
  const url = new URL(path, location);
  if (url.pathname !== "/api/v0/hosts") return real(path, init);
  const [limit, first] = [Number(url.searchParams.get("limit")), Number(url.searchParams.get("next") || 0)];
  const hosts = Array.from({length: Math.min(limit, 5000 - first)}, (_, at) => host(first + at));
  const next = first + limit < 5000 ? {next: String(first + limit)} : {};
  return Promise.resolve(new Response(JSON.stringify({hosts, ...next})));
};
"""
SCROLL = """
const done = arguments[arguments.length - 1], frames = [];
let last = performance.now();
const step = (now) => {
  frames.push(now - last);
  last = now;
  scrollBy(0, 600);
  if (frames.length < 45) requestAnimationFrame(step);
  else done(frames.slice(1));
};
requestAnimationFrame(step);
"""


def test_five_thousand_hosts_are_listed_and_searched(browser, system):
    """Their list comes in pages; the rest of the page is the real one."""
    script = browser.cdp("Page.addScriptToEvaluateOnNewDocument", source=MANY)["identifier"]
    try:
        browser.open("about:blank")
        begun_s = time.monotonic()
        show(browser, system, "hosts", ".hostlist tbody tr")
        shown_s = time.monotonic() - begun_s
        assert browser.text(".count") == "5000 hosts"
        rows = "return document.querySelectorAll('.hostlist tbody tr').length"
        assert browser.run(rows) <= 200  # and not all of them at once
        frames = sorted(browser.driver.execute_async_script(SCROLL))
        assert browser.run(rows) > 200
        browser.find("[type=search]")[0].send_keys("host4987")
        browser.until(lambda: browser.text(".count") == "1 of 5000 hosts", "not found")
        assert "host4987" in browser.text(".hostlist")
        middle, worst = frames[len(frames) // 2], frames[int(len(frames) * 0.95)]
        scrolled = f"a frame {middle:.0f} ms, p95 {worst:.0f} ms"
        print(f"\n5,000 hosts: shown after {shown_s * 1000:.0f} ms; {scrolled}")
    finally:
        browser.cdp("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
        browser.open("about:blank")


def test_operators_see_how_long_a_sample_takes(operator, system):
    show(operator, system, "system", ".tiles")
    operator.until_text("acknowledged after", ".lag", 40)
    assert re.fullmatch(r"[\d.]+ (ms|s)", operator.text(".lag .value"))


def test_usage_is_what_the_api_says(browser, system):
    show(browser, system, "usage", ".tiles")
    meter = system.call("/carbyne/v1/usage")[1]
    shown = browser.text()
    assert f"estimated from {meter['day']['measured']} of {meter['day']['sources']} sources" in shown
    assert meter["day"]["bytes"]["hot"] > 0 and "hot: Redis" in shown
    counted = [month["month"] for month in meter["months"]]
    assert all(month in shown for month in counted) and (counted or "Nothing was counted yet" in shown)
    assert meter["leftOut"] in shown


def test_hostile_texts_are_shown_and_do_nothing(browser, system):
    show(browser, system, "hosts", ".hostlist tbody tr")
    browser.until_text("onerror", ".hostlist")
    for fragment, seen in [
        (f"hosts/{system.hostile}?range=1h", ".graph"),
        (f"hosts/{system.hostile}?tab=checks", ".check-CRITICAL"),
        (f"hosts/{system.hostile}?tab=metadata", "pre"),
        ("alerts", "table"),
        ("monitors", "table"),
        ("channels", "table"),
        (f"alerts/{system.alert['id']}", "table"),
        ("dashboards", "table"),
        (f"dashboards/{system.dashboard}", ".widget"),
    ]:
        show(browser, system, fragment, seen)
        browser.until_text("onerror", "main")
        assert not browser.find("main img, main script, main iframe, main [onerror]")
    hrefs = browser.run("return [...document.querySelectorAll('.markdown a')].map(a => a.getAttribute('href'))")
    assert hrefs == ["https://example.com/"]
    assert "not shown yet" in browser.text("main")
    assert browser.run("return window.hacked") is None
    browser.open(f"{system.url}/#/hosts/{urllib.parse.quote(HOSTILE, safe='')}?tab={urllib.parse.quote(HOSTILE)}")
    browser.until(lambda: browser.find(".note.error, .note.empty, .note.forbidden"), "no state for an unknown host")
    assert browser.run("return window.hacked") is None


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: npm ci in web/")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_problem(browser, system, scheme):
    browser.scheme(scheme)
    places = [
        ("hosts", ".spark path"),
        ("usage", ".tiles"),
        (f"hosts/{system.host}?range=1h", ".graph canvas"),
        (f"hosts/{system.host}?tab=storage", ".timeline"),
        ("services/shop?range=1h", ".graph canvas"),
        ("alerts", "table"),
        ("monitors", "table"),
        ("channels", "table"),
        (f"alerts/{system.alert['id']}", "table"),
        (f"dashboards/{system.dashboard}", ".graph canvas"),
        ("dashboards/new", "textarea"),
    ]
    for fragment, seen in places:
        show(browser, system, fragment, seen)
        audit(browser, fragment)


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: npm ci in web/")
def test_axe_finds_no_serious_problem_in_the_system_view(operator, system):
    show(operator, system, "system", ".tiles")
    audit(operator, "system")


def audit(browser, where):
    browser.cdp("Runtime.evaluate", expression=AXE.read_text())
    violations = browser.driver.execute_async_script(
        "axe.run({resultTypes: ['violations']}).then(r => arguments[arguments.length - 1](r.violations))"
    )
    serious = [
        (violation["id"], violation["help"], [node["target"] for node in violation["nodes"]][:3])
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]
    assert not serious, f"{where}: {serious}"


def test_a_phone_shows_it_without_scrolling_sideways(browser, system):
    """Neither the page nor a table in it: what lies beside the screen is not found."""
    host = f"hosts/{system.host}"
    places = [
        ("hosts", ".hostlist tbody tr"),
        ("usage", ".tiles"),
        (f"{host}?range=1h", ".graph canvas"),
        (f"{host}?tab=storage", ".timeline"),
        (f"{host}?tab=metadata", "pre"),
        (f"hosts/{system.hostile}?tab=checks", "table"),
        ("services", "table"),
        ("alerts", "table"),
        ("monitors", "table"),
        ("channels", "table"),
        (f"alerts/{system.alert['id']}", "table"),
        ("dashboards", "table"),
        ("system", "[aria-label=sessions]"),
    ]
    hidden = "return Math.max(...[document.documentElement, ...document.querySelectorAll('.scroll')]"
    hidden += ".map(e => e.scrollWidth - e.clientWidth))"
    browser.size(390, 844)
    try:
        for fragment, seen in places:
            show(browser, system, fragment, seen)
            assert browser.run(hidden) <= 0, fragment
    finally:
        browser.size(1400, 2000)


def test_an_unknown_host_is_said_to_be_unknown(browser, system):
    show(browser, system, "hosts/nonesuch", ".note.empty")
    browser.until_text("No host has this id")
    assert not [part for part in browser.find(".tabs, .ranges") if part.is_displayed()]


def test_an_alert_is_shown_with_its_log_and_leads_to_its_graphs(browser, system):
    mine = f"table a[href*='/alerts/{system.alert['id']}']"
    show(browser, system, "alerts", mine)
    browser.click(mine)
    browser.until_text("opened (monitoring)", "[aria-label=log]")
    assert browser.text("h1 .badge") == system.alert["status"] == "CRITICAL"
    opened_s = system.alert["openedAt"]
    [of] = browser.run("return [...document.querySelectorAll('dl a')].map(a => a.getAttribute('href'))")
    assert of.startswith(f"#/hosts/{system.hostile}?from={opened_s - 1800}&to=")
    browser.click("dl a")
    browser.until(lambda: browser.find(".ranges"), "no graphs")
    show(browser, system, "alerts/nonesuch", ".note.empty")
    browser.until_text("No alert has this id")


def test_an_alert_is_called_as_its_check_and_drawn_with_the_bounds_of_its_monitor(browser, system):
    show(browser, system, "alerts", "table a[href*='/alerts/']")
    browser.until_text("CRITICAL", ".counts")
    named = "return [...document.querySelectorAll(arguments[0])].map(a => a.textContent)"
    assert HOSTILE in browser.run(named, "[aria-label='open alerts'] th a")
    opened = opened_load(system)
    show(browser, system, f"alerts/{opened['id']}", ".graph canvas")
    assert "loadavg5 > 0.5 warning, > 99 critical" in browser.text("dl")
    lines = drawn(browser, "alert")
    assert lines.keys() == {"loadavg5", "> 0.5 warning", "> 99 critical"}
    assert set(lines["> 0.5 warning"].values()) == {0.5} and len(lines["loadavg5"]) > 10
    drag(browser, "[data-graph='alert'] .u-over", 0.1, 0.4)
    browser.until(lambda: "from=" in browser.driver.current_url, "no zoom")
    browser.until(lambda: len(drawn(browser, "alert")["loadavg5"]) < len(lines["loadavg5"]) / 2, "not zoomed")
    browser.driver.back()
    browser.until(lambda: len(drawn(browser, "alert")["loadavg5"]) >= len(lines["loadavg5"]), "not back")


def opened_load(system):
    """The alert of the load, which the evaluator opens within a minute or two."""
    deadline_s = time.monotonic() + 150
    while time.monotonic() < deadline_s:
        for alert in system.call("/api/v0/alerts")[1]["alerts"]:
            if alert["type"] == "host":
                return alert
        time.sleep(1)
    raise AssertionError("no alert of the load was opened")


def test_an_alert_is_closed_with_a_reason(browser, system):
    alert = opened_load(system)
    show(browser, system, f"alerts/{alert['id']}", "input[aria-label=reason]")
    browser.find("input[aria-label=reason]")[0].send_keys("seen")
    browser.run("window.dispatchEvent(new Event('online'))")
    time.sleep(1)
    assert browser.run("return document.querySelector('input[aria-label=reason]').value") == "seen"
    browser.click("form:has(input[aria-label=reason]) button")
    browser.until_text("closed (manual)", "[aria-label=log]")
    assert not browser.find("input[aria-label=reason]")
    assert system.call(f"/api/v0/alerts/{alert['id']}")[1]["reason"] == "seen"


def test_monitors_say_what_they_watch_for(browser, system):
    show(browser, system, "alerts", ".tabs a")
    browser.click(".tabs a[href='#/monitors']")
    browser.until_text("loadavg5 > 0.5 warning, > 99 critical", "[aria-label=monitors]")
    assert "vector(0) > 0.5 warning" in browser.text("[aria-label=monitors]")
    assert browser.text(".tabs a[aria-current]") == "Monitors" and browser.text("nav a[aria-current]").startswith(
        "Alerts"
    )
    assert browser.text(".badge:not(.check-OK)") == "muted"


def test_a_channel_is_tried_and_its_url_tells_no_secret(browser, system):
    show(browser, system, "channels", "[aria-label=channels] button")
    assert "hook.example" in browser.text("main") and "hidden" not in browser.run("return document.body.outerHTML")
    browser.click("[aria-label=channels] button")
    browser.until_text("comes within a minute", "[aria-label=channels]")
    assert f"/carbyne/v1/channels/{system.channel}/test" in browser.requests[-1]


def test_alerts_of_rules_are_listed(browser, system):
    deadline_s = time.monotonic() + 150
    while not system.call("/api/v1/alerts")[1]["data"]["alerts"] and time.monotonic() < deadline_s:
        time.sleep(1)
    show(browser, system, "alerts", "[aria-label='alerts of rules']")
    shown = browser.text("[aria-label='alerts of rules']")
    assert "FIRING" in shown and "Up" in shown and "team=" in shown and "onerror" in shown
    assert browser.run("return window.hacked") is None


def test_a_dashboard_shows_queries(browser, system):
    show(browser, system, f"dashboards/{system.dashboard}", "[data-graph='3:query'] canvas")
    assert set(drawn(browser, "3:query")['{"x":"four"}'].values()) == {4.0}
    browser.until_text("is four", "[data-graph='3:query'] .legend")
    browser.until_text("7.5 apples", ".widget.value")


def test_a_dashboard_shows_expressions(browser, system):
    show(browser, system, f"dashboards/{system.dashboard}", "[data-graph='5:expression'] canvas")
    points = drawn(browser, "5:expression")["double"]
    times = sorted(points)
    assert len(times) > 30
    single = stored(system, "loadavg5", times[0], times[-1])
    assert points == {time_s: 2 * value for time_s, value in single.items()}
    browser.until_text("'x' is no function", ".note.error")


def test_utc_and_themes_switch(browser, system):
    browser.cdp("Emulation.setTimezoneOverride", timezoneId="Asia/Tokyo")
    browser.open("about:blank")
    show(browser, system, f"hosts/{system.host}?range=1h", ".graph canvas")
    assert browser.text("#zone") == "Asia/Tokyo"
    here = browser.text(".facts")
    browser.click("#zone")
    browser.until(lambda: browser.text("#zone") == "UTC", "not UTC")
    browser.until(lambda: browser.text(".facts") not in ("", here), "the same time in two zones")
    browser.click("#zone")
    before = browser.run("return getComputedStyle(document.documentElement).backgroundColor")
    browser.click("#theme")
    assert browser.run("return getComputedStyle(document.documentElement).backgroundColor") != before
    browser.run("localStorage.clear()")


def test_a_dashboard_is_edited_as_json(browser, system):
    show(browser, system, "dashboards/new", "textarea")
    browser.click(".editor .primary")
    browser.until_text("New dashboard", "table")
    browser.click("table a[href*='/dashboards/']:last-of-type")
    browser.until(lambda: browser.find(".widget"), "no widget")


def test_no_request_left_the_origin_and_the_page_is_light(browser, system):
    browser.cdp("Network.clearBrowserCache")
    browser.cdp("Network.setCacheDisabled", cacheDisabled=True)
    before = len(browser.events)
    begun_s = time.monotonic()
    browser.open("about:blank")
    show(browser, system, f"hosts/{system.host}?range=1h", ".graph canvas")
    first_s = time.monotonic() - begun_s
    browser.cdp("Network.setCacheDisabled", cacheDisabled=False)
    events = browser.events[before:]
    files = {
        event["params"]["requestId"]
        for event in events
        if event["method"] == "Network.responseReceived"
        and "/carbyne/" not in event["params"]["response"]["url"]
        and "/api/" not in event["params"]["response"]["url"]
    }
    weight = sum(
        event["params"]["encodedDataLength"]
        for event in events
        if event["method"] == "Network.loadingFinished" and event["params"]["requestId"] in files
    )
    asked = [event for event in events if event["method"] == "Network.requestWillBeSent"]
    print(f"\npage: {weight / 1000:.1f} kB, {len(asked)} requests, first graph after {first_s * 1000:.0f} ms")
    assert 10_000 < weight < WEIGHT_MAX
    outside = [url for url in browser.requests if not url.startswith((system.url, "about:", "data:", "blob:"))]
    assert not outside
    assert not [event for event in browser.complaints() if "the server responded with a status of 4" not in event]


def test_a_revoked_session_ends_with_a_word(browser, system):
    show(browser, system, "hosts", ".spark path")
    [mine] = [session for session in system.call("/carbyne/v1/sessions")[1]["sessions"] if not session["isCurrent"]][:1]
    for session in system.call("/carbyne/v1/sessions")[1]["sessions"]:
        assert delete(system, f"/carbyne/v1/sessions/{session['id']}") == 200
    assert mine["agent"]
    browser.open("about:blank")
    browser.open(f"{system.url}/#/hosts")
    browser.until(lambda: browser.find("#key"), "still signed in")


def delete(system, path):
    import urllib.request  # noqa: PLC0415

    request = urllib.request.Request(system.url + path, headers={"X-Api-Key": system.key}, method="DELETE")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status


def put(system, path, body):
    import urllib.request  # noqa: PLC0415

    headers = {"X-Api-Key": system.key}
    request = urllib.request.Request(system.url + path, json.dumps(body).encode(), headers, method="PUT")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status


def test_signing_out_ends_the_session(browser, system):
    browser.click("#sign-out")
    browser.until(lambda: browser.find("#key"), "no form")
    browser.open(f"{system.url}/#/system")
    browser.until(lambda: browser.find("#key"), "still signed in")
    assert system.call("/carbyne/v1/sessions")[1]["sessions"] == []


def test_a_server_that_goes_and_comes_back(browser, system):
    show(browser, system, f"hosts/{system.host}?range=1h", ".graph canvas")
    system.process.send_signal(signal.SIGSTOP)
    browser.cdp("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)
    try:
        browser.run("window.dispatchEvent(new Event('online'))")
        browser.until_text("The server can't be reached", "main")
        assert drawn(browser, "loadavg")  # what was drawn stays
    finally:
        system.process.send_signal(signal.SIGCONT)
        online = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.cdp("Network.emulateNetworkConditions", **online)
    browser.run("window.dispatchEvent(new Event('online'))")
    browser.until(lambda: "can't be reached" not in browser.text("main"), "the error stays")


def test_an_emptied_redis_costs_a_sign_in_and_says_what_it_rebuilds(browser, system):
    show(browser, system, f"hosts/{system.host}?range=1h", ".graph canvas")
    with contextlib.closing(RedisCluster.from_url(redis_url(system), protocol=2)) as client:
        client.flushall(target_nodes=RedisCluster.PRIMARIES)
    browser.open("about:blank")
    browser.open(f"{system.url}/#/hosts/{system.host}?range=1h")
    browser.until(lambda: browser.find("#key"), "the session is still there")
    sign_in(browser, system, fragment=f"#/hosts/{system.host}?range=1h")
    browser.until_text("being rebuilt", "main")


def redis_url(system):
    """Of any node of this system's cluster; the port of the cluster's bus is the higher one."""
    nodes = [each for each in psutil.Process(system.process.pid).children(recursive=True) if "valkey" in each.name()]
    ports = [each.laddr.port for each in nodes[0].net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    return f"redis://127.0.0.1:{min(ports)}"


def test_the_page_is_built_by_this_machine():
    assert shutil.which("npm") or (ROOT / "web/.node").exists()
    assert (ROOT / "web/dist/index.html").exists()
