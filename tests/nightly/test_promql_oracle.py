"""What the oracle says today: its test files, and the answers that are stored here."""

import json
from collections import Counter

import pytest
from carbyne.core.errors import QueryError
from carbyne.promql.described import described
from carbyne.promql.parsed import parse, pretty

from tests.support import oracle, stored_answers
from tests.support.promqltest import Runner

COUNTED = {
    "passed": 1_141,
    "native histograms": 880,
    "anchored and smoothed": 139,
    "arithmetic in durations": 51,
    "start timestamps": 19,
    "info without a label": 11,
    "escapes of bytes": 2,
}
"""Statements of the files by what became of them: passed, or why they are not about what is stored."""


@pytest.mark.nightly
def test_every_statement_about_floats_is_answered_as_prometheus_does():
    results, evaluations = [], 0
    for path in oracle.files():
        runner = Runner()
        results += [(path.name, result) for result in runner.run(path.read_text())]
        evaluations += runner.evaluations
    failed = [each for each in results if each[1].outcome not in COUNTED]
    assert not failed, failed[:3]
    assert Counter(result.outcome for _, result in results) == COUNTED
    assert evaluations > 5_000, "each statement is also asked with @ at other times"


@pytest.mark.nightly
def test_the_stored_answers_are_the_oracles():
    oracle.programs()
    assert stored_answers.answers() == json.loads(stored_answers.FILE.read_text())


@pytest.mark.nightly
def test_queries_are_written_and_parsed_as_the_oracle_does(tmp_path):
    written = [
        "sum by (a, b) (rate(x_total{job='api', path=~\"/.*\"}[5m] offset 1h)) / ignoring (c) group_left (d) y @ 7"
    ]
    written += ["max_over_time((a + on () b > bool 2)[1h:5m] @ end())", "-a{b!~'c'}[5m:]", "a unless b or c"]
    written += ["histogram_quantile(0.9, sum without (instance, very_long_label_name) (rate(x_bucket[5m]))) * 1e3"]
    with oracle.running(tmp_path) as url:
        for text in [*written, *stored_answers.queries()]:
            for path, ours in (("format_query", pretty), ("parse_query", lambda query: described(parse(query)))):
                status, body = oracle.ask(url, path, query=text)
                try:
                    assert (status, ours(text)) == (200, body.get("data")), text
                except QueryError:
                    assert status == 400, text
