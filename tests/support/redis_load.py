"""Servers for clusters that tests make themselves, and hosts that post and read through the functions meanwhile."""

import random
import shutil
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from carbyne.cli import main
from carbyne.cli.desk import Desk
from carbyne.core.errors import RetryableError
from carbyne.hot.jobs import Jobs

from harness.pipeline import LENGTH_S, Pipeline
from servers.valkey import Node

START_S = 1_700_006_400  # where a window begins
assert START_S % LENGTH_S == 0
STEP_S = 60
NAMES = ("m0", "m1", "m2")
NOTED = ("leave", "rebalance", "failover", "replace")
LOOK_S = 0.3


class Fleet:
    """Servers in cluster mode that know nothing of each other; ``nodes`` in the order of ``hosts``."""

    def __init__(self, hosts, node_timeout_ms=1000, **node):
        self.directory = Path(tempfile.mkdtemp(prefix="carbyne-fleet-"))
        self.nodes = [
            Node(self.directory / str(at), node_timeout_ms, host=host, **node) for at, host in enumerate(hosts)
        ]

    def __enter__(self):
        try:
            for node in self.nodes:
                node.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for node in self.nodes:
            node.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def name_of(node):
    return f"{node.host}:{node.port}"


class Operator(Desk):
    """Runs ``carbyne redis``; ``said`` and ``remarks`` are those of the last command, ``everything`` of all."""

    def __init__(self, endpoint="", more=""):
        self.endpoint, self.more, self.blocks = endpoint, more, None
        self.said, self.remarks, self.everything = [], [], []
        self.answer = True

    def say(self, line):
        self.said.append(line)
        self.everything.append(line)

    def remark(self, line):
        self.remarks.append(line)
        self.everything.append(line)

    def agrees(self, question):
        self.everything.append(question)
        return self.answer

    def dynamodb(self):
        """In the place of a client the table itself: see ``noting``."""
        return self.blocks

    @contextmanager
    def noting(self, monkeypatch, table):
        """Changes of masters are noted in this table of blocks."""
        with monkeypatch.context() as patch:
            patch.setattr("carbyne.wiring.operator.blocks_table", lambda client, name: client)
            self.blocks = table
            yield
        self.blocks = None

    def redis(self, command, *nodes, status=0, yes=True):
        """``command`` with the names of ``nodes`` for ``{0}``, ``{1}``, ...; what it said, or why it failed."""
        self.said, self.remarks = [], []
        text = command.format(*map(name_of, nodes))
        endpoint = "" if text.startswith("create") else f"--endpoint {self.endpoint}"
        agreed = "--yes" if yes and not text.startswith("status") else ""
        noted = "--table blocks" if self.blocks and text.split()[0] in NOTED else ""
        assert main(f"redis {text} {noted} {endpoint} {agreed} {self.more}".split(), self) == status, self.remarks
        return "\n".join(self.said if status == 0 else self.remarks[-1:])


