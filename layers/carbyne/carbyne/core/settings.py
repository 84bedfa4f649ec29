"""The environment of each function as one typed value.

Field ``stream_name`` is read from ``STREAM_NAME``.  The template is the only place that sets these variables; a test
compares each function's variables with its class.  ``stack``: name of the stack, a dimension of every metric.
"""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from carbyne.core.errors import InvariantError
from carbyne.core.keys import RESOLUTIONS


class WriterSettings(msgspec.Struct, frozen=True):
    """``stream_name``: the Kinesis stream; ``accounts_table``: API keys and tenants; ``blocks_table``: where deletes
    are noted; ``registry_table``: of hosts; ``registry_function``: answers what agents ask beside posts;
    ``reader_function``: finds the series of a delete; ``cold_raw_s``: how old a sample may be, minus a margin;
    ``raw_window_s``: by which old samples count."""

    stack: str
    stream_name: str
    accounts_table: str
    blocks_table: str
    registry_table: str
    registry_function: str
    reader_function: str
    cold_raw_s: int
    raw_window_s: int


class RegistrySettings(msgspec.Struct, frozen=True):
    """``registry_table``: hosts, services and what belongs to them; ``accounts_table``: API keys and tenants;
    ``stream_name``: the Kinesis stream, for the samples of hosts that are removed; ``secrets``: prefix of the
    parameters with the secrets of integrations."""

    registry_table: str
    accounts_table: str
    stream_name: str
    secrets: str


