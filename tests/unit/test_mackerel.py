"""Bodies of POST /api/v0/tsdb: what is stored, what is skipped and why, what is refused whole."""

import json
import math
import struct

import pytest
from carbyne.core.errors import RequestError
from carbyne.core.limits import AHEAD_MS_MAX, HOST_ID_BYTES_MAX, NAME_BYTES_MAX, SAMPLES_PER_BODY_MAX
from carbyne.intake import mackerel
from hypothesis import given, settings
from hypothesis import strategies as st

NOW_MS = 1_700_000_040_000
TIME_S = NOW_MS // 1000
MINUTE_MS = NOW_MS - NOW_MS % 60_000
GOOD = f'{{"hostId":"good","name":"n","time":{TIME_S},"value":1}}'
GOOD_ROWS = {("host/good", MINUTE_MS): {"n": 1.0}}


TIMES = mackerel.storable(NOW_MS, 2 * TIME_S)  # all of the past


def parse(body):
    return mackerel.parse(body.encode() if isinstance(body, str) else body, TIMES)


def element(host_id='"h"', name='"m"', time=str(TIME_S), value="1"):
    return f'{{"hostId":{host_id},"name":{name},"time":{time},"value":{value}}}'


DEEP_OBJECT = element(value='{"a":' * 100_000 + "1" + "}" * 100_000)


def stored(**fields):
    """The rows of one element, which must be stored."""
    samples = parse(f"[{element(**fields)}]")
    assert (samples.accepted, samples.skipped) == (1, {})
    return samples.rows


def bits(value):
    return struct.pack("<d", value)


def test_samples_are_grouped_by_host_and_minute():
    body = [
        {"hostId": "h1", "name": "a", "time": TIME_S, "value": 1},
        {"hostId": "h2", "name": "a", "time": TIME_S, "value": 2.5},
        {"hostId": "h1", "name": "b", "time": TIME_S - 60, "value": 3},
        {"hostId": "h1", "name": "b", "time": TIME_S, "value": 4},
    ]
    samples = parse(json.dumps(body))
    assert samples.rows == {
        ("host/h1", MINUTE_MS): {"a": 1.0, "b": 4.0},
        ("host/h2", MINUTE_MS): {"a": 2.5},
        ("host/h1", MINUTE_MS - 60_000): {"b": 3.0},
    }
    assert (samples.accepted, samples.skipped) == (4, {})


def test_times_are_floored_to_the_minute_and_the_last_value_of_a_minute_wins():
    minute_s = MINUTE_MS // 1000
    elements = [element(time=str(minute_s + second), value=str(second)) for second in (59, 0, 30)]
    assert parse(f"[{','.join(elements)}]").rows == {("host/h", MINUTE_MS): {"m": 30.0}}


