"""What rules read: the series of a tenant as PromQL selects them, without lanes that are behind."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey
from carbyne.evaluate.groups import SeriesOf
from carbyne.read.finder import FoundSeries
from carbyne.read.mackerel import Queries
from carbyne.read.registered import RegisteredSource

if TYPE_CHECKING:
    from carbyne.promql.select import Selector


def no_series(tenant: str, _: Collection[int]) -> "Selector":
    """Where nothing is evaluated."""
    raise RetryableError(f"the series of {tenant} can't be read")


def series_by(queries: Queries) -> SeriesOf:
    """All series of a tenant, but those of lanes that are behind: they can't be known."""

    def series_of(tenant: str, behind: Collection[int]) -> "Selector":
        from carbyne.read import evaluated  # noqa: PLC0415 - 80 ms that only tenants with rules cost

        def seen(sources: Iterable[SourceKey]) -> None:
            if unseen := [source for source in sources if source.lane in behind]:
                raise RetryableError(f"the stream is behind with {unseen[0].source}")

        def listed(of: str) -> Sequence[RegisteredSource]:
            sources = queries.sources(of)
            seen(SourceKey(of, each.source) for each in sources)
            return sources

        def series_found(*asked: Any) -> Sequence[FoundSeries]:  # noqa: ANN401 - whatever the finder takes
            series = queries.find(*asked)
            seen(each.source for each in series)
            return series

        return evaluated.selector(queries._replace(sources=listed, find=series_found), tenant)

    return series_of
