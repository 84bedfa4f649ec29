"""A store of ours and an oracle that got the same samples by remote write, asked the same."""

import json
import math
import re

from carbyne.promql.scope import QuerySpan

from harness.pipeline import APPS, LENGTH_S, Pipeline, http_event
from tests.support import oracle
from tests.support.remote_write import V1, body_1, packed, series_1

SAMPLES_AT_ONCE = 2_000
"""In a body, as Prometheus sends them."""
KEY = "secret"


class Both:
    """``url``: of the oracle; ``now_s``: what our clock says.  A context manager."""

    def __init__(self, cluster, url, now_s):
        self._url = url
        self.pipeline = Pipeline(cluster, now_s)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.pipeline.close()

    def write(self, samples):
        """``samples``: labels -> {ts_ms: value}, sent in the order of time."""
        ordered = sorted((ts_ms, labels, value) for labels, at in samples.items() for ts_ms, value in at.items())
        delivered = len(self.pipeline.stream.records)
        for first in range(0, len(ordered), SAMPLES_AT_ONCE):
            body = packed(_body(ordered[first : first + SAMPLES_AT_ONCE]))
            headers = {"X-Api-Key": KEY, "Content-Type": V1, "Content-Encoding": "snappy"}
            event = http_event("POST", "/api/v1/write", headers=headers, body=body)
            answer = APPS["writer"].handle(event, lambda: self.pipeline.writer)
            assert answer["statusCode"] == 204, answer
            oracle.write(self._url, body)
        self.pipeline.deliver(self.pipeline.stream.records[delivered:])

    def ours(self, path, **given):
        """(status, body)."""
        answer = self.pipeline.get(f"/api/v1/{path}", *given.items())
        return answer["statusCode"], json.loads(answer["body"])

    def theirs(self, path, **given):
        """(status, body)."""
        return oracle.ask(self._url, path, **given)

    def difference(self, text, span: QuerySpan, tolerance=1e-9):
        """In what our answer differs from the oracle's, empty if it does not, and whether there is an answer."""
        given = {"query": text, "start": span.start_ms / 1000, "end": span.end_ms / 1000, "step": span.step_ms / 1000}
        (status, theirs), (our_status, ours) = self.theirs("query_range", **given), self.ours("query_range", **given)
        if status != our_status or theirs.get("errorType") != ours.get("errorType"):
            return f"{our_status} {ours.get('error')} instead of {status} {theirs.get('error')}", False
        if status != 200:
            return "", False
        return compared(ours, theirs, tolerance), bool(theirs["data"]["result"])


def _body(part):
    by_series = {}
    for ts_ms, labels, value in part:
        by_series.setdefault(labels, []).append((value, ts_ms))
    return body_1(*(series_1(labels, *samples) for labels, samples in by_series.items()))


def compared(ours, theirs, tolerance):
    """Series, times, values, warnings and infos."""
    for kind in ("warnings", "infos"):
        if _notes(ours, kind) != _notes(theirs, kind):
            return f"{kind} {ours.get(kind)} instead of {theirs.get(kind)}"
    got, expected = _points(ours), _points(theirs)
    if list(got) != list(expected):
        return f"series {list(got)[:5]} instead of {list(expected)[:5]}"
    for labels, points in expected.items():
        if got[labels].keys() != points.keys():
            return f"{labels}: times {sorted(got[labels].keys() ^ points.keys())[:5]} of only one"
        wrong = {
            at: (got[labels][at], value) for at, value in points.items() if not same(got[labels][at], value, tolerance)
        }
        if wrong:
            return f"{labels}: {dict(list(wrong.items())[:3])}"
    return ""


def _notes(body, kind):
    """The oracle counts samples again with each step that it merges notes of."""
    return sorted(re.sub(r"over -?\d+ samples", "over some samples", note) for note in body.get(kind, ()))


def _points(body):
    return {
        tuple(sorted(series["metric"].items())): {round(1000 * at): float(value) for at, value in series["values"]}
        for series in body["data"]["result"]
    }


def same(left, other, tolerance):
    """Equal but for rounding, NaN to NaN; next to zero what larger numbers leave of each other."""
    if math.isnan(left) or math.isnan(other):
        return math.isnan(left) and math.isnan(other)
    return left == other or math.isclose(left, other, rel_tol=tolerance, abs_tol=0)


def boundary_ms(near_ms):
    """Where a raw window begins, at or before a time."""
    return near_ms // (LENGTH_S * 1000) * LENGTH_S * 1000


def between(samples, from_ms, to_ms):
    """The samples from a time to before another."""
    return {
        labels: {ts_ms: value for ts_ms, value in at.items() if from_ms <= ts_ms < to_ms}
        for labels, at in samples.items()
    }
