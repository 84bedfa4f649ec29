"""Which room may import which: one direction, from what answers events to the words that all of it speaks."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "layers/carbyne/carbyne"
BASE = {"core", "samples", "stream"}
MAY_IMPORT = {
    "core": set(),
    "samples": {"core"},
    "stream": {"core"},
    "tenants": {"core"},
    "store": {"core", "samples"},
    "cluster": {"core"},
    "http": {"core", "tenants"},
    "intake": BASE | {"http", "tenants"},
    "hot": BASE | {"tenants"},
    "seal": BASE | {"store"},
    "archive": BASE | {"store"},
    "read": BASE | {"http", "store", "tenants", "promql"},
    "promql": {"core", "samples"},
    "monitor": BASE | {"cluster", "intake", "registry"},
    "rules": {"core", "promql"},
    "registry": BASE | {"http", "tenants", "alerts", "promql", "rules"},
    "checks": BASE | {"intake", "registry"},
    "clouds": BASE | {"intake", "registry"},
    "alerts": {"core"},
    "evaluate": BASE | {"alerts", "registry", "rules", "promql", "intake"},
    "notify": {"core", "alerts", "registry", "rules", "stream"},
    "page": {"core", "http", "tenants"},
    "queue": {"core", "http", "tenants"},
    "adapters": BASE
    | {
        "read",
        "tenants",
        "registry",
        "archive",
        "cluster",
        "page",
        "queue",
        "checks",
        "clouds",
        "notify",
        "rules",
        "promql",
    },
    "wiring": None,  # the only assembly sees everything
    "cli": BASE | {"archive", "cluster", "hot", "rules", "store", "tenants", "wiring"},  # which assembles the commands
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("carbyne."):
            yield node.module.split(".")[1]


def defined(path):
    """Names of the types that a module defines: classes, and aliases as they are written here, ``Rows = list[Row]``."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and re.fullmatch("_?[A-Z][a-z]+[A-Za-z]*", ast.unparse(node.targets[0])):
            yield ast.unparse(node.targets[0])


def test_every_type_has_a_name_of_its_own():
    """One word, one thing: a port is not called as what implements it, nor a struct as its neighbour's."""
    homes = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in defined(path):
            homes[name].append(str(path.relative_to(PACKAGE)))
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}


def test_every_room_is_in_the_table():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == MAY_IMPORT.keys()


@pytest.mark.parametrize("room", [room for room, allowed in MAY_IMPORT.items() if allowed is not None])
def test_a_room_imports_only_what_it_may(room):
    for path in sorted((PACKAGE / room).rglob("*.py")):
        wrong = set(imported(path)) - MAY_IMPORT[room] - {room}
        assert not wrong, f"{path.relative_to(PACKAGE)} imports {', '.join(sorted(wrong))}"


def test_use_cases_know_no_library_of_aws_or_redis():
    for room, allowed in MAY_IMPORT.items():
        for path in sorted((PACKAGE / room).rglob("*.py")) if allowed is not None and room != "adapters" else ():
            loaded = {
                (node.module or "").split(".")[0]
                for node in ast.parse(path.read_text()).body
                if isinstance(node, ast.ImportFrom)
            } | {
                name.name
                for node in ast.parse(path.read_text()).body
                if isinstance(node, ast.Import)
                for name in node.names
            }
            assert not loaded & {"boto3", "botocore", "redis", "aws_lambda_powertools"}, path
