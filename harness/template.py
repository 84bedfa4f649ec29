"""template.yaml as data, its intrinsic functions as dictionaries: ``!Ref X`` is {"Ref": "X"}."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from samtranslator.yaml_helper import intrinsics_multi_constructor

FILE = Path(__file__).resolve().parents[1] / "template.yaml"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # the one in C takes a tenth of the time
    pass


_Loader.add_multi_constructor("!", intrinsics_multi_constructor)


def parsed(text: str) -> dict[str, Any]:
    """The data of a template's text."""
    return yaml.load(text, _Loader)


@cache
def template() -> dict[str, Any]:
    """The data of template.yaml: read once for all callers, which leave it as it is."""
    return parsed(FILE.read_text())
