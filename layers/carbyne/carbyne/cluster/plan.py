"""Plans: what is left to do to a cluster, as a pure function of what it looks like now.

A plan is made again after every step, so that an interrupted command goes on where it stopped when it is given again,
and an empty plan means that it is done.  RequestError refuses what would lose slots or the last copy of some.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from carbyne.cluster.layout import NodeRoles
from carbyne.cluster.spread import spread
from carbyne.cluster.steps import Await, Follow, Forget, Meet, Move, Own, Promote, Settle, Step
from carbyne.cluster.topology import VOTERS_MIN, Newcomer, Node, Topology
from carbyne.core.errors import RequestError

Plan = Callable[[Topology], list[Step]]
"""The steps that are left; RequestError if they must not be done."""


def create(node_roles: NodeRoles, newcomers: Mapping[str, Newcomer], topology: Topology) -> list[Step]:
    """Slots first, while no node knows another; then every node meets the first, then replicas follow."""
    first = next(iter(node_roles.masters))
    steps: list[Step] = []
    for name, slots in node_roles.masters.items():
        _check_new(newcomers.get(name), slots)
        served = _slots_of(name, newcomers, topology)
        if missing := tuple(slot for slot in slots if slot not in served):
            steps.append(Own(name, missing))
    for name in node_roles.follows:
        _check_new(newcomers.get(name), ())
    names = [*node_roles.masters, *node_roles.follows]
    if strangers := [node.name for node in topology.nodes if node.name not in names]:
        raise RequestError(409, f"{first} is in a cluster with {', '.join(strangers)}, which you did not name")
    steps += _meeting([name for name in names if name != first], first, topology)
    return steps + [step for name, master in node_roles.follows.items() for step in _following(topology, name, master)]


def join(nodes: Mapping[str, Newcomer | None], master: str, endpoint: str, topology: Topology) -> list[Step]:
    """``nodes``: by name, None if the cluster has it already; ``master``: whom they follow, empty for new shards."""
    steps = settle(topology)
    for newcomer in nodes.values():
        _check_new(newcomer, ())
    steps += _meeting(nodes, endpoint, topology)
    if not master:
        return steps
    return steps + [step for name in nodes for step in _following(topology, name, master)]


def leave(names: Collection[str], without_replica: bool, topology: Topology) -> list[Step]:
    """Slots move away, replicas that stay behind follow others, then all forget the nodes that leave."""
    leaving = [node for node in topology.nodes if node.name in names]
    staying = [node for node in topology.nodes if node.name not in names]
    masters = [node for node in staying if node.is_master and node.alive]
    _check_leave(leaving, masters, topology)
    orphans = [node for node in staying if node.master_id in {leaver.id for leaver in leaving}]
    _check_copies(leaving, orphans, without_replica, topology)
    if steps := settle(topology):
        return steps
    moves = spread(topology, masters) if any(node.slots for node in leaving) else []
    copies = {node.name: sum(replica.master_id == node.id for replica in staying) for node in masters}
    follows: list[Step] = []
    for orphan in orphans:
        new = min(copies, key=lambda name: (copies[name], name.rpartition(":")[0] == orphan.host, name))
        copies[new] += 1
        follows.append(Follow(orphan.name, new))
    return [*moves, *follows, *(Forget(node.name) for node in sorted(leaving, key=lambda node: node.is_master))]


def rebalance(weights: Mapping[str, float], topology: Topology) -> list[Step]:
    """Lanes are spread over the masters by ``weights``, else by their memory limits, else evenly.  RequestError while
    one of them is away: nothing can be moved from it."""
    if dead := [node.name for node in topology.masters if not node.alive and node.slots]:
        raise RequestError(409, f"{' and '.join(dead)} is away: start it again, or replace it, before lanes are moved")
    masters = [node for node in topology.masters if node.alive]
    if steps := settle(topology):
        return steps
    return spread(topology, masters, weights)


def failover(successors: Iterable[str], topology: Topology) -> list[Step]:
    """Each successor, one after the other, takes over from the master that it follows."""
    steps: list[Step] = []
    for name in successors:
        node = topology.named(name)
        if node.is_master:
            continue
        master = topology.by_id(node.master_id)
        if master is None or not master.alive:
            raise RequestError(409, f"the master of {name} is away: the cluster itself elects a successor")
        if not node.alive or node.figures is None or not node.figures.link_up:
            raise RequestError(409, f"{name} is not linked to its master: what it lacks would be lost")
        steps.append(Promote(node.name, master.name))
    return steps


def successor(master: Node, topology: Topology) -> str:
    """The replica that is best to take over from a master; RequestError if none can."""
    linked = [node for node in topology.replicas_of(master) if node.alive and node.figures and node.figures.link_up]
    if not linked:
        raise RequestError(409, f"{master.name} has no replica that is up to date: join one first")
    return max(linked, key=lambda node: node.figures.offset if node.figures else 0).name


def replace(old: str, new: Newcomer, endpoint: str, lost: bool, topology: Topology) -> list[Step]:
    """``new`` gets the role and the slots of ``old``, which goes.  ``lost``: the slots of a dead ``old`` are served
    empty, and the stream's replay fills them."""
    if steps := settle(topology):
        return steps
    leaving, arrived = topology.find(old), topology.find(new.name)
    steps = _meeting([new.name], endpoint, topology)
    if arrived is None:
        _check_new(new, ())
    if leaving is None:
        unserved = tuple(sorted(topology.unserved))
        return [*steps, Own(new.name, unserved)] if lost and unserved else steps
    if leaving.slots and not leaving.alive:
        if not lost:
            raise RequestError(
                409,
                f"{old} is away and no replica took over: its {leaving.lanes} lanes have no copy in Redis. Start it "
                "again, or give --lost: then the new node serves them empty and the stream is replayed into it",
            )
        return [*steps, Forget(old), Own(new.name, tuple(sorted(leaving.slots)))]
    if leaving.slots:
        taking = _following(topology, new.name, old)
        return [*steps, *taking, Promote(new.name, old), Forget(old)]
    if leaving.master_id and arrived and leaving.master_id == arrived.id:
        return [Forget(old)]
    follows = leaving.master_id or (arrived.master_id if arrived else "")
    master = topology.by_id(follows) if follows else _least_copied(topology, leaving)
    if master is None or not master.alive:
        raise RequestError(409, f"the master of {old} is away: this may be the last copy of its lanes")
    return [*steps, *_following(topology, new.name, master.name), Forget(old)]


