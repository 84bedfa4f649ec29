"""Commands and scripts of one lane, and how their replies are read."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any, NamedTuple

from redis import exceptions

from carbyne.core.errors import RetryableError

SCRIPTS = Path(__file__).parents[3] / "lua"
REROUTED = (
    exceptions.MovedError,
    exceptions.ReadOnlyError,
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterDownError,
    exceptions.MasterDownError,
    exceptions.BusyLoadingError,
    exceptions.TryAgainError,
)
"""Errors after which the same call may succeed within the budget, on this node or on another one."""
Reply = Any
"""What redis-py makes of a RESP2 reply, or the RetryableError of a call that did not count."""


class Script(NamedTuple):
    """A registered script: its text and SHA-1."""

    text: str
    sha: str

    @classmethod
    def load(cls, name: str) -> "Script":
        """The script ``lua/<name>.lua``, with the files of ``lua/parts`` where it has ``-- include <part>``."""
        return _loaded(name)

    def call(self, lane: int, keys: Sequence[str], args: Sequence[Any]) -> "Command":
        return Command(lane, ("EVALSHA", self.sha, len(keys), *keys, *args), self)


@cache
def _loaded(name: str) -> Script:
    text = re.sub(r"^-- include (\w+)$", _part, (SCRIPTS / f"{name}.lua").read_text(), flags=re.MULTILINE)
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def _part(include: re.Match[str]) -> str:
    return (SCRIPTS / "parts" / f"{include[1]}.lua").read_text()


class Command(NamedTuple):
    """One command of one lane; ``script`` if it is an EVALSHA."""

    lane: int
    words: tuple[Any, ...]
    script: Script | None = None


def checked(reply: Reply) -> Reply:
    """The reply, or its RetryableError raised."""
    if isinstance(reply, RetryableError):
        raise reply
    return reply


def mapping(reply: Reply) -> Mapping[bytes, bytes]:
    """The reply of HGETALL, which redis-py gives in one of two forms."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def final(reply: Reply) -> Reply:
    """The reply once it is not tried again: an error as RetryableError."""
    if isinstance(reply, Exception) and not isinstance(reply, RetryableError):
        return RetryableError(f"Redis: {type(reply).__name__}: {reply}")
    return reply


def as_lost(error: Exception) -> Exception:
    """An error of a whole pipeline, as one after which its calls are tried again."""
    return error if isinstance(error, REROUTED) else exceptions.ConnectionError(str(error))
