"""An agent: this machine's metrics under the names of Mackerel's, posted to a system."""

import json
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import urllib3

NAME = socket.gethostname()
READBACK_S = 15.0
ANSWER_S = 30.0


class Agent:
    """Posts to the system at ``url``."""

    def __init__(self, url: str, api_key: str) -> None:
        self.url, self.headers, self.readings = url, {"X-Api-Key": api_key}, readings()
        self.host_id = re.sub(r"[^A-Za-z0-9_-]", "-", NAME)[:64]

    def register(self) -> None:
        """Make this machine a host, with a role; without an answer it posts under its name."""
        host = {
            **{"name": NAME, "customIdentifier": f"make-run/{NAME}", "memo": "This machine, while make run runs"},
            **{"roleFullnames": ["local:machine"], "meta": {"agent-name": "make run"}, "interfaces": []},
        }
        status, text = self._ask("POST", "/api/v0/hosts", host)
        if status == 200:
            self.host_id = json.loads(text)["id"]

    def post(self) -> bool:
        """Post the metrics of now; say so if they are not taken, which the next minute's may be."""
        now_s, metrics = int(time.time()), next(self.readings)
        body = [
            {"hostId": self.host_id, "name": name, "time": now_s, "value": value} for name, value in metrics.items()
        ]
        status, text = self._ask("POST", "/api/v0/tsdb", body)
        if status != 200:
            print(f"this machine's metrics were not taken: {text}", file=sys.stderr, flush=True)
        return status == 200

    def await_sample(self) -> None:
        """Until a sample comes back: the first batch also prepares the lanes."""
        query = f"/api/v0/tsdb/latest?hostId={self.host_id}&name=loadavg5"
        end_s = time.monotonic() + READBACK_S
        while time.monotonic() < end_s:
            time.sleep(1.5)  # a batch has to fill and its function to warm up; asking earlier only makes warnings
            if "value" in self._ask("GET", query)[1]:
                return
        print("this machine's metrics can't be read back yet", file=sys.stderr, flush=True)

    def _ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Status and text of an answer; 0 and the reason if there is none."""
        url = self.url + path
        try:
            answer = urllib3.request(method, url, json=body, headers=self.headers, retries=False, timeout=ANSWER_S)
        except urllib3.exceptions.HTTPError as error:
            return 0, f"{type(error).__name__}: {error}"
        return answer.status, answer.data.decode(errors="replace")


def readings(clock: Callable[[], float] = time.monotonic) -> Iterator[dict[str, float]]:
    """name -> value, again and again; counters from the second time on, as change per second."""
    before_s, before = clock(), dict[str, float]()
    while True:
        now_s, now = clock(), counters()
        changed = {name: now[name] - before[name] for name in now.keys() & before.keys()}
        deltas = {f"{name}.delta": change / (now_s - before_s) for name, change in changed.items()}
        before_s, before = now_s, now
        yield {**gauges(), **deltas}


def counters() -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, net in psutil.net_io_counters(pernic=True).items():
        numbers |= {f"interface.{name}.rxBytes": net.bytes_recv, f"interface.{name}.txBytes": net.bytes_sent}
    for name, disk in (psutil.disk_io_counters(perdisk=True) or {}).items():
        numbers |= {f"disk.{name}.reads": disk.read_count, f"disk.{name}.writes": disk.write_count}
    return {re.sub(r"[^A-Za-z0-9._-]", "_", name): value for name, value in numbers.items()}


def gauges() -> dict[str, float]:
    cpus = psutil.cpu_count() or 1  # Mackerel's percentages add up to 100 for each CPU
    numbers = {f"cpu.{name}.percentage": part * cpus for name, part in psutil.cpu_times_percent()._asdict().items()}
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    numbers |= {"memory.total": memory.total, "memory.mem_available": memory.available}
    numbers |= {"memory.used": memory.total - memory.available}
    numbers |= {"memory.swap_total": swap.total, "memory.swap_free": swap.free}
    for disk in psutil.disk_partitions():
        name, usage = disk.device.removeprefix("/dev/"), psutil.disk_usage(disk.mountpoint)
        name = re.sub(r"[^A-Za-z0-9_-]", "_", name)
        numbers |= {f"filesystem.{name}.size": usage.total, f"filesystem.{name}.used": usage.used}
    return {**numbers, **dict(zip(("loadavg1", "loadavg5", "loadavg15"), psutil.getloadavg(), strict=True))}
