"""What queries are read as, what is refused, and where their parts begin."""

import pytest
from carbyne.core.errors import QueryError
from carbyne.core.limits import QUERY_BYTES_MAX, QUERY_DEPTH_MAX
from carbyne.promql.numbers import of_label, plain, rounded, short
from carbyne.promql.parsed import parse
from carbyne.promql.remarks import place
from carbyne.promql.tree import Select, children

REFUSED = {
    "": "no expression",
    "rate(a": "parenthesis",
    'a{b=~"("}': "regex",
    '{a="b" or c="d"}': "`or` between matchers is not PromQL",
    "histogram_count(a)": "native histograms are not stored",
    "histogram_sum(a >/ 3)": "native histograms are not stored",
    "start_timestamp(a)": "start timestamps of series are not stored",
    "rate(a[5m] anchored)": "`anchored`: modifiers of range selectors are not served",
    "a smoothed": "`smoothed`: modifiers of range selectors are not served",
    "rate(a[2m*3])": "durations can't be computed here",
    "a offset step()": "durations can't be computed here",
    'info(a, {b=~".*"})': "must name a label that is not empty",
    '"\\xff"': "escapes of bytes above 7f",
    "a[1e300]": "a number in it is out of range",
    "a[1e14]": "a number in it is out of range",
    "a @ 1e17": "the time behind @ is out of range",
    "(" * 200 + "a" + ")" * 200: f"at most {QUERY_DEPTH_MAX}",
    "-" * 16_000 + "a": "16000 operators; at most 1000",  # the parser alone would end the process
    "a" + " atan2 a" * 2_000: "2000 operators",
    "a" + "+a" * 200: f"more than {QUERY_DEPTH_MAX} operations",
    "a" * (QUERY_BYTES_MAX + 1): f"at most {QUERY_BYTES_MAX}",
}


@pytest.mark.parametrize("text", REFUSED, ids=[text[:20] for text in REFUSED])
def test_what_is_not_served_is_refused_in_words(text):
    with pytest.raises(QueryError) as raised:
        parse(text)
    assert (raised.value.kind, raised.value.status) == ("bad_data", 400)
    assert REFUSED[text] in raised.value.message


def starts(node, text):
    begins = [(type(node).__name__, text[node.start :][:4])]
    return begins + [each for child in children(node) for each in starts(child, text)]


def test_each_node_knows_where_it_begins():
    text = (
        "sum by (rate) (rate(b{on=\"sum(\"}[5m] offset 1m)) / on (sum) group_left (b) (b @ start() - -c)\n or {x='('}"
    )
    assert starts(parse(text), text) == [
        ("Binary", "sum "),
        ("Binary", "sum "),
        ("Aggregate", "sum "),
        ("FunctionCall", "rate"),
        ("Range", "b{on"),
        ("Select", "b{on"),
        ("Paren", "(b @"),
        ("Binary", "b @ "),
        ("Select", "b @ "),
        ("Minus", "-c)\n"),
        ("Select", "c)\n "),
        ("Select", "{x='"),
    ]


def test_places_are_lines_and_columns():
    assert place("sum(\n  a)", 7) == " (2:3)"
    assert place("sum(a)", None) == ""


@pytest.mark.parametrize(("text", "at"), [("a @ -1.5", -1500), ("a @ 1.0004", 1000), ("a @ end()", "end"), ("a", None)])
def test_times_behind_at(text, at):
    node = parse(text)
    assert isinstance(node, Select)
    assert node.at == at


def test_numbers_have_the_text_that_go_gives_them():
    numbers = [0.1, 1e21, 1e-7, float("inf"), float("nan"), -0.0, 123456.0, 1e6, 1.5e-5]
    assert [plain(number) for number in numbers] == [
        *("0.1", "1000000000000000000000", "0.0000001", "+Inf", "NaN", "-0", "123456", "1000000", "0.000015"),
    ]
    assert [short(number) for number in numbers] == [
        *("0.1", "1e+21", "1e-07", "+Inf", "NaN", "-0", "123456", "1e+06", "1.5e-05"),
    ]
    assert [of_label(number) for number in (1.0, 0.5, 1e6)] == ["1.0", "0.5", "1e+06"]
    assert rounded(0.123456, 2) == "0.12"