def test_a_bad_sample_after_a_good_one_of_the_same_minute_changes_nothing():
    samples = parse(f"[{element(value='7')},{element(value='1e999')}]")
    assert samples.rows == {("host/h", MINUTE_MS): {"m": 7.0}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0.0),
        ("-0.0", -0.0),
        ("-0", -0.0),
        (" -0 ", -0.0),
        ("-0e5", -0.0),
        ("-1e-999", -0.0),
        ("1e308", 1e308),
        ("-1.7976931348623157e308", -1.7976931348623157e308),
        ("5e-324", 5e-324),
        ("1e-999", 0.0),
        ("1.5e+22", 1.5e22),
        ("8336000000", 8336000000.0),
        ("9007199254740993", 9007199254740992.0),
        ("9007199254740995", 9007199254740996.0),
        ("18446744073709551617", 18446744073709551616.0),
        ("9" * 300, 1e300),
        ("0.1" + "0" * 500, 0.1),
    ],
)
def test_values_are_the_nearest_float64(text, value):
    """By both ways through the parser: a whole body of good samples, and one with a bad one in it."""
    alone = stored(value=text)["host/h", MINUTE_MS]["m"]
    beside_a_bad_one = parse(f"[{element(value=text)},{{}}]").rows["host/h", MINUTE_MS]["m"]
    assert bits(alone) == bits(beside_a_bad_one) == bits(value)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{}", "missing-field"),
        ('{"hostId":"h","name":"m","time":1}', "missing-field"),
        ('{"hostId":"h","name":"m","value":1}', "missing-field"),
        ('{"hostId":"h","time":1,"value":1}', "missing-field"),
        ('{"name":"m","time":1,"value":1}', "missing-field"),
        (element(host_id='""'), "bad-host-id"),
        (element(host_id="1"), "bad-host-id"),
        (element(host_id="null"), "bad-host-id"),
        (element(host_id='"a/b"'), "bad-host-id"),
        (element(host_id='"%s"' % ("h" * (HOST_ID_BYTES_MAX + 1))), "bad-host-id"),
        (element(name='""'), "bad-name"),
        (element(name='"a b"'), "bad-name"),
        (element(name='"a\\n"'), "bad-name"),
        (element(name='"a\\u0000"'), "bad-name"),
        (element(name='"naïve"'), "bad-name"),
        (element(name='"a:b"'), "bad-name"),
        (element(name="[]"), "bad-name"),
        (element(name='"%s"' % ("n" * (NAME_BYTES_MAX + 1))), "bad-name"),
        (element(time="-1"), "bad-time"),
        (element(time="1.5"), "bad-time"),
        (element(time='"1"'), "bad-time"),
        (element(time="null"), "bad-time"),
        (element(time="true"), "bad-time"),
        (element(time="1e999"), "bad-time"),
        (element(time="9" * 5000), "bad-time"),
        (element(time="9" * 400), "too-far-ahead"),
        (element(time=str(NOW_MS)), "too-far-ahead"),
        (element(value="null"), "bad-value"),
        (element(value="true"), "bad-value"),
        (element(value='"1"'), "bad-value"),
        (element(value="[1]"), "bad-value"),
        (element(value='{"a":[1e999]}'), "bad-value"),
        (element(value="1e999"), "not-finite"),
        (element(value="-1e999"), "not-finite"),
        (element(value="9" * 400), "not-finite"),
        (element(value="-" + "9" * 5000), "not-finite"),
    ],
)
def test_a_bad_sample_is_skipped_alone_with_its_reason(bad, reason):
    samples = parse(f"[{GOOD},{bad}, {GOOD}]")
    assert samples.rows == GOOD_ROWS
    assert (samples.accepted, samples.skipped) == (2, {reason: 1})


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "null",
        "{}",
        GOOD,
        '"x"',
        "1",
        "[",
        "[1,2]",
        f"[{GOOD},null]",
        f"[{GOOD},[]]",
        f"[{GOOD}",
        f"[{GOOD},]",
        f"[{GOOD}] x",
        f"[{GOOD}][]",
        "[{]",
        "[NaN]",
        "[{hostId:1}]",
        f"[{element(value='NaN')}]",
        f"[{element(value='Infinity')}]",
        f"[{element(value='-Infinity')}]",
        f"[{element(value='[NaN]')}]",
        f"[{element(value='01')}]",
        f"[{element(value='+1')}]",
        "\ufeff[]",
        b"[\xff]",
        b'[{"hostId":"\xff","name":"n","time":1,"value":1}]',
        b'[{"\xff":1,"hostId":"h","name":"n","time":1,"value":1}]',
        b"\x00\x01\x02",
        b"\x1f\x8b",
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '[{"value":' * 100_000,
        '[{"hostId":"\\ud800"},{"a":1},{"a":x}]',
        '[{"hostId":"\\ud800"},{"a":1},{"a":NaN}]',
        '[{"hostId":"\\ud800"},{"a":1}},{]',
        '[{"hostId":"\\ud800"},{"a":1},]',
        '[{"hostId":"\\ud800"} {"a":1}]',
        f"{{{GOOD[1:-1]},{element(value='[' * 100_000 + ']' * 100_000)}}}",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_what_is_no_json_array_of_objects_is_refused_whole(body):
    with pytest.raises(RequestError) as raised:
        parse(body)
    assert raised.value.status == 400
    assert "not a JSON array of objects" in raised.value.message
    assert len(raised.value.message) < 300


def test_an_array_of_nothing_is_an_array_of_objects():
    assert parse("[]").rows == {}


def test_ten_minutes_ahead_is_the_limit_of_the_time_as_sent():
    last_s = (NOW_MS + AHEAD_MS_MAX) // 1000
    assert list(stored(time=str(last_s))) == [("host/h", last_s * 1000 - last_s * 1000 % 60_000)]
    assert parse(f"[{element(time=str(last_s + 1))}]").skipped == {"too-far-ahead": 1}


