"""Deletes of what selectors match: records on the stream, one for each series, as the writer's deletes are."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from carbyne.core.errors import QueryError, RetryableError
from carbyne.core.keys import SourceKey
from carbyne.core.limits import DELETED_SERIES_MAX, MARKERS_PER_SOURCE_MAX
from carbyne.samples.rollups import Span
from carbyne.stream.putter import Entry, deletion


class SeriesDeletes(NamedTuple):
    """``put``: entries onto the stream; ``spend``: (tenant, deletes) before they are made; ``kept``: deletes of a
    source that are kept already.  Each raises RetryableError if that can't be done now."""

    put: Callable[[Sequence[Entry]], None]
    spend: Callable[[str, int], None]
    kept: Callable[[SourceKey], int]

    def delete(self, tenant: str, series: Sequence[tuple[SourceKey, str]], span: Span) -> None:
        """Delete what arrived until now of these series, both ends of the span included; on return it is certain.

        QueryError ``execution``, before anything is deleted, for more than DELETED_SERIES_MAX series, or than a source
        may have deletes.
        """
        if len(series) > DELETED_SERIES_MAX:
            raise QueryError(
                "execution",
                f"{len(series)} series match, more than {DELETED_SERIES_MAX}: name fewer, or delete a whole source",
            )
        of_source = [source for source, _ in series]
        for source in dict.fromkeys(of_source):
            number = self.kept(source) + of_source.count(source)
            if number > MARKERS_PER_SOURCE_MAX:
                raise QueryError(
                    "execution",
                    f"{source.source} would have {number} deletes of single series, more than"
                    f" {MARKERS_PER_SOURCE_MAX}: delete the whole source",
                )
        if series:
            self.spend(tenant, len(series))
            self.put([deletion(tenant, source.source, key, span) for source, key in series])


def no_stream(_: Sequence[Entry]) -> None:
    """In the place of a stream, where there is none."""
    raise RetryableError("no stream takes deletes here")


def none_kept(_: SourceKey) -> int:
    """In the place of a table of deletes, where there is none."""
    return 0


NO_DELETES: Final = SeriesDeletes(no_stream, lambda _tenant, _number: None, none_kept)
"""Where nothing can be deleted."""
