"""``carbyne redrive``: what was set aside in the failure buckets is stored after all, now that its cause is gone.

Records go back into the stream with the stamps of their first arrival, so that what was written since then stays;
blocks go to the archive.  An object is removed when its contents are safe.  What still can't be stored stays, and is
listed with its reason.  It may be ended at any time and run again, beside the live system.
"""

import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from carbyne.archive.redrive import BlockRedriver, Failures, Kept, Origin, Outcome, RecordRedriver
from carbyne.cli.desk import Desk, accounts_table, add_deployment
from carbyne.core.errors import RequestError, RetryableError
from carbyne.core.stamps import EPOCH_MAX
from carbyne.samples import blocks
from carbyne.stream.putter import Entry
from carbyne.wiring import operator

if TYPE_CHECKING:
    from carbyne.cli.desk import Groups
    from carbyne.core.keys import BlockKey

REMARK_S = 2.0
"""Between two lines of progress, and before the first."""


def add(groups: "Groups") -> None:
    """``redrive``, a command without a group."""
    parser = groups.add_parser("redrive", help="store what was set aside, after all", description=__doc__)
    names = ("stream", "accounts_table", "failure_bucket", "archive_failure_bucket", "table", "bucket")
    add_deployment(parser, *names)
    parser.add_argument("--epoch", type=_epoch, metavar="N", help="this stream epoch instead of the stack's")
    parser.add_argument(
        "--origin", metavar="NAME", help="the stream of --epoch that batches were given up from, if it was replaced"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would become of each object")
    parser.set_defaults(run=redrive)


def redrive(arguments: Namespace, desk: Desk) -> None:
    """RetryableError if something was left, or if a store can't be asked: then what was done so far stays done."""
    progress = _Progress(desk)
    try:
        for outcome in chain(_records(arguments, desk, progress).run(), _blocks(arguments, desk, progress).run()):
            progress.take(outcome)
            if outcome.left or arguments.dry_run:
                desk.say(f"{outcome.name}\t{f'left: {outcome.left}' if outcome.left else 'can be redriven'}")
    finally:
        desk.say(f"{'dry run: ' if arguments.dry_run else ''}{progress}")
    if progress.left:
        raise RetryableError(f"{progress.left} objects are left; what each of them lacks is said above")


class _Progress:
    """What became of all objects so far; shown to the operator now and then."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._said_s = time.monotonic()
        self.redriven = self.objects = self.left = self.under_way = 0

    def work(self, count: int) -> None:
        """Counts records or blocks that are safe; their objects may still exist."""
        self.under_way += count
        if time.monotonic() >= self._said_s + REMARK_S:
            self._said_s = time.monotonic()
            self._desk.progress(f"{self}; {self.under_way} records and blocks are safe")

    def take(self, outcome: Outcome) -> None:
        self.redriven += outcome.redriven
        self.objects += not outcome.left
        self.left += bool(outcome.left)
        self.work(0)

    def __str__(self) -> str:
        return f"redriven {self.redriven} records and blocks of {self.objects} objects, left {self.left} objects"


class _Shown:
    """``redrive.Failures`` of which nothing is removed."""

    def __init__(self, failures: Failures) -> None:
        self._failures = failures

    def kept(self, prefix: str) -> Iterator[Kept]:
        return self._failures.kept(prefix)

    def get(self, name: str) -> bytes | None:
        return self._failures.get(name)

    def remove(self, name: str) -> None:
        """Not."""


def _records(arguments: Namespace, desk: Desk, progress: _Progress) -> RecordRedriver:
    stream = desk.table(arguments, "StreamName", "stream")
    putter = operator.putter(desk.client("kinesis"), stream, desk.now_s)

    def put(entries: Sequence[Entry]) -> None:
        putter.put(entries)
        progress.work(len(entries))

    return RecordRedriver(
        failures=_failures(arguments, desk, "FailureBucketName", "failure_bucket"),
        put=(lambda _: None) if arguments.dry_run else put,
        tenant_exists=operator.tenant_exists(desk.dynamodb(), accounts_table(desk, arguments)),
        origin=Origin(arguments.origin or stream, _epoch_of(arguments, desk)),
        sleep=(lambda _: None) if arguments.dry_run else time.sleep,
    )


def _blocks(arguments: Namespace, desk: Desk, progress: _Progress) -> BlockRedriver:
    table = operator.blocks_table(desk.dynamodb(), desk.table(arguments, "BlocksTableName", "table"))
    restore = operator.restoring(desk.client("s3"), desk.table(arguments, "BlocksBucketName", "bucket"), table)

    def put(key: "BlockKey", data: bytes) -> None:
        restore(key, data)
        progress.work(1)

    failures = _failures(arguments, desk, "ArchiveFailureBucketName", "archive_failure_bucket")
    return BlockRedriver(failures, _check if arguments.dry_run else put)


def _failures(arguments: Namespace, desk: Desk, output: str, option: str) -> Failures:
    failures = operator.failures(desk.client("s3"), desk.table(arguments, output, option))
    return _Shown(failures) if arguments.dry_run else failures


def _check(_: "BlockKey", data: bytes) -> None:
    """CorruptDataError for what no archiver can take."""
    if not blocks.parts_of(data):
        blocks.decode(data)


def _epoch_of(arguments: Namespace, desk: Desk) -> int:
    """RequestError if neither the option nor the stack tells it, or if it is of another stream."""
    if arguments.epoch is not None:
        return int(arguments.epoch)
    if arguments.origin:
        raise RequestError(400, "the stack's epoch is of its own stream: give --epoch with --origin")
    return int(desk.parameter(arguments, "StreamEpoch", "epoch"))


def _epoch(text: str) -> int:
    if not text.isdecimal() or int(text) > EPOCH_MAX:
        raise ArgumentTypeError(f"an epoch is a number up to {EPOCH_MAX}; got {text!r}")
    return int(text)
