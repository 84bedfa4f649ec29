"""Lines of expressions, computed over what a reader reads."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from carbyne.core.keys import SourceKey
from carbyne.core.limits import BATCH_READERS
from carbyne.evaluate.recent import ReadColumns, Recent, RolledReader
from carbyne.read.batch import BatchAnswer, DrawExpression, ReadSpan, SeriesColumns, SourceColumns
from carbyne.read.reader import How, Reader
from carbyne.read.registered import ListSources, RegisteredSource

SOURCE: Final = "expression"


def rolled_by(samples: Reader) -> RolledReader:
    """Buckets by a reader."""

    def read(source: SourceKey, series: Sequence[str], from_ms: int, to_ms: int, resolution: str) -> ReadColumns:
        return samples.read_many(source, series, from_ms, to_ms, How(resolution))

    return read


def drawn_by(samples: Reader, sources: ListSources, monotonic: Callable[[], float] = time.monotonic) -> DrawExpression:
    """As monitors compute them, with several lines too."""
    recent, threads = Recent(samples, rolled_by(samples)), ThreadPoolExecutor(BATCH_READERS)

    def draw(tenant: str, text: str, span: ReadSpan) -> BatchAnswer:
        from carbyne.evaluate.expressions import grid_of, lines_of  # noqa: PLC0415 - which only this needs
        from carbyne.evaluate.leaves import FormulaLeaves  # noqa: PLC0415

        known = {each.source: each for each in sources(tenant)}

        def called(source: str) -> str:
            return known[source].host or source if source in known else source

        def role(fullname: str) -> list[str]:
            return _hosts_of(known.values(), fullname)

        leaves = FormulaLeaves(recent, threads, tenant, role, monotonic, called)
        drawn = lines_of(text, grid_of(*span), leaves)
        series = [SeriesColumns(label, row.tolist()) for label, row in zip(drawn.labels, drawn.values, strict=False)]
        times = (drawn.grid.times() / 1000).tolist()
        step_s = drawn.grid.step_ms // 1000
        return BatchAnswer(SOURCE, step_s, [SourceColumns(SOURCE, times, series)])

    return draw


def _hosts_of(sources: Iterable[RegisteredSource], fullname: str) -> list[str]:
    """The hosts of a role that expressions of monitors read; its name may have blanks beside its colon."""
    from carbyne.evaluate.plan import WATCHED  # noqa: PLC0415 - as above

    service, _, role = (part.strip() for part in fullname.partition(":"))
    return [each.source for each in sources if each.status in WATCHED and role in each.roles.get(service, ())]
