"""What all AWS clients share: explicit timeouts, and one translation of their errors."""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from carbyne.core.errors import RetryableError

_log = logging.getLogger(__name__)

AWS_ERRORS: Final = (ClientError, BotoCoreError)
"""What a call of a client raises."""
NOT_TRANSIENT: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "InvalidArgumentException",
        "InvalidObjectState",
        "KMSAccessDeniedException",
        "KMSDisabledException",
        "KMSInvalidStateException",
        "KMSNotFoundException",
        "KMSOptInRequired",
        "NoSuchBucket",
        "ResourceNotFoundException",
        "ValidationException",
    }
)
"""Error codes that say that the deployment or our code is wrong: trying again at once can't help."""


def config(connect_timeout_s: float, read_timeout_s: float, tries: int, connections: int = 10) -> Config:
    """Settings of a client: ``tries`` is 1 where the use case has its own retries; ``connections`` kept open at most.

    Parameters are not validated twice: AWS does it, and the check costs as much as the call's own work.
    """
    return Config(
        connect_timeout=connect_timeout_s,
        read_timeout=read_timeout_s,
        retries={"total_max_attempts": tries, "mode": "standard"},
        tcp_keepalive=True,
        max_pool_connections=connections,
        parameter_validation=False,
    )


@contextmanager
def retryable(operation: str, passing: Collection[str] = ()) -> Iterator[None]:
    """Errors of AWS and of the way to it become RetryableError; those that need a human are logged as errors.

    ``passing``: error codes that the caller wants to see as they are, such as a failed condition.
    """
    try:
        yield
    except AWS_ERRORS as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] in passing:
            raise
        if not is_transient(error):
            _log.error("%s is refused, so the deployment is wrong: %s", operation, error)
        raise RetryableError(f"{operation}: {error}") from error


def is_transient(error: ClientError | BotoCoreError) -> bool:
    """Whether the same call may succeed soon: throttles, timeouts, network, faults of the service."""
    return not isinstance(error, ClientError) or error.response["Error"]["Code"] not in NOT_TRANSIENT
