"""The template passes SAM's and cfn-lint's checks, and what `sam build` makes fits Lambda."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LAYER_BYTES_MAX = 100 * 1024 * 1024
AARCH64 = b"\xb7\x00"  # e_machine of an ELF header


def run(*command, cwd=ROOT):
    """Output of a tool of our environment; it must succeed."""
    environment = {
        **os.environ,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SAM_CLI_TELEMETRY": "0",
    }
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_sam_validate():
    assert "is a valid SAM Template" in run("sam", "validate", "--lint")


def test_cfn_lint():
    assert run("cfn-lint", "template.yaml") == ""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """.aws-sam/build of a copy of what a build needs."""
    if not shutil.which("make"):
        pytest.skip("sam build needs make on PATH")
    copy = tmp_path_factory.mktemp("build")
    for folder in ("layers", "functions", "lua"):
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("template.yaml", "samconfig.toml", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / file, copy)
    run("sam", "build", cwd=copy)
    return copy / ".aws-sam" / "build"


def test_layer_has_the_code_the_scripts_and_libraries_for_lambda(built):
    python = built / "CarbyneLayer" / "python"
    scripts = {script.name for script in (ROOT / "lua").glob("*.lua")}
    assert {script.name for script in (python / "lua").glob("*.lua")} == scripts != set()
    assert (python / "carbyne" / "settings.py").exists()
    assert not (python / "boto3").exists()
    binaries = list(python.rglob("*.so"))
    assert binaries
    assert {binary.read_bytes()[18:20] for binary in binaries} == {AARCH64}
    assert sum(file.stat().st_size for file in python.rglob("*") if file.is_file()) < LAYER_BYTES_MAX


@pytest.mark.parametrize("name", ["Writer", "Ingester", "Sealer", "Reader"])
def test_functions_are_their_folders(built, name):
    assert (built / name / "app.py").read_text() == (ROOT / "functions" / name.lower() / "app.py").read_text()
