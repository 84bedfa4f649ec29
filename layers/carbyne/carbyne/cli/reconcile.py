"""``carbyne reconcile``: blocks that will expire soon are compared with the archive, and what it lacks is copied.

The function Reconciler does the same each hour, for what it has not compared yet.  This compares everything, has no
time limit, may run beside it, and is safe to repeat.
"""

from argparse import Namespace
from math import inf
from typing import TYPE_CHECKING

from carbyne.cli.desk import Desk, add_deployment
from carbyne.wiring.reconciler import build

if TYPE_CHECKING:
    from carbyne.archive.reconciler import Reconciled
    from carbyne.cli.desk import Groups


def add(groups: "Groups") -> None:
    """``reconcile``, a command without a group."""
    parser = groups.add_parser("reconcile", help="copy into the archive what it lacks", description=__doc__)
    add_deployment(parser, "table", "bucket")
    parser.set_defaults(run=reconcile)


def reconcile(arguments: Namespace, desk: Desk) -> None:
    """RetryableError if some of the blocks could not be compared: then what could is copied, and it may run again."""
    table = desk.table(arguments, "BlocksTableName", "table")
    bucket = desk.table(arguments, "BlocksBucketName", "bucket")
    reconciler = build(desk.dynamodb(), desk.client("s3"), table, bucket)
    outcome = reconciler.run(lambda: inf, progress=lambda so_far: desk.progress(_words(so_far)))
    desk.say(_words(outcome))


def _words(outcome: "Reconciled") -> str:
    return f"compared {outcome.compared}, copied {outcome.copied}, failed {outcome.failed}"
