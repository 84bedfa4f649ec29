"""Monitors of shares in percent: cpu%, memory%, swap% and disk%."""

import pytest
from carbyne.alerts.rates import RATES, filesystems_of, pairs_of, parts_of
from carbyne.core.keys import SourceKey
from carbyne.core.limits import FILESYSTEMS_KEPT_MAX, FILESYSTEMS_KEPT_MS, FILESYSTEMS_MAX
from carbyne.evaluate import filesystems
from carbyne.evaluate.filesystems import Filesystems

from tests.support.evaluation import Evaluation

NAN = float("nan")
HOST = {"type": "host", "name": "share", "operator": ">", "warning": 80, "critical": 90, "duration": 1}


@pytest.fixture
def system():
    return Evaluation()


def share(metric, operator=">", **series):
    """Of one value each, at time 1."""
    return [value for _, value in pairs_of(metric, {name: [(1, value)] for name, value in series.items()}, operator)]


def cpu(**parts):
    return {f"cpu.{name}.percentage": value for name, value in parts.items()}


def disk(**used):
    """Of 200 bytes each."""
    sizes = {f"filesystem.{name}.size": 200 for name in used}
    return {f"filesystem.{name}.used": value for name, value in used.items()} | sizes


@pytest.mark.parametrize(
    ("metric", "series", "expected"),
    [
        ("cpu%", cpu(user=30, system=10, idle=60), [40]),
        ("cpu%", cpu(user=300, iowait=20, guest=40, idle=40), [90]),
        ("cpu%", cpu(user=30, system=10), []),
        ("cpu%", cpu(user=0, idle=0), []),
        ("memory%", {"memory.used": 3, "memory.total": 4, "memory.free": 1}, [75]),
        ("memory%", {"memory.used": 3}, []),
        ("memory%", {"memory.used": NAN, "memory.total": 4}, []),
        ("swap%", {"memory.swap_free": 1, "memory.swap_total": 4}, [75]),
        ("swap%", {"memory.swap_used": 2, "memory.swap_free": 1, "memory.swap_total": 4}, [50]),
        ("swap%", {"memory.swap_free": 0, "memory.swap_total": 0}, []),
        ("disk%", disk(sda1=20, sdb=180), [90]),
        ("disk%", {"filesystem.sda1.used": 3}, []),
        ("loadavg5", {"loadavg5": 3}, [3]),
        ("loadavg5", {}, []),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_share_is_of_what_was_posted_at_its_time(metric, series, expected):
    assert share(metric, **series) == expected


def test_the_emptiest_file_system_counts_where_little_is_bad():
    assert share("disk%", "<", **disk(sda1=20, sdb=180)) == [10]


def test_times_that_lack_a_part_have_no_share():
    samples = {"memory.used": [(1, 1.0), (2, 2.0), (4, 3.0)], "memory.total": [(2, 4.0), (3, 4.0), (4, 4.0)]}
    assert pairs_of("memory%", samples, ">") == [(2, 50.0), (4, 75.0)]


def test_what_is_read_is_bounded():
    names = [f"filesystem.f{number:03d}.{part}" for number in range(200) for part in ("used", "size", "used.x")]
    filesystems = filesystems_of(names)
    assert filesystems[:2] == ["filesystem.f000", "filesystem.f001"] and len(filesystems) == FILESYSTEMS_MAX
    assert len(parts_of("disk%", filesystems)) == 2 * FILESYSTEMS_MAX
    assert parts_of("loadavg5", filesystems) == ["loadavg5"]


@pytest.mark.parametrize(
    ("metric", "good", "bad"),
    [
        ("cpu%", cpu(user=20, idle=80), cpu(user=95, idle=5)),
        ("memory%", {"memory.used": 1, "memory.total": 4}, {"memory.used": 3.8, "memory.total": 4}),
        ("swap%", {"memory.swap_free": 4, "memory.swap_total": 4}, {"memory.swap_free": 0.2, "memory.swap_total": 4}),
        ("disk%", disk(sda1=20, sdb=20), disk(sda1=20, sdb=190)),
    ],
    ids=RATES,
)
def test_a_share_opens_and_closes_an_alert(system, metric, good, bad):
    host = system.host()
    system.ok("POST", "/api/v0/monitors", {**HOST, "metric": metric})
    for series in (good, bad, good):
        for name, value in series.items():
            system.post(f"host/{host}", name, value)
        system.look()
    [alert] = system.all_alerts()
    assert (alert.status, alert.closed_at - alert.opened_at) == ("OK", 60)
    assert (alert.host_id, alert.message, alert.value) == (host, metric, pytest.approx(95))


def test_another_operator_of_disks_is_another_rule(system):
    """Its samples of before say nothing: they were those of another file system."""
    host = system.host()
    made = system.ok("POST", "/api/v0/monitors", {**HOST, "metric": "disk%"})
    for name, value in disk(sda1=20, sdb=100).items():
        system.post(f"host/{host}", name, value)
    system.look()
    less = {**HOST, "metric": "disk%", "operator": "<", "warning": 15, "critical": None}
    system.ok("PUT", f"/api/v0/monitors/{made['id']}", less)
    system.look()
    assert system.all_alerts() == []
    for name, value in disk(sda1=20, sdb=100).items():
        system.post(f"host/{host}", name, value)
    system.look()
    assert [(alert.status, alert.value) for alert in system.open_alerts()] == [("WARNING", 10)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"metric": "filesystem%"}, "metric: a share in percent is one of cpu%, memory%, swap%, disk%"),
        ({"warning": 101}, "warning: a share of 0 to 100 percent"),
        ({"critical": -1}, "critical: a share of 0 to 100 percent"),
    ],
    ids=["metric", "warning", "critical"],
)
def test_a_refusal_names_the_field(system, change, told):
    assert told in system.refused(400, "POST", "/api/v0/monitors", {**HOST, "metric": "disk%", **change})


class Names:
    def __init__(self):
        self.read = 0

    def names(self, source):
        self.read += 1
        return {f"filesystem.f{self.read}.used", "loadavg5"}


def test_names_of_file_systems_are_read_once_in_ten_minutes(monkeypatch):
    names = Names()
    known = Filesystems(names)
    hosts = [SourceKey("a", f"host/h{number}") for number in range(50)]
    for now_ms in range(0, FILESYSTEMS_KEPT_MS, 60_000):
        before = names.read
        assert all(len(known.of(host, now_ms)) == 1 for host in hosts)
        assert names.read - before <= 20 or now_ms == 0, "not of all hosts in one minute"
    assert names.read <= 2 * len(hosts)
    assert known.of(hosts[0], FILESYSTEMS_KEPT_MS * 3) != known.of(hosts[0], FILESYSTEMS_KEPT_MS * 5)
    monkeypatch.setattr(filesystems, "FILESYSTEMS_KEPT_MAX", 1)
    assert known.of(hosts[1], 0) and known.of(hosts[2], 0)
    assert FILESYSTEMS_KEPT_MAX > 1_000
