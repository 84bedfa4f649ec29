"""Lambda's event source for a Kinesis stream: batches in order, retried until done, too old, or out of attempts.

One batch of a shard is in work at a time, whatever the parallelization.
"""

import contextlib
import json
import threading
import time
import uuid
from base64 import b64encode
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.aws import REGION, Aws
from local.functions import PAYLOAD_BYTES_MAX, VERBOSE, Function, FunctionError

POLL_S = 0.2
RETRY_S_MAX = 5.0
Records = list[dict[str, Any]]


class EventSource:
    """``settings``: the properties of the event in the template.  ``start`` one thread for each shard."""

    def __init__(self, aws: Aws, function: Function, settings: dict[str, Any]) -> None:
        self.aws, self.function = aws, function
        self.stream = settings["Stream"]
        self.batch_size = int(settings.get("BatchSize", 100))
        self.window_s = float(settings.get("MaximumBatchingWindowInSeconds", 0))
        self.attempts_max = int(settings.get("MaximumRetryAttempts", -1))
        self.age_s_max = float(settings.get("MaximumRecordAgeInSeconds", -1))
        self.bisect = settings.get("BisectBatchOnFunctionError") in (True, "true")
        self.partial = "ReportBatchItemFailures" in settings.get("FunctionResponseTypes", [])
        self.bucket = settings["DestinationConfig"]["OnFailure"]["Destination"].rpartition(":")[2]
        self.stopping = threading.Event()
        self.threads: list[threading.Thread] = []

    def start(self) -> None:
        for shard in self.aws.client("kinesis").list_shards(StreamARN=self.stream)["Shards"]:
            self.threads.append(threading.Thread(target=self._follow, args=(shard["ShardId"],), daemon=True))
            self.threads[-1].start()

    def stop(self) -> None:
        """Take no further batch; those in work fail when their function stops."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(2)

    def _follow(self, shard: str) -> None:
        client = self.aws.client("kinesis")
        stream = self.stream.rpartition("/")[2]  # moto forgets an ARN
        start = {"StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
        iterator = client.get_shard_iterator(**start)["ShardIterator"]
        waiting: Records = []
        first_s = pause_s = 0.0
        while not self.stopping.wait(pause_s):
            pause_s = POLL_S
            with contextlib.suppress(BotoCoreError, ClientError):  # as Lambda does: ask again
                found = client.get_records(ShardIterator=iterator, Limit=self.batch_size)
                iterator = found["NextShardIterator"]
                first_s = first_s if waiting else time.monotonic()
                waiting += [self._record(shard, record) for record in found["Records"]]
                while waiting and (len(waiting) >= self.batch_size or time.monotonic() - first_s >= self.window_s):
                    size = self._fitting(waiting)
                    self._deliver(shard, waiting[:size])
                    del waiting[:size]
                pause_s = 0.0 if found["Records"] else POLL_S

    def _fitting(self, records: Records) -> int:
        """How many of the first records make an event of at most 6 MB; at least one."""
        size, bytes_left = 0, PAYLOAD_BYTES_MAX - 4096
        for record in records[: self.batch_size]:
            bytes_left -= len(json.dumps(record)) + 2
            size += bytes_left >= 0
        return max(size, 1)

    def _deliver(self, shard: str, records: Records) -> None:
        """Until every record is done: a failed one and all after it come again, later and later."""
        attempt = 0
        while records and not self.stopping.is_set():
            if 0 <= self.age_s_max < time.time() - records[0]["kinesis"]["approximateArrivalTimestamp"]:
                self._give_up(shard, records[:1], "RecordAgeExceeded", attempt)
                records = records[1:]
            elif 0 <= self.attempts_max < attempt:
                return self._give_up(shard, records, "RetryAttemptsExhausted", attempt)
            else:
                done, raised = self._invoke(records)
                attempt = 0 if done else attempt + 1
                records = records[done:]
                if records and self.bisect and len(records) > 1 and raised:
                    self._deliver(shard, records[: len(records) // 2])
                    records = records[len(records) // 2 :]
                if records:
                    self.stopping.wait(min(0.1 * 2**attempt, RETRY_S_MAX))
        return None

    def _invoke(self, records: Records) -> tuple[int, bool]:
        """(how many records from the first on are done, whether the function failed)."""
        try:
            answer = self.function.invoke({"Records": records})
        except FunctionError as error:
            if VERBOSE and not self.stopping.is_set():
                print(f"[{self.function.name}] batch of {len(records)} failed: {error}", flush=True)
            return 0, True
        failures = (answer or {}).get("batchItemFailures") or [] if self.partial else []
        order = {record["kinesis"]["sequenceNumber"]: index for index, record in enumerate(records)}
        return min((order.get(failure.get("itemIdentifier"), 0) for failure in failures), default=len(records)), False

    def _record(self, shard: str, record: dict[str, Any]) -> dict[str, Any]:
        number, arrival_s = record["SequenceNumber"], record["ApproximateArrivalTimestamp"].timestamp()
        kinesis = {"kinesisSchemaVersion": "1.0", "partitionKey": record["PartitionKey"], "sequenceNumber": number}
        kinesis |= {"data": b64encode(record["Data"]).decode(), "approximateArrivalTimestamp": arrival_s}
        event = {"kinesis": kinesis, "eventSource": "aws:kinesis", "eventVersion": "1.0", "awsRegion": REGION}
        event |= {"eventID": f"{shard}:{number}", "eventName": "aws:kinesis:record", "eventSourceARN": self.stream}
        return {**event, "invokeIdentityArn": f"arn:aws:iam::123456789012:role/{self.function.name}"}

    def _give_up(self, shard: str, records: Records, condition: str, attempts: int) -> None:
        """Put the whole batch into the failure bucket, as AWS writes it."""
        now_s, request_id = time.time(), str(uuid.uuid4())
        batch = {"shardId": shard, "batchSize": len(records), "streamArn": self.stream}
        for name, end in (("First", records[0]["kinesis"]), ("Last", records[-1]["kinesis"])):
            batch[f"approximateArrivalOf{name}Record"] = _iso(end["approximateArrivalTimestamp"])
            batch["startSequenceNumber" if name == "First" else "endSequenceNumber"] = end["sequenceNumber"]
        arn = f"arn:aws:lambda:{REGION}:123456789012:function:{self.function.name}"
        context = {"requestId": request_id, "functionArn": arn, "condition": condition}
        body = {
            "requestContext": {**context, "approximateInvokeCount": attempts},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            **{"version": "1.0", "timestamp": _iso(now_s), "KinesisBatchInfo": batch},
            "payload": json.dumps({"Records": records}),
        }
        key = time.strftime(f"aws/lambda/local/{shard}/%Y/%m/%d/%Y-%m-%dT%H.%M.%S-{request_id}", time.gmtime(now_s))
        self.aws.client("s3").put_object(Bucket=self.bucket, Key=key, Body=json.dumps(body).encode())


def _iso(moment_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment_s))
