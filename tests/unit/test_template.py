"""template.yaml is tested code: what every function, event source and policy must have."""

import re
from pathlib import Path

import msgspec
import pytest
import yaml
from carbyne.core import settings
from carbyne.core.keys import RESOLUTIONS
from carbyne.core.limits import DAY_S, PUT_BUDGET_S, RAW_DAYS_MAX, RAW_WINDOW_S_MAX, SEAL_LEASE_MS, SEAL_RESERVE_S
from carbyne.samples.rollups import BY_NAME

ROOT = Path(__file__).resolve().parents[2]
API_GATEWAY_TIMEOUT_S = 30
ENDPOINT = re.compile(r'"(AWS_ENDPOINT_URL\w*)"')
SETTINGS = {
    "Writer": settings.WriterSettings,
    "Ingester": settings.IngesterSettings,
    "Replayer": settings.IngesterSettings,
    "Supervisor": settings.SupervisorSettings,
    "Sealer": settings.SealerSettings,
    "Archiver": settings.ArchiverSettings,
    "Reconciler": settings.ReconcilerSettings,
    "Reader": settings.ReaderSettings,
    "Registry": settings.RegistrySettings,
    "Probe": settings.ProbeSettings,
    "Monitor": settings.MonitorSettings,
    "Page": settings.PageSettings,
    "Queue": settings.QueueSettings,
    "Scheduler": settings.SchedulerSettings,
    "Worker": settings.WorkerSettings,
    "Evaluator": settings.EvaluatorSettings,
    "Notifier": settings.NotifierSettings,
}


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Reads ``!Ref X`` as ("!Ref", "X")."""


def _tagged(loader, tag, node):
    if isinstance(node, yaml.ScalarNode):
        return tag, node.value
    return tag, *loader.construct_sequence(node, deep=True)


Loader.add_multi_constructor("!", lambda loader, suffix, node: _tagged(loader, f"!{suffix}", node))
TEXT = (ROOT / "template.yaml").read_text()
TEMPLATE = yaml.load(TEXT, Loader)
RESOURCES = TEMPLATE["Resources"]


def of_type(kind):
    return {name: body["Properties"] for name, body in RESOURCES.items() if body["Type"] == kind}


SHARED = TEMPLATE["Globals"]["Function"]
FUNCTIONS = {name: {**SHARED, **body} for name, body in of_type("AWS::Serverless::Function").items()}
EVENTS = {f"{name}.{event}": body for name, f in FUNCTIONS.items() for event, body in f.get("Events", {}).items()}
STREAM_EVENTS = {name: body["Properties"] for name, body in EVENTS.items() if body["Type"] in ("Kinesis", "DynamoDB")}


def statements():
    for name, function in FUNCTIONS.items():
        for policy in function["Policies"]:
            for statement in policy["Statement"]:
                yield name, statement


def listed(value):
    return value if isinstance(value, list) else [value]


def test_every_function_has_its_settings():
    assert FUNCTIONS.keys() == SETTINGS.keys()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_variables_are_the_fields_of_the_settings(name):
    fields = {field.name.upper() for field in msgspec.structs.fields(SETTINGS[name])}
    assert FUNCTIONS[name]["Environment"]["Variables"].keys() == fields


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_has_a_log_group_with_a_retention(name):
    logging = {**SHARED["LoggingConfig"], **FUNCTIONS[name]["LoggingConfig"]}
    assert logging["LogFormat"] == "JSON"
    assert logging["SystemLogLevel"] == "WARN"
    kind, group = logging["LogGroup"]
    assert (kind, group) == ("!Ref", f"{name}Logs")
    assert "RetentionInDays" in of_type("AWS::Logs::LogGroup")[group]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_a_folder_with_a_handler(name):
    assert (ROOT / FUNCTIONS[name]["CodeUri"] / "app.py").read_text().count("def handler(") == 1
    assert SHARED["Handler"] == "app.handler"


def test_every_stream_of_the_template_has_its_reader():
    assert STREAM_EVENTS.keys() == {"Ingester.Batch", "Archiver.Changes"}
    others = {body["Type"] for name, body in EVENTS.items() if name not in STREAM_EVENTS}
    assert others == {"HttpApi", "ScheduleV2"}, "a new kind of event source needs the properties of the others"


@pytest.mark.parametrize("name", STREAM_EVENTS)
def test_every_event_source_has_a_failure_destination(name):
    """One of its own for each: what lies there says who gave it up."""
    destination = STREAM_EVENTS[name]["DestinationConfig"]["OnFailure"]
    buckets = [source["DestinationConfig"]["OnFailure"]["Destination"] for source in STREAM_EVENTS.values()]
    assert destination["Type"] == "S3" and buckets.count(destination["Destination"]) == 1


@pytest.mark.parametrize("name", STREAM_EVENTS)
def test_no_outage_of_a_store_gives_a_batch_up(name):
    assert STREAM_EVENTS[name]["MaximumRetryAttempts"] == -1
    assert STREAM_EVENTS[name]["MaximumRecordAgeInSeconds"] not in (-1, None)


@pytest.mark.parametrize("name", STREAM_EVENTS)
def test_every_event_source_begins_at_the_oldest_record_and_reports_what_failed(name):
    """Or records before the first deployment would be skipped, and those behind a failed one count as done."""
    assert STREAM_EVENTS[name]["StartingPosition"] == "TRIM_HORIZON"
    assert STREAM_EVENTS[name]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_a_batch_of_records_is_not_halved_when_its_function_fails():
    """The ingester reports the first record that failed; everything before it is done and need not come again."""
    assert STREAM_EVENTS["Ingester.Batch"]["BisectBatchOnFunctionError"] is False


def test_records_are_given_up_an_hour_before_the_stream_drops_them():
    ages = {int(hours): entry["Seconds"] for hours, entry in TEMPLATE["Mappings"]["RecordAge"].items()}
    assert ages == {hours: (hours - 1) * 3600 for hours in ages}
    assert list(ages) == TEMPLATE["Parameters"]["StreamRetentionHours"]["AllowedValues"]


EVERY_RESOURCE = {
    # A mapping has no name before it is made; a condition holds it to the replayer.
    ("Supervisor", "['lambda:CreateEventSourceMapping', 'lambda:DeleteEventSourceMapping']"),
    # AWS knows no narrower resource.
    ("Supervisor", "lambda:ListEventSourceMappings"),
    ("Replayer", "kinesis:ListStreams"),
}


def test_the_replayer_may_do_what_lambda_asks_of_a_reader_of_a_stream():
    """Mappings that the supervisor makes have no policy that SAM adds: AWS documents these six rights."""
    rights = {
        action for name, statement in statements() if name == "Replayer" for action in listed(statement["Action"])
    }
    asked = "DescribeStream DescribeStreamSummary GetRecords GetShardIterator ListShards ListStreams"
    assert {f"kinesis:{action}" for action in asked.split()} <= rights


def test_no_warning_of_the_import_of_routes_stops_a_deployment():
    [door] = of_type("AWS::Serverless::HttpApi").values()
    assert "FailOnWarnings" not in door


def test_every_endpoint_that_make_run_gives_is_declared():
    """SAM passes on no variable that the template does not have: a worker would call the embedded AWS' own Lambda."""
    given = {
        name for file in ("local/__main__.py", "servers/aws.py") for name in ENDPOINT.findall((ROOT / file).read_text())
    }
    assert {f"AWS_ENDPOINT_URL{end}" for end in ("", "_LAMBDA")} <= given == SHARED["Environment"]["Variables"].keys()