def test_a_sample_is_refused_two_days_before_raw_samples_of_its_time_end():
    first_s = TIME_S - 460 * 86_400 + 2 * 86_400
    times = mackerel.storable(NOW_MS, 460 * 86_400)
    for body in (f"[{element(time=str(first_s))},{{}}]", f"[{element(time=str(first_s))}]"):
        assert mackerel.parse(body.encode(), times).accepted == 1
    samples = mackerel.parse(f"[{element(time=str(first_s - 1))},{GOOD}]".encode(), times)
    assert samples.skipped == {"too-old": 1} and samples.rows == GOOD_ROWS


def test_names_and_host_ids_up_to_their_limits():
    alphabet = "abcXYZ019._-"
    rows = stored(host_id='"%s"' % ("h" * HOST_ID_BYTES_MAX), name='"%s"' % ("n" * NAME_BYTES_MAX))
    assert rows == {(f"host/{'h' * HOST_ID_BYTES_MAX}", MINUTE_MS): {"n" * NAME_BYTES_MAX: 1.0}}
    assert stored(host_id=f'"{alphabet}"', name=f'"{alphabet}"') == {(f"host/{alphabet}", MINUTE_MS): {alphabet: 1.0}}


def test_old_samples_and_unknown_fields_are_taken():
    assert stored(time="0") == {("host/h", 0): {"m": 1.0}}
    assert parse(f'[{{"extra":[{{"deep":1e999}}],{GOOD[1:]}]').rows == GOOD_ROWS


def test_a_line_feed_in_a_name_is_no_list_of_two_names_even_if_that_list_is_known():
    def parsed(*names):
        return parse("[" + ",".join(element(name=f'"{name}"') for name in names) + "]")

    assert parsed("a", "b", "c").accepted == 3
    two = parsed("a\\nb", "c")
    assert (list(two.rows.values()), dict(two.skipped)) == ([{"c": 1.0}], {"bad-name": 1})


def test_a_list_that_is_too_long_to_be_remembered_is_looked_at_each_time():
    names = [f"{number:03d}" + "x" * 200 for number in range(100)]
    before = mackerel._are_known.cache_info()
    assert parse("[" + ",".join(element(name=f'"{name}"') for name in names) + "]").accepted == 100
    names[7] += "!"
    refused = parse("[" + ",".join(element(name=f'"{name}"') for name in names) + "]")
    assert dict(refused.skipped) == {"bad-name": 1}
    assert mackerel._are_known.cache_info() == before


def test_too_many_samples_are_413():
    few = ",".join(["{}"] * SAMPLES_PER_BODY_MAX)
    assert parse(f"[{few}]").skipped == {"missing-field": SAMPLES_PER_BODY_MAX}
    for one_more in ("{}", GOOD):
        with pytest.raises(RequestError) as raised:
            parse(f"[{few},{one_more}]")
        assert raised.value.status == 413


def test_too_many_good_samples_are_413(monkeypatch):
    monkeypatch.setattr(mackerel, "SAMPLES_PER_BODY_MAX", 2)
    assert parse(f"[{GOOD},{GOOD}]").accepted == 2
    with pytest.raises(RequestError) as raised:
        parse(f"[{GOOD},{GOOD},{GOOD}]")
    assert raised.value.status == 413


def test_a_deep_element_is_skipped_alone():
    """Around the depth at which the decoder gives up there is no depth at which something else happens."""
    for depth in range(1, 1500):
        samples = parse(f"[{GOOD},{element(value='[' * depth + ']' * depth)}]")
        assert samples.rows == GOOD_ROWS
        assert samples.skipped in ({"bad-value": 1}, {"too-deep": 1})
    for deep in (element(value="[" * 100_000 + "]" * 100_000), DEEP_OBJECT):
        samples = parse(f"[{GOOD},{deep} , {GOOD}]")
        assert (samples.rows, samples.skipped) == (GOOD_ROWS, {"too-deep": 1})


@pytest.mark.parametrize("text", ['"\\ud800"', '"\\udc00x"', '"a\\ud83d"', '"\\ud800\\u0041"', b'"\xed\xa0\x80"'])
@pytest.mark.parametrize("place", ["name", "host_id", "value", "time", "other"])
def test_half_of_a_surrogate_pair_skips_its_sample_alone(text, place):
    mark = "@@"
    bad = f'{{"x":{mark},{GOOD[1:]}' if place == "other" else element(**{place: mark})
    body = f'[{GOOD},{bad},{{"x":"\\",]"}},{GOOD}]'.encode()
    samples = parse(body.replace(mark.encode(), text if isinstance(text, bytes) else text.encode()))
    assert samples.rows == GOOD_ROWS
    assert samples.skipped == {"bad-text": 1, "missing-field": 1}


