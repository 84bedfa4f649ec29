"""Pictures of alerts: what is kept of the values, whose URL is taken, what is drawn, and which message has one."""

import json
import logging
import math
import re
import sys

import msgspec
import pytest
from carbyne.adapters.mail import SesMail
from carbyne.alerts.drawing import CRITICAL, LINE, WARNING, png, shown_number, svg
from carbyne.alerts.pictures import HEIGHT, PARAMETER, PATH, WIDTH, path_of, verified_picture
from carbyne.alerts.plots import plot_of
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey
from carbyne.core.limits import (
    PICTURE_S,
    PICTURE_TITLE_CHARACTERS_MAX,
    PICTURE_TOKEN_BYTES_MAX,
    PLOT_POINTS_MAX,
)
from carbyne.core.signing import once_known, signed
from carbyne.notify.links import Links
from carbyne.tenants import tokens

from tests.support.pictures import NOW_S, PICTURE_URL, SECRET, picture, pixels, samples
from tests.support.registry_system import System
from tests.support.ruled import Ruled
from tests.unit.test_notifier import HOOK, MAIL, SLACK

HUGE = sys.float_info.max
TOKEN = PICTURE_URL.partition("=")[2]
PICTURE_BYTES_MAX = 25_000
"""Of a line that jumps from end to end each minute; an ordinary one has 15 KB."""


def colour(text):
    return [int(text[at : at + 2], 16) for at in (1, 3, 5)]


def places(image, text, y_from=45):
    """(x, y) of the pixels of a colour, below the title."""
    is_it = (abs(image[:, :, :3] - colour(text)) <= 8).all(axis=2)
    ys, xs = is_it[y_from:].nonzero()
    return set(zip(xs.tolist(), (ys + y_from).tolist(), strict=True))


def drawn(*values, **changed):
    return pixels(png(picture(*values, **changed)))


def test_points_are_kept_to_a_510th_of_their_spans():
    values = [math.sin(number / 7) * 40 - 3 for number in range(PLOT_POINTS_MAX)]
    plot = plot_of(samples(*values))
    assert len(plot.times) == len(plot.values) == PLOT_POINTS_MAX
    span = max(values) - min(values)
    for (ts_s, value), (sample_ms, sample) in zip(plot.points(), samples(*values), strict=True):
        assert abs(ts_s - sample_ms / 1000) <= (plot.to_s - plot.from_s) / 500
        assert abs(value - sample) <= span / 500


def test_of_many_values_the_peaks_are_kept():
    values = [1.0] * 700
    values[371], values[602] = 90.0, -5.0
    plot = plot_of(samples(*values, step_s=5))
    assert len(plot.times) <= PLOT_POINTS_MAX and (plot.low, plot.high) == (-5.0, 90.0)
    peak = max(plot.points(), key=lambda point: point[1])
    assert peak[1] == 90.0 and abs(peak[0] - samples(*values, step_s=5)[371][0] / 1000) < 25


def test_of_a_long_time_the_last_hour_is_kept():
    plot = plot_of(samples(99.0, *[1.0] * 90))
    assert (plot.to_s, plot.from_s, plot.high) == (NOW_S, NOW_S - 59 * 60, 1.0)


def test_what_is_no_number_is_no_point():
    assert plot_of(samples(math.nan)) is plot_of([]) is None
    plot = plot_of(samples(math.inf, math.nan, -math.inf))
    assert (plot.high, plot.low, len(plot.times)) == (HUGE, -HUGE, 2)


def test_a_single_sample_is_a_dot_at_the_end():
    dot = places(drawn(5.0), LINE)
    assert 20 <= len(dot) <= 60 and min(x for x, _ in dot) > WIDTH - 30
    assert plot_of(samples(5.0)).from_s == NOW_S - 600


def test_a_url_that_was_changed_anywhere_is_refused():
    """To a letter that base64 has, to ones that it has not, and without it."""
    assert verified_picture(TOKEN, SECRET, NOW_S)
    for at, letter in enumerate(TOKEN):
        for other in {"A", "B", "*", "", "\ud800"} - {letter}:
            changed = TOKEN[:at] + other + TOKEN[at + 1 :]
            assert verified_picture(changed, SECRET, NOW_S) is None, changed


def test_a_url_is_good_for_its_time_with_its_secret():
    alert = picture(1.0, 2.0, expires_s=NOW_S + 1)
    token = path_of(alert, SECRET).partition("=")[2]
    assert verified_picture(token, SECRET, NOW_S) == alert
    assert verified_picture(token, SECRET, NOW_S + 1) is None
    assert verified_picture(token, b"q" * 32, NOW_S) is None


