"""List prices in US dollars, of us-east-1: ``prices.toml`` says since when, and where they come from."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


@cache
def prices() -> Mapping[str, Any]:
    """Service -> its prices; read once."""
    return tomllib.loads(Path(__file__).with_name("prices.toml").read_text())
