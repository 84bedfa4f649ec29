"""What calls functions without being asked: the shards of streams, and schedules."""

import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from servers.aws import REGION, Aws
from servers.lambdas import PAYLOAD_BYTES_MAX, Function, FunctionError
from servers.records import Record, as_sent, fits, is_known, of_record

POLL_S = 0.2
MAPPINGS_S = 1.0
RETRY_S_MAX = 5.0
UNIT_S = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}
Records = list[Record]


class Source(threading.Thread):
    """Does its ``work`` every ``period_s``, the first time ``phase_s`` later, until stopped.

    Turns do not slip by the time that they take; a failure is told, and the next one comes.
    """

    def __init__(self, name: str, period_s: float) -> None:
        super().__init__(name=name, daemon=True)
        self.period_s, self.phase_s, self.stopping = period_s, 0.0, threading.Event()

    def run(self) -> None:
        begun_s = time.monotonic() + self.phase_s
        self.stopping.wait(self.phase_s)
        while not self.stopping.wait(self.period_s - (time.monotonic() - begun_s) % self.period_s):
            try:
                self.work()
            except (BotoCoreError, ClientError, FunctionError) as error:
                if not self.stopping.is_set():
                    print(f"[{self.name}] {error}", flush=True)

    def work(self) -> None:
        """One turn."""


class Schedule(Source):
    """EventBridge Scheduler: ``expression`` is rate(N minutes), hours or days; ValueError for another.

    ``destination``: the function that gets each answer, as Lambda does it; a failure there is told like any.
    """

    def __init__(self, function: Function, expression: str) -> None:
        if not (rate := re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression)):
            raise ValueError(f"the schedule {expression}")
        super().__init__(function.name, int(rate[1]) * UNIT_S[rate[2]])
        self.function = function
        self.destination: Function | None = None

    def work(self) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        event: Record = {"version": "0", "id": str(uuid.uuid4()), "detail-type": "Scheduled Event", "detail": "{}"}
        event |= {"source": "aws.scheduler", "account": "123456789012", "time": now, "region": REGION}
        answer = self.function.invoke(event := {**event, "resources": []})
        if self.destination:
            self.destination.invoke(record_of(self.function, now, event, answer))


class Shard(Source):
    """Lambda's event source for a shard: batches in order, retried until done, too old, or out of attempts.

    ``settings``: the properties of the event in the template, or of the mapping that was made; ValueError for a filter
    that is not known here.
    One batch is in work at a time, whatever the parallelization.
    """

    def __init__(self, aws: Aws, function: Function, settings: dict[str, Any], client: Any, shard_id: str) -> None:  # noqa: ANN401
        super().__init__(function.name, max(POLL_S, float(settings.get("MaximumBatchingWindowInSeconds", 0))))
        self.function, self.settings, self.client, self.shard_id = function, settings, client, shard_id
        self.s3 = aws.client("s3")
        self.filters = [json.loads(each["Pattern"]) for each in settings.get("FilterCriteria", {}).get("Filters", [])]
        if not all(map(is_known, self.filters)):
            raise ValueError("a filter")
        start: dict[str, Any] = {
            "ShardId": shard_id,
            "ShardIteratorType": settings.get("StartingPosition", "TRIM_HORIZON"),
        }
        if since := settings.get("StartingPositionTimestamp"):
            start["Timestamp"] = since
        self.iterator = client.get_shard_iterator(**stream_of(settings), **start)["ShardIterator"]

    def work(self) -> None:
        """Deliver all that has come since the last turn."""
        while not self.stopping.is_set():
            page = self.client.get_records(ShardIterator=self.iterator, Limit=1000)
            sent = (as_sent(record, self.settings["Stream"], self.shard_id, self.name) for record in page["Records"])
            records = list(sent)
            passed = [
                record for record in records if not self.filters or any(fits(each, record) for each in self.filters)
            ]
            for batch in batches(passed, int(self.settings.get("BatchSize", 100))):
                self._deliver(batch)
            self.iterator = page["NextShardIterator"]
            if not records:
                return

    def _deliver(self, records: Records) -> None:
        """Until every record is done: a failed one and all after it come again, later and later."""
        attempts_max = int(self.settings.get("MaximumRetryAttempts", -1))
        age_s_max = int(self.settings.get("MaximumRecordAgeInSeconds", -1))
        attempt = 0
        while records and not self.stopping.is_set():
            if 0 <= age_s_max < time.time() - of_record(records[0])[1]:
                self._give_up(records[:1], "RecordAgeExceeded", attempt)
                records = records[1:]
            elif 0 <= attempts_max < attempt:
                return self._give_up(records, "RetryAttemptsExhausted", attempt)
            else:
                try:
                    done = self._done(records)
                    attempt, records = 0 if done else attempt + 1, records[done:]
                    self._tell(attempt, records, "left them for later")
                except FunctionError as error:
                    attempt, half = attempt + 1, len(records) // 2
                    self._tell(attempt, records, str(error))
                    if half and self.settings.get("BisectBatchOnFunctionError"):
                        self._deliver(records[:half])
                        records = records[half:]
                self.stopping.wait(min(0.1 * 2**attempt, RETRY_S_MAX) if records else 0)
        return None

    def _tell(self, attempt: int, records: Records, why: str) -> None:
        """Each retry whose number is a power of two: an outage of hours must not fill the screen."""
        if attempt and not attempt & (attempt - 1) and records:
            print(f"[{self.name}] {len(records)} records come again, retry {attempt}: {why}", flush=True)

    def _done(self, records: Records) -> int:
        """How many records from the first on are done."""
        answer = self.function.invoke({"Records": records}) or {}
        partial = "ReportBatchItemFailures" in self.settings.get("FunctionResponseTypes", [])
        order = {of_record(record)[0]: index for index, record in enumerate(records)}
        failures = answer.get("batchItemFailures") or [] if partial else []
        return min((order.get(failure.get("itemIdentifier"), 0) for failure in failures), default=len(records))

    def _give_up(self, records: Records, condition: str, attempts: int) -> None:
        """Put the whole batch into the failure bucket, as AWS writes it."""
        now, request_id, name = datetime.now(UTC), str(uuid.uuid4()), self.function.name
        batch = {"shardId": self.shard_id, "batchSize": len(records), "streamArn": self.settings["Stream"]}
        batch |= {"startSequenceNumber": of_record(records[0])[0], "endSequenceNumber": of_record(records[-1])[0]}
        context = {"requestId": request_id, "condition": condition, "approximateInvokeCount": attempts}
        body = {
            "requestContext": {**context, "functionArn": f"arn:aws:lambda:{REGION}:123456789012:function:{name}"},
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
            **{"version": "1.0", "timestamp": f"{now:%Y-%m-%dT%H:%M:%S.000Z}"},
            **{"KinesisBatchInfo" if "kinesis" in records[0] else "DDBStreamBatchInfo": batch},
            "payload": json.dumps({"Records": records}),
        }
        key = f"aws/lambda/local/{self.shard_id}/{now:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{request_id}"
        bucket = self.settings["DestinationConfig"]["OnFailure"]["Destination"].rpartition(":")[2]
        self.s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(body).encode())


