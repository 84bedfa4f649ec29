"""Every key of every store, each built in one place.

Parts that come from outside are percent-escaped, so no part contains a separator and no two identities share a key.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b, sha256
from typing import Final, NamedTuple
from urllib.parse import quote, unquote
from zlib import crc32

from carbyne.core.limits import LANES, PARTS_REMEMBERED_MAX
from carbyne.core.stamps import STAMP_BYTES

PART_NAME_BITS: Final = 16
"""Of the hash of a part, for the name of the metric; must never change."""


@lru_cache(PARTS_REMEMBERED_MAX)
def escape(part: str) -> str:
    """A part of a key without ``:``, ``/``, ``+``, ``{`` or ``}``.  Remembered: each call on a source's window in Redis
    names the same tenant and source some ten times."""
    return quote(part, safe="")


def lane_of(tenant: str, source: str) -> int:
    """The lane of a source, 0 to 1023: the low ten bits of the CRC-32 of ``tenant NUL source``.  Must never change."""
    return crc32(f"{tenant}\0{source}".encode()) % LANES


def lane_tag(lane: int) -> str:
    """Partition key in Kinesis and, in braces, the hash tag in Redis: ``l0417``."""
    return f"l{lane:04d}"


def lane_of_tag(tag: str) -> int | None:
    """The mirror of ``lane_tag``; None for another text."""
    is_tag = len(tag) == 5 and tag[0] == "l" and tag[1:].isdecimal() and int(tag[1:]) < LANES
    return int(tag[1:]) if is_tag else None


class Window(NamedTuple):
    """An aligned span of time: ``start_s`` is a multiple of ``length_s``."""

    start_s: int
    length_s: int

    @classmethod
    def holding(cls, ts_ms: int, length_s: int) -> "Window":
        """The window of this length that contains ``ts_ms``."""
        ts_s = ts_ms // 1000
        return cls(ts_s - ts_s % length_s, length_s)

    @classmethod
    def parse(cls, token: str) -> "Window":
        """The mirror of ``token``."""
        start, _, length = token.partition("+")
        return cls(int(start), int(length))

    def overlaps(self, from_ms: int, to_ms: int) -> bool:
        """Whether any time from ``from_ms`` to ``to_ms``, both included, lies in the window."""
        return self.start_s * 1000 <= to_ms and self.end_s * 1000 > from_ms

    @property
    def end_s(self) -> int:
        """The first second after the window."""
        return self.start_s + self.length_s

    @property
    def token(self) -> str:
        """``<start_s>+<length_s>``: the window in keys; windows of different lengths have different tokens."""
        return f"{self.start_s}+{self.length_s}"


class SourceKey(NamedTuple):
    """One source of one tenant, and the keys of what is stored of it."""

    tenant: str
    source: str

    @property
    def lane(self) -> int:
        return lane_of(self.tenant, self.source)

    @property
    def path(self) -> str:
        """``<tenant>:<source>``, escaped."""
        return f"{escape(self.tenant)}:{escape(self.source)}"

    @classmethod
    def of_path(cls, path: str) -> "SourceKey":
        """The mirror of ``path``."""
        tenant, source = path.split(":")
        return cls(unquote(tenant), unquote(source))

    @property
    def windows(self) -> str:
        """Redis hash of the source's windows that have rows: token -> ``c`` or ``p``, expiry in ms, token of
        the lane (see write.lua)."""
        return f"{{{lane_tag(self.lane)}}}:w:{self.path}"

    def rows(self, window: Window) -> str:
        """Redis hash of the window's rows: ts and list identity -> stamp, kind, values."""
        return self._in_window("r", window)

    def lists(self, window: Window) -> str:
        """Redis hash: length of the window's dictionary after an append -> its digest; for older rows list identity ->
        series keys, one a line."""
        return self._in_window("l", window)

    def dictionary(self, window: Window) -> str:
        """Redis hash of the window's series dictionary: series key -> index."""
        return self._in_window("d", window)

    def member(self, window: Window) -> str:
        """The window in its lane's due index: ``<tenant>:<source>:<window>``."""
        return f"{self.path}:{window.token}"

    @classmethod
    def of_member(cls, member: str) -> "tuple[SourceKey, Window]":
        """The mirror of ``member``."""
        tenant, source, token = member.split(":")
        return cls(unquote(tenant), unquote(source)), Window.parse(token)

    @property
    def windows_item(self) -> str:
        """Partition key, in the blocks table, of the index of all windows of the source that were ever sealed."""
        return f"windows:{self.path}"

    @property
    def series_item(self) -> str:
        """Partition key, in the blocks table, of the source's series catalogue."""
        return f"series:{self.path}"

    def _in_window(self, kind: str, window: Window) -> str:
        return f"{{{lane_tag(self.lane)}}}:{kind}:{self.path}:{window.token}"


