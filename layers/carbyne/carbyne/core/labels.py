"""Labels of series: which source a labelled series belongs to, and what it is called there.

The source is the series' target: ``prom/<hash of job and instance>``.  A series without an instance belongs to one of
BUCKETS sources, by the hash of its metric's name.  A source with too many series is divided (``tenants.divisions``):
each part is a source of its own, called ``<source>.<bits>-<bits>``.  Within the source the key of a series is the
canonical text of its other labels,
``node_cpu_seconds_total{cpu=0,mode=idle}``: names ascending, without quotes.  ``%``, ``,``, ``=``, ``{``, ``}`` and
control characters are percent-escaped.  A metric without further labels is its name alone, as Mackerel's are.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final, NamedTuple
from urllib.parse import unquote

NAME: Final = "__name__"
JOB: Final = "job"
INSTANCE: Final = "instance"
BUCKETS: Final = 16
PART: Final = "."
"""Between a source and what says which part of it a divided one is."""
KIND: Final = "prom"
STALE_BITS: Final = 0x7FF0000000000002
"""The NaN that Prometheus writes where a series ends."""
_PREFIX: Final = f"{KIND}/"
_BUCKET: Final = f"{KIND}/bucket-"
_HASH_BYTES: Final = 12
_ESCAPED: Final = str.maketrans({code: f"%{code:02X}" for code in (*range(0x20), *map(ord, "%,={}\x7f"))})


class NamesOfSeries(NamedTuple):
    """Names of metrics, and of the labels that series have besides."""

    metrics: frozenset[str]
    labels: frozenset[str]


def source_of(labels: Mapping[str, str]) -> str:
    """The source of a series with these labels, none of which is empty."""
    if labels.get(INSTANCE):
        target = f"{_escape(labels.get(JOB, ''))},{_escape(labels[INSTANCE])}"
        return f"{KIND}/{blake2b(target.encode(), digest_size=_HASH_BYTES).hexdigest()}"
    number = blake2b(labels.get(NAME, "").encode(), digest_size=8).digest()[0] % BUCKETS
    return f"{_BUCKET}{number:02d}"


def is_labelled(source: str) -> bool:
    """Whether a source has labelled series."""
    return source.startswith(_PREFIX)


def is_bucket(source: str) -> bool:
    """Whether the series of a labelled source have no instance."""
    return source.startswith(_BUCKET)


def whole_of(source: str) -> str:
    """The source of whose series a divided one has a part; any other is itself."""
    return source.partition(PART)[0] if is_labelled(source) else source


def key_of(labels: Mapping[str, str]) -> str:
    """The key, within its source, of a series with these labels."""
    left_out = target_of(labels)
    return text({name: value for name, value in labels.items() if name not in left_out})


def target_of(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that name the source: job and instance if there is an instance, else none."""
    return {name: labels[name] for name in (JOB, INSTANCE) if name in labels} if labels.get(INSTANCE) else {}


def text(labels: Mapping[str, str]) -> str:
    """The canonical text of labels."""
    name = _escape(labels.get(NAME, ""))
    others = ",".join(_pairs(labels))
    return f"{name}{{{others}}}" if others else name


def parse(text: str) -> dict[str, str]:
    """The mirror of ``text``; of a Mackerel metric its name."""
    name, _, others = text.partition("{")
    pairs = [pair.partition("=") for pair in others.removesuffix("}").split(",")] if others else []
    named = {NAME: name} if name else {}
    named |= {label: value for label, _, value in pairs}
    if "%" not in text:
        return named
    return {unquote(label): unquote(value) for label, value in named.items()}


def names_in(keys: Iterable[str]) -> NamesOfSeries:
    """All names in some keys."""
    metrics, names = set[str](), set[str]()
    for key in keys:
        metric, _, others = key.partition("{")
        metrics.add(metric)
        if others:
            names.update(pair.partition("=")[0] for pair in others[:-1].split(","))
    return NamesOfSeries(frozenset(map(unquote, metrics)), frozenset(map(unquote, names)))


def metric_of(key: str) -> str:
    """The metric's name in a key."""
    return unquote(key.partition("{")[0])


def _pairs(labels: Mapping[str, str]) -> Iterable[str]:
    return (f"{_escape(name)}={_escape(labels[name])}" for name in sorted(labels) if name != NAME)


def _escape(part: str) -> str:
    return part.translate(_ESCAPED)
