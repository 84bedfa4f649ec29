"""The benchmarks stand beside the tests, not on them."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = sorted(path for folder in ("bench", "harness", "servers") for path in (ROOT / folder).glob("*.py"))


def imported(path):
    """The top-level packages that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("path", SHARED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_benchmarks_are_made_of_imports_no_tests(path):
    assert "tests" not in set(imported(path))


def test_only_benchmarks_import_benchmarks():
    assert not [path.name for path in SHARED if path.parent.name != "bench" and "bench" in set(imported(path))]