def lane_state(lane: int) -> str:
    """Redis string of a lane: ``w`` (whole) or ``r`` (rebuilding), the highest arrival stamp, the token of its last
    replay."""
    return f"{{{lane_tag(lane)}}}:state"


def lane_claims(lane: int) -> str:
    """Redis hash of a lane: claimed windows -> end of the lease, ms."""
    return f"{{{lane_tag(lane)}}}:claims"


def lane_due(lane: int) -> str:
    """Redis sorted set of a lane: unsealed windows by the time (ms) at which they are due."""
    return f"{{{lane_tag(lane)}}}:due"


def lane_since(lane: int) -> str:
    """Redis sorted set of a lane: windows by when their first row that no block holds came to the stream (ms), and
    ``tick`` by when the newest record came before which the ingester has done all of the lane."""
    return f"{{{lane_tag(lane)}}}:since"


METADATA: Final = "prom/metadata"
"""In the place of a source: the lane of what is said about a tenant's metrics."""

RAW: Final = "raw"
"""The resolution of samples as they were posted."""
RESOLUTIONS: Final = (RAW, "5m", "1h", "1d")
"""Names of all resolutions, finest first; ``rollups`` says what they are made of."""

CLOSED: Final = "closed"
"""In the place of a resolution in the index of windows: the days of which every series has its daily bucket."""


class BlockKey(NamedTuple):
    """One block: its source, resolution (``raw``), window, and part (the leading bits of the series' hashes as text,
    empty for the whole block)."""

    source: SourceKey
    resolution: str
    window: Window
    part: str = ""

    @property
    def partition(self) -> str:
        """Partition key in the blocks table: all windows of one part."""
        return f"{self.resolution}:{self.source.path}:{self.part}"

    @property
    def sort(self) -> str:
        """Sort key in the blocks table; ascending by the window's start."""
        return block_sort(self.window)

    @property
    def object(self) -> str:
        """S3 key of the archived block."""
        tenant, source = map(escape, self.source)
        return f"{self.resolution}/{tenant}/{source}/{self.sort}/{self.part or 'all'}"

    @classmethod
    def of_object(cls, name: str) -> "BlockKey":
        """The mirror of ``object``; ValueError for another name."""
        resolution, tenant, source, sort, part = name.split("/")
        key = cls(SourceKey(unquote(tenant), unquote(source)), resolution, Window.parse(sort), part.removeprefix("all"))
        if resolution not in RESOLUTIONS or key.object != name:
            raise ValueError(f"{name[:200]!r} names no block")
        return key

    @classmethod
    def of_item(cls, partition: str, sort: str) -> "BlockKey":
        """The mirror of ``partition`` and ``sort``."""
        resolution, tenant, source, part = partition.split(":")
        return cls(SourceKey(unquote(tenant), unquote(source)), resolution, Window.parse(sort), part)


def is_block(partition: str) -> bool:
    """Whether a partition key of the blocks table belongs to blocks, not to the catalogue."""
    return partition.partition(":")[0] in RESOLUTIONS


def block_sort(window: Window) -> str:
    """``<start_s, ten digits>+<length_s>``."""
    return f"{window.start_s:010d}+{window.length_s}"


MARKERS: Final = "deleted#"
"""Prefix of the sort keys of a source's deletes, in the partition of its index of windows; they sort between CLOSED and
RAW."""


