"""A sender of remote write 2.0, made from the specification: it scrapes pages of metrics, and keeps a store of its own.

Series go to shards by their number, as Prometheus does it, and each shard sends one body after the other: again with
the same bytes after 5xx and 429, never again after 2xx and other 4xx.
"""

import re
import threading
import time
from collections import deque

from tests.support.prometheus_door import page, post
from tests.support.remote_write import V2, Body2, bits, packed

SHARDS, PER_SEND = 3, 150
LINE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
ESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}
HEADERS = {
    "Content-Type": V2,
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "2.0.0",
    "Authorization": "Bearer secret",
    "User-Agent": "sender-2",
}


class Sender2:
    """Scrapes the pages of ``ports`` each ``interval_s`` until it is closed.

    ``samples``: its own store, (labels as sorted pairs, ts_ms) -> bits; ``unsent``: keys of samples that a kill took.
    """

    def __init__(self, url, ports, interval_s):
        self._url, self._ports, self._interval_s = url, ports, interval_s
        self.samples, self.unsent, self.problems = {}, set(), []
        self._numbers = {}
        self._queues = [deque() for _ in range(SHARDS)]
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._scrape)]
        self._threads += [threading.Thread(target=self._send, args=[queue]) for queue in self._queues]
        for thread in self._threads:
            thread.start()

    def kill(self):
        """What a sudden end takes: all that waits, but for what is under way, which may have arrived."""
        with self._lock:
            for queue in self._queues:
                self.unsent |= {key for key, _ in queue}
                queue.clear()

    def close(self):
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    @property
    def pending(self):
        return sum(map(len, self._queues))

    def _scrape(self):
        while not self._stopping.is_set():
            for port in self._ports:
                ts_ms, text = int(1000 * time.time()), page(port).decode()
                with self._lock:
                    for name, inside, value in LINE.findall(text):
                        labels = {"__name__": name, "job": "two", "instance": f"127.0.0.1:{port}"}
                        labels |= {key: _plain(text) for key, text in LABEL.findall(inside) if text}
                        self._take(tuple(sorted(labels.items())), ts_ms, float(value))
            self._stopping.wait(self._interval_s)

    def _take(self, labels, ts_ms, value):
        number = self._numbers.setdefault(labels, len(self._numbers))
        self.samples[labels, ts_ms] = bits(value)
        self._queues[number % SHARDS].append(((labels, ts_ms), value))

    def _send(self, queue):
        while not self._stopping.is_set():
            with self._lock:
                batch = [queue.popleft() for _ in range(min(PER_SEND, len(queue)))]
            if batch:
                self._deliver(_body(batch), batch)
            else:
                self._stopping.wait(0.1)

    def _deliver(self, body, batch):
        while not self._stopping.is_set():
            status, headers = post(self._url, body, HEADERS)
            if status == 429 or status >= 500:
                self._stopping.wait(float(headers.get("Retry-After", 1)))
                continue
            if (status, headers["X-Prometheus-Remote-Write-Samples-Written"]) != (204, str(len(batch))):
                self.problems.append((status, dict(headers)))
            return
        self.unsent |= {key for key, _ in batch}


def _body(batch):
    body = Body2()
    for (labels, ts_ms), value in batch:
        body.add(dict(labels), (value, ts_ms), about=(2, "", ""))
    return packed(body.bytes())


def _plain(text):
    return re.sub(r"\\.", lambda match: ESCAPED.get(match[0], match[0]), text)
