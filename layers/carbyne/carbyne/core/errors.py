"""Every error that Carbyne raises on purpose, in four families that are never mixed.

CarbyneError
|-- RequestError        the caller must change the request; carries an HTTP status
|   `-- QueryError            a query of PromQL fails; carries the type that Prometheus gives to such an error
|-- RetryableError      the same call may succeed later: store unavailable, throttled, lane rebuilding
|   |-- OverLimitError        the tenant is over one of its limits; the message says which
|   `-- RestingError          a host that many tenants notify through does not answer; it is left alone for a while
|-- CorruptDataError    bytes that are not what a codec wrote; quarantined, never retried
|   `-- UnknownVersionError   sound bytes of a newer version; left for the retry, never quarantined
`-- InvariantError      a bug of ours ("BUG: ...; got ...")
"""

from typing import Final


class CarbyneError(Exception):
    """Root of the tree."""


class RequestError(CarbyneError):
    """The request cannot be served as it is.

    ``status`` is the HTTP status of the answer, ``message`` tells the caller what to change.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class QueryError(RequestError):
    """A query that can't be read (``bad_data``), can't be computed (``execution``) or takes too long (``timeout``)."""

    STATUS: Final = {"bad_data": 400, "execution": 422, "timeout": 503}

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(self.STATUS[kind], message)
        self.kind = kind


class RetryableError(CarbyneError):
    """A store or a network failed; the same call may succeed later."""


class OverLimitError(RetryableError):
    """A tenant uses more of ``limit`` (``samples-per-minute``, ...) than it may; ``about``: more about it."""

    def __init__(self, limit: str, used: int, allowed: int, about: str = "") -> None:
        super().__init__(f"over the limit {limit}: {used} of at most {allowed}" + (f"; {about}" if about else ""))
        self.limit, self.used, self.allowed = limit, used, allowed


class RestingError(RetryableError):
    """``host`` answered several tenants' notices in a row not at all, and is asked again in ``rest_s``."""

    def __init__(self, host: str, rest_s: int) -> None:
        super().__init__(f"{host} does not answer; it is asked again in {rest_s} s")
        self.rest_s = rest_s


class CorruptDataError(CarbyneError):
    """Bytes that no version of our codecs wrote.  The message has sizes and the first bytes in hex."""


class UnknownVersionError(CorruptDataError):
    """The checksum is right, type or version are newer than this code.  Deploy the newer code; the bytes are sound."""


class InvariantError(CarbyneError):
    """A state that our own rules exclude."""
