"""The events for `sam local invoke` are of now and of the local tenant, so that what they send is stored."""

import json
from base64 import b64decode

import pytest
from carbyne.core.keys import lane_of, lane_tag
from carbyne.stream import records

from local import events
from servers.process import ROOT

NOW_S = 1_800_000_123


@pytest.fixture
def written(tmp_path):
    events.write(tmp_path / "events", "shop", NOW_S)
    return {path.stem: json.loads(path.read_text()) for path in (tmp_path / "events").iterdir()}


def test_every_event_is_written(written):
    assert written.keys() == {path.stem for path in (ROOT / "events").glob("*.json")}


def test_a_post_is_of_now_and_a_read_spans_it(written):
    [sample] = json.loads(written["post"]["body"])
    query = written["host-metrics"]["queryStringParameters"]
    assert sample["time"] == NOW_S
    assert int(query["from"]) <= NOW_S - 60 and int(query["to"]) >= NOW_S
    assert f"from={query['from']}&to={query['to']}" in written["host-metrics"]["rawQueryString"]


def test_a_record_is_the_tenants_and_comes_before_the_local_stream(written):
    [record] = written["records"]["Records"]
    sent = records.decode(b64decode(record["kinesis"]["data"]))
    [row] = sent.rows
    assert sent.tenant == "shop"
    assert row.ts_ms == (NOW_S // 60 - 1) * 60_000, "the minute before that of the post"
    assert record["kinesis"]["partitionKey"] == lane_tag(lane_of("shop", row.source))
    assert record["kinesis"]["sequenceNumber"] == "1"
    assert int(record["kinesis"]["approximateArrivalTimestamp"]) == NOW_S


def test_blocks_stay_as_they_were_recorded(written):
    """Their times stand in their bytes, under a checksum."""
    assert written["changes"] == json.loads((ROOT / "events" / "changes.json").read_text())