def test_what_was_signed_for_another_purpose_is_no_picture_and_a_picture_is_no_session():
    payload = msgspec.msgpack.encode(picture(1.0, 2.0))
    assert verified_picture(signed("cbp1.", payload, SECRET), SECRET, NOW_S)
    older = signed("cbp1.", msgspec.msgpack.encode(["title", 1]), SECRET)
    assert verified_picture(older, SECRET, NOW_S) is None, "signed by a version with other fields"
    other = signed(tokens.PREFIX, payload, SECRET)
    assert verified_picture(other, SECRET, NOW_S) is None
    assert verified_picture(other.replace(tokens.PREFIX, "cbp1."), SECRET, NOW_S) is None
    assert tokens.verify(TOKEN.replace("cbp1.", tokens.PREFIX), SECRET, NOW_S) is None


def test_the_longest_url_is_one_that_slack_takes():
    values = [HUGE * (-1) ** number for number in range(2 * PLOT_POINTS_MAX)]
    title = "\U0001f600" * PICTURE_TITLE_CHARACTERS_MAX
    widest = picture(*values, title=title, warning=-HUGE, critical=HUGE, closed_s=NOW_S, opened_s=-(2**40))
    path = path_of(widest, SECRET)
    assert len(path.partition("=")[2]) <= PICTURE_TOKEN_BYTES_MAX
    assert len("https://" + "d" * 253 + path) < 2_000
    assert pixels(png(widest)).shape == (HEIGHT, WIDTH, 4)


def tops(image, text):
    """x -> the highest place of a colour in that column."""
    highest = {}
    for x, y in places(image, text):
        highest[x] = min(y, highest.get(x, HEIGHT))
    return highest


def test_the_line_runs_through_its_values():
    """From the lowest left to the highest right; a peak is where it was."""
    rising = tops(drawn(*map(float, range(60))), LINE)
    left, right = min(rising), max(rising)
    assert right - left > 0.85 * WIDTH and rising[left] - min(rising.values()) > 0.5 * HEIGHT
    assert all(rising[x] >= rising[x + 1] - 1 for x in range(left, right - 3))
    peak = tops(drawn(*(9.0 if number == 15 else 1.0 for number in range(61))), LINE)
    x = min(peak, key=peak.get)
    assert abs((x - left) / (right - left) - 0.25) < 0.02


@pytest.mark.parametrize("operator", [">", "<"])
def test_the_line_has_the_colours_of_what_it_is_beyond(operator):
    """It is red where the value is above the critical bound, with the operator < where it is below it."""
    values = [float(number) for number in range(60)]
    plain = places(drawn(*values), LINE)
    middle = (min(plain)[0] + max(plain)[0]) / 2
    image = drawn(*values, operator=operator, critical=29.5)
    red, blue = places(image, CRITICAL), places(image, LINE)
    right, left = ({place for place in plain if (place[0] - middle) * side > 15} for side in (1, -1))
    beyond, within = (right, left) if operator == ">" else (left, right)
    assert len(beyond & red) > 0.9 * len(beyond) and len(within & red) < 0.02 * len(within)
    assert len(within & blue) > 0.9 * len(within) and not beyond & blue


def test_a_warning_has_another_colour_than_what_is_critical():
    image = drawn(*map(float, range(60)), warning=20.5, critical=40.5)
    assert min(len(places(image, each)) for each in (LINE, WARNING, CRITICAL)) > 200


def test_a_bound_far_away_does_not_make_the_line_flat():
    far = drawn(1.0, 2.0, 3.0, critical=1e9)
    assert (far == drawn(1.0, 2.0, 3.0)).all()
    near = drawn(1.0, 2.0, 3.0, critical=4.0)
    assert len(places(near, CRITICAL)) > 300


def test_a_gap_in_the_samples_is_one_in_the_line():
    gap = [each for number, each in enumerate(samples(*[5.0] * 60)) if not 20 <= number < 40]
    xs = {x for x, _ in places(drawn(1.0, 2.0, plot=plot_of(gap)), LINE)}
    inside = [x for x in xs if WIDTH * 0.42 < x < WIDTH * 0.62]
    assert xs and not inside
    assert any(WIDTH * 0.42 < x < WIDTH * 0.62 for x, _ in places(drawn(*[5.0] * 60), LINE))


