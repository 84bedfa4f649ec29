"""``carbyne redis``: a Redis cluster of your own, without node ids.

Nodes are named by host:port, or by a part of it that no other node has.  What changes the cluster shows its plan first,
asks (``--yes`` does not), and goes on where it stopped when it is given again.  The password is taken from
REDIS_PASSWORD; a CA of your own from SSL_CERT_FILE.
"""

import json
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from carbyne.cli.desk import Desk, add_deployment
from carbyne.cli.redis.picture import as_json, picture
from carbyne.cli.redis.work import ManagedCluster, carry_out
from carbyne.cluster import layout, plan
from carbyne.cluster.steps import Step
from carbyne.cluster.topology import Topology, address
from carbyne.core.errors import RequestError
from carbyne.core.limits import STATUS_S
from carbyne.hot.handovers import Handovers
from carbyne.wiring import operator, redis_admin

if TYPE_CHECKING:
    from carbyne.cli.desk import Groups

AWS_CALLS = {
    "create": "aws elasticache create-replication-group (or the stack's parameter RedisShards)",
    "join": "aws elasticache increase-replica-count, or modify-replication-group-shard-configuration for a shard",
    "leave": "aws elasticache decrease-replica-count, or modify-replication-group-shard-configuration for a shard",
    "rebalance": "aws elasticache modify-replication-group-shard-configuration --resharding-configuration",
    "failover": "aws elasticache test-failover",
    "replace": "aws elasticache test-failover, which also replaces the node",
}
CLEAR = "\x1b[H\x1b[2J"
"""Moves the cursor home and wipes a terminal."""


def add(groups: "Groups") -> None:
    """``redis status``, ``create``, ``join``, ``leave``, ``rebalance``, ``failover`` and ``replace``."""
    group = groups.add_parser("redis", help="operate a Redis cluster of your own", description=__doc__)
    commands = group.add_subparsers(title="commands", dest="command", required=True)

    showing = _command(commands, "status", status, "what the cluster is and how it fares")
    showing.add_argument("--json", action="store_true", help="for scripts")
    showing.add_argument("--watch", action="store_true", help=f"again each {STATUS_S:.0f} seconds, until Ctrl-C")

    making = _command(commands, "create", create, "make a cluster of empty nodes", endpoint=False)
    making.add_argument("nodes", nargs="+", type=address, metavar="HOST:PORT", help="servers in cluster mode")
    making.add_argument("--replicas", type=int, default=1, metavar="N", help="replicas of each master; 1 unless given")

    joining = _command(commands, "join", join, "add nodes, as shards that are empty yet or as replicas")
    joining.add_argument("nodes", nargs="+", type=address, metavar="HOST:PORT", help="empty servers in cluster mode")
    joining.add_argument("--replica-of", metavar="NODE", help="of the shard that they join")

    leaving = _command(commands, "leave", leave, "move the slots of nodes away, then forget them", notes=True)
    leaving.add_argument("nodes", nargs="+", metavar="NODE", help="replicas, or masters")
    leaving.add_argument("--without-replica", action="store_true", help="even if a shard is then without a replica")

    spreading = _command(
        commands, "rebalance", rebalance, "spread the lanes over the masters, by their memory limits", notes=True
    )
    spreading.add_argument(
        "--weight", action="append", default=[], type=_weight, metavar="NODE=W", help="1 unless given"
    )

    failing = _command(commands, "failover", failover, "let replicas take over, which lose nothing", notes=True)
    failing.add_argument("nodes", nargs="*", metavar="NODE", help="replicas that are to be masters")
    failing.add_argument("--of", action="append", default=[], metavar="NODE", help="a master that is to be a replica")
    failing.add_argument("--all", action="store_true", help="of all masters, one after the other")

    replacing = _command(commands, "replace", replace, "let a new node take the place of an old one", notes=True)
    replacing.add_argument("old", metavar="NODE", help="the node that goes, dead or alive")
    replacing.add_argument("new", type=address, metavar="HOST:PORT", help="an empty server in cluster mode")
    replacing.add_argument(
        "--lost", action="store_true", help="no copy is left: serve its slots empty; the stream is replayed into them"
    )


def status(arguments: Namespace, desk: Desk) -> None:
    """Prints it once, or until interrupted."""
    with _admin(arguments) as admin:
        show = (lambda now: json.dumps(as_json(now))) if arguments.json else picture
        desk.say(show(admin.look()))
        try:
            while arguments.watch:
                time.sleep(STATUS_S)
                desk.say((CLEAR if sys.stdout.isatty() else "") + show(admin.look()))
        except KeyboardInterrupt:
            return


def create(arguments: Namespace, desk: Desk) -> None:
    """The first node named is where the others meet."""
    arguments.endpoint = arguments.nodes[0]
    with _admin(arguments) as admin:
        _manageable(admin, arguments)
        nodes = [admin.newcomer(*node) for node in arguments.nodes]
        roles = layout.roles([(node.host, node.port) for node in nodes], arguments.replicas)

        def left(now: Topology) -> list[Step]:
            fresh = [node for node in nodes if len(now.nodes) == 1 or now.find(node.name) is None]
            strangers = {node.name: admin.newcomer(node.host, node.port) for node in fresh}
            return plan.create(roles, strangers, now)

        carry_out(left, admin, desk, confirmed=arguments.yes)


