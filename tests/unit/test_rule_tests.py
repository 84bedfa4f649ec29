"""Rule unit-test files, written for promtool: what it expects comes out here.  A nightly test asks promtool itself."""

import pytest
import yaml

from tests.support import rule_tests
from tests.support.rule_tests import FILES, FOLDER, faults


@pytest.mark.parametrize("file", FILES)
def test_the_expectations_of_a_file_are_met(file):
    assert faults(file) == []


def test_a_wrong_expectation_is_found(monkeypatch, tmp_path):
    text = yaml.safe_load((FOLDER / "rising_test.yml").read_text())
    text["tests"][0]["alert_rule_test"][1]["exp_alerts"] = []
    text["tests"][0]["promql_expr_test"][2]["exp_samples"][0]["value"] = 361
    (tmp_path / "rising.yml").write_text((FOLDER / "rising.yml").read_text())
    (tmp_path / "rising_test.yml").write_text(yaml.safe_dump(text))
    monkeypatch.setattr(rule_tests, "FOLDER", tmp_path)
    assert [fault.partition(":")[0] for fault in faults("rising_test.yml")] == [
        "High at 1m",
        'ALERTS_FOR_STATE{alertname="HighForLong"} at 9m',
    ]
