"""Commands to the nodes of a cluster: what counts, what is tried again, and when it ends.  The nodes are scripted."""

from types import SimpleNamespace

import pytest
from carbyne.adapters.redis.commands import Command, Script, checked
from carbyne.adapters.redis.nodes import Nodes
from carbyne.core.errors import RetryableError
from carbyne.core.keys import lane_state
from carbyne.core.limits import REDIS_BUDGET_S, WAIT_MS
from redis import exceptions
from redis.crc import key_slot

ENDPOINT = ("config.example", 6379)
SCRIPT = Script("return 1", "sha-of-it")
TABLE = {
    "a:1": {"node_id": "A", "flags": "myself,master", "master_id": "-"},
    "b:1": {"node_id": "B", "flags": "slave", "master_id": "A"},
}


class Node:
    """``answers``: for each pipeline in turn a list of replies, or what it raises; when used up, all goes well."""

    def __init__(self, cluster, name):
        self.cluster, self.name = cluster, name
        self.host, _, port = name.partition(":")
        self.port = int(port)
        self.answers = []
        self.sent = []
        self.table = TABLE

    def pipeline(self, transaction):
        assert transaction is False
        return Pipeline(self)

    def execute_command(self, command):
        assert command == "CLUSTER NODES"
        if isinstance(self.table, Exception):
            raise self.table
        return self.table


class Pipeline:
    def __init__(self, node):
        self.node, self.commands = node, []

    def execute_command(self, *command):
        self.commands.append(command)

    def execute(self, raise_on_error):
        assert raise_on_error is False
        self.node.sent.append(self.commands)
        self.node.cluster.now_s += self.node.cluster.call_s
        if not self.node.answers:
            return [1 if command[0] == "WAIT" else "OK" for command in self.commands]
        answer = self.node.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        assert len(answer) == len(self.commands)
        return answer


class Cluster:
    """A RedisCluster by what ``Nodes`` uses of it, and its clock.  ``serves``: lane -> name of its master."""

    def __init__(self):
        self.now_s = 100.0
        self.call_s = 0.001
        self.refresh_s = 0.0
        self.refreshed = []
        self.unreachable = None
        self.by_name = {name: Node(self, name) for name in ("a:1", "c:1")}
        self.serves = {}
        self.after_refresh = {}
        self.slots = {self.keyslot(lane_state(lane)): lane for lane in range(8)}
        self.nodes_manager = SimpleNamespace(
            slots_cache=self, get_node_from_slot=self.node_of, initialize=self.initialize
        )

    def keyslot(self, key):
        return key_slot(key.encode())

    def get(self, slot):
        """As the client's table of slots has it."""
        name = self.serves.get(self.slots[slot], "a:1")
        return [self.by_name[name]] if name else None

    def node_of(self, slot):
        name = self.serves.get(self.slots[slot], "a:1")
        if name is None:
            raise exceptions.SlotNotCoveredError(f"slot {slot}")
        return self.by_name[name]

    def get_node(self, host, port):
        return self.by_name.get(f"{host}:{port}")

    def get_redis_connection(self, node):
        return node

    def initialize(self, endpoints, last_failed_node_name):
        self.refreshed.append((endpoints, last_failed_node_name))
        self.now_s += self.refresh_s
        if self.unreachable:
            raise self.unreachable
        self.serves |= self.after_refresh

    def close(self):
        self.closed = True

    def sleep(self, seconds):
        self.now_s += seconds


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def alone():
    return []


@pytest.fixture
def nodes(cluster, alone):
    made = Nodes(cluster, ENDPOINT, lambda: cluster.now_s, cluster.sleep, alone.append)
    yield made
    made.close()
    assert cluster.closed


GET = Command(1, ("GET", "x"))
PUT = Command(1, ("EVALSHA", SCRIPT.sha, 0), SCRIPT)
WAIT = ("WAIT", 1, WAIT_MS)


def test_calls_go_out_in_one_pipeline_for_each_node_and_replies_keep_their_order(cluster, nodes):
    cluster.serves = {2: "c:1"}
    calls = [Command(lane, ("GET", str(number))) for number, lane in enumerate([1, 2, 1, 2, 2])]
    cluster.by_name["a:1"].answers = [["0", "2"]]
    cluster.by_name["c:1"].answers = [["1", "3", "4"]]
    assert nodes.run(calls) == ["0", "1", "2", "3", "4"]
    assert cluster.by_name["a:1"].sent == [[("GET", "0"), ("GET", "2")]]


