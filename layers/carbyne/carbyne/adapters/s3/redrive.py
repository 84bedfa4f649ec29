"""The failure buckets, read again by the operator's command."""

from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from carbyne.adapters.aws import retryable
from carbyne.adapters.s3.objects import ABSENT
from carbyne.archive.redrive import Kept

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class S3Failures:
    """``redrive.Failures``: a failure bucket, read again."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def kept(self, prefix: str) -> Iterator[Kept]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        with retryable("redrive ListObjects"):
            begun = None
            for page in pages:
                begun = begun or parsedate_to_datetime(page["ResponseMetadata"]["HTTPHeaders"]["date"])
                for entry in page.get("Contents", []):
                    if entry["LastModified"] <= begun:
                        yield Kept(entry["Key"], entry["Size"])

    def get(self, name: str) -> bytes | None:
        try:
            with retryable("redrive GetObject", passing=ABSENT):
                return self._client.get_object(Bucket=self._bucket, Key=name)["Body"].read()
        except ClientError:
            return None

    def remove(self, name: str) -> None:
        with retryable("redrive DeleteObject"):
            self._client.delete_object(Bucket=self._bucket, Key=name)
