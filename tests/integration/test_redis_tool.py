"""``carbyne redis`` on real servers: clusters made, grown, shrunk, repaired, while hosts post and read."""

import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from carbyne.adapters.redis.admin import Admin, plainly
from carbyne.adapters.redis.slots import SlotMoves
from carbyne.cluster.topology import Node, Topology
from carbyne.core.keys import lane_tag
from redis.cluster import RedisCluster

from tests.support.redis_load import Fleet, Load, Operator, name_of

REDIS = shutil.which("redis-server")
HAS_BOTH = REDIS and shutil.which("openssl")
DEBIAN = pytest.mark.skipif(not HAS_BOTH, reason="not installed: apt-get install redis-server openssl")
SERVERS = [pytest.param("", id="valkey"), pytest.param(REDIS, id="redis-server", marks=DEBIAN)]
ONE = "127.0.0.1"
PACKAGE = Path(__file__).resolve().parents[2] / "layers/carbyne"
NODE_ID = re.compile(r"\b[0-9a-f]{40}\b")


def made(fleet, count, replicas=1, more=""):
    """A cluster of the first ``count`` nodes; its operator."""
    operator = Operator(more=more)
    names = " ".join(map(name_of, fleet.nodes[:count]))
    operator.redis(f"create {names} --replicas {replicas}")
    operator.endpoint = name_of(fleet.nodes[0])
    return operator


def as_cluster(fleet, count):
    """What the pipeline wants of a cluster."""
    return SimpleNamespace(nodes=fleet.nodes[:count])


def test_a_cluster_grows_shrinks_and_changes_while_hosts_post_and_read(monkeypatch):
    grow_and_shrink("", 30, monkeypatch)


def grow_and_shrink(server, hosts, monkeypatch, ours=None):
    """From 3 shards to 5, failovers of all, a replacement, and back to 3: no sample and no answer may differ.

    ``ours``: a cluster of three shards that runs, as `make run` makes it; else the tool makes one.
    """
    with Fleet([ONE] * (5 if ours else 11), server=server) as fleet:
        nodes = [*ours.nodes, *fleet.nodes] if ours else fleet.nodes
        operator = Operator(name_of(nodes[0])) if ours else made(fleet, 6)
        load = Load(SimpleNamespace(nodes=nodes[:6]), hosts)
        with load.running(), operator.noting(monkeypatch, load.pipeline.table):
            operator.redis("join {0} {1}", *nodes[6:8])
            assert "rebalance" in operator.remarks[-1], "says what is next"
            operator.redis("join {0} --replica-of {1}", nodes[8], nodes[6])
            operator.redis("join {0} --replica-of {1}", nodes[9], nodes[7])
            load.timed("rebalance to 5 shards", lambda: operator.redis("rebalance"))
            assert operator.redis("status").startswith("5 shards, 10 nodes, 1,024 of 1,024 lanes")
            operator.redis("rebalance")
            assert operator.remarks == ["nothing to do: the cluster is so already"]
            load.timed("failover of all 5", lambda: operator.redis("failover --all"))
            load.timed("replace", lambda: operator.redis("replace {0} {1}", nodes[8], nodes[10]))
            leave = "leave {0} {1} {2} {3}", nodes[6], nodes[7], nodes[9], nodes[10]
            load.timed("leave to 3 shards", lambda: operator.redis(*leave))
            assert operator.redis("status").startswith("3 shards, 6 nodes, 1,024 of 1,024 lanes")
        load.report(f"{server or 'valkey'}, 3 to 5 to 3 shards")
        assert load.problems[:1] == [] and load.rounds > 5 and load.reads_s
        load.check_everything()
        assert load.replayed == 0, "what is planned loses nothing, and the sealer knows"
        load.close()
        assert not NODE_ID.search("\n".join(operator.everything))
        for node in (*nodes[6:8], nodes[9], nodes[10]):
            assert "cluster_known_nodes:1\r" in node.ask("CLUSTER", "INFO"), "who left is free"
        operator.redis("join {0} --replica-of {1}", nodes[9], nodes[0])
        assert operator.redis("status").startswith("3 shards, 7 nodes"), "and may come back at once"


@pytest.fixture(scope="module")
def hosts():
    """Three masters and three replicas on three hosts, made by the tool, and a spare server."""
    with Fleet(["127.0.0.2", "127.0.0.2", "127.0.0.3", "127.0.0.3", "127.0.0.4", "127.0.0.4", "127.0.0.5"]) as fleet:
        operator = made(fleet, 6)
        yield fleet, operator