def test_a_write_waits_behind_its_calls_on_the_same_connection(cluster, nodes):
    assert nodes.run([PUT, PUT], replicated=True) == ["OK", "OK"]
    assert cluster.by_name["a:1"].sent == [[PUT.words, PUT.words, WAIT]]


def test_without_a_replicas_word_no_write_counts(cluster, nodes, alone):
    cluster.by_name["a:1"].answers = [["OK", "OK", 0]]
    for reply in nodes.run([PUT, PUT], replicated=True):
        assert isinstance(reply, RetryableError) and "no replica of a:1" in str(reply)
    assert alone == [] and len(cluster.by_name["a:1"].sent) == 1


@pytest.mark.parametrize("error", [exceptions.ResponseError("UNBLOCKED"), exceptions.ResponseError("ERR WAIT")])
def test_a_wait_that_fails_is_no_acknowledgement(cluster, nodes, error):
    cluster.by_name["a:1"].answers = [["OK", error]]
    (reply,) = nodes.run([PUT], replicated=True)
    assert isinstance(reply, RetryableError)


@pytest.mark.parametrize(
    ("flags", "master", "counts"),
    [
        ("slave", "A", False),
        ("slave,fail?", "A", False),
        ("slave,fail", "A", True),
        ("slave", "C", True),
        ("master", "-", True),
    ],
)
def test_only_a_master_whose_replicas_were_given_up_counts_alone(cluster, nodes, alone, flags, master, counts):
    node = cluster.by_name["a:1"]
    node.table = {**TABLE, "b:1": {"node_id": "B", "flags": flags, "master_id": master}}
    node.answers = [["OK", 0]]
    (reply,) = nodes.run([PUT], replicated=True)
    assert (reply == "OK") is counts and alone == [1] * counts


def test_a_master_that_does_not_say_whether_it_has_replicas_does_not_count_alone(cluster, nodes, alone):
    cluster.by_name["a:1"].table = exceptions.TimeoutError("hangs")
    cluster.by_name["a:1"].answers = [["OK", 0]]
    assert isinstance(nodes.run([PUT], replicated=True)[0], RetryableError) and alone == []


def test_a_master_known_to_be_alone_is_not_waited_for_until_it_has_a_replica_again(cluster, nodes, alone):
    node = cluster.by_name["a:1"]
    node.table = {"a:1": TABLE["a:1"]}
    node.answers = [["OK", 0]]
    nodes.run([PUT], replicated=True)
    nodes.run([PUT, PUT], replicated=True)
    assert node.sent[1] == [PUT.words, PUT.words] and alone == [1, 2]
    node.table = TABLE
    nodes.run([PUT], replicated=True)
    assert node.sent[2] == [PUT.words, WAIT] and alone == [1, 2]


def test_a_script_that_a_node_lacks_is_loaded_and_only_its_calls_are_repeated(cluster, nodes):
    node = cluster.by_name["a:1"]
    node.answers = [["one", exceptions.NoScriptError("NOSCRIPT"), 1]]
    assert nodes.run([GET, PUT], replicated=True) == ["one", "OK"]
    assert node.sent[1] == [("SCRIPT LOAD", SCRIPT.text), PUT.words, WAIT]


def test_a_repeated_script_call_needs_its_own_acknowledgement(cluster, nodes):
    cluster.by_name["a:1"].answers = [[exceptions.NoScriptError("NOSCRIPT"), 1], ["sha", "OK", 0]]
    assert isinstance(nodes.run([PUT], replicated=True)[0], RetryableError)


def test_ask_leads_to_the_importing_node_with_a_wait_of_its_own(cluster, nodes):
    cluster.by_name["a:1"].answers = [[exceptions.AskError("5 c:1"), 1]]
    assert nodes.run([PUT], replicated=True) == ["OK"]
    assert cluster.by_name["c:1"].sent == [[("SCRIPT LOAD", SCRIPT.text), ("ASKING",), PUT.words, WAIT]]
    assert cluster.refreshed == []


def test_ask_for_an_unknown_node_is_tried_again_with_the_new_topology(cluster, nodes):
    cluster.by_name["a:1"].answers = [[exceptions.AskError("5 d:1")]]
    assert nodes.run([GET]) == ["OK"]
    assert len(cluster.refreshed) == 1


