"""Runs rule unit-test files, in the format of ``promtool test rules``, through our evaluation of groups.

As promtool does it: all groups are evaluated at each ``evaluation_interval``, alerts are compared as they were at the
last evaluation before ``eval_time``, and expressions are asked when all evaluations are done.
"""

from pathlib import Path

import yaml
from carbyne.promql import query
from carbyne.promql.labels import made
from carbyne.rules.evaluation import evaluate
from carbyne.rules.files import read
from carbyne.rules.forms import duration_ms
from carbyne.rules.kept import KeptGroup, KeptSeries
from carbyne.rules.overlay import Overlay

from tests.support.promqltest import Memory, almost, metric_of, values_of

FOLDER = Path(__file__).resolve().parents[1] / "rules"
FILES = sorted(path.name for path in FOLDER.glob("*_test.yml"))


class Groups:
    """The groups of some rule files over samples in memory."""

    def __init__(self, files):
        self.memory = Memory()
        self.groups = [group for file in files for group in read(Path(file).read_bytes(), str(file)).groups]
        self.kept = {group.name: (KeptGroup(), KeptSeries()) for group in self.groups}
        self.errors = []

    def load(self, series, values, interval_ms):
        """Samples from 1970 on, in promtool's notation."""
        labels, _, _ = metric_of(series)
        for number, value in enumerate(values_of(values)):
            if value is not None:
                self.memory.samples.setdefault(labels, {})[number * interval_ms] = value

    def evaluate(self, at_ms):
        for group in self.groups:
            done = evaluate(group, *self.kept[group.name], at_ms, Overlay(self.memory), lambda: 0.0)
            self.kept[group.name] = done.kept, done.series
            self.errors += [rule.error for rule in done.kept.rules.values() if rule.error]
            for sample in done.samples:
                self.memory.samples.setdefault(sample.labels, {})[sample.ts_ms] = sample.value

    def firing(self, name):
        """Labels and annotations of the alerts of a rule that fire."""
        alerts = [alert for kept, _ in self.kept.values() for rule in kept.rules.values() for alert in rule.alerts]
        return _sorted(
            (made(alert.labels), alert.annotations)
            for alert in alerts
            if alert.state == "firing" and alert.labels["alertname"] == name
        )

    def instant(self, text, at_ms):
        """Labels -> value."""
        frame = query.instant(text, at_ms, self.memory, query.Options(lambda: 0.0)).frame
        return {labels: float(value) for labels, value in zip(frame.labels, frame.values[:, 0], strict=True)}


def faults(file):
    """What a test file finds wrong, empty if nothing is."""
    text = yaml.safe_load((FOLDER / file).read_text())
    step_ms = duration_ms(text.get("evaluation_interval", "1m"))
    wrong = []
    for case in text["tests"]:
        groups = Groups([FOLDER / each for each in text["rule_files"]])
        wrong += _run(groups, case, step_ms)
    return wrong


def _run(groups, case, step_ms):
    interval_ms = duration_ms(case["interval"]) if "interval" in case else step_ms
    for each in case["input_series"]:
        groups.load(each["series"], str(each["values"]), interval_ms)
    about_alerts, about_values = case.get("alert_rule_test", []), case.get("promql_expr_test", [])
    end_ms = max(duration_ms(each["eval_time"]) for each in [*about_alerts, *about_values])
    wrong = []
    for at_ms in range(0, end_ms + 1, step_ms):
        groups.evaluate(at_ms)
        for each in about_alerts:
            if at_ms <= duration_ms(each["eval_time"]) < at_ms + step_ms:
                wrong += _alerts(groups, each)
    for each in about_values:
        wrong += _values(groups, each)
    return [*wrong, *groups.errors]


def _alerts(groups, about):
    expected = _sorted(
        (made({**alert.get("exp_labels", {}), "alertname": about["alertname"]}), alert.get("exp_annotations", {}))
        for alert in about["exp_alerts"]
    )
    got = groups.firing(about["alertname"])
    return [] if got == expected else [f"{about['alertname']} at {about['eval_time']}: {got}, not {expected}"]


def _values(groups, about):
    got = groups.instant(about["expr"], duration_ms(about["eval_time"]))
    expected = {metric_of(each["labels"])[0]: float(each["value"]) for each in about["exp_samples"]}
    is_same = got.keys() == expected.keys() and all(almost(got[labels], value) for labels, value in expected.items())
    return [] if is_same else [f"{about['expr']} at {about['eval_time']}: {got}, not {expected}"]


def _sorted(alerts):
    return sorted(alerts, key=lambda alert: alert[0])
