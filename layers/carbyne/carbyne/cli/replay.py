"""``carbyne replay``: fill Redis again from the stream, lanes that are whole included, and show how far it is.

The system replays lanes that lost something by itself, which ``--show`` follows; to ask for one is for a Redis that was
restored or changed behind its back.  The command may be ended at any time: the replay goes on without it.  Until it is
done, reads of its lanes are refused.
"""

import time
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import uuid4

from carbyne.cli.desk import Desk, add_deployment
from carbyne.core.errors import RequestError
from carbyne.core.limits import LANES
from carbyne.hot.jobs import Job, Jobs, demand
from carbyne.hot.progress import Note, Notes, speed
from carbyne.wiring import operator

if TYPE_CHECKING:
    from carbyne.cli.desk import Groups

POLL_S = 5.0


def add(groups: "Groups") -> None:
    """``replay``, a command without a group."""
    parser = groups.add_parser("replay", help="fill Redis again from the stream", description=__doc__)
    add_deployment(parser, "table")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--no-wait", action="store_true", help="only ask for it, and do not show how far it is")
    either.add_argument(
        "--show", action="store_true", help="only show how far the one is that runs, or how the last was"
    )
    parser.set_defaults(run=replay)


def replay(arguments: Namespace, desk: Desk) -> None:
    """RetryableError while another replay runs, RequestError if there is none to show."""
    table = operator.blocks_table(desk.dynamodb(), desk.table(arguments, "BlocksTableName", "table"))
    jobs, notes = Jobs(table), Notes(table)
    job = jobs.load()[0] if arguments.show else demand(jobs, range(LANES), uuid4().hex, int(time.time()))
    if job is None:
        raise RequestError(404, "there was no replay yet")
    if not arguments.show:
        desk.remark(f"replay {job.token} is asked for; the sealer begins it within a minute")
    if arguments.no_wait:
        return desk.say(f"replay {job.token} is asked for")
    while (now := jobs.load()[0]) and now.token == job.token and now.left:
        desk.progress(so_far(now, notes.of(job.token)))
        time.sleep(POLL_S)
    if now and now.token != job.token:
        return desk.say(f"replay {job.token} was begun again as {now.token}: see it with --show")
    return desk.say(in_the_end(job.token, notes.of(job.token)))


def so_far(job: Job, notes: Sequence[Note]) -> str:
    """A line about a replay that runs.  The sealer counts whole lanes each minute, and all become whole at the end."""
    whole = f"{len(job.lanes) - job.left} of {len(job.lanes)} lanes are whole"
    if (pace := speed(notes)) is None:
        return f"{whole}; the stream is read within a minute or two"
    part = min(1.0, (pace.upto_s - pace.first_s) / max(1.0, job.begun_s - pace.first_s))
    upto = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(pace.upto_s))
    return f"the stream is replayed up to {upto}, {part:.0%} of it, {_pace(notes)}; {whole}"


def in_the_end(token: str, notes: Sequence[Note]) -> str:
    """A line about a replay that is done."""
    if (pace := speed(notes)) is None:
        return f"replay {token} is done"
    records, span_s = sum(note.records for note in notes), pace.upto_s - pace.first_s
    return f"replay {token} is done: {span_s:,.0f} s of the stream in {records:,} records, {_pace(notes)}"


def _pace(notes: Sequence[Note]) -> str:
    pace = speed(notes)
    return f"{pace.times:,.0f}x real time, {pace.records_per_s:,.0f} records/s" if pace else ""