def test_no_policy_allows_everything():
    for name, statement in statements():
        if (name, str(statement["Action"])) in EVERY_RESOURCE:
            continue
        assert statement["Effect"] == "Allow"
        assert not [action for action in listed(statement["Action"]) if "*" in action], name
        assert statement["Resource"] != "*", name


@pytest.mark.parametrize("name", FUNCTIONS)
def test_timeouts_are_in_order(name):
    """What the code needs < what Lambda allows < what API Gateway waits for."""
    timeout_s = FUNCTIONS[name]["Timeout"]
    events = FUNCTIONS[name].get("Events", {}).values()
    if any(event["Type"] == "HttpApi" for event in events):
        assert PUT_BUDGET_S + 5 < timeout_s < API_GATEWAY_TIMEOUT_S


def test_a_lease_outlasts_the_sealer():
    timeout_s = FUNCTIONS["Sealer"]["Timeout"]
    assert SEAL_RESERVE_S < timeout_s < SEAL_LEASE_MS / 1000


def test_no_window_is_longer_than_reads_look_back():
    assert TEMPLATE["Parameters"]["RawWindowSeconds"]["MaxValue"] == RAW_WINDOW_S_MAX


def test_an_ingester_can_not_call_a_window_fresh_that_is_sealed():
    """It judges, then writes, all within its time-out; a window is sealed no sooner than its own length later."""
    assert FUNCTIONS["Ingester"]["Timeout"] <= TEMPLATE["Parameters"]["RawWindowSeconds"]["MinValue"]


