"""mackerel-agent 0.87 on a simulated clock: what it asks at its start, when it posts what, and how it sends again.

After its ``command.go``: ``prepareHost``, ``enqueueLoop`` and ``loop``, with their constants.  Processes are generators
that yield how many seconds they sleep; ``Simulation`` wakes them in the order of time.
"""

import contextlib
import heapq
import itertools
import json
import random
from collections import deque
from hashlib import sha1

INTERVAL_S = 60
COLLECT_S = 60
"""How long cpu, disk and interface take to be collected: they measure over a minute."""
COLLECTIONS_MAX = 3
QUEUE_ENTRIES = 360
DEQUEUE_DELAY_S = 30
RETRY_DELAY_S = 60
RETRIES_MAX = 60
TIMEOUT_S = 30
RETRY_AT_ONCE_S = 25
"""A network error that came back within this is tried again at once, once."""
UPDATE_HOST_S = 3_600
START_TRIES, START_DELAY_S = 20, 3
FIND_TRIES, FIND_DELAY_S = 3, 2
CPU = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest")
MEMORY = ("total", "used", "swap_total", "swap_cached", "swap_free", "mem_available")
METRICS = (
    *(f"loadavg{minutes}" for minutes in (1, 5, 15)),
    *(f"cpu.{kind}.percentage" for kind in CPU),
    *(f"memory.{kind}" for kind in MEMORY),
    "interface.eth0.rxBytes.delta",
    "interface.eth0.txBytes.delta",
    "disk.nvme0n1.reads.delta",
    "disk.nvme0n1.writes.delta",
    "filesystem.nvme0n1p1.size",
    "filesystem.nvme0n1p1.used",
)
PLUGIN = ("custom.redis.clients.connected_clients", "custom.redis.memory.used_memory")
GRAPHS = [
    {
        "name": "custom.redis.clients",
        "displayName": "Redis Client",
        "unit": "integer",
        "metrics": [{"name": "custom.redis.clients.connected_clients", "displayName": "Connected", "isStacked": False}],
    },
    {
        "name": "custom.redis.memory",
        "displayName": "Redis Memory",
        "unit": "integer",
        "metrics": [{"name": "custom.redis.memory.used_memory", "displayName": "Used", "isStacked": False}],
    },
]


class NetworkError(Exception):
    """No answer; ``after_s`` seconds after the request."""

    def __init__(self, after_s):
        super().__init__(f"no answer after {after_s} s")
        self.after_s = after_s


