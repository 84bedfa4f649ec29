"""A Docker engine and Lambda's base image, or stand-ins for both, for `sam local` where no registry can be reached.

The stand-in is Debian with Lambda's version of CPython, AWS's runtime interface client and boto3, under the name of
the real image: what SAM builds on it (emulator, layer, function) is then the same.
"""

import contextlib
import os
import platform
import shutil
import socket
import subprocess
import time

import psutil

from tests.support.lambda_rie import ARCHITECTURES, LAMBDA, install_runtime, pythons

IMAGE = f"public.ecr.aws/lambda/python:{LAMBDA}-{ARCHITECTURES[platform.machine().lower()]}"
LIBRARIES = "libssl3,libffi8,zlib1g,libbz2-1.0,liblzma5,libsqlite3-0,libreadline8,libuuid1,libexpat1,ca-certificates"
BOOTSTRAP = """#!/bin/sh
export PYTHONPATH=/var/task:/opt/python:/var/runtime LAMBDA_TASK_ROOT=/var/task LD_LIBRARY_PATH=/var/lang/lib
cd /var/task && exec /var/lang/bin/python3 -m awslambdaric "$_HANDLER"
"""
DOCKERFILE = (
    "FROM scratch\nADD root.tar /\nENV PATH=/var/lang/bin:/usr/bin:/bin LANG=C.UTF-8 TZ=:UTC\nWORKDIR /var/task\n"
)


class Missing(Exception):
    """What is not here, in one line."""


def docker(*words, **options):
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=False, **options)


@contextlib.contextmanager
def engine():
    """A Docker engine: the one that answers, else one that is started, and stopped afterwards.  Missing if none can."""
    if not shutil.which("docker"):
        raise Missing("there is no docker on PATH")
    if docker("info").returncode == 0:
        yield
        return
    if not shutil.which("dockerd") or os.geteuid() != 0:
        raise Missing("no Docker engine answers, and there is no dockerd that we may start")
    process = subprocess.Popen(["dockerd"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end_s = time.monotonic() + 30
        while docker("info").returncode:
            if process.poll() is not None or time.monotonic() > end_s:
                raise Missing("dockerd does not start here")
            time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait(30)


def bridge():
    """The address of this machine that containers reach."""
    addresses = psutil.net_if_addrs().get("docker0", ())
    address = next((address_of.address for address_of in addresses if address_of.family == socket.AF_INET), None)
    if address is None:
        raise Missing("Docker's bridge docker0 has no address here, so that containers would not reach this machine")
    return address


def base_image(folder):
    """Have the base image: the one here, its registry's, or a stand-in made in ``folder``.  Missing if none works."""
    if docker("image", "inspect", IMAGE).returncode and docker("pull", "--quiet", IMAGE).returncode:
        _stand_in(folder)


def _stand_in(folder):
    if not shutil.which("debootstrap") or os.geteuid() != 0:
        raise Missing(f"{IMAGE} can't be pulled, and without debootstrap, as root, no stand-in can be made")
    if LAMBDA not in pythons():
        raise Missing(f"{IMAGE} can't be pulled, and a stand-in needs python{LAMBDA} on PATH or among pyenv's")
    root = folder / "root"
    _run(["debootstrap", "--variant=minbase", f"--include={LIBRARIES}", "bookworm", root])  # from its default mirror
    prefix = _run([pythons()[LAMBDA], "-c", "import sys; print(sys.base_prefix)"]).strip()
    ignored = shutil.ignore_patterns("test", "__pycache__", "site-packages", "*.a")
    shutil.copytree(prefix, root / "var/lang", symlinks=True, ignore=ignored)
    install_runtime(LAMBDA, folder, root / "var/runtime")
    bootstrap = root / "var/runtime/bootstrap"
    bootstrap.write_text(BOOTSTRAP)
    bootstrap.chmod(0o755)
    for empty in ("var/task", "opt"):
        (root / empty).mkdir(exist_ok=True)
    _run(["tar", "--create", "--file", folder / "root.tar", "--directory", root, "."])
    (folder / "Dockerfile").write_text(DOCKERFILE)
    shutil.rmtree(root)
    _run(["docker", "build", "--quiet", "--tag", IMAGE, folder])


def _run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
