"""This machine's metrics under the names of Mackerel's agent; counters as change per second since the last reading."""

import re
import socket
import time
from collections.abc import Callable

import psutil

HOST_ID = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64]


class Host:
    """``read`` it again and again; the first reading counts from construction."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.before_s, self.before = clock, clock(), counters()

    def read(self) -> dict[str, float]:
        """name -> value."""
        now_s, now = self.clock(), counters()
        span_s = max(now_s - self.before_s, 1e-3)
        deltas = {f"{name}.delta": (now[name] - self.before[name]) / span_s for name in now.keys() & self.before.keys()}
        self.before_s, self.before = now_s, now
        return {**gauges(), **deltas}


def counters() -> dict[str, float]:
    found: dict[str, float] = {}
    for name, net in psutil.net_io_counters(pernic=True).items():
        found |= {f"interface.{name}.rxBytes": net.bytes_recv, f"interface.{name}.txBytes": net.bytes_sent}
    for name, disk in (psutil.disk_io_counters(perdisk=True) or {}).items():
        found |= {f"disk.{name}.reads": disk.read_count, f"disk.{name}.writes": disk.write_count}
    return {re.sub(r"[^A-Za-z0-9._-]", "_", name): value for name, value in found.items()}


def gauges() -> dict[str, float]:
    cpus = psutil.cpu_count() or 1  # Mackerel's percentages add up to 100 for each CPU
    found = {f"cpu.{name}.percentage": part * cpus for name, part in psutil.cpu_times_percent()._asdict().items()}
    found |= {f"memory.{name}": size for name, size in psutil.virtual_memory()._asdict().items() if name != "percent"}
    return {**found, **dict(zip(("loadavg1", "loadavg5", "loadavg15"), psutil.getloadavg(), strict=True))}
