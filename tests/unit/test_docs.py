"""The docs speak of things that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.MULTILINE)
}
DOCS = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_test_that_is_named_exists(path):
    named = set(re.findall(r"`(test_\w+)`", path.read_text()))
    assert named <= TESTS, named - TESTS


def test_every_invariant_names_a_test():
    text = (ROOT / "docs/architecture.md").read_text().partition("## What must always hold")[2]
    invariants = re.split(r"^\d+\. ", text, flags=re.MULTILINE)[1:]
    assert len(invariants) == 11
    assert all("`test_" in invariant for invariant in invariants)


@pytest.mark.parametrize("name", ["architecture.md"])
def test_every_module_that_is_named_exists(name):
    package = ROOT / "layers/carbyne/carbyne"
    for module in re.findall(r"`((?:\w+/)*\w+\.py)`", (ROOT / "docs" / name).read_text()):
        assert (package / module).exists(), module
