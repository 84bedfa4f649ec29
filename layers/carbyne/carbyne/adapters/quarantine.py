"""The failure bucket: corrupt records with their reason, as the ingester sets them aside."""

from typing import TYPE_CHECKING

from carbyne import keys
from carbyne.adapters.aws import retryable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class S3Quarantine:
    """One object a record, named by its stamp, so that a repeated batch overwrites it."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, stamp: bytes, data: bytes, reason: str) -> None:
        """Keep ``data``; the reason is the object's metadata (ASCII, cut to 1 kB: S3 takes 2 kB in all)."""
        metadata = {"reason": reason.encode("ascii", "backslashreplace").decode()[:1024], "stamp": stamp.hex()}
        with retryable("quarantine PutObject"):
            self._client.put_object(
                Bucket=self._bucket, Key=keys.corrupt_record_object(stamp), Body=data, Metadata=metadata
            )