class Refused(Exception):
    """An answer that the client can't use: another status than 2xx, or a body that is no JSON."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


class Simulation:
    """``now_s``: the clock."""

    def __init__(self, now_s):
        self.now_s = now_s
        self._waiting = []
        self._order = itertools.count()

    def start(self, process):
        self._sleep(process, 0)

    def run_until(self, end_s):
        while self._waiting and self._waiting[0][0] <= end_s:
            self.now_s, _, process = heapq.heappop(self._waiting)
            with contextlib.suppress(StopIteration):
                self._sleep(process, next(process))
        self.now_s = end_s

    def _sleep(self, process, seconds):
        heapq.heappush(self._waiting, (self.now_s + seconds, next(self._order), process))


class Entry:
    """All metrics of one minute."""

    def __init__(self, values):
        self.values = values
        self.retries = 0


class Agent:
    """``send(method, path, body)``: status and text, or NetworkError.  ``collected``: {metric: {time: value}} so far;
    ``posts``: (second of the simulation, number of entries, whether it succeeded)."""

    def __init__(self, simulation, name, send):
        self._simulation = simulation
        self._name = name
        self._send = send
        self._random = random.Random(name)
        self.host_id = None
        self.running = False
        self.gave_up = False
        self.queue = deque()
        self.blocked = deque()
        self.collected = {}
        self.posts = []
        self.dropped_ticks = []
        self.abandoned = 0
        self.delay_s = None
        self._collecting = 0
        self._wake = False
        simulation.start(self._main())

    # Start

    def _main(self):
        yield from self._prepare()
        if self.gave_up:
            return
        self.running = True
        self.delay_s = sha1(self.host_id.encode(), usedforsecurity=False).digest()[-1] % 60
        self._simulation.start(self._update_host())
        self._simulation.start(self._collect_each_minute())
        yield self.delay_s // 2
        yield from self._call("POST", "/api/v0/graph-defs/create?", GRAPHS)
        yield from self._post_all()

    def _prepare(self):
        for _ in range(FIND_TRIES):
            states = "&".join(f"status={status}" for status in ("working", "standby", "maintenance", "poweroff"))
            answered = yield from self._call("GET", f"/api/v0/hosts?customIdentifier={self._name}.cloud&{states}")
            if isinstance(answered, dict) and answered["hosts"]:
                self.host_id = answered["hosts"][0]["id"]
                break
            yield FIND_DELAY_S
        if self.host_id is None:
            made = yield from self._persist("POST", "/api/v0/hosts?", self._spec())
            if made is None:
                return
            self.host_id = made["id"]
        answered = yield from self._persist("GET", f"/api/v0/hosts/{self.host_id}?")
        if answered is None:
            return
        host = answered["host"]
        assert type(host["createdAt"]) is int and 0 <= host["createdAt"] < 2**31, "or the client can't decode it"
        assert all(type(value) is str for part in ("memory", "kernel") for value in host["meta"][part].values())
        if host["status"] != "working":
            yield from self._persist("POST", f"/api/v0/hosts/{self.host_id}/status?", {"status": "working"})

    def _persist(self, method, path, body=None):
        """The answer within 20 tries; a 4xx ends the agent."""
        for _ in range(START_TRIES):
            answer = yield from self._call(method, path, body)
            if not isinstance(answer, Exception):
                return answer
            if isinstance(answer, Refused) and 400 <= answer.status < 500:
                break
            yield START_DELAY_S
        self.gave_up = True
        return None

    def _spec(self):
        return {
            "name": self._name,
            "customIdentifier": f"{self._name}.cloud",
            "meta": {
                "agent-version": "0.87.0",
                "memory": {"total": "16000kB", "free": "80kB"},
                "kernel": {"name": "Linux", "release": "6.1"},
                "cpu": [{"core_id": "0"}],
            },
            "interfaces": [{"name": "eth0", "ipAddress": "10.0.0.1"}],
            "roleFullnames": ["shop:web"],
            "checks": [],
        }

    def _update_host(self):
        while True:
            yield from self._call("PUT", f"/api/v0/hosts/{self.host_id}?", self._spec())
            yield UPDATE_HOST_S

    # Collecting

    def _collect_each_minute(self):
        """Once at the start, then at second 0 of each minute, unless three collections wait for room in the queue."""
        while True:
            if self._collecting < COLLECTIONS_MAX:
                self._collecting += 1
                self._simulation.start(self._collect(self._simulation.now_s))
            else:
                self.dropped_ticks.append(self._simulation.now_s)
            yield INTERVAL_S - self._simulation.now_s % INTERVAL_S

    def _collect(self, tick_s):
        yield COLLECT_S
        values = {
            name: round(self._random.uniform(0, 1e10), self._random.choice((0, 2, 6))) for name in METRICS + PLUGIN
        }
        while len(self.queue) >= QUEUE_ENTRIES:
            yield 1
        for name, value in values.items():
            self.collected.setdefault(name, {})[tick_s] = value
        samples = [
            {"hostId": self.host_id, "name": name, "time": tick_s, "value": value} for name, value in values.items()
        ]
        self.queue.append(Entry(samples))
        self._collecting -= 1

    # Posting

    def _post_all(self):
        state = "first"
        while True:
            while not self.queue:
                yield 1
            entries = [self.queue.popleft() for _ in range(min(2, len(self.queue)))]
            delay_s = self._delay_s(state)
            state = "queued" if self.queue else "default"
            yield delay_s
            body = [sample for entry in entries for sample in entry.values]
            answer = yield from self._call("POST", "/api/v0/tsdb?", body)
            failed = isinstance(answer, Exception)
            self.posts.append((self._simulation.now_s, len(entries), not failed))
            if failed:
                state = "had error"
                self._requeue(entries)

    def _delay_s(self, state):
        elapsed_s = self._simulation.now_s % INTERVAL_S
        by_host_s = max(0, self.delay_s - elapsed_s)
        return {"first": 0, "queued": DEQUEUE_DELAY_S, "had error": RETRY_DELAY_S}.get(state, by_host_s)

    def _requeue(self, entries):
        """To the tail; the 61st failure is the last one."""
        for entry in entries:
            entry.retries += 1
            if entry.retries > RETRIES_MAX:
                self.abandoned += 1
            else:
                self.queue.append(entry)

    # HTTP

    def _call(self, method, path, body=None):
        """The decoded answer, or the error."""
        first = yield from self._try(method, path, body)
        if isinstance(first, NetworkError) and first.after_s < RETRY_AT_ONCE_S:
            return (yield from self._try(method, path, body))
        return first

    def _try(self, method, path, body):
        text = None if method == "GET" else json.dumps(body) + "\n"
        try:
            status, answer = self._send(method, path, text)
        except NetworkError as error:
            yield error.after_s
            return error
        try:
            decoded = json.loads(answer)
        except ValueError:
            return Refused(status, "EOF")
        return decoded if 200 <= status < 300 else Refused(status, answer)