class Mappings(Source):
    """Event source mappings that functions make and delete: each one's shards run while it is there.

    ``functions``: by their names in Lambda, which ends their ARNs.
    """

    def __init__(self, aws: Aws, functions: dict[str, Function]) -> None:
        super().__init__("event source mappings", MAPPINGS_S)
        self.aws, self.functions, self.client = aws, functions, aws.client("lambda")
        self.running: dict[str, list[Shard]] = {}

    def work(self) -> None:
        pages = self.client.get_paginator("list_event_source_mappings").paginate()
        made = {mapping["UUID"]: mapping for page in pages for mapping in page["EventSourceMappings"]}
        for name in self.running.keys() - made.keys():
            self._stop(name)
        for name in made.keys() - self.running.keys():
            function = self.functions[made[name]["FunctionArn"].rpartition(":")[2]]
            settings = {**made[name], "Stream": made[name]["EventSourceArn"]}
            self.running[name] = shards_of(self.aws, function, settings)
            for shard in self.running[name]:
                shard.start()

    def run(self) -> None:
        super().run()
        for name in list(self.running):
            self._stop(name)

    def _stop(self, name: str) -> None:
        for shard in self.running.pop(name):
            shard.stopping.set()


def record_of(function: Function, at: str, event: Record, answer: object) -> Record:
    """What Lambda tells the destination of a call that succeeded."""
    arn = f"arn:aws:lambda:{REGION}:123456789012:function:{function.name}"
    context = {"requestId": str(uuid.uuid4()), "functionArn": f"{arn}:$LATEST", "condition": "Success"}
    return {
        **{"version": "1.0", "timestamp": at, "requestContext": {**context, "approximateInvokeCount": 1}},
        **{"requestPayload": event, "responsePayload": answer},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
    }


def shards_of(aws: Aws, function: Function, settings: dict[str, Any]) -> list[Shard]:
    """An event source for each shard of a stream."""
    client = aws.client("kinesis" if ":kinesis:" in settings["Stream"] else "dynamodbstreams")
    shards = client.describe_stream(**stream_of(settings))["StreamDescription"]["Shards"]
    return [Shard(aws, function, settings, client, shard["ShardId"]) for shard in shards]


def stream_of(settings: dict[str, Any]) -> dict[str, str]:
    """How its service wants it named; moto's Kinesis forgets an ARN."""
    arn = settings["Stream"]
    return {"StreamName": arn.rpartition("/")[2]} if ":kinesis:" in arn else {"StreamArn": arn}


def batches(records: Records, size_max: int) -> Iterator[Records]:
    """The records in order, at most so many and an event of 6 MB at a time."""
    for first in range(0, len(records), size_max):
        batch = records[first : first + size_max]
        if len(batch) > 1 and len(json.dumps(batch)) > PAYLOAD_BYTES_MAX - 4096:
            yield from batches(batch, (len(batch) + 1) // 2)
        else:
            yield batch
