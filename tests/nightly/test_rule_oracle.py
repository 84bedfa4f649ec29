"""promtool of the oracle on the rule unit-test files, of which make test asks our side."""

import subprocess

import pytest

from tests.support import oracle
from tests.support.rule_tests import FILES, FOLDER


@pytest.mark.nightly
@pytest.mark.parametrize("file", FILES)
def test_promtool_agrees(file):
    promtool = oracle.programs() / "promtool"
    done = subprocess.run([promtool, "test", "rules", file], cwd=FOLDER, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
