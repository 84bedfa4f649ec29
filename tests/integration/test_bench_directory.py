"""The benchmark of the directory in small: every answer is compared on its way, and writes are counted."""

from bench.directory import cases, run, targets_of

SOURCES = 100


def test_listings_are_right_and_writes_cost_little():
    figures, month = run(SOURCES, 30, (0, 1))
    assert figures.keys() == {case.name for case in cases(targets_of(SOURCES), 30)}
    assert all(each.warm_p50 > 0 for each in figures.values())
    with_each_seal = month.pop("in the place of that, pages with each seal of 4 h")
    assert with_each_seal > 0 and 100 * sum(month.values()) <= 2, "dollars a month at 10,000 sources"
