"""Second readers of the stream: event source mappings of Lambda, made when they are needed and removed afterwards."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

from botocore.exceptions import ClientError

from carbyne.adapters.aws import retryable
from carbyne.core.errors import RetryableError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

EXISTS = ("ResourceConflictException",)
GONE = ("ResourceNotFoundException",)
BATCH_SIZE = 500


class _Position(TypedDict):
    StartingPosition: Literal["TRIM_HORIZON", "AT_TIMESTAMP"]
    StartingPositionTimestamp: NotRequired[datetime]


class LambdaReaders:
    """``replay.Readers`` for one stream and one function, of which AWS allows one mapping."""

    def __init__(self, client: "LambdaClient", function: str, stream_arn: str) -> None:
        self._client = client
        self._function = function
        self._stream_arn = stream_arn

    def start(self, start_s: int) -> str:
        try:
            with retryable("replay CreateEventSourceMapping", passing=EXISTS):
                return self._client.create_event_source_mapping(
                    EventSourceArn=self._stream_arn,
                    FunctionName=self._function,
                    BatchSize=BATCH_SIZE,
                    FunctionResponseTypes=["ReportBatchItemFailures"],
                    **_position(start_s),
                )["UUID"]
        except ClientError:
            return self._running()

    def stop(self, name: str) -> None:
        try:
            with retryable("replay DeleteEventSourceMapping", passing=GONE):
                self._client.delete_event_source_mapping(UUID=name)
        except ClientError:
            return

    def _running(self) -> str:
        """RetryableError while the last one, which is deleted already, is still in the way."""
        with retryable("replay ListEventSourceMappings"):
            listed = self._client.list_event_source_mappings(
                EventSourceArn=self._stream_arn, FunctionName=self._function
            )
        for mapping in listed["EventSourceMappings"]:
            if mapping["State"] != "Deleting":
                return mapping["UUID"]
        raise RetryableError("the reader of the last replay is not gone yet")


def _position(start_s: int) -> "_Position":
    if start_s == 0:
        return {"StartingPosition": "TRIM_HORIZON"}
    return {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": datetime.fromtimestamp(start_s, UTC)}
