"""Bugs to be found: each patches the product while a simulation runs.  No switch for any of them is in the product."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any
from unittest.mock import patch

from carbyne.adapters import kinesis
from carbyne.adapters.dynamodb.table import DynamoTable, WarmBlocks
from carbyne.adapters.redis import hot
from carbyne.adapters.redis.commands import Script
from carbyne.adapters.redis.hot import HotStore
from carbyne.archive import archiver
from carbyne.archive.archiver import Archiver
from carbyne.archive.compared import Day
from carbyne.core import keys
from carbyne.core.errors import CorruptDataError, RetryableError
from carbyne.core.items import Item
from carbyne.core.keys import RAW, BlockKey, SourceKey, Window
from carbyne.hot import deletes, failovers, ingester, marks, served
from carbyne.hot.followers import Followers
from carbyne.hot.jobs import STARTING, Job
from carbyne.hot.replay import Watch
from carbyne.read import reader, views
from carbyne.read.views import Views
from carbyne.samples import blocks, columns, markers
from carbyne.seal import roller, sealer
from carbyne.seal.sealer import Sealer
from carbyne.store import cached, catalogue, tiers, tree
from carbyne.store.catalogue import SourceCatalogue
from carbyne.store.worklist import Worklist
from carbyne.stream.putter import Putter
from carbyne.tenants.usage import Usage
from carbyne.tenants.windows import RawLengths

from tests.model import pages
from tests.model.simulation import Simulation
from tests.support.fakes import FakeBlocks

Patches = Sequence[AbstractContextManager[Any]]
Bug = Callable[[Simulation], Patches]
BUGS: dict[str, Bug] = {}
key_of = cached._key


def bug(planted: Bug) -> Bug:
    """Adds a bug under the first line of its docstring."""
    BUGS[(planted.__doc__ or "").strip()] = planted
    return planted


def script(name: str, *changes: tuple[str, str]) -> Patches:
    """The script with other text in some places."""
    load = Script.load.__func__  # type: ignore[attr-defined]

    def changed(cls: type[Script], named: str) -> Script:
        loaded = load(cls, named)
        text = loaded.text
        for old, new in changes if named == name else ():
            assert old in text, f"{name}.lua has no {old!r}"
            text = text.replace(old, new)
        return loaded._replace(text=text)

    return [patch.object(Script, "load", classmethod(changed))]


# The way in


@bug
def _(simulation: Simulation) -> Patches:
    """a post is acknowledged before PutRecords is"""
    put = Putter.put

    def early(self: Putter, entries: Any) -> None:
        with suppress(RetryableError):
            put(self, entries)

    return [patch.object(Putter, "put", early)]


@bug
def _(simulation: Simulation) -> Patches:
    """failed entries of PutRecords are ignored"""
    put_once = Putter._put_once

    def careless(self: Putter, entries: Any, deadline_s: float) -> list[Any]:
        left = put_once(self, entries, deadline_s)
        return left if len(left) == len(entries) else []

    return [patch.object(Putter, "_put_once", careless)]


@bug
def _(simulation: Simulation) -> Patches:
    """an entry of PutRecords without an answer counts as acknowledged"""
    return [patch.object(kinesis, "_is_acknowledged", lambda result: "ErrorCode" not in result)]


@bug
def _(simulation: Simulation) -> Patches:
    """a batch counts as done although a lane of it failed"""
    ingest = ingester.Ingester.ingest
    return [patch.object(ingester.Ingester, "ingest", lambda self, *batch: ingest(self, *batch) and None)]


@bug
def _(simulation: Simulation) -> Patches:
    """a corrupt record holds up its batch"""

    def strict(data: bytes) -> Any:
        try:
            return decode(data)
        except CorruptDataError as error:
            raise RetryableError(str(error)) from error

    decode = ingester.records.decode
    records = type("records", (), {**vars(ingester.records), "decode": staticmethod(strict)})
    return [patch.object(ingester, "records", records)]


@bug
def _(simulation: Simulation) -> Patches:
    """records behind a corrupt one are dropped with it"""
    found_in = ingester.Ingester._content

    def dropping(self: Any, number: int, entry: Any) -> Any:
        content = found_in(self, number, entry)
        self.dropping = bool(not content) if number == 0 else self.dropping or not content
        return [] if self.dropping else content

    return [patch.object(ingester.Ingester, "_content", dropping)]


@bug
def _(simulation: Simulation) -> Patches:
    """a batch that comes again is counted as used again"""
    take = Usage.take

    def forgetful(self: Usage, rows: Any) -> None:
        self._counted.clear()
        take(self, rows)

    return [patch.object(Usage, "take", forgetful)]


# Redis


@bug
def _(simulation: Simulation) -> Patches:
    """write.lua compares stamps the wrong way round"""
    return script("write", ("if not newer(value, old) then return 0 end", "if newer(value, old) then return 0 end"))


@bug
def _(simulation: Simulation) -> Patches:
    """write.lua keeps the old value under a newer stamp"""
    return script("write", ("if not newer(value, old) then return 0 end", "do return 0 end"))


@bug
def _(simulation: Simulation) -> Patches:
    """write.lua lets unsealed rows expire"""
    return script("write", ('redis.call("PERSIST", rows) == 1', 'redis.call("EXISTS", rows) == 1'))


@bug
def _(simulation: Simulation) -> Patches:
    """write.lua calls every window complete"""
    return script("write", ("local complete = ", "local complete = true or "))


@bug
def _(simulation: Simulation) -> Patches:
    """write.lua makes no window due again"""
    due = 'redis.call("ZADD", due_key, "NX", due, member)'
    return script("write", (due, f"if not held then {due} end"))


@bug
def _(simulation: Simulation) -> Patches:
    """write.lua takes rows whatever dictionary they mean"""
    return script("write", ("if held ~= digest or", "if"))


@bug
def _(simulation: Simulation) -> Patches:
    """write.lua knows a dictionary by its length alone"""
    return script("write", ("if held ~= digest or", "if not held or"))


@bug
def _(simulation: Simulation) -> Patches:
    """write.lua appends to a dictionary that another writer has extended"""
    return script("write", ("held ~= digest or series and not is_end", "held ~= digest"))


@bug
def _(simulation: Simulation) -> Patches:
    """confirm.lua ignores the stamp"""
    return script("confirm", ("return row and string.sub(row, 1, STAMP_BYTES) == stamp", "return row"))


@bug
def _(simulation: Simulation) -> Patches:
    """confirm.lua lets a window with unsealed rows expire"""
    return script("confirm", ("if not frees and left == matched then", "if not frees then"))


@bug
def _(simulation: Simulation) -> Patches:
    """late rows leave before their rollups stand"""

    def early(self: Any, source: SourceKey, window: Any, columns: Any, *more: Any) -> None:
        catalogue = self._catalogue.of(source)
        if columns.groups:
            self._store(BlockKey(source, RAW, window), catalogue, columns)
            catalogue.remove_late([rows for rows in catalogue.pending().late if rows.window == window])
        merge(self, source, window, columns, *more)

    merge = Sealer.merge
    return [patch.object(Sealer, "merge", early)]


@bug
def _(simulation: Simulation) -> Patches:
    """a delete counts as covered by a wider one of before"""

    def covers(self: Any, other: Any) -> bool:
        return self.series in ("", other.series) and self.from_ms <= other.from_ms and self.to_ms >= other.to_ms

    return [patch.object(markers.Marker, "covers", covers)]


@bug
def _(simulation: Simulation) -> Patches:
    """an early sealed window counts as one that has only begun"""
    return script("confirm", ('if held and expiry ~= "0" then', "if false then"))


@bug
def _(simulation: Simulation) -> Patches:
    """a lane that lost its state answers"""
    read_each = HotStore.read_each

    def whole(*args: Any, **how: Any) -> dict[SourceKey, Any]:
        answers = read_each(*args, **how).items()
        return {
            source: answer if isinstance(answer, RetryableError) else answer._replace(whole=True)
            for source, answer in answers
        }

    return [patch.object(HotStore, "read_each", whole)]


@bug
def _(simulation: Simulation) -> Patches:
    """a lane is whole before it was replayed"""
    return script("begin", ("REBUILDING .. string.sub", "WHOLE .. string.sub"))


@bug
def _(simulation: Simulation) -> Patches:
    """a replaced master is not noticed"""
    return [patch.object(failovers.Failovers, "look", lambda self: failovers.Look([], set()))]


# Replay


@bug
def _(simulation: Simulation) -> Patches:
    """a replica that lacks writes is not struck out before they count"""
    return [patch.object(Followers, "leave", lambda *args: None)]


@bug
def _(simulation: Simulation) -> Patches:
    """a promotion proves that nothing was lost, whoever was promoted"""
    return [patch.object(failovers, "proves", lambda shard, new: shard and new.before == shard.id.hex())]


@bug
def _(simulation: Simulation) -> Patches:
    """a replay begins where the ingester is, whatever is not sealed"""
    return [patch.object(marks, "mark_s", lambda arrivals: (arrivals.tick_ms or 0) // 1000)]


@bug
def _(simulation: Simulation) -> Patches:
    """a read takes the answer of whichever master there is"""
    return [patch.object(served.ServedReads, "read_each", lambda self, *args, **how: self._hot.read_each(*args, **how))]


@bug
def _(simulation: Simulation) -> Patches:
    """an instance forgets which stamps it saw acknowledged"""
    return [patch.object(HotStore, "_seen", property(lambda self: {}, lambda self, value: None), create=True)]


@bug
def _(simulation: Simulation) -> Patches:
    """write.lua takes a stamp that was seen for a loss under whichever token"""
    return script("write", ("generation == token and seen ~= highest", "seen ~= highest"))


@bug
def _(simulation: Simulation) -> Patches:
    """write.lua ignores what was seen while a lane is replayed"""
    whole = "string.sub(held, 1, 1) == WHOLE and generation == token and seen"
    return script("write", ("generation == token and seen", whole))


@bug
def _(simulation: Simulation) -> Patches:
    """whole.lua takes the fence of an older replay"""
    fenced = "string.sub(held, STATE_BYTES + 1) == token then\n  held, whole = WHOLE .. string.sub(held, 2), true"
    return script("whole", (fenced, "true then\n  held, whole = WHOLE .. string.sub(held, 2), true"))


@bug
def _(simulation: Simulation) -> Patches:
    """begin.lua takes a lane into a replay, or out of one, whatever token it has"""
    return script("begin", ("joined or generation == known", "true"))


@bug
def _(simulation: Simulation) -> Patches:
    """lanes get the token of a replay before its job is saved"""

    def begin(self: Watch, tokens: Any, lost: Any, last: Any, item: Any) -> None:
        job = Job(self._new_token(), list(lost), 0, len(lost), old=last.reader if last else "")
        if not (last and (last.reader == STARTING or last.old)):
            self._lanes.begin({lane: tokens[lane] for lane in lost}, job.token)
            self._jobs.save(job, item)

    return [patch.object(Watch, "_begin", begin)]


# Sealing


@bug
def _(simulation: Simulation) -> Patches:
    """rows are deleted before their block is put"""

    def seal(self: Any, source: SourceKey, window: Any) -> bool:
        rows = self._hot.rows(source, window)
        done = self._hot.confirm(source, window, rows.pairs, expiry_ms=0, again_ms=0)
        if rows.pairs:
            self._store(BlockKey(source, RAW, window), self._catalogue.of(source), rows.columns)
            self._rollups.roll(source, window, rows.columns.series)
        return done

    return [patch.object(Sealer, "seal", seal)]


@bug
def _(simulation: Simulation) -> Patches:
    """a put whose condition failed counts as made"""
    put = WarmBlocks.put
    return [patch.object(WarmBlocks, "put", lambda *args: put(*args) or True)]


@bug
def _(simulation: Simulation) -> Patches:
    """a block is replaced by the rows of this seal instead of merged"""

    def replaced(self: Any, key: BlockKey, catalogue: Any, columns: Any) -> None:
        creating = catalogue.making(key.resolution, key.window)
        target = tree.Target(self._warm, key.window.end_s + 86_400, creating)
        tree.rewrite(
            target,
            key,
            lambda part, stored: blocks.of_part(columns, part),
            columns.series,
        )
        catalogue.add_series({})

    return [patch.object(Sealer, "_store", replaced)]


@bug
def _(simulation: Simulation) -> Patches:
    """columns.merge lets the older stamp win"""
    winners = columns._winners
    return [patch.object(columns, "_winners", lambda ts_ms, ranks: winners(ts_ms, ranks.max(initial=0) - ranks))]


@bug
def _(simulation: Simulation) -> Patches:
    """names are not noted in the catalogue"""
    return [patch.object(SourceCatalogue, "add_series", lambda *args: None)]


# Rollups


@bug
def _(simulation: Simulation) -> Patches:
    """rollups are computed from the rows just sealed alone"""
    store, read = Sealer._store, tiers.BlockTiers.read

    def noting(self: Any, key: BlockKey, catalogue: Any, columns: Any) -> None:
        store(self, key, catalogue, columns)
        self._rollups._tiers.just_sealed = columns

    def partial(self: Any, of: tiers.BlockQuery, *args: Any) -> Any:
        if of.resolution == RAW and hasattr(self, "just_sealed"):
            return self.just_sealed
        return read(self, of, *args)

    return [patch.object(Sealer, "_store", noting), patch.object(tiers.BlockTiers, "read", partial)]


@bug
def _(simulation: Simulation) -> Patches:
    """rollups are put whatever the table holds by then"""

    class Unconditional:
        def __init__(self, store: Any) -> None:
            self._store = store

        def get(self, key: BlockKey) -> Item | None:
            return self._store.get(key)

        def put(self, key: BlockKey, item: Item, replaces: Item | None) -> bool:
            return self._store.put(key, item, self._store.get(key))

    target = roller.Target
    return [patch.object(roller, "Target", lambda store, *rest: target(Unconditional(store), *rest))]


@bug
def _(simulation: Simulation) -> Patches:
    """a late sample changes no rollup"""
    roll = roller.Roller.roll

    def once(self: Any, source: SourceKey, window: Any, *of: Any) -> int:
        done = simulation.__dict__.setdefault("rolled", set())
        if (source, window) in done:
            return 0
        done.add((source, window))
        return roll(self, source, window, *of)

    return [patch.object(roller.Roller, "roll", once)]


@bug
def _(simulation: Simulation) -> Patches:
    """views take the rollups of windows that have rows in Redis"""
    view = Views.view
    return [
        patch.object(
            Views,
            "view",
            lambda self, source, series, resolution, span, hot, gaps: view(
                self, source, series, resolution, span, hot if resolution == RAW else hot._replace(windows=()), gaps
            ),
        )
    ]


# Warm and cold


@bug
def _(simulation: Simulation) -> Patches:
    """a query of the table ends after its first page"""
    query = DynamoTable.query

    def first_page(self: DynamoTable, *of: str) -> Any:
        return query(self, *of)[: pages.PAGE_ITEMS]

    return [patch.object(DynamoTable, "query", first_page)]


@bug
def _(simulation: Simulation) -> Patches:
    """expired items that are there still are left out"""
    between = WarmBlocks.between

    def fresh(self: Any, *of: Any) -> Any:
        return [(key, item) for key, item in between(self, *of) if item.expires_s > simulation.world.now_s]

    return [patch.object(WarmBlocks, "between", fresh)]


@bug
def _(simulation: Simulation) -> Patches:
    """the clock says which windows are in the archive"""

    def old(self: Any, of: Any, there: Any, gaps: Any) -> Any:
        _, markers = lacking(self, of, there, gaps)
        windows = self._catalogue.of(of.source).windows(of.resolution).sealed
        old_s = simulation.world.now_s - simulation.world.warm_s[of.resolution]
        archived = (w for w in windows if w.overlaps(of.from_ms, of.to_ms) and w.end_s < old_s and w not in there)
        return sorted(archived), markers

    lacking = tiers.BlockTiers._lacking

    return [patch.object(tiers.BlockTiers, "_lacking", old)]


@bug
def _(simulation: Simulation) -> Patches:
    """a block that is made again is not marked"""
    return [patch.object(SourceCatalogue, "mark_again", lambda *args: None)]


@bug
def _(simulation: Simulation) -> Patches:
    """the archive is overwritten instead of merged"""

    def overwritten(store: Any, key: BlockKey, columns: Any, **how: Any) -> bool:
        return store.put(key, Item(blocks.encode(columns)), store.get(key))

    return [patch.object(archiver, "merge_into", overwritten)]


@bug
def _(simulation: Simulation) -> Patches:
    """changes of the table count as archived although the archive failed"""

    def careless(self: Any, images: Any) -> None:
        for image in images:
            with suppress(RetryableError):
                self._take(image)

    return [patch.object(Archiver, "take", careless)]


@bug
def _(simulation: Simulation) -> Patches:
    """the hot tier is read after the tiers behind it"""

    def read_hot_last(
        self: Any, source: SourceKey, from_ms: int, to_ms: int, series: Any, gaps: Any, **how: Any
    ) -> Any:
        early = self._tiers.read(tiers.BlockQuery(source, RAW, from_ms, to_ms, list(series)), gaps)
        answer = hot_part(self, source, from_ms, to_ms, series, gaps, **how)
        self._views._tiers = Early(self._tiers, early)
        return answer._replace(complete=set())

    class Early:
        def __init__(self, plain: Any, early: Any) -> None:
            self._plain, self._early = plain, early

        def noted(self, source: SourceKey) -> Any:
            return self.read

        def read(self, of: tiers.BlockQuery, gaps: Any, hot: Any) -> Any:
            if of.resolution == RAW:
                return columns.merge([hot, self._early])
            return self._plain.read(of, gaps, hot)

    hot_part = reader.Reader._hot_part
    return [patch.object(reader.Reader, "_hot_part", read_hot_last)]


# The cache of reads


@bug
def _(simulation: Simulation) -> Patches:
    """a cached block outlives its change"""
    note = SourceCatalogue.note_change
    return [patch.object(SourceCatalogue, "note_change", lambda self, change: note(self, b"the same"))]


@bug
def _(simulation: Simulation) -> Patches:
    """what blocks said is kept without the version of the blocks"""
    return [patch.object(cached, "_key", lambda version, *asked: key_of(b"", *asked))]


# Deletes


@bug
def _(simulation: Simulation) -> Patches:
    """the marker of a delete is not stored"""
    return [patch.object(SourceCatalogue, "add_marker", lambda *args: None)]


@bug
def _(simulation: Simulation) -> Patches:
    """a delete becomes a row in no window"""

    def note(self: Any, source: SourceKey, marker: Any) -> None:
        self._markers.of(source).add_marker(marker, 2**32)
        self._work.add(source, 0)

    return [patch.object(deletes.Deletes, "note", note)]


@bug
def _(simulation: Simulation) -> Patches:
    """a delete is put on no list of the sealer's"""
    return [patch.object(Worklist, "add", lambda *args: None)]


