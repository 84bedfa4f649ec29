"""Some 250 queries have the answers that the oracle gave; see ``tests/support/stored_answers.py``."""

import json

import pytest
from carbyne.core.errors import QueryError
from carbyne.promql import query

from tests.support.both import same
from tests.support.promqltest import Memory
from tests.support.stored_answers import FILE, SPAN, queries, samples

ANSWERS = json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def memory():
    stored = Memory()
    stored.samples = samples()
    return stored


def answer(memory, text):
    """As the file has them."""
    try:
        ours = query.over(text, SPAN, memory, query.Options(lambda: 0.0))
    except QueryError as error:
        return error.kind
    rows = zip(ours.frame.labels, ours.frame.values.tolist(), ours.frame.there.tolist(), strict=True)
    series = [
        [" ".join(f"{name}={value}" for name, value in labels), *_there(values, there)]
        for labels, values, there in rows
    ]
    return [series, *ours.warnings, *ours.infos]


def _there(values, there):
    return [value if has else None for value, has in zip(values, there, strict=True)]


def test_the_file_is_about_the_queries_that_are_generated():
    assert list(ANSWERS) == list(dict.fromkeys(queries())) and len(ANSWERS) > 240


@pytest.mark.parametrize("text", ANSWERS)
def test_the_answer_is_the_oracles(memory, text):
    expected, got = ANSWERS[text], answer(memory, text)
    if isinstance(expected, str) or isinstance(got, str):
        assert got == expected
        return
    assert [row[0] for row in got[0]] == [row[0] for row in expected[0]]
    assert sorted(got[1:]) == sorted(expected[1:])
    for ours, theirs in zip(got[0], expected[0], strict=True):
        pairs = list(zip(ours[1:], theirs[1:], strict=True))
        assert all((our is None) == (their is None) for our, their in pairs), (ours, theirs)
        assert all(our is None or same(our, float(their), 1e-9) for our, their in pairs), (ours, theirs)
