"""A cold start of each function: CPU of its imports, and of the use case with its clients; bytes of the layer.

    python -m bench.start [--small] [--repeats 5]

Each function in a process of its own, several times, with the variables of the template; the median counts, without
what Python itself needs.  Redis and an embedded AWS are on loopback, without TLS: some functions ask them when they
assemble.  A function that does not assemble fails the run.  The layer is what `sam build` made, if it is there, else
its libraries as they are installed here.
"""

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from typing import NamedTuple

from bench.common import ROOT, arguments, machine, report
from bench.peers import bytes_below
from local.template import Template, reference
from servers.aws import Aws
from servers.valkey import Cluster

BUILT = ROOT / ".aws-sam" / "build" / "CarbyneLayer"
TIMED = """
import importlib, json, resource, runpy, sys
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
folder, module, name = sys.argv[1:]
begun = cpu()
runpy.run_path(folder)
imported = cpu()
getattr(importlib.import_module(module), name)()
print(json.dumps([1000 * (imported - begun), 1000 * (cpu() - imported)]))
"""


class Start(NamedTuple):
    """Milliseconds of CPU."""

    imports: float
    clients: float

    @property
    def total(self) -> float:
        return self.imports + self.clients


def environment(template: Template, function: str, aws: dict[str, str]) -> dict[str, str]:
    """What Lambda would set."""
    given = template.values(function, "Environment")["Environment"]["Variables"]
    assert isinstance(given, dict)
    own = {"PYTHONPATH": str(ROOT / "layers/carbyne"), "AWS_LAMBDA_FUNCTION_NAME": function, "PATH": os.environ["PATH"]}
    return {**{name: str(value) for name, value in given.items()}, **aws, **own}


def started(function: str, variables: dict[str, str]) -> Start:
    app = ROOT / "functions" / function / "app.py"
    module, name = re.findall(r"^from (carbyne\.wiring\.\w+) import .*?(\w+)$", app.read_text(), re.MULTILINE)[0]
    command = [sys.executable, "-c", TIMED, str(app), module, name]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return Start(*json.loads(done.stdout.splitlines()[-1]))


def make_tables(aws: Aws) -> None:
    """Those that functions ask when they assemble: whether lanes were initialised, and which replicas there are."""
    for table, keys in (("AccountsTable", {"pk": "HASH"}), ("BlocksTable", {"pk": "HASH", "sk": "RANGE"})):
        aws.client("dynamodb").create_table(
            TableName=reference(table),
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
            BillingMode="PAY_PER_REQUEST",
        )


def layer_mb() -> float:
    if BUILT.exists():
        return bytes_below(BUILT) / 1e6
    names: list[str] = re.findall(
        r"^([A-Za-z0-9_.-]+)==", (ROOT / "layers/carbyne/requirements.txt").read_text(), re.MULTILINE
    )
    files = [file for name in names for file in metadata.files(name) or () if file.suffix != ".pyc"]
    return sum(file.locate().stat().st_size for file in files if "/tests/" not in str(file)) / 1e6  # type: ignore[union-attr]


def main() -> None:
    given = arguments(__doc__, repeats=5)
    functions = sorted(path.parent.name for path in (ROOT / "functions").glob("*/app.py"))
    if given.small:
        functions = ["reader", "writer"]
    print(f"cold starts, milliseconds of CPU; {machine()}")
    totals, repeats = {}, 1 if given.small else given.repeats
    with Cluster(masters=1, replicas=0) as cluster, Aws() as aws:
        make_tables(aws)
        template = Template(ROOT / "template.yaml", f"RedisEndpoint={cluster.endpoint} RedisTls=false")
        for function in functions:
            variables = environment(template, function.capitalize(), aws.environment)
            starts = [started(function, variables) for _ in range(repeats)]
            middle = sorted(starts, key=lambda start: start.total)[len(starts) // 2]
            totals[function] = middle.total
            print(f"{function:12} imports {middle.imports:6.0f}  clients {middle.clients:6.0f}  {middle.total:6.0f}")
    size = layer_mb()
    print(f"layer: {size:.1f} MB{'' if BUILT.exists() else ', by what is installed here'}")
    report(layer_mb=size, **{f"{function}_ms": total for function, total in totals.items()})


if __name__ == "__main__":
    main()
