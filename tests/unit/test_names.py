"""Locals and parameters say what they hold."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ["layers/carbyne/carbyne", "functions", "harness", "servers", "local", "bench", "tests"]
VAGUE = {"wanted", "moment", "settled", "one", "found", "held"}
# The many and the one of a vector matching are PromQL's words.
KEPT = {("layers/carbyne/carbyne/promql/matching.py", "one")}


def bound(tree):
    """Names that functions give to parameters, locals, functions inside and exceptions."""
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.FunctionDef(name=name) | ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name


def test_no_name_hides_what_it_holds():
    vague = {
        (str(path.relative_to(ROOT)), name)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        for name in VAGUE.intersection(bound(ast.parse(path.read_text())))
    }
    assert vague == KEPT
