"""Errors that one tenant meets: the others go on, and the run fails at its end.

A queue that is full is no such error: its tenant made more notices than its channels take, which concerns no operator.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from carbyne.core.errors import CarbyneError, InvariantError, OverLimitError

_log = logging.getLogger(__name__)


class TenantFailures:
    """Of one run."""

    def __init__(self) -> None:
        self._last: CarbyneError | None = None

    @contextmanager
    def of(self, tenant: str) -> Iterator[None]:
        """Around what is done for a tenant, which the next minute does again."""
        try:
            yield
        except OverLimitError as error:
            _log.warning("notices of %s wait until its queue has room: %s", tenant, error)
        except CarbyneError as error:
            _log.exception("notices of %s wait for the next minute", tenant)
            self._last = error
        except Exception as error:  # noqa: BLE001 - a bug of ours that one tenant meets; its text may hold secrets
            _log.error("BUG: notices of %s wait for the next minute: %s", tenant, type(error).__name__)
            self._last = InvariantError(f"BUG: {type(error).__name__}")

    def raise_last(self) -> None:
        if self._last:
            raise self._last
