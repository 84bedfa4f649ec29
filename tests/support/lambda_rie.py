"""Built functions as Lambda runs them: AWS's runtime interface emulator and client around the folders of `sam build`.

The emulator is the one that aws-sam-cli carries; the client and boto3, which the real runtime has, are installed beside
the layer.  Nothing of the tests' own environment is on the path, so that what runs is what was built.
"""

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.lock import entries, excerpt

ROOT = Path(__file__).resolve().parents[2]
READY_S = 15.0
LAMBDA = "3.13"
# The runtime client and boto3, with what they import; and what the command draws with, which no function imports.
RUNTIME = {
    *("awslambdaric", "simplejson", "snapshot-restore-py"),
    *("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3"),
    *("rich", "markdown-it-py", "mdurl", "pygments"),
}
WHEELS = ("manylinux2014", "manylinux_2_28")
ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def emulator():
    """Path of the emulator for this machine."""
    folder = Path(find_spec("samcli").submodule_search_locations[0])
    return folder / "local" / "rapid" / f"aws-lambda-rie-{ARCHITECTURES[platform.machine().lower()]}"


def pythons():
    """Interpreters to run under: our own, and Lambda's version where it is."""
    own = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    paths = {f"3.{sys.version_info.minor}": str(own if own.exists() else sys.executable)}
    if LAMBDA not in paths and (other := next(filter(_answers, _candidates()), None)):
        paths[LAMBDA] = other
    return paths


def _candidates():
    """Where Lambda's version may be: on PATH, else among pyenv's, whose shim answers for the chosen one alone."""
    if path := shutil.which(f"python{LAMBDA}"):
        yield path
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    yield from map(str, sorted(versions.glob(f"{LAMBDA}*/bin/python{LAMBDA}")))


def _answers(python):
    return subprocess.run([python, "-V"], capture_output=True, check=False).returncode == 0


def build_for_here(version, target):
    """The layer with libraries for this machine and Python ``version``, and Lambda's runtime client and boto3."""
    platforms = _platforms()
    make = ["make", "--quiet", "-C", ROOT / "layers" / "carbyne", "build-CarbyneLayer", f"ARTIFACTS_DIR={target}"]
    make += [f"PYTHON_VERSION={version}", f"PLATFORMS={' '.join(platforms)}"]
    _run([*make, f"REQUIREMENTS={_layer_requirements(target)}"] if version != LAMBDA else make)
    install_runtime(version, target, target / "runtime")


def install_runtime(version, scratch, target):
    """Lambda's runtime client and boto3 for this machine and Python ``version``, as the lock pins them."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    where = ["--implementation", "cp", "--python-version", version, "--only-binary=:all:", *_platforms()]
    lock = ["--require-hashes", "--no-deps", "--requirement", _part_of_the_lock(scratch, RUNTIME)]
    _run([*pip, *where, *lock, "--target", target])


def _platforms():
    return [word for wheel in WHEELS for word in ("--platform", f"{wheel}_{platform.machine()}")]


def _layer_requirements(target):
    """The layer's libraries as the lock pins them for our own Python; its own file is for Lambda's."""
    return _part_of_the_lock(target, {pin.name for pin, _, _ in entries("layers/carbyne/requirements.txt")})


def _part_of_the_lock(target, names):
    file = target / "requirements.txt"
    file.write_text(excerpt("requirements.lock", names))
    return file


def _run(command):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def environment(folder, layer, variables):
    """What a process sees that runs code of ``folder`` with the layer."""
    imports = [folder, layer / "python", layer / "runtime"]
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        "PYTHONPATH": os.pathsep.join(map(str, imports)),
        **variables,
    }


class BuiltFunction:
    """One execution environment; a context manager.  One request at a time: overlapping ones kill the emulator."""

    def __init__(self, name, folder, layer, python, variables, timeout_s):
        self.name = name
        self.port = _free_port()
        command = [emulator(), "--runtime-interface-emulator-address", f"127.0.0.1:{self.port}"]
        command += ["--runtime-api-address", f"127.0.0.1:{_free_port()}", python, "-m", "awslambdaric", "app.handler"]
        seen = environment(folder, layer, variables)
        seen |= {"AWS_LAMBDA_FUNCTION_NAME": name, "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_s)}
        self.log = layer / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=seen, stdout=log, stderr=subprocess.STDOUT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def invoke(self, event):
        """The function's answer; AssertionError with its log if it raised or died."""
        url = f"http://127.0.0.1:{self.port}/2015-03-31/functions/function/invocations"
        end_s = time.monotonic() + READY_S
        while True:
            try:
                with urllib.request.urlopen(url, json.dumps(event).encode(), timeout=60) as reply:
                    answer = json.loads(reply.read() or b"null")
                break
            except urllib.error.URLError:
                assert self.process.poll() is None and time.monotonic() < end_s, self.log.read_text()
                time.sleep(0.05)
        if isinstance(answer, dict) and "errorType" in answer:
            pytest.fail(f"{self.name}: {answer}\n{self.log.read_text()}")
        return answer


def _free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


if __name__ == "__main__":  # for `make test-lambda`: the interpreter, or why there is none to use beside our own
    interpreter = pythons().get(LAMBDA)
    is_own = sys.version_info[:2] == tuple(map(int, LAMBDA.split(".")))
    reason = f"our own Python is {LAMBDA}" if is_own else f"no python{LAMBDA} is on PATH or among the versions of pyenv"
    print(reason if is_own or not interpreter else interpreter)
    sys.exit(is_own or not interpreter)