def test_replicas_are_put_on_other_hosts(hosts):
    _, operator = hosts
    assert not any("one host" in line for line in operator.everything)
    text = operator.redis("status")
    for shard in re.split("shard .", text)[1:]:
        assert len(re.findall(r"127\.0\.0\.\d", shard)) == 2 == len(set(re.findall(r"127\.0\.0\.\d", shard))), text


def test_nothing_is_done_without_a_yes(hosts):
    fleet, operator = hosts
    before = operator.redis("status --json").split('"memory"')[0]
    operator.answer = False
    plan = operator.redis("join {0}", fleet.nodes[6], yes=False)
    assert plan == f"  1  {name_of(fleet.nodes[6])} meets the cluster"
    assert operator.remarks[0] == "nothing was changed"
    assert operator.redis("status --json").split('"memory"')[0] == before
    operator.answer = True


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("leave 127.0.0.9", "no node is called 127.0.0.9"),
        ("leave 127.0.0.2", "give more of its name"),
        ("leave {0}", "under 3 none is ever replaced"),
        ("failover", "--all"),
        ("join {0} --replica-of {1}", "serves slots|is a replica itself|is in another cluster"),
        ("create {0} {6}", "2 nodes do not|give 6 nodes"),
        ("rebalance --weight nobody=2", "no node is called nobody"),
        ("join 127.0.0.6:1", "does not answer as a Redis node"),
    ],
)
def test_what_can_not_be_is_refused(hosts, command, why):
    fleet, operator = hosts
    masters = [node for node in fleet.nodes if "role:master" in node.ask("INFO", "replication")]
    others = [node for node in fleet.nodes if node not in masters]
    ordered = [*masters[:3], *others, fleet.nodes[6]]
    assert re.search(why, operator.redis(command, *ordered, status=1)), operator.remarks


def test_a_cluster_is_watched_until_it_is_interrupted(hosts, monkeypatch):
    _, operator = hosts
    turns = iter([None, None])

    def sleep(_):
        if next(turns, KeyboardInterrupt) is KeyboardInterrupt:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("carbyne.cli.redis.time.sleep", sleep)
        operator.redis("status --watch")
    assert len(operator.said) == 3 and all(line.startswith("3 shards, 6 nodes") for line in operator.said)