BACKLOG: Final = "backlog#"
"""What the sort keys of a source's late rows begin with, beside its index of windows; they lie before CLOSED."""


def late_sort(window: Window, identity: bytes) -> str:
    """Sort key of late rows of one window; ``identity``: of their bytes, so that equal items have equal keys."""
    return f"{BACKLOG}{block_sort(window)}#{identity.hex()}"


def window_of_late(sort: str) -> Window:
    """The window of a ``late_sort``."""
    return Window.parse(sort.removeprefix(BACKLOG).partition("#")[0])


def work_partition(number: int) -> str:
    """Partition key, in the blocks table, of a share of the list of sources whose blocks lack something."""
    return f"work:{number:02d}"


def marker_sort(identity: bytes) -> str:
    """Sort key of the latest delete of one series and span (``markers.Marker.identity``)."""
    return f"{MARKERS}{identity.hex()}"


TARGET_SORT: Final = "target"
"""Sort key, beside a source's series catalogue, of the labels of its target: behind the catalogue's pages."""


def series_hash(series: str) -> int:
    """64 bits of BLAKE2b of a series key, as an integer: its leading bits choose the part of a split row."""
    return int.from_bytes(blake2b(series.encode(), digest_size=8).digest(), "big")


def part_hash(series: str) -> int:
    """64 bits whose leading ones choose the part of a split block; the key of a Mackerel metric is its name alone.

    The first PART_NAME_BITS are those of the hash of the metric's name, so that a query of one metric finds it in one
    part; the labels divide a metric that is too large.  All that a rollup has of a series is in one part: the hash
    leaves out what follows ``\\x01``.
    """
    key = series.partition("\x01")[0]
    name, labels, _ = key.partition("{")
    if not labels:
        return series_hash(key)
    left = 64 - PART_NAME_BITS
    return series_hash(name) >> left << left | series_hash(key) >> PART_NAME_BITS


def join_series(series: Sequence[str]) -> bytes:
    """A series list as one blob: the keys in their order, one a line (a canonical key has no line feed)."""
    return "\n".join(series).encode()


def split_series(blob: bytes) -> list[str]:
    """The mirror of ``join_series``."""
    return blob.decode().split("\n")


def list_identity(blob: bytes) -> bytes:
    """Identity of a series list: 8 bytes of BLAKE2b of its blob."""
    return blake2b(blob, digest_size=8).digest()


DIRECTORY_SHARDS: Final = 16
"""Partitions of a tenant's sources in the directory: a partition takes 1,000 writes a second."""
SORT_FIRST: Final = "\0"
"""No sort key is before it: DynamoDB refuses an empty one, in a condition too."""
SORT_LAST: Final = "\U0010ffff"
"""Behind every sort key."""


def directory_partition(tenant: str, source: str) -> str:
    """Partition key, in the blocks table, of a labelled source in the directory; its sort key is the source."""
    return _directory(tenant, lane_of(tenant, source) % DIRECTORY_SHARDS)


def directory_partitions(tenant: str) -> list[str]:
    """All of them."""
    return [_directory(tenant, number) for number in range(DIRECTORY_SHARDS)]


def directory_tokens(tenant: str) -> str:
    """Partition key, in the blocks table, of the tokens of these partitions; sort keys are their names."""
    return f"facts:{escape(tenant)}:tokens"


def _directory(tenant: str, number: int) -> str:
    return f"facts:{escape(tenant)}:sources:{number:02d}"


def metrics_item(tenant: str) -> str:
    """Partition key, in the blocks table, of what is known about a tenant's labelled metrics."""
    return f"facts:{escape(tenant)}:metrics"


def names_item(tenant: str) -> str:
    """Partition key, in the blocks table, of the sets of names of a tenant's labelled metrics, by hash."""
    return f"facts:{escape(tenant)}:names"


def pair_item(tenant: str, cluster: str) -> str:
    """Partition key, in the accounts table, of the election between the replicas of a pair of senders."""
    return f"pair#{tenant}#{sha256(cluster.encode()).hexdigest()}"


def api_key_item(api_key: str) -> str:
    """Partition key of an API key in the accounts table: only its SHA-256 is ever stored."""
    return f"key#{sha256(api_key.encode()).hexdigest()}"


