"""Every install takes pinned files with known hashes, and the locks agree with each other and with pyproject.toml."""

import re
import subprocess
import sys
import tomllib
import zipfile
from hashlib import sha256

import pytest
from packaging.requirements import Requirement

from tests.support.lock import ROOT, entries

ALL, RUN, LAYER = "requirements.lock", "requirements-run.lock", "layers/carbyne/requirements.txt"
GROUPS = {ALL: ("layer", "local", "dev"), RUN: ("layer", "local"), LAYER: ("layer",)}
LAMBDA = {
    "python_version": "3.13",
    "python_full_version": "3.13.0",
    "platform_machine": "aarch64",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_python_implementation": "CPython",
    "implementation_name": "cpython",
    "os_name": "posix",
}
FLAGS = re.search(r"^LOCKED := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()


def on_lambda(path):
    """name -> (version, hashes) of the pins that apply on Lambda."""
    return {
        pin.name: (str(pin.specifier), hashes)
        for pin, hashes, _ in entries(path)
        if pin.marker is None or pin.marker.evaluate(LAMBDA)
    }


@pytest.mark.parametrize("path", [RUN, LAYER])
def test_a_smaller_lock_is_a_part_of_the_whole_one(path):
    assert on_lambda(path).items() <= on_lambda(ALL).items(), "run: make lock"


@pytest.mark.parametrize("path", GROUPS)
def test_a_lock_pins_every_package_of_its_groups_by_hash(path):
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    needed = {Requirement(line).name.lower() for group in GROUPS[path] for line in groups[group]}
    pins = {pin.name.lower().replace(".", "-"): (str(pin.specifier), hashes) for pin, hashes, _ in entries(path)}
    assert {name.replace(".", "-") for name in needed} <= pins.keys(), "run: make lock"
    assert all(version.startswith("==") and hashes for version, hashes in pins.values())


def test_the_layer_has_what_the_code_imports_and_not_what_the_runtime_has():
    layer = on_lambda(LAYER)
    assert {"redis", "hiredis", "numpy", "msgspec", "aws-lambda-powertools"} <= layer.keys()
    assert not {"boto3", "botocore", "moto", "pytest", "rich"} & layer.keys()


def test_every_install_demands_hashes():
    makefiles = (ROOT / "Makefile").read_text() + (ROOT / "layers/carbyne/Makefile").read_text().replace("\\\n", "")
    installs = re.findall(r"-m pip install.*", makefiles)
    assert len(installs) == 2
    assert all("$(LOCKED)" in line or "--require-hashes" in line for line in installs)
    assert {"--require-hashes", "--no-deps", "--only-binary=:all:"} == set(FLAGS)


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "lead-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as files:
        files.writestr("lead.py", "")
        files.writestr("lead-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: lead\nVersion: 1.0\n")
        files.writestr("lead-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        files.writestr("lead-1.0.dist-info/RECORD", "")
    return path


def install(wheel, line):
    """What pip says and how it ends, with the Makefile's flags and a lock of one line."""
    lock = wheel.parent / "one.lock"
    lock.write_text(line)
    pip = [sys.executable, "-m", "pip", "install", "--isolated", "--no-index", "--find-links", wheel.parent]
    command = [*pip, *FLAGS, "--target", wheel.parent / "out", "--requirement", lock]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_pip_takes_the_file_whose_hash_is_in_the_lock(wheel):
    status, said = install(wheel, f"lead==1.0 --hash=sha256:{sha256(wheel.read_bytes()).hexdigest()}\n")
    assert status == 0, said
    assert (wheel.parent / "out" / "lead.py").exists()


@pytest.mark.parametrize("line", [f"lead==1.0 --hash=sha256:{'0' * 64}\n", "lead==1.0\n"], ids=["other", "none"])
def test_pip_refuses_another_file_and_a_pin_without_hash(wheel, line):
    status, said = install(wheel, line)
    assert status != 0
    assert "hash" in said.lower()
    assert not (wheel.parent / "out").exists()


def test_every_action_of_the_workflow_is_pinned_by_its_commit():
    workflows = [path.read_text() for path in (ROOT / ".github/workflows").glob("*.yml")]
    actions = [action for text in workflows for action in re.findall(r"uses: (\S+)", text)]
    assert actions
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in actions), actions
    assert any(".ci/run" in text for text in workflows)