def settle(topology: Topology) -> list[Step]:
    """What interrupted moves left: those go on, others that are done are tidied up."""
    steps: list[Step] = [Await(node.name) for node in topology.nodes if node.exports]
    moves: dict[tuple[str, str], set[int]] = {}
    for node in topology.nodes:
        stale = []
        for slot, importing, other_id in node.open_slots:
            other, owner = (
                topology.by_id(other_id),
                next((holder for holder in topology.nodes if slot in holder.slots), None),
            )
            source, target = (other, node) if importing else (node, other)
            if owner and source == owner and target and target.alive and target.is_master:
                moves.setdefault((source.name, target.name), set()).add(slot)
            else:
                stale.append(slot)
        if stale:
            steps.append(Settle(node.name, tuple(sorted(stale))))
    return steps + [Move(source, target, tuple(sorted(slots))) for (source, target), slots in moves.items()]


def _meeting(names: Iterable[str], by: str, topology: Topology) -> list[Step]:
    strangers = tuple(name for name in names if topology.find(name) is None)
    return [Meet(strangers, by)] if strangers else []


def _following(topology: Topology, name: str, master: str) -> list[Step]:
    node, leader = topology.find(name), topology.find(master)
    if node and leader and node.master_id == leader.id and node.figures and node.figures.link_up:
        return []
    if node and node.slots:
        raise RequestError(409, f"{name} serves slots: move them away before it becomes a replica")
    return [Follow(name, master)]


def _check_new(newcomer: Newcomer | None, slots: Collection[int]) -> None:
    if newcomer is None:
        return
    if newcomer.peers:
        raise RequestError(409, f"{newcomer.name} is in another cluster: let it leave there first")
    if newcomer.keys:
        raise RequestError(409, f"{newcomer.name} has {newcomer.keys} keys: empty it first (FLUSHALL)")
    if not newcomer.slots <= set(slots):
        raise RequestError(409, f"{newcomer.name} serves slots already: reset it first (CLUSTER RESET)")


def _check_leave(leaving: Sequence[Node], masters: Sequence[Node], topology: Topology) -> None:
    if dead := [node for node in leaving if node.slots and not node.alive]:
        raise RequestError(
            409, f"{dead[0].name} is away and serves slots: they would be lost. Use replace, or start it again"
        )
    before = sum(node.alive for node in topology.masters)
    if any(node.is_master for node in leaving) and len(masters) < min(before, VOTERS_MIN):
        raise RequestError(409, f"{len(masters)} masters would be left: under {VOTERS_MIN} none is ever replaced")


def _check_copies(leaving: Sequence[Node], orphans: Sequence[Node], without_replica: bool, topology: Topology) -> None:
    ids = {node.id for node in leaving}
    for shard in topology.shards:
        going = [node for node in shard.replicas if node.id in ids and node.alive]
        stays = [node for node in shard.replicas if node.id not in ids and node.alive]
        if going and not stays and not shard.master.alive:
            raise RequestError(409, f"{going[0].name} has the last copy of {shard.master.lanes} lanes")
        if going and not stays and shard.master.id not in ids and not (without_replica or orphans):
            raise RequestError(
                409, f"{shard.master.name} would be without a replica: join another one first, or --without-replica"
            )


def _least_copied(topology: Topology, leaving: Node) -> Node | None:
    """The master that has the fewest replicas which are well: the one whose predecessor left, most likely."""
    living = [shard for shard in topology.shards if shard.master.alive and shard.master.slots]
    living = [shard for shard in living if shard.master.id != leaving.id]
    fewest = min(living, key=lambda shard: sum(node.alive for node in shard.replicas), default=None)
    return fewest.master if fewest else None


def _slots_of(name: str, newcomers: Mapping[str, Newcomer], topology: Topology) -> frozenset[int]:
    node = topology.find(name)
    return node.slots if node else newcomers[name].slots if name in newcomers else frozenset()
