"""Nodes of Redis die, hang and copy each other again while hosts post and read: nothing is lost, no operator acts.

The functions' own clients follow; what Redis lost the sealer finds and the stream gives back.  Times are printed.
"""

import signal
import threading
import time
from contextlib import contextmanager, suppress

from carbyne.adapters.redis.windows import HotWindows
from carbyne.core.errors import RetryableError
from carbyne.core.keys import SourceKey
from carbyne.hot.followers import MastersItem
from carbyne.hot.jobs import Jobs
from carbyne.hot.replay import Replayer, Supervisor

from harness.pipeline import APPS, kinesis_event, master_of, replica_of, with_role
from servers.valkey import Cluster
from tests.integration.test_replay import Readers
from tests.support.redis_load import NAMES, Load

RECOVERED_S = 120
PROVEN_READ_S = 5
BATCH = 200


class Drill(Load):
    """Load with the rest of the system: sealer and supervisor each half second instead of each minute, and the second
    reader of the stream while a replay runs."""

    def __init__(self, cluster, hosts, pause_s):
        super().__init__(cluster, hosts, pause_s=pause_s, partial=True)
        self.cluster = cluster
        nodes = self.pipeline._nodes()
        self.lanes = HotWindows(nodes)
        self.readers_of_stream = Readers()
        self.jobs = Jobs(self.pipeline.table)
        self.supervisor = Supervisor(self.jobs, self.readers_of_stream, self.pipeline.stream, lambda: 0.0, [])
        self.replayer = Replayer(self.pipeline.new_ingester(nodes), self.lanes, self.pipeline.meter)

    def _look(self):
        """In the place of the sealer's look alone: a whole turn of sealer, supervisor and replayer."""
        while not self._stopping.wait(0.5):
            with suppress(RetryableError):
                self.pipeline.seal()
                self.supervisor.tick()
                self._replay()

    def _replay(self):
        at = 0
        while self.readers_of_stream.running and at < len(self.pipeline.stream.records):
            records = self.pipeline.stream.records[at : at + BATCH]
            failures = APPS["replayer"].handle(kinesis_event(records), lambda: self.replayer)["batchItemFailures"]
            order = [sequence for sequence, *_ in records]
            at += order.index(failures[0]["itemIdentifier"]) if failures else len(records)

    @contextmanager
    def measured(self, title, hosts, *, proven=False):
        """Break something in the block; then wait until all of ``hosts`` are served again, and print how long each
        part took, from the block's begin on.  ``proven``: no lane is replayed for it, and reads are back in time."""
        self._until(self._counts_all)
        before = self._token()
        self.write_gap_s = self.read_gap_s = 0.0
        begun_s, rounds = time.monotonic(), self.rounds
        yield
        read_s = self._until(lambda: all(self._is_read(host) for host in hosts)) - begun_s
        stored_s = self._until(lambda: self.stored > rounds) - begun_s
        whole_s = self._until(self._is_whole) - begun_s
        replayed = 0 if self._token() == before else len(self.jobs.load()[0].lanes)
        print(
            f"\n  {title}: without reads of its {len(hosts)} hosts for {read_s:.1f} s, stored again after "
            f"{stored_s:.1f} s, all lanes whole after {whole_s:.1f} s; longest without a read of any host "
            f"{self.read_gap_s:.1f} s, without a batch stored {self.write_gap_s:.1f} s; "
            f"lanes replayed: {replayed}",
            end="",
        )
        if proven:
            assert replayed == 0, "the replica had everything"
            assert read_s < PROVEN_READ_S, "seconds without reads"

    def _token(self):
        job, _ = self.jobs.load()
        return job and job.token

    def _counts_all(self):
        """Whether each master has a replica that proves a promotion."""
        note, _ = MastersItem(self.pipeline.table).load()
        shards = {shard.id: shard for shard in note.shards}
        return all(any(follower.counts for follower in shards[id_].followers) for id_ in note.ids)

    def _is_read(self, host):
        return self.pipeline.get_metric(host, NAMES[0])[0] == 200

    def _is_whole(self):
        job, _ = self.jobs.load()
        with suppress(RetryableError):
            return not self.lanes.in_replay(range(1024)) and not (job and (job.left or job.reader))
        return False

    def _until(self, condition):
        end_s = time.monotonic() + RECOVERED_S
        while not condition():
            assert time.monotonic() < end_s, (self.problems[:1], self.jobs.load()[0])
            time.sleep(0.05)
        return time.monotonic()

    def hosts_of(self, master):
        return [host for host in self.hosts if master_of(self.cluster, lane_of(host)) is master]


