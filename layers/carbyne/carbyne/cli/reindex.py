"""``carbyne reindex``: make the directory of labelled series again, of the catalogue and of what Redis knows.

For a directory that was lost or damaged: without it no selector finds what Prometheus wrote.  It may run beside
everything else, more than once, and from the day on at which an earlier run ended.  It reads keys of blocks and pages
of the catalogue, no samples: about a read unit for each source, and one for each hundred blocks.  Types and
descriptions of metrics are not in it: senders send them again.  Without --redis, series that no block has yet are left
out; REDIS_PASSWORD is its password.
"""

import os
import time
from argparse import Namespace
from typing import TYPE_CHECKING

from carbyne.cli.desk import Desk, add_deployment
from carbyne.cluster.topology import address
from carbyne.core.limits import DAY_S, DIRECTORY_DAYS
from carbyne.core.settings import RedisSettings, Secret
from carbyne.wiring import operator

if TYPE_CHECKING:
    from carbyne.cli.desk import Groups
    from carbyne.store.reindex import Reindexed


def add(groups: "Groups") -> None:
    """``reindex``, a command without a group."""
    parser = groups.add_parser("reindex", help="make the directory of labelled series again", description=__doc__)
    add_deployment(parser, "table")
    parser.add_argument("--from-day", type=int, metavar="N", help="of expiry since 1970, at which an earlier run ended")
    parser.add_argument("--redis", type=address, metavar="HOST:PORT", help="any node of the cluster")
    parser.add_argument("--tls", action="store_true", help="the nodes speak TLS")
    parser.set_defaults(run=reindex)


def reindex(arguments: Namespace, desk: Desk) -> None:
    """RetryableError if a store can't be asked; it names the day to go on with."""
    redis = None
    if arguments.redis:
        host, port = arguments.redis
        password = Secret(os.environ.get("REDIS_PASSWORD", ""))
        redis = RedisSettings(f"{host}:{port}", arguments.tls, redis_password=password)
    today = desk.now_s() // DAY_S
    first = today if arguments.from_day is None else arguments.from_day
    days, table = range(first, today + DIRECTORY_DAYS + 1), desk.table(arguments, "BlocksTableName", "table")
    with operator.reindexing(desk.dynamodb(), table, redis, desk.now_s) as work:
        outcome = work.run(days, lambda so_far: desk.progress(_words(so_far)))
    desk.say(_words(outcome))
    if outcome.nameless:
        desk.remark(f"{outcome.nameless} targets have no labels: they get them when they are written to again")


def _words(state: "Reindexed") -> str:
    day = time.strftime("%Y-%m-%d", time.gmtime(state.day * DAY_S))
    return f"restored {state.sources} sources, up to blocks that expire on {day} (day {state.day})"