def api_key_id(item: str) -> str:
    """The id that operators see of the item ``key#<sha256>``: enough of the hash to tell keys apart, but not the
    key."""
    return item.removeprefix("key#")[:16]


def tenant_item(tenant: str) -> str:
    """Partition key of a tenant in the accounts table."""
    return f"tenant#{tenant}"


def corrupt_block_object(key: BlockKey, version: bytes) -> str:
    """S3 key, in the archive's failure bucket, of a block that was set aside; each version is an object of its own."""
    return f"corrupt/{key.object}/{version.hex()}"


def key_of_corrupt_block(name: str) -> BlockKey:
    """The block of a ``corrupt_block_object``; ValueError for another name."""
    prefix, *parts, _ = name.split("/")
    key = BlockKey.of_object("/".join(parts))
    if prefix != "corrupt":
        raise ValueError(f"{name[:200]!r} is not below corrupt/")
    return key


def corrupt_record_object(stamp: bytes) -> str:
    """S3 key of a corrupt stream record in the failure bucket, by its arrival stamp."""
    return f"corrupt/{stamp.hex()}"


def stamp_of_corrupt_record(name: str) -> bytes:
    """The mirror of ``corrupt_record_object``; ValueError for another name."""
    stamp = bytes.fromhex(name.removeprefix("corrupt/"))
    if len(stamp) != STAMP_BYTES or corrupt_record_object(stamp) != name:
        raise ValueError(f"{name[:200]!r} does not end in a stamp")
    return stamp


def registry_partition(tenant: str, kind: str) -> str:
    """Partition key, in the registry table, of all items of one kind: ``<tenant>:hosts``."""
    return f"{escape(tenant)}:{kind}"


def registry_owner(tenant: str, *owner: str) -> str:
    """Partition key of what belongs to one owner: ``<tenant>:of:host:<id>``, ``<tenant>:of:role:<service>:<role>``."""
    return ":".join(map(escape, (tenant, "of", *owner)))


def custom_identifier(identifier: str) -> str:
    """Sort key of a host's custom identifier: its lower case first, so that a prefix finds every spelling."""
    return f"{custom_identifier_prefix(identifier)}{escape(identifier)}"


def custom_identifier_prefix(identifier: str) -> str:
    """Prefix of the sort keys of all spellings of an identifier."""
    return f"{escape(identifier.lower())}:"


def check_monitor(name: str) -> str:
    """Id of a check's monitor, equal on all hosts: eleven hexadecimal digits of the BLAKE2b of its name."""
    return blake2b(name.encode(), digest_size=8).hexdigest()[:11]


EXTERNAL_ITEM: Final = "external-monitors"
"""Partition key, in the registry table, of one item for each external monitor, by tenant and id; no partition of a
tenant has a name without a colon."""

JUDGED_ITEM: Final = "judged-tenants"
"""Partition key, in the registry table, of one item for each tenant that has monitors which the evaluator judges."""

NOTIFICATIONS_ITEM: Final = "notifications"
"""Partition key, in the registry table, of what must be sent still, by tenant, alert and number."""

GROUPED_ITEM: Final = "grouped"
"""Partition key, in the registry table, of groups of alerts, by tenant and setting."""

RECORDED_ITEM: Final = "recorded"
"""Partition key, in the registry table, of what evaluations of rules left to be sent, by tenant, group and time."""


def rule_group(file: str, group: str) -> str:
    """A group of rules in a key: names of groups are long."""
    return f"{escape(file)}:{sha256(group.encode()).hexdigest()[:32]}"


CLOUD_ITEM: Final = "clouds"
"""Partition key, in the registry table, of one item for each integration, by tenant, cloud and id."""

REPLAY_ITEM = "system#replay"
"""Partition key, in the blocks table, of the job that replays lanes."""

RECONCILE_ITEM = "system#reconcile"
"""Partition key, in the blocks table, of what the reconciler has compared."""

LANES_INITIALISED_ITEM = "system#lanes"
"""Partition key, in the accounts table, of the mark that the lanes were initialised as whole."""

