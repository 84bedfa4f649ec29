"""``carbyne replay``: fill Redis again from the stream, lanes that are whole included, and show how far it is.

The system replays lanes that lost something by itself; this is for a Redis that was restored or changed behind its
back.  The command may be ended at any time: the replay goes on without it.  Until it is done, reads of its lanes are
refused.
"""

import time
from argparse import Namespace
from typing import TYPE_CHECKING
from uuid import uuid4

from carbyne.adapters.table import DynamoTable
from carbyne.limits import LANES
from carbyne.ops.desk import Desk, add_deployment
from carbyne.replay import Job, Jobs, demand

if TYPE_CHECKING:
    from carbyne.ops.desk import Groups

POLL_S = 5.0


def add(groups: "Groups") -> None:
    """``replay``, a command without a group."""
    parser = groups.add_parser("replay", help="fill Redis again from the stream", description=__doc__)
    add_deployment(parser, "table")
    parser.add_argument("--no-wait", action="store_true", help="only ask for it, and do not show how far it is")
    parser.set_defaults(run=replay)


def replay(arguments: Namespace, desk: Desk) -> None:
    """RetryableError while another replay runs."""
    jobs = Jobs(DynamoTable(desk.dynamodb(), desk.table(arguments, "BlocksTableName", "table")))
    begun_s = time.time()
    job = demand(jobs, range(LANES), uuid4().hex, int(begun_s))
    desk.remark(f"replay {job.token} is asked for; the sealer begins it within a minute")
    while not arguments.no_wait and (now := jobs.load()[0]) and now.token == job.token and now.left:
        desk.remark(_words(now, time.time() - begun_s))
        time.sleep(POLL_S)
    desk.say(f"replay {job.token} {'is asked for' if arguments.no_wait else 'is done'}")


def _words(job: Job, seconds: float) -> str:
    return f"{len(job.lanes) - job.left} of {len(job.lanes)} lanes are whole after {seconds:.0f} s"
