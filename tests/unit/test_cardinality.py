"""The report on cardinality counts each series of a divided target once."""

from carbyne.read.cardinality import Cardinality
from carbyne.read.finder import Finder
from carbyne.store.catalogue import SeriesSpan
from carbyne.store.directory import ListedNames, ListedSource

NOW_MS = 20_000 * 86_400_000
TARGET = "{instance=a,job=j}"
ANY = ListedNames(None, None)


class Sources:
    """A directory, Redis and catalogue in one; ``series``: source -> keys."""

    def __init__(self, series):
        self.series = series

    def sources(self, tenant):
        return {
            source: ListedSource("" if "bucket" in source else TARGET, 20_000, 20_000, ANY) for source in self.series
        }

    def counts_each(self, sources, since_ms):
        return {source: len(self.series[source.source]) for source in sources}

    def spans(self, sources, to_ms, keep):
        for source in sources:
            keys = self.series[source.source]
            yield source, len(keys), dict.fromkeys(keys, SeriesSpan(NOW_MS, NOW_MS))


def report(series):
    sources = Sources(series)
    finder = Finder(sources, sources.spans, lambda: 0.0)
    return Cardinality(finder, lambda tenant: (), sources, sources.spans, lambda: NOW_MS).report("acme")


def keys(*numbers):
    return [f"m{{n={number}}}" for number in numbers]


def test_the_sources_of_a_target_are_one_target():
    counted = report({"prom/a.0-": keys(1, 2), "prom/a.1-": keys(3), "prom/bucket-01.-0": keys(7)})
    assert counted.series == 4 and counted.of_metrics == {"m": 4}
    assert counted.of_sources == {"instance=a,job=j": 3, "prom/bucket-01": 1}


def test_in_the_hour_of_a_division_no_series_counts_twice():
    counted = report({"prom/a": keys(1, 2, 3, 4), "prom/a.0-": keys(1, 2), "prom/a.1-": keys(3, 4, 5)})
    assert counted.series == 5 and counted.of_metrics == {"m": 5}
    assert counted.of_sources == {"instance=a,job=j": 5}
    assert counted.of_pairs["n", "1"] == 1


def test_the_series_of_two_targets_are_not_one():
    counted = report({"prom/a": keys(1, 2), "prom/b": keys(1, 2)})
    assert counted.series == 4 and counted.of_pairs["n", "1"] == 2
