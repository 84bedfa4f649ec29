"""Bugs of ours that one tenant meets: counted and logged, so that the others go on."""

import logging
import traceback
from collections.abc import Callable

from carbyne.core.meter import Meter

_log = logging.getLogger(__name__)
NoteBug = Callable[[str, Exception], None]
"""Takes what was not done because of it, and the error."""


def noting(meter: Meter) -> NoteBug:
    """Logs type and place of an error.  Its text and the values of variables may hold secrets of tenants."""

    def note(what: str, error: Exception) -> None:
        meter.add("BugsMet")
        frames = traceback.extract_tb(error.__traceback__)
        path = " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)
        _log.error("BUG: %s: %s at %s", what, type(error).__name__, path)

    return note