def join(arguments: Namespace, desk: Desk) -> None:
    """Says at the end that new shards are empty."""
    with _admin(arguments) as admin:
        now = _manageable(admin, arguments)
        peer = now.named(arguments.replica_of) if arguments.replica_of else None
        master = (now.by_id(peer.master_id) or peer).name if peer else ""
        newcomers = [admin.newcomer(*node) for node in arguments.nodes]

        def left(now: Topology) -> list[Step]:
            nodes = {node.name: None if now.find(node.name) else node for node in newcomers}
            return plan.join(nodes, master, _member(now, nodes), now)

        carry_out(left, admin, desk, confirmed=arguments.yes)
        if not master:
            desk.remark("new shards are empty: give them replicas with join --replica-of, then lanes with rebalance")


def leave(arguments: Namespace, desk: Desk) -> None:
    """Nodes that have left already are passed over."""
    with _admin(arguments, _handovers(arguments, desk)) as admin:
        now = _manageable(admin, arguments)
        names = {now.named(text).name for text in arguments.nodes}
        _carry_out(partial(plan.leave, names, arguments.without_replica), admin, arguments, desk)


def rebalance(arguments: Namespace, desk: Desk) -> None:
    with _admin(arguments, _handovers(arguments, desk)) as admin:
        now = _manageable(admin, arguments)
        weights = {now.named(text).name: weight for text, weight in arguments.weight}
        _carry_out(partial(plan.rebalance, weights), admin, arguments, desk)


def failover(arguments: Namespace, desk: Desk) -> None:
    """Which replicas are to take over is chosen once, so that going on after an interruption changes none back."""
    with _admin(arguments, _handovers(arguments, desk)) as admin:
        now = _manageable(admin, arguments)
        masters = [shard.master for shard in now.shards if shard.master.slots] if arguments.all else []
        masters += [node for text in arguments.of if (node := now.named(text)).is_master]
        successors = [now.named(text).name for text in arguments.nodes]
        successors += [plan.successor(master, now) for master in masters]
        if not (successors or arguments.of):
            raise RequestError(400, "name replicas that are to take over, or --of a master, or --all")
        _carry_out(partial(plan.failover, successors), admin, arguments, desk)


def replace(arguments: Namespace, desk: Desk) -> None:
    """The new node becomes a replica first, so that the old one serves until nothing is missing."""
    with _admin(arguments, _handovers(arguments, desk)) as admin:
        now = _manageable(admin, arguments)
        new = admin.newcomer(*arguments.new)
        old = arguments.old if now.find(new.name) and ":" in arguments.old else now.named(arguments.old).name

        def left(now: Topology) -> list[Step]:
            return plan.replace(old, new, _member(now, {new.name, old}), arguments.lost, now)

        carry_out(left, admin, desk, confirmed=arguments.yes)


def _command(
    commands: "Groups",
    name: str,
    run: Callable[[Namespace, Desk], None],
    about: str,
    *,
    endpoint: bool = True,
    notes: bool = False,
) -> ArgumentParser:
    """``notes``: the command moves lanes between masters, and tells the deployment."""
    parser = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    if endpoint:
        parser.add_argument("--endpoint", required=True, type=address, metavar="HOST:PORT", help="any node")
    parser.add_argument("--tls", action="store_true", help="the nodes speak TLS")
    parser.add_argument("--user", default="", help="of the password, or of IAM; without it the default user")
    parser.add_argument("--iam-cache", default="", metavar="NAME", help="the replication group that takes IAM tokens")
    if name != "status":
        parser.add_argument("--yes", action="store_true", help="do not ask")
    if notes:
        add_deployment(parser, "table")
    parser.set_defaults(run=run)
    return parser


@contextmanager
def _admin(arguments: Namespace, handovers: Handovers | None = None) -> Iterator[ManagedCluster]:
    admin, close = redis_admin.admin(
        arguments.endpoint, arguments.tls, arguments.user, arguments.iam_cache, handovers or redis_admin.Unnoted()
    )
    try:
        yield admin
    finally:
        close()


def _handovers(arguments: Namespace, desk: Desk) -> Handovers | None:
    """The notes of the deployment that is named; a remark if none is."""
    if not (arguments.stack or arguments.table):
        desk.remark("no --stack or --table: lanes that change their master are replayed from the stream afterwards")
        return None
    table = operator.blocks_table(desk.dynamodb(), desk.table(arguments, "BlocksTableName", "table"))
    return Handovers(table, desk.now_s)


def _manageable(admin: ManagedCluster, arguments: Namespace) -> Topology:
    """What the cluster is; RequestError if a cloud service runs it."""
    now = admin.look()
    if now.service:
        raise RequestError(403, f"{now.service} runs this cluster: use {AWS_CALLS[arguments.command]}")
    return now


def _carry_out(left: plan.Plan, admin: ManagedCluster, arguments: Namespace, desk: Desk) -> None:
    carry_out(left, admin, desk, confirmed=arguments.yes)


def _member(now: Topology, besides: Collection[str]) -> str:
    """A node of the cluster that stays, to meet."""
    return next(node.name for node in now.nodes if node.alive and node.name not in besides)


def _weight(text: str) -> tuple[str, float]:
    name, _, weight = text.rpartition("=")
    try:
        if name and float(weight) >= 0:
            return name, float(weight)
    except ValueError:
        pass
    raise ArgumentTypeError(f"a weight is NODE=NUMBER; got {text!r}")
