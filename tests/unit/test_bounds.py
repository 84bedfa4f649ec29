"""Every bound stands in core/limits.py, with its unit and reason."""

import ast
from pathlib import Path

CODE = Path(__file__).resolve().parents[2] / "layers" / "carbyne" / "carbyne"
ENDS = ("_MAX", "_MIN", "_AT_ONCE", "TIMEOUT_S")
ELSEWHERE = {
    # what a form of bytes can hold
    "core/stamps.py": {"EPOCH_MAX", "SEQUENCE_MAX"},
    "stream/records.py": {"TS_MS_MAX"},
    "samples/blocks.py": {"PART_BITS_MAX"},
    "samples/indexes.py": {"_RUNS_MAX"},
    "samples/numbers.py": {"DIGITS_MAX", "TIMES_PCO_MIN"},
    # which of two equal ways is the faster one
    "core/frame.py": {"_KEPT_BYTES_MAX"},
    "samples/fragments.py": {"LISTS_MERGED_MAX"},
    # what a function of Prometheus, of Go, or of a plugin is defined for
    "promql/elementwise.py": {"DATE_S_MAX"},
    "promql/parsed.py": {"TIME_MS_MAX"},
    "promql/ranking.py": {"INTEGER_MAX"},
    "rules/forms.py": {"DURATION_CHARACTERS_MAX"},
    "rules/template_calls.py": {"NANOSECONDS_MAX"},
    "cluster/figures.py": {"GAP_S_MAX"},
    # a rule of the method, no bound of what comes from outside
    "cluster/topology.py": {"VOTERS_MIN"},
    "evaluate/anomaly.py": {"VALUES_MIN"},
    "samples/rollups.py": {"POINTS_MIN"},
}
"""Numbers that are called like bounds, and are none of what a request, a reply or an instance may take."""


def numbers(path):
    """Names of the module's constants that are plain numbers."""
    for node in ast.parse(path.read_text()).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name) and node.value and _is_number(node.value):
                yield target.id


def _is_number(node):
    """Made of literals alone."""
    parts = [part for part in ast.walk(node) if isinstance(part, ast.expr)]
    kinds = (ast.Constant, ast.BinOp, ast.UnaryOp)
    return all(isinstance(part, kinds) and not isinstance(getattr(part, "value", 0), str) for part in parts)


def test_bounds_stand_in_one_place():
    bounds = {
        str(path.relative_to(CODE)): {name for name in numbers(path) if name.endswith(ENDS)}
        for path in CODE.rglob("*.py")
        if path != CODE / "core" / "limits.py"
    }
    assert {path: names for path, names in bounds.items() if names} == ELSEWHERE
