"""The benchmark of queries can fail: a view that differs from the plain computation ends it."""

import pytest

from bench import query


def test_a_view_that_differs_ends_the_run(monkeypatch):
    host = query.Host("", 3)
    world = query.a_year(host, 1)
    query.compare(host, world)
    monkeypatch.setattr(query.plain, "view", lambda *_: {})
    with pytest.raises(AssertionError, match="differs"):
        query.compare(host, world)