def test_a_number_that_python_makes_no_int_of_does_not_refuse_the_body():
    bad = element(name="9" * 5_000, value='"\\ud800"')
    samples = parse(f"[{GOOD},{bad}]")
    assert (samples.rows, samples.skipped) == (GOOD_ROWS, {"bad-text": 1})


@pytest.mark.parametrize(
    ("time", "is_good"), [(".0", True), (".000", True), (".5", False), ("e0", True), ("e-3", False)]
)
def test_a_time_may_be_a_whole_float(time, is_good):
    samples = parse(f"[{element(time=f'{MINUTE_MS // 1000}{time}')}]")
    assert samples.rows == ({("host/h", MINUTE_MS): {"m": 1.0}} if is_good else {})
    assert samples.skipped == ({} if is_good else {"bad-time": 1})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["hostId", "name"]), inner),
    max_leaves=4,
)
NAMES = st.from_regex(r"\A[a-zA-Z0-9._-]{1,20}\Z")
GOOD_ELEMENTS = st.fixed_dictionaries(
    {
        "hostId": NAMES,
        "name": NAMES,
        "time": st.integers(0, TIME_S),
        "value": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70),
    }
)
ANY_ELEMENTS = st.fixed_dictionaries({}, optional=dict.fromkeys(("hostId", "name", "time", "value"), JSON))


def _is_well_formed(value):
    """Unpaired surrogates and NaN can be written by Python's json but are no JSON text."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        return False
    return True


@given(JSON | st.lists(GOOD_ELEMENTS | ANY_ELEMENTS))
@settings(deadline=None)
def test_any_json_is_parsed_or_refused_with_400(value):
    try:
        samples = parse(json.dumps(value))
    except RequestError as error:
        assert error.status == 400
        is_array = isinstance(value, list) and all(isinstance(element, dict) for element in value)
        assert not (is_array and _is_well_formed(value))
    else:
        assert samples.accepted + samples.skipped.total() == len(value)
        assert all(math.isfinite(number) for row in samples.rows.values() for number in row.values())


@given(st.binary() | st.binary().map(lambda tail: f"[{GOOD},".encode() + tail))
@settings(deadline=None)
def test_any_bytes_are_parsed_or_refused_with_400(body):
    try:
        parse(body)
    except RequestError as error:
        assert error.status == 400


@given(st.lists(GOOD_ELEMENTS, max_size=20), st.integers(0, 20))
@settings(deadline=None)
def test_a_bad_sample_anywhere_changes_nothing_of_the_others(elements, place):
    """The two ways through the parser agree, and both agree with a plain loop."""
    expected: dict = {}
    for sample in elements:
        minute_ms = sample["time"] // 60 * 60_000
        expected.setdefault((f"host/{sample['hostId']}", minute_ms), {})[sample["name"]] = float(sample["value"])
    with_a_bad_one = [*elements[:place], {}, *elements[place:]]
    assert repr(parse(json.dumps(elements)).rows) == repr(expected)
    assert repr(parse(json.dumps(with_a_bad_one)).rows) == repr(expected)


OF_SERVICE = '{"name":"a.b","time":1700000040,"value":2.5}'


@pytest.mark.parametrize(
    ("bad", "skipped"),
    [
        ("", {}),
        (',{"name":"a b","time":1700000040,"value":1}', {"bad-name": 1}),
        (',{"name":"c","time":1700000040}', {"missing-field": 1}),
        (',{"name":"c","time":99999999999,"value":1}', {"too-far-ahead": 1}),
    ],
)
def test_samples_of_a_service_need_no_host(bad, skipped):
    samples = mackerel.parse(f"[{OF_SERVICE}{bad}]".encode(), TIMES, "shop")
    assert samples.rows == {("service/shop", 1_700_000_040_000): {"a.b": 2.5}}
    assert (samples.accepted, samples.skipped) == (1, skipped)


def test_a_host_id_in_a_service_s_body_means_nothing():
    body = OF_SERVICE.replace("{", '{"hostId":"h",').encode()
    assert list(mackerel.parse(b"[" + body + b"]", TIMES, "shop").rows) == [("service/shop", 1_700_000_040_000)]