def test_without_a_terminal_the_answer_is_no(hosts):
    fleet, operator = hosts
    command = f"redis join {name_of(fleet.nodes[6])} --endpoint {operator.endpoint}"
    done = subprocess.run(
        [sys.executable, "-m", "carbyne", *command.split()],
        cwd=PACKAGE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "give --yes" in done.stderr
    assert done.stdout == f"  1  {name_of(fleet.nodes[6])} meets the cluster\n"


def test_an_unknown_endpoint_is_an_error_that_says_so():
    operator = Operator(endpoint="127.0.0.1:1")
    assert "no node answers as one of a Redis cluster: 127.0.0.1:1" in operator.redis("status", status=1)


def test_a_shard_that_lost_every_copy_is_served_again(hosts):
    """Last of this file's users of ``hosts``: it kills some."""
    fleet, operator = hosts
    text = operator.redis("status")
    shard = re.split("shard .", text)[3]
    dead = [node for node in fleet.nodes if name_of(node) in shard]
    spare = fleet.nodes[6]
    operator.endpoint = name_of(next(node for node in fleet.nodes[:6] if node not in dead))
    master, replica = sorted(dead, key=lambda node: "role:slave" in node.ask("INFO", "replication"))
    for node in dead:
        node.kill()
    assert re.search("FAILED|does not answer", operator.redis("status"))
    assert "have no copy in Redis" in operator.redis("replace {0} {1}", master, spare, status=1)
    operator.redis("replace {0} {1} --lost", master, spare)
    operator.redis("leave {0} --without-replica", replica)
    assert operator.redis("status").startswith("3 shards, 5 nodes, 1,024 of 1,024 lanes")


@pytest.mark.parametrize("server", SERVERS)
def test_an_interrupted_command_goes_on(server, monkeypatch, tmp_path):
    """Atomic moves on Valkey; key by key on Redis 7, with TLS and a password."""
    node, more = (with_tls(tmp_path, monkeypatch), "--tls") if server else ({}, "")
    with Fleet([ONE] * 4, server=server, **node) as fleet:
        operator, nodes = Operator(more=more), fleet.nodes
        names = " ".join(map(name_of, nodes))
        with interrupted_after(monkeypatch, steps=2):
            assert "goes on" in operator.redis(f"create {names} --replicas 0", status=1)
        operator.redis(f"create {names} --replicas 0")
        operator.endpoint = name_of(nodes[0])
        client = RedisCluster(host=ONE, port=nodes[0].port, **nodes[0].login)
        for lane in range(0, 1024, 4):
            client.set(f"{{{lane_tag(lane)}}}:x", lane)
        with interrupted_in_a_move(monkeypatch):
            assert "goes on" in operator.redis("leave {0} --without-replica", nodes[3], status=1)
        operator.redis("leave {0} --without-replica", nodes[3])
        text = operator.redis("status")
        assert text.startswith("3 shards, 3 nodes, 1,024 of 1,024 lanes") and "moves under way" not in text
        assert all(client.get(f"{{{lane_tag(lane)}}}:x") == b"%d" % lane for lane in range(0, 1024, 4))
        client.close()
        said = "\n".join(operator.everything)
        assert not NODE_ID.search(said) and "secret" not in said
        if server:
            monkeypatch.setenv("REDIS_PASSWORD", "wrong")
            assert "password?" in operator.redis("status", status=1)


def with_tls(directory, monkeypatch):
    """Options of nodes that speak TLS alone and want a password; the environment is what the functions have."""
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "cert", *subject)
    subprocess.run(command, check=True, capture_output=True, cwd=directory)
    monkeypatch.setenv("SSL_CERT_FILE", f"{directory}/cert")
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    files = f"--tls-cert-file {directory}/cert --tls-key-file {directory}/key --tls-ca-cert-file {directory}/cert"
    options = f"--port 0 --tls-port {{port}} --tls-cluster yes --tls-replication yes --tls-auth-clients no {files}"
    login = {"ssl": True, "ssl_ca_certs": f"{directory}/cert", "password": "secret"}
    return {"options": f"{options} --requirepass secret --masterauth secret", "login": login}


@contextmanager
def interrupted_after(monkeypatch, steps):
    """Ctrl-C when so many steps are done."""
    do, done = Admin.do, []

    def do_some(admin, step, progress):
        do(admin, step, progress)
        done.append(step)
        if len(done) == steps:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Admin, "do", do_some)
        yield


@contextmanager
def interrupted_in_a_move(monkeypatch):
    """Ctrl-C between the keys of two slots, or right after the server began to move some by itself."""
    keys, wait, calls = SlotMoves._move_keys, SlotMoves.await_others, {"keys": 0, "waits": 0}

    def some_keys(moves, source, target, slot):
        calls["keys"] += 1
        keys(moves, source, target, slot)
        if calls["keys"] == 40:
            raise KeyboardInterrupt

    def begun(moves, client, progress):
        calls["waits"] += 1
        if calls["waits"] == 2:
            raise KeyboardInterrupt
        wait(moves, client, progress)

    with monkeypatch.context() as patch:
        patch.setattr(SlotMoves, "_move_keys", some_keys)
        patch.setattr(SlotMoves, "await_others", begun)
        yield


def test_a_managed_cluster_is_shown_and_not_changed(hosts, monkeypatch):
    """ElastiCache tells itself by INFO; the server here is a real one whose answer is changed."""
    fleet, operator = hosts
    look = Admin.look
    monkeypatch.setattr(Admin, "look", lambda admin: look(admin)._replace(service="Amazon ElastiCache"))
    assert "shards" in operator.redis("status")
    for command, call in (
        ("leave {0}", "decrease-replica-count"),
        ("failover --all", "test-failover"),
        ("rebalance", "modify-replication-group-shard-configuration"),
        ("join {0}", "increase-replica-count"),
        ("replace {0} {1}", "test-failover"),
        ("create {0} {1} {2} {3} {4} {5}", "create-replication-group"),
    ):
        said = operator.redis(command, *fleet.nodes, status=1)
        assert f"aws elasticache {call}" in said, said


def test_ids_in_a_servers_messages_become_names():
    topology = Topology((Node("ab" * 20, "web1", "10.0.0.1", 7000),))
    text = f"ERR Unknown node {'ab' * 20} or {'cd' * 20}"
    assert plainly(text, topology) == "ERR Unknown node web1:7000 or a node"
