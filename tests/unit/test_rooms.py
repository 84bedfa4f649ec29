"""Which room may import which, in one direction, and names: a type's is its own, a local's says what it holds."""

import ast
import inspect
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "layers/carbyne/carbyne"
FOLDERS = ["layers/carbyne/carbyne", "functions", "harness", "servers", "local", "bench", "tests"]
VAGUE = {"wanted", "moment", "settled", "one", "found", "held"}
# The many and the one of a vector matching are PromQL's words.
VAGUE_KEPT = {("layers/carbyne/carbyne/promql/matching.py", "one")}
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


@cache
def tree(path):
    return ast.parse(path.read_text())


def imported(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("carbyne."):
            yield node.module.split(".")[1]


def defined(path):
    """Names of the types that a module defines: classes, and aliases as they are written here, ``Rows = list[Row]``."""
    for node in tree(path).body:
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
            nodes = tree(path).body
            loaded = {(node.module or "").split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom)}
            loaded |= {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
            assert not loaded & {"boto3", "botocore", "redis", "aws_lambda_powertools"}, path


def names_in(code):
    """Names of the functions of code, and what they call their parameters and locals."""
    yield from (code.co_name, *code.co_varnames, *code.co_cellvars)
    for inner in filter(inspect.iscode, code.co_consts):
        yield from names_in(inner)


def test_no_name_hides_what_it_holds():
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    vague = {
        (str(path.relative_to(ROOT)), name)
        for path in paths
        for name in VAGUE.intersection(names_in(compile(path.read_text(), path, "exec")))
    }
    assert vague == VAGUE_KEPT
