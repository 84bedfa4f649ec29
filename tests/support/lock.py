"""The lock files, package by package."""

import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def entries(path):
    """(requirement, hashes, text) of each pin of a lock file under the root."""
    for text in re.split(r"\n(?=\w)", (ROOT / path).read_text()):
        if not text.startswith("#"):
            requirement = Requirement(re.split(r"\\\n|\n", text)[0].strip())
            yield requirement, frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})", text)), text


def excerpt(path, names):
    """The part of a lock file that pins ``names``, hashes included, for pip --requirement."""
    return "\n".join(text for requirement, _, text in entries(path) if requirement.name in names)
