"""Cold starts: a function that answers HTTP loads its own routes, and no library that it does not use."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEVER = {
    "writer": {
        "numpy",
        "redis",
        "google.protobuf",
        "carbyne.read",
        "carbyne.registry",
        "carbyne.http.openapi",
        "carbyne.wiring.openapi",
    },
    "registry": {
        "numpy",
        "redis",
        "carbyne.read",
        "carbyne.evaluate",
        "carbyne.notify",
        "carbyne.intake",
        "carbyne.clouds",
        "carbyne.registry.cloud_metrics",
        "carbyne.http.openapi",
        "carbyne.wiring.openapi",
    },
    "reader": {
        "carbyne.promql",
        "promql_parser",
        "re2",
        "carbyne.intake",
        "carbyne.registry",
        "carbyne.http.openapi",
        "carbyne.wiring.openapi",
    },
    "queue": {"numpy", "carbyne.read", "carbyne.intake", "carbyne.registry", "carbyne.wiring.openapi"},
    "scheduler": {
        "carbyne.clouds.aws",
        "carbyne.clouds.azure",
        "numpy",
        "redis",
        "carbyne.read",
        "carbyne.intake",
        "carbyne.queue",
        "carbyne.notify",
        "carbyne.wiring.openapi",
    },
    "notifier": {"numpy", "redis", "carbyne.read", "carbyne.evaluate", "carbyne.wiring.openapi"},
    "evaluator": {"carbyne.promql", "carbyne.intake", "carbyne.notify", "carbyne.wiring.openapi"},
    "worker": {"carbyne.clouds", "numpy", "redis", "carbyne.read", "carbyne.queue", "carbyne.wiring.openapi"},
}
LIST_LOADED = """
import json, runpy, sys
runpy.run_path(sys.argv[1])
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("function", sorted(NEVER))
def test_a_function_loads_no_other_functions_routes(function):
    command = [sys.executable, "-c", LIST_LOADED, str(ROOT / f"functions/{function}/app.py")]
    environment = {"PYTHONPATH": str(ROOT / "layers/carbyne")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert not NEVER[function] & set(json.loads(done.stdout))
