"""Plans for a Redis cluster: pure functions of what it looks like, tried on a model that does what each step says."""

import json
import re
from pathlib import Path

import pytest
from carbyne.cli import parser
from carbyne.cli.redis.picture import as_json, picture
from carbyne.cluster import layout, plan
from carbyne.cluster.steps import Await, Follow, Forget, Meet, Move, Own, Promote, Settle
from carbyne.cluster.topology import (
    SLOTS,
    Newcomer,
    Node,
    NodeVitals,
    OpenSlot,
    Topology,
    address,
    lanes_in,
    lanes_of_slots,
    slots_of_lanes,
    spans,
)
from carbyne.core.errors import RequestError
from carbyne.core.keys import lane_tag
from carbyne.core.limits import LANES
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.crc import key_slot

UP = NodeVitals("Valkey 9.1.2", 1 << 20, 1 << 30, 12, 100)
NOTHING = frozenset()
ROOT = Path(__file__).resolve().parents[2]


def node_id(name):
    return name.encode().hex().rjust(40, "0")[-40:]


def node(name, master="", slots=NOTHING, **changed):
    host, _, port = name.rpartition(":")
    fields = {"figures": UP, **changed}
    return Node(node_id(name), host, host, int(port), master and node_id(master), frozenset(slots), **fields)


def newcomer(name, peers=0, keys=0, slots=NOTHING):
    host, _, port = name.rpartition(":")
    return Newcomer(host, int(port), peers, keys, frozenset(slots))


