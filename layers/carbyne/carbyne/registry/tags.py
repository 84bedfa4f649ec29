"""Tags of clouds as settings write them: ``service:shop, "a:b":'c,d'``."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from carbyne.core.errors import RequestError

Tag = tuple[str, str]
"""Key and value."""
_PART: Final = r"""\s*(?:"([^"]*)"|'([^']*)'|([^\s:,"'](?:[^:,"']*[^\s:,"'])?))\s*"""
_TAG: Final = re.compile(f"{_PART}:{_PART}(?:,|$)")
ROLE_TAG: Final = "mackerel-integration"
"""Tag of a resource with the roles of its host, ``<service>:<role> / <service>:<role>``."""


def parse(field: str, text: str) -> list[Tag]:
    """RequestError 400, which names the field, for anything else."""
    tags, at = list[Tag](), 0
    while at < len(text):
        if not (match := _TAG.match(text, at)):
            rule = "tags are written key:value, key:value, in quotes where they contain : or ,"
            raise RequestError(400, f"{field}: {rule}; got {text[at : at + 100]!r}")
        parts = [part for part in match.groups() if part is not None]
        tags.append((parts[0], parts[1]))
        at = match.end()
    return tags


def is_chosen(of: Mapping[str, str], included: Sequence[Tag], excluded: Sequence[Tag]) -> bool:
    """Whether a resource with these tags has one of ``included``, if there are any, and none of ``excluded``."""
    has = [tag for tag in (*included, *excluded) if of.get(tag[0]) == tag[1]]
    return (not included or any(tag in included for tag in has)) and not any(tag in excluded for tag in has)


def roles(of: Mapping[str, str]) -> Iterator[str]:
    """Full names of roles that a resource's tag gives to its host, as they are written."""
    return (name.strip() for name in of.get(ROLE_TAG, "").split("/") if name.strip())
