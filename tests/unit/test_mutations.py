"""Recorded requests with random changes, the same ones each time; see ``tests.support.mutations``."""

import logging

import pytest
from carbyne.wiring.openapi import TABLES

from tests.support.mutations import ANSWERS, Case, Mutations
from tests.support.recorded import RECORDED

CASES = 20_000


@pytest.fixture(scope="module")
def quiet():
    """The refused and the unknown would fill a gigabyte of log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def mutations(quiet):
    return Mutations("the same")


@pytest.mark.parametrize("first", range(0, CASES, 5_000))
def test_no_request_fails_and_none_is_stored_wrongly(mutations, first):
    mutations.run(range(first, first + 5_000))


def test_every_recorded_request_was_answered_well_and_every_refusal_came(mutations):
    """But for two that come once in more cases than these: 413, and 422 of a query that costs too much."""
    well = {case for case, status in mutations.statuses if status in (200, 204)}
    assert {f"{each.method} {each.path}" for each in RECORDED} - well == set()
    assert {status for _, status in mutations.statuses} >= ANSWERS - {413, 422}


def test_every_route_is_recorded():
    """What serves the page and its sign-in is not part of the API's description, and has tests of its own."""
    sent = [(each.method, each.path) for each in RECORDED]
    routes = [route for table in TABLES.values() for route in table if route.permission or route.method == "GET"]
    assert [route for route in routes if not any(route.parts_of(*each) is not None for each in sent)] == []


def test_a_case_is_made_of_its_number_alone():
    case, again, other = Case("seed", 7), Case("seed", 7), Case("seed", 8)
    assert case.event == again.event != other.event