TOKEN_SECRET_ITEM = "session#secret"  # noqa: S105 - the name of an item, not its value
"""Partition key, in the accounts table, of what tokens of sessions are signed with."""

PICTURE_SECRET_ITEM = "picture#secret"  # noqa: S105 - as above
"""Partition key, in the accounts table, of what pictures are signed with: who may read it signs no session."""


def session_handle(session_id: str) -> str:
    """What a session is called wherever it is stored or listed: the hash of its id, which only its cookie has."""
    return sha256(session_id.encode()).hexdigest()


def session_lane(handle: str) -> int:
    """The lane in whose slot a session is; also that of the list of an API key's sessions, by its item."""
    return crc32(handle.encode()) % LANES


def session(handle: str) -> str:
    """Redis string of a session, JSON; its expiry is the session's."""
    return f"{{{lane_tag(session_lane(handle))}}}:session:{handle}"


def sessions_of(api_key_item: str) -> str:
    """Redis sorted set of the handles of an API key's sessions, by when they end (s); some may have ended already."""
    return f"{{{lane_tag(session_lane(api_key_item))}}}:sessions:{escape(api_key_item)}"


class QueueKey(NamedTuple):
    """One queue of one tenant: its keys in Redis, all in one slot, and its partitions in the queues table."""

    tenant: str
    name: str

    @property
    def lane(self) -> int:
        return lane_of(self.tenant, f"queue/{self.name}")

    @property
    def path(self) -> str:
        """``<tenant>:<queue>``, escaped."""
        return f"{escape(self.tenant)}:{escape(self.name)}"

    @classmethod
    def of_path(cls, path: str) -> "QueueKey":
        """The mirror of ``path``."""
        tenant, name = path.split(":")
        return cls(unquote(tenant), unquote(name))

    @property
    def state(self) -> str:
        """Redis hash: on which master the queue was built, and how far its numbers are (see queue_begin.lua)."""
        return self._in_redis("state")

    @property
    def ready(self) -> str:
        """Redis sorted set: ids of messages that can be taken, by their numbers."""
        return self._in_redis("ready")

    @property
    def delayed(self) -> str:
        """Redis sorted set: ids of messages that can't be taken yet, by their due time, ms."""
        return self._in_redis("delayed")

    @property
    def leases(self) -> str:
        """Redis sorted set: ids of messages that were taken, by the end of the lease, ms."""
        return self._in_redis("leases")

    @property
    def tries(self) -> str:
        """Redis hash: id -> how often a message was taken."""
        return self._in_redis("tries")

    @property
    def tokens(self) -> str:
        """Redis hash: id -> token of its lease."""
        return self._in_redis("tokens")

    def partition(self, kind: str) -> str:
        """Partition key in the queues table; ``kind``: ``m`` messages by id, ``later`` those that are due in more than
        some minutes, ``dead`` those that had all their tries, ``keys`` given by publishers."""
        return f"{kind}:{self.path}"

    def _in_redis(self, kind: str) -> str:
        return f"{{{lane_tag(self.lane)}}}:queue:{kind}:{self.path}"


QUEUES_ITEM: Final = "queues"
"""Partition key, in the queues table, of the notes of all queues, by their paths."""


def queue_prefix(tenant: str) -> str:
    """Prefix of the paths of a tenant's queues."""
    return f"{escape(tenant)}:"


def takers_lane(tenant: str) -> int:
    """The lane in whose slot the set of a tenant's waiting takers is."""
    return lane_of(tenant, "takers")


def takers(tenant: str) -> str:
    """Redis sorted set: takers of a tenant that wait for messages, by when they are gone at the latest, ms."""
    return f"{{{lane_tag(takers_lane(tenant))}}}:takers:{escape(tenant)}"


def cached(source: SourceKey, key: str) -> str:
    """Redis string of an entry of the cache of reads; ``key`` says what it is made of."""
    return f"{{{lane_tag(source.lane)}}}:cache:{key}"


CACHE_COUNTS = f"{{{lane_tag(0)}}}:cache:counts"
"""Redis hash of how often reads found something in the cache (``hits``) and how often not (``misses``)."""
