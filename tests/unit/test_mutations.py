"""Recorded requests with random changes, the same ones each time; see ``tests.support.mutations``."""

import logging

import pytest

from tests.support.mutations import ANSWERS, RECORDED, Case, Mutations

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
    well = {case for case, status in mutations.statuses if status == 200}
    assert {f"{method} {path}" for method, path, _ in RECORDED} - well == set()
    assert {status for _, status in mutations.statuses} >= ANSWERS - {413}


def test_a_case_is_made_of_its_number_alone():
    one, again, other = Case("seed", 7), Case("seed", 7), Case("seed", 8)
    assert one.event == again.event != other.event