@bug
def _(simulation: Simulation) -> Patches:
    """a delete counts as cleaned from the beginning"""
    noted = catalogue.delete_item
    return [patch.object(catalogue, "delete_item", lambda marker, left_ms, expires_s: noted(marker, None, expires_s))]


@bug
def _(simulation: Simulation) -> Patches:
    """views take the rollups of windows that have late rows"""
    fluid = views._fluid
    return [patch.object(views, "_fluid", lambda pending, span: fluid(pending._replace(late=[]), span))]


@bug
def _(simulation: Simulation) -> Patches:
    """late rows are asked for after the blocks"""
    read = tiers.BlockTiers.read

    def read_late_last(self: Any, of: tiers.BlockQuery, *args: Any) -> Any:
        if of.resolution != RAW or len(args) < 2:  # the sealer's reads give no rows of Redis
            return read(self, of, *args)
        merged = read(self, of, args[0])
        pending = self._catalogue.of(of.source).pending()
        return columns.merge([merged, views.late_columns(pending, of.series, (of.from_ms, of.to_ms))])

    return [patch.object(tiers.BlockTiers, "read", read_late_last)]


@bug
def _(simulation: Simulation) -> Patches:
    """a day counts as compared though blocks may yet come to expire on it"""
    return [patch.object(Day, "is_settled", lambda self, kept_s: self.is_whole)]


