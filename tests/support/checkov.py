"""``python -m tests.support.checkov``: the template as `sam build` writes it, by checkov; exit code 1 if it fails.

checkov reads no alias that is merged and then overridden: of template.yaml itself it says "parsing error", checks
nothing and exits with 0.  It comes in an environment of its own, since its pins disagree with the lock.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from samcli.yamlhelper import yaml_dump, yaml_parse

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ["uv", "tool", "run", "--quiet", "--from", "checkov==3.3.30", "checkov", "--skip-download"]
CHECKS_MIN = 50
"""Fewer checks that passed mean that checkov did not read the template."""


class UnreachableError(Exception):
    """checkov can't be fetched from here."""


def checked(template: Path) -> tuple[int, list[str]]:
    """How many checks a template passed, and a line for each that it failed."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "template.yaml"
        written.write_text(yaml_dump(yaml_parse(template.read_text())))
        options = ["--config-file", str(ROOT / ".checkov.yaml"), "--file", str(written), "--output", "json"]
        done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False)
    if "Failed to fetch" in done.stderr or "error sending request" in done.stderr:
        raise UnreachableError(done.stderr)
    answer = json.loads(done.stdout)
    failed = answer.get("results", {}).get("failed_checks", [])
    summary = answer.get("summary", answer)
    lines = [f"{check['check_id']} {check['resource']}: {check['check_name']}" for check in failed]
    return summary["passed"], lines + ["the template could not be parsed"] * summary["parsing_errors"]


def main() -> None:
    passed, failures = checked(ROOT / "template.yaml")
    print("\n".join([*failures, f"{passed} checks passed, {len(failures)} failed"]))
    sys.exit(bool(failures) or passed < CHECKS_MIN)


if __name__ == "__main__":
    main()
