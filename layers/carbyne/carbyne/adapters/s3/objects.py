"""The archive: blocks as S3 objects under deterministic keys, changed only on the ETag that was read."""

from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from carbyne.adapters.aws import retryable
from carbyne.core.items import Item
from carbyne.core.keys import BlockKey

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ABSENT: Final = ("NoSuchKey", "404")
CONFLICTS: Final = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "404", "409", "412")
"""Another writer put or removed the object meanwhile: read, merge, put again."""


class ColdBlocks:
    """``items.Blocks`` in a bucket; an item's ``token`` is its ETag, and ``expires_s`` means nothing here: a lifecycle
    rule of the bucket ends blocks.  ``puts``: objects put so far."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self.puts = 0

    def get(self, key: BlockKey) -> Item | None:
        try:
            with retryable("archive GetObject", passing=ABSENT):
                answer = self._client.get_object(Bucket=self._bucket, Key=key.object)
                return Item(answer["Body"].read(), token=answer["ETag"])
        except ClientError:
            return None

    def put(self, key: BlockKey, item: Item, replaces: Item | None) -> bool:
        condition: dict[str, Any] = {"IfMatch": replaces.token} if replaces else {"IfNoneMatch": "*"}
        try:
            with retryable("archive PutObject", passing=CONFLICTS):
                self._client.put_object(Bucket=self._bucket, Key=key.object, Body=item.data, **condition)
        except ClientError:
            return False
        self.puts += 1
        return True