@pytest.mark.parametrize(
    "values",
    [
        (0.0, 0.0),
        (-0.0, 5e-324),
        (HUGE, -HUGE),
        (HUGE, HUGE),
        (1.0, math.nextafter(1.0, 2.0)),
        (-7.0, -7.0),
        (1e-300, 2e-300),
        (1e15, 1e15 + 1),
        (0.0, 1e-323),
        (1e-320, 3e-320, 9e-320),
        tuple(HUGE * (-1) ** number for number in range(60)),
    ],
    ids=[
        "zeros",
        "least",
        "widest",
        "largest",
        "neighbours",
        "negative",
        "tiny",
        "counter",
        "denormal",
        "denormals",
        "jumps",
    ],
)
@pytest.mark.parametrize("operator", [">", "<"])
def test_whatever_is_measured_can_be_drawn(values, operator):
    alert = picture(*values, operator=operator, warning=HUGE, critical=-HUGE, title="<b>&\x00]]>" + "\u3042" * 40)
    data = png(alert)
    assert pixels(data).shape == (HEIGHT, WIDTH, 4) and len(data) < PICTURE_BYTES_MAX
    assert len(svg(alert)) < 30_000


def test_a_title_is_text_and_never_markup():
    assert "&lt;image href=&quot;" in svg(picture(1.0, 2.0, title='<image href="/etc/passwd"/>'))
    assert "\x00" not in svg(picture(1.0, 2.0, title="a\x00b"))
    plain = drawn(1.0, 2.0, title="")
    assert (drawn(1.0, 2.0, title="loadavg5") != plain).any()
    assert (drawn(1.0, 2.0, title="\u3042") == drawn(1.0, 2.0, title="…")).all(), "the font has no such letter"


@pytest.mark.parametrize("values", [(5.0, 5.0), (0.0, 0.0), (123_456.0, 123_459.0), (8e9, 8e9 + 3e6), (0.0, 3.0)])
def test_no_two_lines_of_the_grid_have_one_label(values):
    labels = re.findall(r'text-anchor="end" fill="#6b7280" font-size="13">([^<]*)<', svg(picture(*values)))
    values = [label for label in labels if "UTC" not in label]
    assert 3 <= len(values) <= 10 and len(values) == len(set(values)), values


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (999.5, "999.5"), (1500.0, "1.5k"), (-2.5e9, "-2.5G"), (0.001, "0.001")]
)
def test_numbers_are_short(value, text):
    assert shown_number(value) == text


def test_the_door_draws_what_it_signed_and_nothing_else():
    system = System()
    answer = system.call("GET", PICTURE_URL, key="")
    assert answer.status == 200 and pixels(answer.body).shape == (HEIGHT, WIDTH, 4)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Cache-Control"].startswith("public, max-age=")
    expired = path_of(picture(1.0, 2.0, expires_s=system.now_s), SECRET)
    for url in (PICTURE_URL + "x", PICTURE_URL[:-2], expired, f"{PATH}?{PARAMETER}=x"):
        assert "no such picture" in system.refused(404, "GET", url, key="")
    assert "the query needs of once" in system.refused(400, "GET", PATH, key="")
    assert "once" in system.refused(400, "GET", f"{PICTURE_URL}&{PARAMETER}=x", key="")


def test_a_url_that_is_none_of_ours_reads_no_secret():
    system, asked = System(), []
    system.registry = system.registry._replace(picture_secret=lambda: asked.append(1))
    for token in ("x", "cbs1." + TOKEN, "cbp1." + "A" * PICTURE_TOKEN_BYTES_MAX):
        system.refused(404, "GET", f"{PATH}?{PARAMETER}={token}", key="")
    assert not asked
    system.refused(404, "GET", PICTURE_URL, key="")
    assert asked, "before the first picture there is no secret"


def test_a_secret_is_asked_for_until_it_is_there():
    answers = iter([None, b"a"])
    secret = once_known(lambda: next(answers))
    assert [secret(), secret(), secret()] == [None, b"a", b"a"]


class Told(Ruled):
    """A host whose load rises each minute, and what its channels are told."""

    def __init__(self, *channels):
        super().__init__()
        self.host_id = self.host(roleFullnames=["shop:web"])
        for each in channels:
            self.channel(each)
        self.value = 0.0

    def look(self, minutes, of=""):
        for _ in range(minutes):
            self.now_s += 60
            self.value += 1
            source = SourceKey("a", of or f"host/{self.host_id}")
            self.arrived.put(source, "load", self.now_s * 1000, self.value)
            self.evaluator.monitors.run(lambda: 50.0)
            self.notify()

    def hooked(self):
        [body] = [json.loads(body) for url, body, _ in self.posts if url == HOOK["url"]]
        return body

    def drawn(self, url):
        """What the picture at a URL of a message was made of."""
        base, _, query = url.partition("?")
        assert base == f"https://door.example{PATH}"
        answer = self.call("GET", f"{PATH}?{query}", key="")
        assert answer.status == 200 and pixels(answer.body).shape == (HEIGHT, WIDTH, 4)
        return verified_picture(query.partition("=")[2], SECRET, self.now_s)


