"""Child processes that never outlive us."""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
LISTEN = os.environ.get("LISTEN") or LOOPBACK
"""Where everything listens: with Docker's bridge as address, containers reach it."""
ROOT = Path(__file__).resolve().parents[1]
LIBC = ctypes.CDLL(None)


def spawn(command: list[str], **options: Any) -> "subprocess.Popen[str]":  # noqa: ANN401 - Popen's own options
    """A child out of reach of Ctrl-C; on Linux it dies with the thread that started it: use one that stays."""
    options = {"cwd": ROOT, "start_new_session": True, **options}
    return subprocess.Popen(command, text=True, preexec_fn=_die_with_parent, **options)  # noqa: PLW1509


def _die_with_parent() -> None:
    if sys.platform == "linux":
        LIBC.prctl(1, signal.SIGKILL)
