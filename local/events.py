"""The recorded events of `events/`, moved to now, for `sam local invoke`: samples of 2023 would be too old."""

import json
import re
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from carbyne.core.keys import SourceKey, lane_tag
from carbyne.stream import records

from servers.process import ROOT

RECORDED_S = 1_700_000_000
MINUTE_S = 60
SECONDS = re.compile(r"(?<!\d)(?:1699|1700)\d{6}(?!\d)")
AS_RECORDED = ("changes",)  # its blocks have their times inside, and the archive takes any


def write(folder: Path, tenant: str, now_s: int) -> None:
    """All events under their names into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    later_s = now_s - RECORDED_S
    for path in sorted((ROOT / "events").glob("*.json")):
        text = path.read_text()
        if path.stem not in AS_RECORDED:
            text = SECONDS.sub(lambda seconds: str(int(seconds[0]) + later_s), text)
        event = json.loads(text)
        if path.stem == "records":
            event["Records"] = [_moved(record, tenant, now_s) for record in event["Records"]]
        (folder / path.name).write_text(json.dumps(event, indent=2))


def _moved(record: dict[str, Any], tenant: str, now_s: int) -> dict[str, Any]:
    """A stream record whose rows are of this tenant and of the last whole minute, the one before that of the post."""
    sent = records.decode(b64decode(record["kinesis"]["data"]))
    assert isinstance(sent, records.SamplesRecord), "events/records.json has samples"
    ts_ms = (now_s // MINUTE_S - 1) * MINUTE_S * 1000
    rows = [records.Row(row.source, ts_ms, row.series, row.values) for row in sent.rows]
    data = records.encode(records.SamplesRecord(tenant, sent.lists, rows))
    [lane] = {SourceKey(tenant, row.source).lane for row in rows}
    first = {"sequenceNumber": "1"}  # so that whatever the local stream has counts as later
    moved = {"partitionKey": lane_tag(lane), "data": b64encode(data).decode(), **first}
    return {**record, "kinesis": {**record["kinesis"], **moved}}
