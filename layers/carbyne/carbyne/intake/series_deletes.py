"""Deletes by selectors: the reader says which series these find, and each becomes a delete on the stream.

The reader is asked by Invoke and with the key of the request, so it finds what this key may read.  The same request
makes the same deletes again: each is known by its series and span, and the later one takes the place of the earlier.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec

from carbyne.core.errors import QueryError, RetryableError
from carbyne.core.keys import SourceKey
from carbyne.core.limits import MARKERS_PER_SOURCE_MAX
from carbyne.http.agents import Event
from carbyne.http.message import Request, Response, event_of
from carbyne.http.prometheus import MATCHED_PATH, MatchedSeries
from carbyne.stream.putter import Entry, deletion

HANDED: Final = {"x-api-key", "authorization", "content-type"}
"""Headers of the request that the reader gets: whose it is, and that its body is a form."""


class _Told(msgspec.Struct):
    data: MatchedSeries


def no_reader(_: Event) -> dict[str, Any]:
    """In the place of a reader, where there is none."""
    raise RetryableError("no reader finds series here")


def matched(ask_reader: Callable[[Event], dict[str, Any]], request: Request) -> MatchedSeries | Response:
    """The series that a request is about, or the reader's refusal."""
    answer = ask_reader(event_of(request, MATCHED_PATH, HANDED))
    if answer["statusCode"] != 200:
        after = {name: value for name, value in answer["headers"].items() if name == "Retry-After"}
        return Response(answer["statusCode"], answer["body"], after)
    return msgspec.json.decode(answer["body"], type=_Told).data


def deletions(tenant: str, of: MatchedSeries) -> list[Entry]:
    """The records of the stream."""
    return [deletion(tenant, each.source, each.name, (of.from_ms, of.to_ms)) for each in of.series]


def check(tenant: str, of: MatchedSeries, kept: Callable[[SourceKey], int], per_minute: int) -> None:
    """QueryError ``execution`` for more deletes than the tenant may ask for in a minute, or a source may have;
    ``kept``: how many it has."""
    if len(of.series) > per_minute:
        raise _too_many(f"{len(of.series)} series match, and {per_minute} deletes are allowed in a minute")
    for source, number in Counter(each.source for each in of.series).items():
        if (sum_of := kept(SourceKey(tenant, source)) + number) > MARKERS_PER_SOURCE_MAX:
            raise _too_many(f"{source} would have {sum_of} deletes of single series, at most {MARKERS_PER_SOURCE_MAX}")


def _too_many(about: str) -> QueryError:
    return QueryError("execution", f"{about}: name more labels, or delete a whole source by DELETE /carbyne/v1/samples")