class Load:
    """``hosts`` that post each STEP_S of a clock of their own, and readers that compare what they get.

    ``problems``: answers that were not 200 or not what was posted; ``reads_s``: how long each read took;
    ``write_gap_s`` and ``read_gap_s``: the longest time between two ends of batches, or reads, that succeeded.
    ``pause_s``: between two rounds, each a minute of the hosts' time; ``partial``: a read may be refused, as while
    lanes are replayed.  The sealer looks at the masters each LOOK_S.
    """

    def __init__(self, cluster, hosts=40, readers=2, *, pause_s=0.1, partial=False):
        self.pipeline = Pipeline(cluster, START_S + 600)
        self.hosts = [f"web{i}" for i in range(hosts)]
        self.readers, self.pause_s, self.partial = readers, pause_s, partial
        self.problems, self.reads_s, self.refused = [], [], 0
        self.stored = self.rounds = 0
        self.write_gap_s = self.read_gap_s = 0.0
        self._stopping = threading.Event()
        self._look_once = self.pipeline.new_look()
        self._look_once()

    @contextmanager
    def running(self):
        """Posts and reads until the block ends; then all that was posted is compared once more."""
        jobs = [self._write, self._look, *[self._read] * self.readers]
        threads = [threading.Thread(target=job, daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join(60)
        assert not any(thread.is_alive() for thread in threads)

    @property
    def replayed(self):
        """How many lanes were taken into a replay, of which none can be here."""
        job, _ = Jobs(self.pipeline.table).load()
        return len(job.lanes) if job else 0

    def check_everything(self):
        """Each sample that was acknowledged is there, and no other."""
        for at, host in enumerate(self.hosts):
            for name in NAMES:
                status, _, points = self.pipeline.get_metric(host, name)
                assert status == 200, (host, name, points)
                assert points == self._expected(at, name, self.rounds), (host, name)

    def close(self):
        self.pipeline.close()

    def timed(self, title, work):
        """Do some work and print how long it took, and how long reads took meanwhile."""
        first, begun_s = len(self.reads_s), time.monotonic()
        work()
        reads = sorted(self.reads_s[first:])
        p99 = f"{1000 * reads[int(len(reads) * 0.99)]:.0f} ms" if reads else "none"
        print(f"\n  {title}: {time.monotonic() - begun_s:.1f} s, {len(reads)} reads, p99 {p99}", end="")

    def report(self, title):
        p99_ms = 1000 * sorted(self.reads_s)[int(len(self.reads_s) * 0.99)] if self.reads_s else 0
        print(
            f"\n{title}: {self.rounds} rounds of {len(self.hosts)} hosts, {len(self.reads_s)} reads, "
            f"p99 {p99_ms:.0f} ms, longest without a batch stored {self.write_gap_s:.2f} s, "
            f"without a read {self.read_gap_s:.2f} s, "
            f"reads refused {self.refused}"
        )

    def _write(self):
        """One round after the other: posts of all hosts, then the stream's new records until they are done."""
        last_s = time.monotonic()
        while not self._stopping.is_set():
            self.pipeline.now_s = max(self.pipeline.now_s, START_S + STEP_S * (self.rounds + 2))
            body = [
                (host, name, START_S + STEP_S * self.rounds, self._value(at, name, self.rounds))
                for at, host in enumerate(self.hosts)
                for name in NAMES
            ]
            first = len(self.pipeline.stream.records)
            answer = self.pipeline.post(body)
            if answer["statusCode"] != 200:
                self.problems.append(("post", answer))
            self.rounds += 1
            self.pipeline.deliver(self.pipeline.stream.records[first:])
            self.stored = self.rounds
            self.write_gap_s, last_s = max(self.write_gap_s, time.monotonic() - last_s), time.monotonic()
            self._stopping.wait(self.pause_s)

    def _look(self):
        while not self._stopping.wait(LOOK_S):
            with suppress(RetryableError):  # some node is away; the sealer's next run looks again
                self._look_once()

    def _read(self):
        chosen, last_s = random.Random(7), time.monotonic()
        while not self._stopping.is_set():
            at, name = chosen.randrange(len(self.hosts)), chosen.choice(NAMES)
            if not (sure := self.stored):
                time.sleep(0.01)
                continue
            time.sleep(0.01)
            begun_s = time.monotonic()
            status, _, points = self.pipeline.get_metric(self.hosts[at], name)
            ended_s = time.monotonic()
            if status == 503 and self.partial:
                self.refused += 1
                time.sleep(0.05)
                continue
            self.reads_s.append(ended_s - begun_s)
            self.read_gap_s, last_s = max(self.read_gap_s, ended_s - last_s), ended_s
            expected = self._expected(at, name, self.rounds)
            if status != 200 or points[:sure] != expected[:sure] or points != expected[: len(points)]:
                self.problems.append(("read", status, self.hosts[at], name, sure, points))

    def _expected(self, at, name, rounds):
        return [(START_S + STEP_S * i, self._value(at, name, i)) for i in range(rounds)]

    @staticmethod
    def _value(at, name, number):
        return number + at / 8 + int(name[1:])