@bug
def _(simulation: Simulation) -> Patches:
    """the archive is not cleaned of deletes"""

    def clean(target: Any, *of: Any) -> bool:
        return bool(target.expires_s) and tree.clean(target, *of)

    return [patch.object(sealer, "clean", clean)]


@bug
def _(simulation: Simulation) -> Patches:
    """a delete takes newer samples as well"""
    erased = markers._erased

    def blind(data: Any, marker: Any) -> Any:
        return erased(data, marker._replace(stamp=b"\xff" * 26))

    return [patch.object(markers, "_erased", blind)]


@bug
def _(simulation: Simulation) -> Patches:
    """a delete of one series takes its source"""
    erased = markers._erased
    return [patch.object(markers, "_erased", lambda data, marker: erased(data, marker._replace(series="")))]


@bug
def _(simulation: Simulation) -> Patches:
    """readers and rollups show what a delete deleted"""
    return [patch.object(tiers, "erase", lambda columns, _: columns)]


@bug
def _(simulation: Simulation) -> Patches:
    """reads from Redis alone show what a delete deleted"""
    return [patch.object(hot, "erase", lambda columns, _: columns)]


@bug
def _(simulation: Simulation) -> Patches:
    """rollups of a window are not recomputed for a delete"""
    roll = roller.Roller.roll
    return [
        patch.object(
            roller.Roller, "roll", lambda self, source, window, series, markers=(): roll(self, source, window, series)
        )
    ]