def test_moved_teaches_the_topology_instead_of_being_followed(cluster, nodes):
    cluster.by_name["a:1"].answers = [[exceptions.MovedError("5 c:1"), "kept", 1]]
    cluster.after_refresh = {1: "c:1"}
    other = Command(2, ("GET", "y"))
    assert nodes.run([PUT, other], replicated=True) == ["OK", "kept"]
    assert cluster.by_name["c:1"].sent == [[PUT.words, WAIT]], "and calls that were done are not repeated"
    assert len(cluster.refreshed) == 1


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError("refused"),
        exceptions.TimeoutError("hangs"),
        exceptions.BusyLoadingError("LOADING"),
        ConnectionResetError("reset"),
        exceptions.InvalidResponse("garbage"),
    ],
)
def test_a_lost_connection_is_tried_again_after_asking_others_first(cluster, nodes, error):
    cluster.by_name["a:1"].answers = [error]
    assert nodes.run([PUT], replicated=True) == ["OK"]
    assert cluster.refreshed == [([ENDPOINT], "a:1")]


@pytest.mark.parametrize("name", ["ClusterDownError", "MasterDownError", "TryAgainError", "ReadOnlyError"])
def test_a_state_that_passes_is_tried_again(cluster, nodes, name):
    cluster.by_name["a:1"].answers = [[getattr(exceptions, name)("later")]] * 3
    assert nodes.run([GET]) == ["OK"]


@pytest.mark.parametrize("error", [exceptions.OutOfMemoryError("OOM"), exceptions.ResponseError("ERR script")])
def test_other_errors_are_told_at_once_with_their_name(cluster, nodes, error):
    cluster.by_name["a:1"].answers = [[error, "fine", 1]]
    bad, good = nodes.run([PUT, PUT], replicated=True)
    assert type(error).__name__ in str(bad) and good == "fine" and len(cluster.by_name["a:1"].sent) == 1
    with pytest.raises(RetryableError):
        checked(bad)


@pytest.mark.parametrize(
    "error",
    [
        exceptions.RedisClusterException("no node"),
        exceptions.ConnectionError("refused"),
        OSError("route"),
        IndexError(),
    ],
)
def test_a_topology_that_no_node_tells_is_an_outage_and_no_bug(cluster, nodes, error):
    cluster.unreachable = error
    cluster.by_name["a:1"].answers = [exceptions.ConnectionError("refused")] * 1000
    (reply,) = nodes.run([GET])
    assert isinstance(reply, RetryableError) and "refused" in str(reply)


def test_a_slot_that_no_node_serves_is_tried_until_the_budget_is_spent(cluster, nodes):
    cluster.serves = {1: None}
    gone, fine = nodes.run([GET, Command(2, ("GET", "y"))])
    assert isinstance(gone, RetryableError) and "slot" in str(gone) and fine == "OK"
    assert cluster.now_s - 100 <= REDIS_BUDGET_S


@pytest.mark.parametrize(("call_s", "refresh_s"), [(0.001, 0), (2.0, 0), (2.0, 2.0), (0.001, 4.0), (2.0, 12.0)])
def test_the_budget_ends_all_tries(cluster, nodes, call_s, refresh_s):
    """However long nodes hang: no call begins after the budget."""
    cluster.call_s, cluster.refresh_s = call_s, refresh_s
    cluster.by_name["a:1"].answers = [exceptions.TimeoutError("hangs")] * 1000
    (reply,) = nodes.run([GET])
    assert isinstance(reply, RetryableError)
    assert cluster.now_s - 100 <= REDIS_BUDGET_S + max(call_s, refresh_s)


def test_calls_of_one_slow_node_do_not_repeat_those_of_others(cluster, nodes):
    cluster.serves = {2: "c:1"}
    cluster.by_name["c:1"].answers = [exceptions.TimeoutError("hangs")] * 1000
    good, bad = nodes.run([GET, Command(2, ("GET", "y"))])
    assert good == "OK" and isinstance(bad, RetryableError)
    assert len(cluster.by_name["a:1"].sent) == 1


def test_scripts_are_known_by_the_sha1_that_redis_computes():
    script = Script.load("init")
    assert script.text.startswith("#!lua") and len(script.sha) == 40
    assert script.call(7, ["k"], ["v"]) == Command(7, ("EVALSHA", script.sha, 1, "k", "v"), script)


WHO = ("INFO", "replication")
MASTER = "aa" * 20


class Required:
    """``names``: of the replicas that must have a write, None if the master is not noted."""

    def __init__(self, *names):
        self.names = names
        self.left = []
        self.away = False

    def required(self, master):
        assert master == MASTER
        return self.names

    def leave(self, master, names):
        if self.away:
            raise RetryableError("the table is away")
        self.left += names


def who(offset, master=MASTER, role="master", **got):
    """What INFO says; ``got``: by the host of a replica how far that is."""
    replicas = enumerate(got.items())
    listed = {f"slave{at}": {"ip": ip, "port": 1, "state": "online", "offset": far} for at, (ip, far) in replicas}
    return {"role": role, "master_replid": master, "master_repl_offset": offset, "slave_repl_offset": 0, **listed}