class Secret:
    """A text that no log line and no repr shows; false if empty."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret(...)"


class RedisSettings(msgspec.Struct, frozen=True):
    """``redis_endpoint``: host:port of any node of the cluster; ``redis_tls``: true or false.

    ``redis_iam_cache``: the replication group where ``redis_user`` logs in by IAM token.  Without it ``redis_password``
    is sent, if there is one, for ``redis_user`` or the default user.
    """

    redis_endpoint: str
    redis_tls: bool
    redis_user: str = ""
    redis_iam_cache: str = ""
    redis_password: Secret = Secret("")


class IngesterSettings(RedisSettings, frozen=True, kw_only=True):
    """``stream_epoch``: raised when the stream is replaced; ``failure_bucket``: where corrupt records are kept;
    ``blocks_table``: markers of deletes and the progress of a replay; ``cold_raw_s``: how long raw samples are kept.

    ``raw_window_s``, ``seal_grace_s``, ``seal_jitter_s``: when a window is due for sealing (see
    ``schedule.SealSchedule``).
    """

    stack: str
    accounts_table: str
    blocks_table: str
    failure_bucket: str
    stream_epoch: int
    cold_raw_s: int
    raw_window_s: int
    seal_grace_s: int
    seal_jitter_s: int


class SealerSettings(RedisSettings, frozen=True, kw_only=True):
    """``accounts_table``: has the mark that lanes were initialised; ``blocks_table``: blocks and catalogue;
    ``blocks_bucket``: the archive; ``cold_raw_s``: how long raw samples are kept; ``hot_s``: how long after its end a
    sealed window stays readable in Redis; ``warm_..._s``: how long a block of each resolution stays in the table; grace
    and jitter as of ``IngesterSettings``."""

    stack: str
    accounts_table: str
    blocks_table: str
    blocks_bucket: str
    seal_grace_s: int
    seal_jitter_s: int
    cold_raw_s: int
    hot_s: int
    warm_raw_s: int
    warm_5m_s: int
    warm_1h_s: int
    warm_1d_s: int


class ArchiverSettings(msgspec.Struct, frozen=True):
    """``blocks_table``: markers of deletes; ``blocks_bucket``: archive; ``archive_failure_bucket``: corrupt blocks."""

    stack: str
    blocks_table: str
    blocks_bucket: str
    archive_failure_bucket: str


class ReconcilerSettings(msgspec.Struct, frozen=True):
    """``blocks_table`` and ``blocks_bucket``: what is compared; ``warm_..._s``: how long a block of each resolution
    stays in the table."""

    stack: str
    blocks_table: str
    blocks_bucket: str
    warm_raw_s: int
    warm_5m_s: int
    warm_1h_s: int
    warm_1d_s: int


class SupervisorSettings(msgspec.Struct, frozen=True):
    """``stream_name`` and ``stream_arn``: of the Kinesis stream; ``blocks_table``: where the job is; ``replayer``: name
    of the function that reads the stream a second time."""

    stream_name: str
    stream_arn: str
    blocks_table: str
    replayer: str


class ProbeSettings(RedisSettings, frozen=True, kw_only=True):
    """The cluster whose nodes are looked at."""

    stack: str


class MonitorSettings(msgspec.Struct, frozen=True):
    """``stream_name``: the Kinesis stream; ``accounts_table``: tenants; ``registry_table``: hosts and graphs."""

    stream_name: str
    accounts_table: str
    registry_table: str


class ReaderSettings(RedisSettings, frozen=True, kw_only=True):
    """``raw_window_s``: length of a raw window; ``cold_..._s``: how far back a read of each resolution may go."""

    stack: str
    accounts_table: str
    registry_table: str
    blocks_table: str
    blocks_bucket: str
    raw_window_s: int
    cold_raw_s: int
    cold_5m_s: int
    cold_1h_s: int
    cold_1d_s: int


class EvaluatorSettings(ReaderSettings, frozen=True, kw_only=True):
    """Of a reader; ``registry_table`` has monitors and alerts as well."""


class PageSettings(RedisSettings, frozen=True, kw_only=True):
    """``accounts_table``: API keys, and what tokens are signed with; ``blocks_table``: where the replay is noted."""

    accounts_table: str
    blocks_table: str


class SchedulerSettings(msgspec.Struct, frozen=True):
    """``registry_table``: monitors; ``queue`` and ``worker``: names of the functions of queues and of checks."""

    registry_table: str
    queue: str
    worker: str


class WorkerSettings(msgspec.Struct, frozen=True):
    """``registry_table``: monitors, integrations and their states; ``stream_name``: the Kinesis stream, for samples;
    ``queue``: name of the function of queues; ``check_networks``: private networks that may be asked, comma
    separated; ``secrets``: prefix of the parameters with the secrets of integrations."""

    registry_table: str
    stream_name: str
    queue: str
    check_networks: str
    secrets: str


class NotifierSettings(msgspec.Struct, frozen=True):
    """``registry_table``: what must be notified, and channels; ``queue``: name of the function of queues;
    ``stream_name``: the Kinesis stream, for what rules recorded;
    ``check_networks``: as of ``WorkerSettings``; ``mail_from``: the sender of mails, empty for none; ``url``: of the
    door; ``accounts_table``: what pictures are signed with."""

    url: str
    accounts_table: str
    registry_table: str
    stream_name: str
    queue: str
    check_networks: str
    mail_from: str


class QueueSettings(RedisSettings, frozen=True, kw_only=True):
    """``accounts_table``: API keys; ``queues_table``: messages."""

    accounts_table: str
    queues_table: str


Settings = TypeVar("Settings", bound=msgspec.Struct)


def by_resolution(settings: SealerSettings | ReaderSettings | ReconcilerSettings, tier: str) -> dict[str, int]:
    """Retention of each resolution in seconds, of the ``warm`` or ``cold`` tier."""
    return {resolution: getattr(settings, f"{tier}_{resolution}_s") for resolution in RESOLUTIONS}


def load(kind: type[Settings], environment: Mapping[str, str]) -> Settings:
    """The settings of ``kind`` from an environment.  InvariantError names what is missing or malformed."""
    names = {field.name: field.name.upper() for field in msgspec.structs.fields(kind)}
    given = {field: environment[name] for field, name in names.items() if name in environment}
    try:
        return msgspec.convert(given, kind, strict=False, dec_hook=_secret)
    except msgspec.ValidationError as error:
        raise InvariantError(f"environment does not fit {kind.__name__}: {error}") from None


def _secret(kind: type, text: object) -> Secret:
    assert kind is Secret, kind
    return Secret(str(text))