@bug
def _(simulation: Simulation) -> Patches:
    """a bucket without samples is left out, whatever the archive has"""
    return [patch.object(roller, "blanked", lambda rolled: columns.EMPTY)]


# Lengths of windows


@bug
def _(simulation: Simulation) -> Patches:
    """windows have the length of now, whatever the time of their samples"""
    window = RawLengths.window

    def of_now(self: RawLengths, source: SourceKey, ts_ms: int) -> Window:
        return Window.holding(ts_ms, window(self, source, simulation.world.now_ms()).length_s)

    return [patch.object(RawLengths, "window", of_now)]


# Redrive


@bug
def _(simulation: Simulation) -> Patches:
    """a redriven record counts as new"""
    said = ingester.Ingester._said

    def new(self: Any, number: int, record: Any, stamp: bytes, arrived_s: float, *, redriven: bool) -> Any:
        newest = ingester.stamps.pack(1, simulation.world.stream.records[-1][0])
        return said(self, number, record, newest if redriven else stamp, arrived_s, redriven=redriven)

    return [patch.object(ingester.Ingester, "_said", new)]


# Tenants


@bug
def _(simulation: Simulation) -> Patches:
    """the tenant is left out of the keys of rows"""
    in_window = SourceKey._in_window
    return [
        patch.object(
            SourceKey,
            "_in_window",
            lambda self, kind, window: in_window(self, kind, window).replace(f":{self.tenant}:", ":t:"),
        )
    ]


@bug
def _(simulation: Simulation) -> Patches:
    """the tenant is left out of the names of archived objects"""
    get, put = FakeBlocks.get, FakeBlocks.put

    def shared(key: BlockKey) -> BlockKey:
        return key._replace(source=SourceKey("t", key.source.source))

    return [
        patch.object(FakeBlocks, "get", lambda self, key: get(self, shared(key))),
        patch.object(FakeBlocks, "put", lambda self, key, *rest: put(self, shared(key), *rest)),
    ]


@bug
def _(simulation: Simulation) -> Patches:
    """the tenant is left out of the index of windows"""
    return [patch.object(SourceKey, "windows_item", property(lambda source: f"windows:{keys.escape(source.source)}"))]


@bug
def _(simulation: Simulation) -> Patches:
    """the tenant is left out of the catalogue of series"""
    return [patch.object(SourceKey, "series_item", property(lambda source: f"series:{keys.escape(source.source)}"))]
