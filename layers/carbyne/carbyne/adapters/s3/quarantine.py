"""The failure buckets: corrupt records and blocks with their reason, as ingester and archiver set them aside."""

from typing import TYPE_CHECKING

from carbyne.adapters.aws import retryable
from carbyne.core import keys
from carbyne.core.items import Item
from carbyne.core.keys import BlockKey

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class S3Quarantine:
    """One object a record, named by its stamp, or a block, named by its key and version, so that a repeated batch
    overwrites what it put and nothing else."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, what: bytes | BlockKey, data: bytes, reason: str) -> None:
        """Keep ``data`` of the record with this stamp or of the block with this key.

        The reason is the object's metadata (ASCII, cut to 1 kB: S3 takes 2 kB in all).
        """
        name = (
            keys.corrupt_record_object(what)
            if isinstance(what, bytes)
            else keys.corrupt_block_object(what, Item(data).version)
        )
        metadata = {"reason": reason.encode("ascii", "backslashreplace").decode()[:1024]}
        with retryable("quarantine PutObject"):
            self._client.put_object(Bucket=self._bucket, Key=name, Body=data, Metadata=metadata)
