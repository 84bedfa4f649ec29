"""Bodies of requests: nothing is accepted that can't be read again, and a refusal says what to change."""

import json
from time import process_time

import msgspec.inspect
import pytest
from carbyne.core.limits import JSON_DEPTH_MAX
from carbyne.http import forms
from carbyne.wiring.openapi import TABLES
from hypothesis import given
from hypothesis import strategies as st

from tests.support.registry_system import System

LEAVES = st.none() | st.integers() | st.text() | st.sampled_from(['"', "\\", "[[{", '\\"['])
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)


def depth(value):
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 1 + max(map(depth, value.values()), default=0) if isinstance(value, dict) else 0


@given(JSON, st.booleans())
def test_the_depth_of_any_json(value, ascii_only):
    assert forms.depth_of(json.dumps(value, ensure_ascii=ascii_only).encode()) == depth(value)


@pytest.mark.parametrize("body", [b"]]]", b'"[[[', b"", b'"\\', b"[" * 1_000_000])
def test_the_depth_of_what_is_no_json_is_a_number(body):
    assert 0 <= forms.depth_of(body) <= len(body) or body == b"]]]"


@pytest.mark.parametrize("piece", [b'\\"', b"\\", b'"a', b"\\u0022"])
def test_a_string_that_never_ends_costs_no_more_than_another(piece):
    """Of the largest body, 6 MB: looked for at each quote it took minutes for a hundredth of that."""
    begun_s = process_time()
    forms.depth_of(b'"' + piece * 200_000)
    assert process_time() - begun_s < 2


def nested(levels, brackets="[]"):
    opening, closing = ('{"a":', "}") if brackets == "{}" else brackets
    return opening * levels + "1" + closing * levels


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_json_is_kept_to_a_depth_at_which_every_answer_can_be_read(brackets):
    system = System()
    host = system.host()
    deepest = nested(JSON_DEPTH_MAX, brackets)
    system.ok("PUT", f"/api/v0/hosts/{host}/metadata/env", deepest)
    assert system.call("GET", f"/api/v0/hosts/{host}/metadata/env").text == deepest
    system.ok("PUT", f"/api/v0/hosts/{host}", f'{{"name":"web","meta":{{"a":{nested(JSON_DEPTH_MAX - 2, brackets)}}}}}')
    assert nested(JSON_DEPTH_MAX - 2, brackets) in system.call("GET", "/api/v0/hosts").text
    for levels in (JSON_DEPTH_MAX + 1, 982, 9_998, 30_000):
        body = nested(levels, brackets)
        assert "100 levels" in system.refused(400, "PUT", f"/api/v0/hosts/{host}/metadata/env", body)
        assert "100 levels" in system.refused(
            400, "PUT", f"/api/v0/hosts/{host}", f'{{"name":"web","meta":{{"a":{body}}}}}'
        )


@pytest.mark.parametrize("text", ['"\\ud800"', '"\\udc00\\ud800"', '"\ud800"'])
def test_half_of_a_surrogate_pair_is_refused(text):
    assert "not as it should be" in System().refused(
        400, "POST", "/api/v0/services", f'{{"name":"shop","memo":{text}}}'
    )


def choices(place, path="$"):
    """(path as the decoder tells it, what may stand there) of each enum, and each tag of a union, in a type."""
    options = getattr(place, "types", (place,))
    if tags := [option.tag for option in options if getattr(option, "tag", None)]:
        yield f"{path}.{options[0].tag_field}", tags
    for option in options:
        if values := getattr(option, "values", None):
            yield path, values
        if inner := getattr(option, "item_type", None):
            yield from choices(inner, f"{path}[0]")
        for field in getattr(option, "fields", ()):
            yield from choices(field.type, f"{path}.{field.encode_name}")


FORMS = {f"{row.method} {row.path}": row.body for table in TABLES.values() for row in table if row.body}


@pytest.mark.parametrize("route", FORMS)
def test_a_refusal_of_a_choice_says_what_is_allowed(route):
    """Of every form of every route, whatever is added to it."""
    for path, values in choices(msgspec.inspect.type_info(FORMS[route])):
        told = forms.allowed(FORMS[route], f"Invalid enum value 'x' - at `{path}`").partition("must be one of ")[2]
        assert set(map(str, values)) <= set(told.split(", ")), path
        assert forms.allowed(FORMS[route], f"Expected `str`, got `int` - at `{path}`") == ""


def test_there_are_choices_to_tell():
    assert sum(len(list(choices(msgspec.inspect.type_info(kind)))) for kind in FORMS.values()) > 20