def cluster(masters=3, replicas=1):
    """Masters m0:1, m1:1, ...; replicas of m0:1 are m0:2, m0:3, ...; slots in even spans."""
    nodes = []
    for at in range(masters):
        first, end = (SLOTS * edge // masters for edge in (at, at + 1))
        nodes.append(node(f"m{at}:1", slots=range(first, end)))
        nodes += [node(f"m{at}:{2 + number}", master=f"m{at}:1") for number in range(replicas)]
    return Topology(tuple(nodes))


def changed(topology, name, **fields):
    return topology._replace(nodes=tuple(n._replace(**fields) if n.name == name else n for n in topology.nodes))


def after(topology, step):
    """What a step makes of a topology."""
    by_name = {member.name: member for member in topology.nodes}
    match step:
        case Meet(names, by):
            assert by in by_name
            by_name |= {name: node(name) for name in names if name not in by_name}
        case Own(name, slots):
            member = by_name.setdefault(name, node(name))
            assert not any(slot in other.slots for other in by_name.values() for slot in slots)
            by_name[name] = member._replace(slots=member.slots | set(slots))
        case Follow(name, master):
            assert by_name[master].is_master and not by_name[name].slots
            by_name[name] = by_name[name]._replace(master_id=node_id(master))
        case Move(source, target, slots):
            giver, taker = by_name[source], by_name[target]
            assert set(slots) <= giver.slots and taker.is_master and slots
            by_name[source] = giver._replace(slots=giver.slots - set(slots), open_slots=())
            by_name[target] = taker._replace(slots=taker.slots | set(slots), open_slots=())
        case Settle(name, _):
            by_name[name] = by_name[name]._replace(open_slots=())
        case Await(name):
            by_name[name] = by_name[name]._replace(exports=0)
        case Promote(name, master):
            old = by_name[master]
            assert by_name[name].master_id == old.id
            for member in by_name.values():
                if member.master_id == old.id:
                    by_name[member.name] = member._replace(master_id=node_id(name))
            by_name[name] = by_name[name]._replace(master_id="", slots=old.slots)
            by_name[master] = old._replace(master_id=node_id(name), slots=NOTHING)
        case Forget(name):
            gone = by_name.pop(name)
            assert not gone.slots or not gone.alive
            assert not any(member.master_id == gone.id and member.alive for member in by_name.values())
    return topology._replace(nodes=tuple(by_name.values()))


def carried_out(left, topology, steps_max=60):
    """The topology when nothing is left to do, and the steps that led there."""
    done = []
    while steps := left(topology):
        done.append(steps[0])
        assert len(done) < steps_max, done
        topology = after(topology, steps[0])
    return topology, done


def lanes(topology):
    return {master.name: master.lanes for master in topology.nodes if master.is_master}


def test_lanes_and_slots():
    assert lanes_in(range(SLOTS)) == LANES == sum(lanes_of_slots())
    slots = tuple(key_slot(lane_tag(lane).encode()) for lane in range(LANES))
    assert slots_of_lanes() == slots, "as redis-py has it"
    assert spans([5, 3, 4, 9]) == [(3, 5), (9, 9)]
    assert spans([]) == []


def test_nodes_are_named_by_a_part_that_only_one_has():
    topology = cluster()
    assert topology.named("m1:1").name == "m1:1"
    assert topology.named("2:2").name == "m2:2"
    with pytest.raises(RequestError, match="m0:1, m0:2"):
        topology.named("m0")
    with pytest.raises(RequestError, match="the cluster has m0:1, m0:2, m1:1"):
        topology.named("other")
    assert topology.named("m0:1").name == "m0:1", "a whole name is never ambiguous"


@pytest.mark.parametrize("text", ["", "host", ":1", "host:", "host:0", "host:65536", "host:x"])
def test_an_address_is_host_and_port(text):
    with pytest.raises(RequestError, match="host:port"):
        address(text)
    assert address("[::1]:70") == ("::1", 70)


@pytest.mark.parametrize(
    ("hosts", "replicas"), [("abc", 1), ("aabbcc", 1), ("aaabbb", 1), ("aaaabc", 2), ("aabbccddd", 2), ("aaabbbccc", 2)]
)
def test_replicas_are_on_other_hosts_than_their_masters(hosts, replicas):
    names = [(host, 7000 + at) for at, host in enumerate(hosts * (2 if len(hosts) < 6 else 1))]
    if hosts == "aaaabc":
        with pytest.raises(RequestError, match="masters"):
            layout.roles(names, replicas)
        return
    roles = layout.roles(names, replicas)
    assert sorted([*roles.masters, *roles.follows]) == sorted(f"{host}:{port}" for host, port in names)
    for master in roles.masters:
        copies = [master, *(replica for replica, of in roles.follows.items() if of == master)]
        assert len(copies) == 1 + replicas
        assert len({name.partition(":")[0] for name in copies}) == len(copies), "each copy is on a host of its own"
    slots = [slot for span in roles.masters.values() for slot in span]
    assert sorted(slots) == list(range(SLOTS))
    share = [lanes_in(span) for span in roles.masters.values()]
    assert max(share) - min(share) <= 2


@pytest.mark.parametrize(
    ("hosts", "replicas", "why"),
    [
        ("abcde", 1, "5 nodes do not divide into shards of 2"),
        ("abcd", 1, "give 6 nodes or more"),
        ("aaaabb", 1, "no host is left"),
        ("aa", 0, "give 3 nodes"),
    ],
)
def test_nodes_that_make_no_cluster_are_refused(hosts, replicas, why):
    with pytest.raises(RequestError, match=why):
        layout.roles([(host, 7000 + at) for at, host in enumerate(hosts)], replicas)


def test_one_host_may_have_all():
    assert len(layout.roles([("a", 7000 + at) for at in range(6)], 1).follows) == 3


def test_a_cluster_is_created_and_creating_goes_on_where_it_stopped():
    roles = layout.roles([(host, port) for port in (1, 2) for host in "abc"], 1)
    fresh = {name: newcomer(name) for name in [*roles.masters, *roles.follows]}
    first = next(iter(roles.masters))
    start = Topology((node(first),))

    def left(topology):
        strangers = {name: stranger for name, stranger in fresh.items() if topology.find(name) is None}
        return plan.create(roles, strangers, topology)

    topology, done = start, []
    while steps := left(topology):
        done.append(steps[0])
        if isinstance(steps[0], Own) and steps[0].node != first:
            fresh[steps[0].node] = newcomer(steps[0].node, slots=steps[0].slots)
        elif isinstance(steps[0], Meet):
            topology = after(topology, steps[0])
            for name in roles.masters:
                topology = changed(topology, name, slots=frozenset(roles.masters[name]))
        else:
            topology = after(topology, steps[0])
    assert [type(step) for step in done] == [Own] * 3 + [Meet] + [Follow] * 3
    assert not topology.unserved and len(topology.shards) == 3 and all(shard.replicas for shard in topology.shards)


@pytest.mark.parametrize(
    ("broken", "why"), [({"peers": 2}, "another cluster"), ({"keys": 9}, "9 keys"), ({"slots": [1]}, "serves slots")]
)
def test_only_empty_servers_join(broken, why):
    topology = cluster()
    with pytest.raises(RequestError, match=why):
        plan.join({"new:1": newcomer("new:1", **broken)}, "", "m0:1", topology)
    with pytest.raises(RequestError, match=why):
        plan.replace("m0:1", newcomer("new:1", **broken), "m1:1", False, topology)


def test_three_shards_become_five_and_three_again():
    topology = cluster()
    names = {name: newcomer(name) for name in ("m3:1", "m4:1")}

    def joined(now, master="", names=names):
        return plan.join(
            {name: None if now.find(name) else newcomers for name, newcomers in names.items()}, master, "m0:1", now
        )

    topology, _ = carried_out(joined, topology)
    for master in ("m3", "m4"):
        newcomers = {f"{master}:2": newcomer(f"{master}:2")}
        topology, done = carried_out(
            lambda now, m=f"{master}:1", newcomers=newcomers: joined(now, m, newcomers), topology
        )
        assert [type(step) for step in done] == [Meet, Follow]
    topology, done = carried_out(lambda now: plan.rebalance({}, now), topology)
    assert sorted(lanes(topology).values()) == [204, 205, 205, 205, 205] and not topology.unserved
    assert all(isinstance(step, Move) for step in done) and len(done) <= 6
    leaving = {"m3:1", "m3:2", "m4:1", "m4:2"}
    shown = plan.leave(leaving, False, topology)
    topology, done = carried_out(lambda now: plan.leave(leaving, False, now), topology)
    assert sorted(lanes(topology).values()) == [341, 341, 342]
    assert [step for step in done if step.__class__ in (Move, Forget)] == done and len(done) == len(shown)
    assert not topology.unserved and len(topology.nodes) == 6
    assert all(len(shard.replicas) == 1 for shard in topology.shards)


def test_what_is_spread_well_moves_no_more():
    topology, _ = carried_out(lambda now: plan.rebalance({}, now), cluster())
    assert plan.rebalance({}, topology) == []


def test_lanes_follow_memory_limits_and_weights():
    limits = {"m0:1": 1 << 30, "m1:1": 1 << 30, "m2:1": 2 << 30}
    topology = cluster()
    for name, limit in limits.items():
        topology = changed(topology, name, figures=UP._replace(memory_max_bytes=limit))
    spread, _ = carried_out(lambda now: plan.rebalance({}, now), topology)
    assert lanes(spread) == {"m0:1": 256, "m1:1": 256, "m2:1": 512}
    spread, _ = carried_out(lambda now: plan.rebalance({"m0:1": 2, "m2:1": 0}, now), topology)
    assert lanes(spread)["m2:1"] == 0 and lanes(spread)["m0:1"] == 2 * lanes(spread)["m1:1"] + 1
    with pytest.raises(RequestError, match="weight above 0"):
        plan.rebalance(dict.fromkeys(limits, 0), topology)
    with pytest.raises(RequestError, match="no master that answers is called m0:2"):
        plan.rebalance({"m0:2": 1}, topology)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=SLOTS // 64, max_size=SLOTS // 64), st.integers(3, 6), st.data())
def test_no_spread_loses_a_slot_or_goes_on_for_ever(owners, count, data):
    nodes = [
        node(f"m{at}:1", slots=[slot for slot in range(SLOTS) if owners[slot // 64] % count == at])
        for at in range(count)
    ]
    weights = {member.name: data.draw(st.integers(0, 3), label=member.name) for member in nodes}
    weights["m0:1"] += 1
    topology, _ = carried_out(lambda now: plan.rebalance(weights, now), Topology(tuple(nodes)))
    assert not topology.unserved and sum(len(member.slots) for member in topology.nodes) == SLOTS
    total = sum(weights.values())
    for name, its_lanes in lanes(topology).items():
        assert abs(its_lanes - LANES * weights[name] / total) < 3


def test_a_planned_failover_of_every_master():
    topology = cluster(replicas=2)
    heirs = [plan.successor(shard.master, topology) for shard in topology.shards]
    assert heirs == ["m0:2", "m1:2", "m2:2"]
    topology_now, done = carried_out(lambda now: plan.failover(heirs, now), topology)
    assert done == [Promote(f"m{at}:2", f"m{at}:1") for at in range(3)]
    assert plan.failover(heirs, topology_now) == [], "again: nothing changes back"


def test_the_replica_that_has_most_takes_over():
    topology = changed(cluster(replicas=3), "m0:3", figures=UP._replace(offset=101))
    topology = changed(topology, "m0:4", figures=UP._replace(offset=102, link_up=False))
    assert plan.successor(topology.named("m0:1"), topology) == "m0:3"


@pytest.mark.parametrize("broken", [{"figures": None}, {"failed": True}, {"figures": UP._replace(link_up=False)}])
def test_a_replica_that_lacks_something_never_takes_over_by_plan(broken):
    topology = changed(cluster(), "m0:2", **broken)
    with pytest.raises(RequestError, match="no replica that is up to date"):
        plan.successor(topology.named("m0:1"), topology)
    with pytest.raises(RequestError, match="not linked"):
        plan.failover(["m0:2"], topology)


def test_a_failover_needs_a_living_master():
    with pytest.raises(RequestError, match="elects a successor"):
        plan.failover(["m0:2"], changed(cluster(), "m0:1", figures=None, failed=True))


def test_lanes_are_not_moved_from_a_master_that_is_away():
    with pytest.raises(RequestError, match="m0:1 is away"):
        plan.rebalance({}, changed(cluster(), "m0:1", figures=None, failed=True))


@pytest.mark.parametrize("old", ["m1:1", "m1:2"])
def test_a_node_is_replaced_by_another(old):
    topology = cluster()
    topology_now, done = carried_out(lambda now: plan.replace(old, newcomer("new:9"), "m0:1", False, now), topology)
    assert topology_now.find(old) is None and not topology_now.unserved and len(topology_now.nodes) == 6
    new = topology_now.named("new:9")
    assert (new.is_master, len(new.slots)) == ((True, len(topology.named(old).slots)) if old == "m1:1" else (False, 0))
    assert isinstance(done[-1], Forget)


def test_a_dead_node_that_was_succeeded_is_replaced():
    topology = after(cluster(), Promote("m1:2", "m1:1"))
    topology = changed(topology, "m1:1", failed=True, figures=None, master_id="")
    topology_now, done = carried_out(lambda now: plan.replace("m1:1", newcomer("new:9"), "m0:1", False, now), topology)
    assert done == [Meet(("new:9",), "m0:1"), Follow("new:9", "m1:2"), Forget("m1:1")]
    assert len(topology_now.nodes) == 6


def test_a_shard_without_a_copy_is_served_empty_only_when_told():
    topology = changed(cluster(), "m1:1", failed=True, figures=None)
    topology = changed(topology, "m1:2", failed=True, figures=None)
    lost = topology.named("m1:1")
    with pytest.raises(RequestError, match=f"{lost.lanes} lanes have no copy"):
        plan.replace("m1:1", newcomer("new:9"), "m0:1", False, topology)
    topology_now, done = carried_out(lambda now: plan.replace("m1:1", newcomer("new:9"), "m0:1", True, now), topology)
    assert [type(step) for step in done] == [Meet, Forget, Own] and not topology_now.unserved
    half = after(after(topology, done[0]), done[1])
    assert plan.replace("m1:1", newcomer("new:9"), "m0:1", True, half) == [done[2]], "goes on after an interruption"


@pytest.mark.parametrize(
    ("names", "broken", "why"),
    [
        ({"m0:1"}, {"m0:1": {"figures": None}}, "serves slots: they would be lost"),
        ({"m0:2"}, {"m0:1": {"figures": None, "failed": True}}, "last copy"),
        ({"m0:2"}, {}, "without a replica"),
        ({"m0:1", "m0:2"}, {}, "2 masters would be left"),
    ],
)
def test_leaving_is_refused_where_it_would_lose_something(names, broken, why):
    topology = cluster()
    for name, fields in broken.items():
        topology = changed(topology, name, **fields)
    with pytest.raises(RequestError, match=why):
        plan.leave(names, False, topology)


def test_a_replica_may_leave_when_told_or_when_another_stays():
    assert plan.leave({"m0:2"}, True, cluster()) == [Forget("m0:2")]
    assert plan.leave({"m0:2"}, False, cluster(replicas=2)) == [Forget("m0:2")]


def test_replicas_that_stay_behind_follow_the_shard_that_has_fewest():
    topology = cluster(masters=4)
    topology = topology._replace(nodes=tuple(member for member in topology.nodes if member.name != "m2:2"))
    topology_now, done = carried_out(lambda now: plan.leave({"m0:1"}, False, now), topology)
    assert Follow("m0:2", "m2:1") in done and done[-1] == Forget("m0:1")
    assert not topology_now.unserved


def test_interrupted_moves_are_ended_first():
    topology = cluster()
    source, target = topology.named("m0:1"), topology.named("m1:1")
    half = changed(topology, "m0:1", open_slots=(OpenSlot(7, False, target.id),))
    half = changed(half, "m1:1", open_slots=(OpenSlot(7, True, source.id), OpenSlot(8, True, source.id)))
    assert plan.settle(half) == [Move("m0:1", "m1:1", (7, 8))]
    for left in (plan.rebalance({}, half), plan.leave({"m2:2"}, True, half)):
        assert left == plan.settle(half)
    stale = changed(topology, "m1:1", open_slots=(OpenSlot(6000, True, source.id),))
    assert plan.settle(stale) == [Settle("m1:1", (6000,))], "it has the slot already"
    gone = changed(topology, "m0:1", open_slots=(OpenSlot(7, False, "0" * 40),))
    assert plan.settle(gone) == [Settle("m0:1", (7,))]
    assert plan.settle(changed(topology, "m0:1", exports=1)) == [Await("m0:1")]


def test_pictures_show_names_and_never_an_id():
    topology = changed(cluster(), "m1:2", figures=None, failed=True)
    topology = changed(
        topology, "m2:2", figures=UP._replace(link_up=False, offset=40), open_slots=(OpenSlot(1, True, "x"),)
    )
    text, document = picture(topology), as_json(topology)
    assert "3 shards, 6 nodes, 1,024 of 1,024 lanes" in text and "FAILED" in text and "LINK DOWN" in text
    assert "60 B behind" in text and "1 moves under way" in text and "Valkey 9.1.2" in text
    assert [shard["master"]["name"] for shard in document["shards"]] == ["m0:1", "m1:1", "m2:1"]
    assert document["shards"][1]["replicas"] == [{"name": "m1:2", "state": "failed"}]
    assert document["shards"][2]["replicas"][0]["delay"] == 60
    assert not re.search("[0-9a-f]{40}", text + json.dumps(document))
    lost = topology._replace(nodes=topology.nodes[2:])
    assert "slots  [....." in picture(lost) and picture(lost).startswith("2 shards, 4 nodes")


def test_steps_say_what_they_do():
    said = [
        str(step)
        for step in (
            Meet(("a:1", "b:1"), "c:1"),
            Move("a:1", "b:1", tuple(range(SLOTS))),
            Own("a:1", (1,)),
            Settle("a:1", (1, 3, 5, 7)),
        )
    ]
    assert said[0] == "a:1, b:1 meet the cluster"
    assert said[1] == "1,024 lanes (16,384 slots: 0-16383) move from a:1 to b:1"
    assert said[2].startswith("a:1 takes ") and "(1 slot: 1)" in said[2]
    assert "4 slots: 1, 3, 5 and 1 more spans" in said[3]


def test_no_command_and_no_document_asks_for_a_node_id():
    [groups] = [action for action in parser()._actions if action.choices]
    [commands] = [action for action in groups.choices["redis"]._actions if isinstance(action.choices, dict)]
    texts = [command.format_help() for command in commands.choices.values()]
    texts += [path.read_text() for path in (ROOT / "docs").rglob("*.md")]
    assert len(commands.choices) == 7
    for text in texts:
        assert not re.search(r"\b[0-9a-f]{40}\b|CLUSTER MYID|node-id", text, re.IGNORECASE), text[:200]
    assert not any(re.search(r"\bids?\b", text) for text in texts[:7])
