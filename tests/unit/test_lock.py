"""The layer's libraries are those of the one lock, as Lambda's platform takes them."""

from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
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


def pinned(path):
    """name -> version of the lines that hold on Lambda."""
    lines = (line.split("#")[0].strip() for line in (ROOT / path).read_text().splitlines())
    wanted = [Requirement(line) for line in lines if line]
    return {need.name: str(need.specifier) for need in wanted if need.marker is None or need.marker.evaluate(LAMBDA)}


def test_the_layer_is_a_part_of_the_lock():
    layer = pinned("layers/carbyne/requirements.txt")
    assert layer.items() <= pinned("requirements.lock").items(), "run: make lock"


def test_the_layer_has_what_the_code_imports_and_not_what_the_runtime_has():
    layer = pinned("layers/carbyne/requirements.txt")
    assert {"redis", "hiredis", "numpy", "msgspec", "aws-lambda-powertools"} <= layer.keys()
    assert not {"boto3", "botocore", "moto", "pytest"} & layer.keys()