def test_only_functions_that_need_redis_are_in_the_vpc():
    inside = {name for name, function in FUNCTIONS.items() if "VpcConfig" in function}
    assert inside == {name for name, kind in SETTINGS.items() if issubclass(kind, settings.RedisSettings)}


@pytest.mark.parametrize("name", RESOURCES)
def test_every_resource_has_a_purpose(name):
    """A comment above it, or above the one that it repeats."""
    repeated = re.search(rf"^  {name}: \*(\w+)$", TEXT, re.MULTILINE)
    anchored = rf"\w+: &{repeated[1]}" if repeated else rf"{name}:( &\w+)?"
    assert re.search(rf"^  # .*\n  {anchored}$", TEXT, re.MULTILINE)


def test_it_can_be_read():
    lines = TEXT.splitlines()
    assert len(lines) <= 1_600, "comments and blank lines count as well"
    assert [line for line in lines if len(line) > 120] == []


@pytest.mark.parametrize("name", TEMPLATE["Parameters"])
def test_every_parameter_says_why(name):
    assert len(TEMPLATE["Parameters"][name]["Description"]) > 30


@pytest.mark.parametrize("kind", ["AWS::S3::Bucket", "AWS::DynamoDB::Table"])
def test_stores_survive_the_stack(kind):
    for body in RESOURCES.values():
        if body["Type"] == kind:
            assert body["DeletionPolicy"] == body["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("name", TEMPLATE["Mappings"]["Retentions"])
def test_what_rollups_are_made_of_is_kept_as_long_as_they_may_be_recomputed(name):
    """A late sample recomputes its buckets from all finer ones: if those had ended, it would wipe the rollup."""
    kept = [TEMPLATE["Mappings"]["Retentions"][name][f"Cold{resolution}"] for resolution in ("Raw", "5m", "1h", "1d")]
    assert kept == sorted(kept)


def test_raw_samples_are_kept_as_long_as_the_code_believes():
    """Of sources that no one heard of for longer, queries find nothing."""
    kept_s = [retention["ColdRaw"] for retention in TEMPLATE["Mappings"]["Retentions"].values()]
    assert max(kept_s) == RAW_DAYS_MAX * DAY_S


@pytest.mark.parametrize("name", TEMPLATE["Mappings"]["Retentions"])
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_the_archive_outlasts_what_reads_reach(name, resolution):
    """S3 counts from the last writing of an object, which may come as early as its window began."""
    kept, spelt = TEMPLATE["Mappings"]["Retentions"][name], resolution.capitalize()
    window_s = BY_NAME[resolution].window_s if resolution in BY_NAME else RAW_WINDOW_S_MAX
    warm_s = TEMPLATE["Parameters"]["WarmRawSeconds"]["MaxValue"] if resolution == "raw" else kept[f"Warm{spelt}"]
    assert kept[f"{spelt}Days"] * DAY_S > kept[f"Cold{spelt}"] + window_s
    assert warm_s <= kept[f"Cold{spelt}"]


@pytest.mark.parametrize("name", ["Profiles", "Retentions"])
def test_a_mapping_has_a_row_for_every_choice(name):
    """All rows have the same fields, and every one is used."""
    rows = TEMPLATE["Mappings"][name]
    assert list(rows) == TEMPLATE["Parameters"][name.removesuffix("s")]["AllowedValues"]
    [fields] = {frozenset(row) for row in rows.values()}
    used = re.findall(rf"!FindInMap \[{name}, !Ref {name.removesuffix('s')}, (\w+)\]", TEXT)
    assert set(used) == fields


def test_batches_are_shards_times_parallelization():
    rows = TEMPLATE["Mappings"]["Batches"]
    assert rows == {shards: {factor: int(shards) * int(factor) for factor in row} for shards, row in rows.items()}
    assert list(map(int, rows)) == TEMPLATE["Parameters"]["StreamShards"]["AllowedValues"]
    [factors] = {tuple(map(int, row)) for row in rows.values()}
    assert list(factors) == TEMPLATE["Parameters"]["IngesterParallelization"]["AllowedValues"]
