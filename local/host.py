"""This machine's metrics under the names of Mackerel's agent; counters as change per second since the last reading."""

import re
import socket
import time
from collections.abc import Callable

import psutil

HOST_ID = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64]
CPU = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest")
MEMORY = ("total", "used", "free", "buffers", "cached")


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


def _counters() -> dict[str, float]:
    nets, disks = psutil.net_io_counters(pernic=True), psutil.disk_io_counters(perdisk=True) or {}
    found = [(f"interface.{name}.rxBytes", io.bytes_recv) for name, io in nets.items()]
    found += [(f"interface.{name}.txBytes", io.bytes_sent) for name, io in nets.items()]
    found += [(f"disk.{name}.reads", io.read_count) for name, io in disks.items()]
    found += [(f"disk.{name}.writes", io.write_count) for name, io in disks.items()]
    return {re.sub(r"[^A-Za-z0-9._-]", "_", name): value for name, value in found}


def _gauges() -> dict[str, float]:
    cpu, memory = psutil.cpu_times_percent()._asdict(), psutil.virtual_memory()._asdict()
    cpus = psutil.cpu_count() or 1  # Mackerel's percentages add up to 100 for each CPU
    found = {f"cpu.{key}.percentage": cpu[key] * cpus for key in CPU if key in cpu}
    found |= {f"memory.{key}": memory[key] for key in MEMORY if key in memory}
    return {**found, **dict(zip(("loadavg1", "loadavg5", "loadavg15"), psutil.getloadavg(), strict=True))}