def lane_of(host):
    return SourceKey("acme", f"host/{host}").lane


def drills(hosts, masters_killed, fill_bytes, pause_s=0.1):
    """Each kind of fault on one cluster under one load; what was acknowledged is all there at the end."""
    with Cluster(masters=3, replicas=1, node_timeout_ms=1000) as cluster:
        load = Drill(cluster, hosts, pause_s)
        try:
            with load.running():
                load._until(lambda: load.stored > 3)
                for number in range(masters_killed):
                    kill_a_master(cluster, load, number)
                pause_a_master(cluster, load)
                resync_a_replica(cluster, load, fill_bytes)
                lose_a_shard(cluster, load)
            load.report("drills")
            assert load.problems[:1] == [], "no post is refused, no answer is wrong"
            load.check_everything()
        finally:
            load.close()


def kill_a_master(cluster, load, number):
    master = with_role(cluster, "master")[number]
    hosts, heir = load.hosts_of(master), replica_of(cluster, master)
    with load.measured(f"kill -9 of master {number + 1}", hosts, proven=True):
        master.kill()
    assert "role:master" in heir.ask("INFO", "replication"), "by the cluster's own election"
    master.restart()
    cluster.wait_until_ok()


def pause_a_master(cluster, load):
    """As a network cut between masters does: the others elect its replica, and it comes back believing itself one."""
    master = with_role(cluster, "master")[0]
    hosts, heir = load.hosts_of(master), replica_of(cluster, master)
    with load.measured("a master cut off for 4 s", hosts, proven=True):
        master.process.send_signal(signal.SIGSTOP)
        threading.Timer(4, master.process.send_signal, [signal.SIGCONT]).start()
    assert "role:master" in heir.ask("INFO", "replication")
    cluster.wait_until_ok()
    assert "role:slave" in master.ask("INFO", "replication")


def resync_a_replica(cluster, load, fill_bytes):
    """It was away for longer than the backlog reaches, so it copies everything."""
    master = with_role(cluster, "master")[0]
    replica = replica_of(cluster, master)
    master.ask("CONFIG", "SET", "repl-backlog-size", 16_384)
    filler = f"{{l{lane_of(load.hosts_of(master)[0]):04d}}}:filler:"
    before = int(dict(_lines(master))["sync_full"])
    with load.measured(f"a full resync of {fill_bytes >> 20} MiB", load.hosts_of(master)):
        replica.kill()
        with master.client as client:
            for number in range(fill_bytes // 1_000_000):
                client.set(f"{filler}{number}", b"x" * 1_000_000)
        replica.restart()
        cluster.wait_until_ok()
    assert int(dict(_lines(master))["sync_full"]) > before
    with master.client as client:
        for number in range(fill_bytes // 1_000_000):
            client.delete(f"{filler}{number}")


def _lines(node):
    return [line.split(":", 1) for line in node.ask("INFO", "stats").split("\r\n") if ":" in line]


def lose_a_shard(cluster, load):
    """Master and replica die and come back empty: every lane of theirs is filled from the stream."""
    master = with_role(cluster, "master")[0]
    hosts, both = load.hosts_of(master), [master, replica_of(cluster, master)]
    with load.measured("a shard lost with its replica", hosts):
        for node in both:
            node.kill()
        for node in both:
            node.restart()
    cluster.wait_until_ok()


def test_nothing_is_lost_whatever_happens_to_nodes():
    drills(hosts=24, masters_killed=1, fill_bytes=20_000_000)
