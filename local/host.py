"""This machine's metrics under the names of Mackerel's agent; counters as change per second since the last reading."""

import re
import socket
import time
from collections.abc import Callable
from typing import Any

import psutil

HOST_ID = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64]

CPU = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest")


class Host:
    """``read`` it again and again; the first reading counts from construction."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.before_s, self.before = clock(), _counters()
        psutil.cpu_times_percent()

    def read(self) -> dict[str, float]:
        """name -> value."""
        now_s, now = self.clock(), _counters()
        span_s = max(now_s - self.before_s, 1e-3)
        deltas = {f"{name}.delta": (now[name] - self.before[name]) / span_s for name in now if name in self.before}
        self.before_s, self.before = now_s, now
        return {**_gauges(), **deltas}

    def post(self, now_s: int) -> list[dict[str, Any]]:
        """The body of a POST to /api/v0/tsdb."""
        return [{"hostId": HOST_ID, "name": name, "time": now_s, "value": v} for name, v in self.read().items()]


def _counters() -> dict[str, float]:
    found: dict[str, float] = {}
    for name, io in psutil.net_io_counters(pernic=True).items():
        found |= {f"interface.{_part(name)}.rxBytes": io.bytes_recv, f"interface.{_part(name)}.txBytes": io.bytes_sent}
    for name, disk in (psutil.disk_io_counters(perdisk=True) or {}).items():
        found |= {f"disk.{_part(name)}.reads": disk.read_count, f"disk.{_part(name)}.writes": disk.write_count}
    return found


def _gauges() -> dict[str, float]:
    cpu, memory, load = psutil.cpu_times_percent()._asdict(), psutil.virtual_memory()._asdict(), psutil.getloadavg()
    cpus = psutil.cpu_count() or 1  # Mackerel's percentages add up to 100 for each CPU
    found = {f"cpu.{key}.percentage": cpu[key] * cpus for key in CPU if key in cpu}
    found |= {f"memory.{key}": memory[key] for key in ("total", "used", "free", "buffers", "cached") if key in memory}
    return {**found, **dict(zip(("loadavg1", "loadavg5", "loadavg15"), load, strict=True))}


def _part(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)