HOST = {"type": "host", "name": "load", "metric": "load", "operator": ">", "warning": 5, "critical": 99, "duration": 1}


def test_every_message_of_a_measured_alert_has_the_same_picture():
    system = Told(HOOK, SLACK, MAIL)
    system.ok("POST", "/api/v0/monitors", HOST)
    system.look(6)
    url = system.hooked()["imageUrl"]
    shown = system.drawn(url)
    assert (shown.title, shown.operator, shown.warning, shown.critical) == ("load on web", ">", 5.0, 99.0)
    assert [value for _, value in shown.plot.points()] == pytest.approx([1, 2, 3, 4, 5, 6], abs=0.01)
    assert (shown.opened_s, shown.closed_s, shown.expires_s) == (system.now_s, None, system.now_s + PICTURE_S)
    [slack] = [json.loads(body)["attachments"][0] for to, body, _ in system.posts if to == SLACK["url"]]
    assert slack["image_url"] == url and len(url) < 2_000
    [(_, _, text)], [html] = system.mails, system.htmls
    assert url in text.splitlines() and f'<img src="{url}"' in html
    page = f"https://door.example/#/alerts/{system.hooked()['alert']['id']}"
    assert system.hooked()["alert"]["url"] == slack["title_link"] == page
    assert page in text.splitlines() and f'href="{page}"' in html


def test_a_channel_may_have_no_pictures():
    system = Told({**HOOK, "enabledGraphImage": False}, {**SLACK, "enabledGraphImage": False})
    system.ok("POST", "/api/v0/monitors", HOST)
    system.look(6)
    assert system.hooked()["imageUrl"] is None
    [slack] = [json.loads(body)["attachments"][0] for to, body, _ in system.posts if to == SLACK["url"]]
    assert "image_url" not in slack and slack["text"].startswith("load 6 &gt; 5\n")


def test_a_message_that_is_sent_again_has_the_same_picture():
    system = Told(HOOK)
    system.ok("POST", "/api/v0/monitors", HOST)
    seen = []
    system.notifier._ways = system.notifier._ways._replace(
        post=lambda url, body, headers: seen.append(json.loads(body)["imageUrl"]) or ("" if seen[1:] else "500")
    )
    system.look(6)
    system.world.sleep(61)
    system.now_s += 61
    system.notify()
    assert len(seen) == 2 and seen[0] == seen[1]


def test_an_alert_is_told_without_its_picture_if_the_secret_is_away(caplog):
    caplog.set_level(logging.CRITICAL)

    def away():
        raise RetryableError("the table is away")

    system = Told(HOOK)
    system.notifier._links = Links("https://door.example", away)
    system.ok("POST", "/api/v0/monitors", HOST)
    system.look(6)
    assert system.hooked()["imageUrl"] is None


SERVICE = {**HOST, "type": "service", "service": "shop"}
EXPRESSION = {"type": "expression", "name": "sum", "operator": ">", "critical": 5, "evaluateBackwardMinutes": 0}
QUERY = {"type": "query", "name": "load of {{source}}", "operator": ">", "critical": 5, "query": "load"}


@pytest.mark.parametrize("kind", ["service", "expression", "query", "connectivity"])
def test_which_monitors_have_pictures(kind):
    system = Told(HOOK)
    host = system.host_id
    made = {
        "service": SERVICE,
        "expression": {**EXPRESSION, "expression": f"host({host}, load)"},
        "query": QUERY,
        "connectivity": {"type": "connectivity", "name": "gone"},
    }[kind]
    if kind == "connectivity":
        system.look(1)
    system.ok("POST", "/api/v0/monitors", made)
    if kind == "connectivity":
        system.look(8, of="service/other")
    else:
        system.look(6, of="service/shop" if kind == "service" else "")
    told = system.hooked()
    if kind == "connectivity":
        assert told["imageUrl"] is None
        return
    title = {"service": "load on shop", "expression": "sum", "query": f"load of host/{host}"}[kind]
    assert system.drawn(told["imageUrl"]).title == title


def test_a_mail_has_text_and_html():
    sent = []

    class Client:
        def send_email(self, **request):
            sent.append(request)

    assert SesMail(Client(), "from@example.com")(["to@example.com"], "s", "t", "<p>t</p>") == ""
    assert SesMail(Client(), "from@example.com")(["to@example.com"], "s", "t") == ""
    text, html = ({"Data": each, "Charset": "UTF-8"} for each in ("t", "<p>t</p>"))
    assert sent[1]["Message"]["Body"] == {"Text": text}
    assert sent[0]["Message"]["Body"] == {"Text": text, "Html": html}
