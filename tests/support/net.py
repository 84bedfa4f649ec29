"""Bugs that are planted into a copy of the tree, each for the test that docs/invariants.md, The net, names for it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
CODE = "layers/carbyne/carbyne"
COPIED = (
    "docs",
    "functions",
    "harness",
    "layers",
    "local",
    "lua",
    "servers",
    "tests",
    "pyproject.toml",
    "template.yaml",
)


class Planted(NamedTuple):
    """In ``file`` of the tree ``old``, which stands there once, becomes ``new``."""

    file: str
    old: str
    new: str


NET: Mapping[str, Planted] = {
    "a master that is silent loses its note": Planted(
        f"{CODE}/hot/failovers.py", "ids = {**noted, **{lane: master.id", "ids = {**{lane: master.id"
    ),
    "an error of beginning a replay is ignored": Planted(
        f"{CODE}/adapters/redis/windows.py", "if not checked(reply)]\n\n    def make", "if reply == 0]\n\n    def make"
    ),
    "the archiver's source lacks ReportBatchItemFailures": Planted(
        "template.yaml",
        "<<: *every-record",
        "StartingPosition: TRIM_HORIZON\n            MaximumRetryAttempts: -1",
    ),
    "the replay's reader starts at LATEST": Planted(
        f"{CODE}/adapters/lambda_.py",
        'return {"StartingPosition": "TRIM_HORIZON"}',
        'return {"StartingPosition": "LATEST"}',
    ),
    "a day is closed before its buckets are written": Planted(
        f"{CODE}/seal/roller.py",
        "            written += self._write(catalogue, DAY, (day",
        "            catalogue.close_day(day)\n            written += self._write(catalogue, DAY, (day",
    ),
    "`is_past` is two days late": Planted(
        f"{CODE}/seal/roller.py", "- self._retention_s + DAY_S", "- self._retention_s - DAY_S"
    ),
    "`is_past` is two days early": Planted(
        f"{CODE}/seal/roller.py", "- self._retention_s + DAY_S", "- self._retention_s + 3 * DAY_S"
    ),
    "`latest` does not read again after a delete": Planted(
        f"{CODE}/read/reader.py", "if any(name in newest and", "if False and any(name in newest and"
    ),
    "`newest` stays on at the row of a delete": Planted("lua/read.lua", "      newest = false\n", ""),
    "`_covers` with `>=`": Planted(f"{CODE}/read/reader.py", "return from_ms > to_ms\n", "return from_ms >= to_ms\n"),
    "a delete looks ahead too short": Planted(f"{CODE}/hot/deletes.py", "now_ms + AHEAD_MS_MAX:", "now_ms:"),
    "a window gives its first 16 rows alone": Planted(
        f"{CODE}/adapters/redis/windows.py",
        "while first < len(fields):",
        "while first < min(len(fields), FIRST_CHUNK):",
    ),
    "`begin.lua` forgets the highest stamp": Planted(
        "lua/begin.lua", "string.sub(held, 2, STATE_BYTES) .. token", "zero .. token"
    ),
    "a query of the table ends after page 1": Planted(
        f"{CODE}/adapters/dynamodb/table.py",
        '"LastEvaluatedKey" not in answer:\n                return items',
        "True:\n                return items",
    ),
    "the query by expiry ends after page 1": Planted(
        f"{CODE}/adapters/dynamodb/table.py",
        '"LastEvaluatedKey" not in answer:\n            return\n',
        "True:\n            return\n",
    ),
    "an entry without an answer counts as acknowledged": Planted(
        f"{CODE}/adapters/kinesis.py", 'return "SequenceNumber" in result and "ErrorCode"', 'return "ErrorCode"'
    ),
    "an ingester does not remember the stamps it saw": Planted(
        f"{CODE}/adapters/redis/hot.py", "self._seen[lane] = reply[2],", "_ = reply[2],"
    ),
    "an equal stamp counts as newer": Planted("lua/write.lua", "return a5 > b5", "return a5 >= b5"),
    "`write.lua` lets the lists of a reopened window expire": Planted(
        "lua/write.lua", '  redis.call("PERSIST", lists)\n', ""
    ),
    "the archive is not cleaned of deletes": Planted(
        f"{CODE}/seal/sealer.py", "        clean(Target(self._cold, 0), key, markers)\n", ""
    ),
    "a window of before a replay counts as complete after it": Planted(
        "lua/read.lua", '"%d+,?(.*)$") == generation', '"%d+,?(.*)$")'
    ),
    "a row that opens such a window again makes it complete": Planted(
        "lua/write.lua", '"%d+,?(.*)$") == generation', '"%d+,?(.*)$")'
    ),
    "`whole.lua` takes the fence of an older replay": Planted(
        "lua/whole.lua", "string.sub(held, STATE_BYTES + 1) == token", "true"
    ),
    "a mark is moved on by a look at another master": Planted(f"{CODE}/hot/marks.py", "if lane in steady:", "if True:"),
    "a lane that another master serves counts as steady": Planted(
        f"{CODE}/hot/failovers.py",
        "for lane, master in seen.items() if noted.get(lane) == master.id}",
        "for lane, master in seen.items()}",
    ),
    "a mark is moved on under a master that another run noted meanwhile": Planted(
        f"{CODE}/hot/replay.py", "if masters.get(lane) == master}", "if master}"
    ),
    "`partial.lua` leaves a window complete that has late rows": Planted(
        "lua/partial.lua", "PARTIAL .. string.sub(held, 2)", "held"
    ),
    "deletes are not asked for again after a put": Planted(
        f"{CODE}/store/tree.py", "while later := set(markers()) - known:", "while later := set[Marker]():"
    ),
    "a job ends while its lanes can't be asked": Planted(
        f"{CODE}/hot/replay.py", "lane not in whole and rebuilding.get(lane, job.token)", "rebuilding.get(lane)"
    ),
    "an overlapping run of the sealer ends a replay that has just begun": Planted(
        f"{CODE}/hot/replay.py",
        "return partial(self._look, job, item)",
        "return lambda lanes: self._look(*self._jobs.load(), lanes)",
    ),
    "lanes have the token of a replay before its job is saved": Planted(
        f"{CODE}/hot/replay.py",
        "if saved := self._jobs.save(job, item):\n",
        "self._lanes.begin({lane: tokens[lane] for lane in lost}, job.token)\n"
        "        if saved := self._jobs.save(job, item):\n",
    ),
    "an overlapping run takes lanes out of a replay that has just begun": Planted(
        "lua/begin.lua", "joined or generation == known", "true"
    ),
    "a replay begins before the new master is noted": Planted(
        f"{CODE}/hot/failovers.py", "if is_noted or not look.lost:", "if True:"
    ),
}
"""Those that a change of one place plants."""


def names_of_net() -> dict[str, str]:
    """{bug: its test}, as the document has them."""
    section = (ROOT / "docs/invariants.md").read_text().partition("\n## The net\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^- (.+(?:\n  .+)?):\n  `(test_\w+)`$", section, re.MULTILINE)
    return {re.sub(r"\s+", " ", bug): test for bug, test in rows}


def files_of(test: str) -> list[Path]:
    """The test files that have it, relative to the tree."""
    files = (file for room in ("unit", "model") for file in sorted((ROOT / "tests" / room).glob("test_*.py")))
    return [file.relative_to(ROOT) for file in files if f"\ndef {test}(" in file.read_text()]


def copy_tree(into: Path) -> None:
    """What tests need of the tree; links stay links."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, into / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, into / name)


def fails(tree: Path, tests: Iterable[str]) -> str:
    """What pytest said of tests of which one failed there, empty if all passed; AssertionError if they did not run."""
    names = sorted(set(tests))
    files = sorted({str(file) for name in names for file in files_of(name)})
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", " or ".join(names), *files]
    run = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False, env=_environment())
    assert run.returncode in (0, 1), run.stdout + run.stderr
    return run.stdout if run.returncode else ""


def _environment() -> dict[str, str]:
    """Without what would bring another tree's code."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