def write(cluster, required, *answers, calls=(PUT,), alone=lambda _: None):
    made = Nodes(cluster, ENDPOINT, lambda: cluster.now_s, cluster.sleep, alone, required)
    cluster.by_name["a:1"].answers = list(answers)
    try:
        return made.run(calls, replicated=True)
    finally:
        made.close()


def test_a_write_counts_when_every_replica_that_must_have_it_has_it(cluster):
    required = Required("b:1")
    assert write(cluster, required, ["OK", who(100, b=40), 1, who(100, b=100)]) == ["OK"]
    assert cluster.by_name["a:1"].sent == [[PUT.words, WHO, WAIT, WHO]] and required.left == []


def test_a_replica_that_lacks_a_write_is_struck_out_before_it_counts(cluster, alone):
    required = Required("b:1")
    assert write(cluster, required, ["OK", who(100, b=40), 0, who(100, b=40)], alone=alone.append) == ["OK"]
    assert required.left == ["b:1"] and alone == [1]
    assert len(cluster.by_name["a:1"].sent) == 1, "no second wait for one that hangs"


def test_nothing_counts_while_a_replica_can_not_be_struck_out(cluster, alone):
    required = Required("b:1")
    required.away = True
    (reply,) = write(cluster, required, ["OK", who(100), 0, who(100)], alone=alone.append)
    assert isinstance(reply, RetryableError) and alone == []


def test_another_replica_does_not_count_for_one_that_must_have_it(cluster):
    required = Required("b:1", "c:1")
    again = ["OK", 1, who(160, b=50, d=160)]
    assert write(cluster, required, ["OK", who(100, b=50, d=50), 1, who(100, b=50, d=100)], again) == ["OK"]
    assert cluster.by_name["a:1"].sent[1] == [PUT.words, ("WAIT", 2, WAIT_MS), WHO]
    assert required.left == ["b:1", "c:1"]


def test_a_wait_that_ended_early_is_asked_once_more(cluster):
    required = Required("b:1")
    again = ["OK", 1, who(160, b=160)]
    assert write(cluster, required, ["OK", who(100, b=40), 1, who(100, b=90)], again) == ["OK"]
    assert required.left == []


def test_nothing_is_waited_for_when_no_replica_must_have_it(cluster, alone):
    required, answer = Required(), [who(100, b=40), who(100, b=40)]
    nodes = Nodes(cluster, ENDPOINT, lambda: cluster.now_s, cluster.sleep, alone.append, required)
    node = cluster.by_name["a:1"]
    node.answers = [["OK", who(100, b=40), 1, who(100, b=40)], ["OK", *answer]]
    assert nodes.run([PUT], replicated=True) == nodes.run([PUT], replicated=True) == ["OK"]
    nodes.close()
    assert node.sent[1] == [PUT.words, WHO, WHO] and alone == [1, 1]


def test_of_a_master_that_is_not_noted_any_replica_must_have_it(cluster):
    required = Required()
    required.names = None
    assert write(cluster, required, ["OK", who(100), 1, who(100)]) == ["OK"]
    (reply,) = write(cluster, required, ["OK", who(100), 0, who(100)])
    assert isinstance(reply, RetryableError) and "no replica" in str(reply)


def test_a_master_that_is_not_noted_and_alone_is_not_waited_for(cluster, alone):
    required, node = Required(), cluster.by_name["a:1"]
    required.names, node.table = None, {"a:1": TABLE["a:1"]}
    node.answers = [["OK", who(100), 0, who(100)], ["OK", who(100), who(100)]]
    nodes = Nodes(cluster, ENDPOINT, lambda: cluster.now_s, cluster.sleep, alone.append, required)
    assert nodes.run([PUT], replicated=True) == nodes.run([PUT], replicated=True) == ["OK"]
    nodes.close()
    assert node.sent[1] == [PUT.words, WHO, WHO] and alone == [1, 1]


@pytest.mark.parametrize("after", [who(100, b=100, role="slave"), who(100, "bb" * 20, b=100)], ids=["role", "id"])
def test_a_master_that_was_replaced_on_the_way_vouches_for_nothing(cluster, after):
    required = Required("b:1")
    good = ["OK", who(100, b=100), 1, who(100, b=100)]
    assert write(cluster, required, ["OK", who(100, b=100), 1, after], good) == ["OK"]
    assert len(cluster.by_name["a:1"].sent) == 2 and required.left == []
