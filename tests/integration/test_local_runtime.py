"""`make run` as a whole: real HTTP in, real Redis in between, real HTTP out; and how it starts, fails and stops."""

import json
import re
import signal
import textwrap
import time

import psutil
import pytest

from servers.agent import readings
from servers.lambdas import Function, FunctionError, stop_all
from servers.process import ROOT
from tests.support.make_run import System, running

SIMPLE = """\
Parameters:
  RedisEndpoint: {Type: String}
  RedisTls: {Type: String}
Globals:
  Function: {Layers: [!Ref Layer], Handler: app.handler}
Resources:
  AccountsTable:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
  Layer: {Type: AWS::Serverless::LayerVersion, Properties: {ContentUri: .}}
"""


@pytest.fixture(scope="module")
def system():
    with running(API_KEY="secret", PARAMETERS="RawWindowSeconds=3600 IngesterBatchWindowSeconds=0") as started:
        yield started


def test_a_sample_is_readable_within_two_seconds(system):
    now_s = int(time.time())
    sent_s = time.monotonic()
    body = [{"hostId": "web1", "name": "loadavg5", "time": now_s, "value": 0.1}]
    assert system.call("/api/v0/tsdb", body) == (200, {"success": True})
    path = f"/api/v0/hosts/web1/metrics?name=loadavg5&from={now_s - 600}&to={now_s}"
    expected = (200, {"metrics": [{"time": now_s - now_s % 60, "value": 0.1}]})
    while (answer := system.call(path)) != expected and time.monotonic() < sent_s + 10:
        time.sleep(0.05)
    assert answer == expected
    assert time.monotonic() - sent_s < 2


def test_a_query_of_promql_finds_the_samples_of_this_machine(system):
    [host] = system.call("/api/v0/hosts")[1]["hosts"]
    latest = system.call(f"/api/v0/tsdb/latest?hostId={host['id']}&name=loadavg5")[1]["tsdbLatest"][host["id"]]
    point = latest["loadavg5"]
    status, answer = system.call(f"/api/v1/query?query=loadavg5&time={point['time']}")
    assert (status, answer["status"]) == (200, "success"), answer
    [series] = answer["data"]["result"]
    assert (series["value"][0], float(series["value"][1])) == (point["time"], point["value"])


def test_a_delete_by_selectors_goes_from_the_writer_to_the_reader_and_onto_the_stream(system):
    [host] = system.call("/api/v0/hosts")[1]["hosts"]
    latest = system.call(f"/api/v0/tsdb/latest?hostId={host['id']}&name=memory.total")[1]["tsdbLatest"][host["id"]]
    at_s = latest["memory.total"]["time"]
    given = f"match%5B%5D=%7B__name__%3D%22memory.total%22%7D&end={at_s}"
    matched = {"source": f"host/{host['id']}", "name": "memory.total"}
    status, answer = system.call(f"/api/v1/admin/tsdb/matched_series?{given}")
    assert (status, answer["data"]["series"]) == (200, [matched]), answer
    assert system.call(f"/api/v1/admin/tsdb/delete_series?{given}", {})[0] == 204
    path = f"/api/v0/hosts/{host['id']}/metrics?name=memory.total&from={at_s - 600}&to={at_s}"
    end_s = time.monotonic() + 10
    while (answer := system.call(path)) != (200, {"metrics": []}) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert answer == (200, {"metrics": []})


def test_this_machine_posts_its_own_metrics(system):
    [host] = system.call("/api/v0/hosts")[1]["hosts"]
    status, answer = system.call(f"/api/v0/tsdb/latest?hostId={host['id']}&name=loadavg5&name=memory.used")
    assert status == 200
    assert answer["tsdbLatest"][host["id"]].keys() == {"loadavg5", "memory.used"}


def test_the_key_is_the_one_given_and_another_is_refused(system):
    assert system.key == "secret"
    assert system.call("/api/v0/tsdb", [], **{"X-Api-Key": "other"})[0] == 403


def test_routes_are_those_of_the_template(system):
    message = "no such call: GET /api/v0/nothing; GET /openapi.json lists all calls"
    assert system.call("/api/v0/nothing") == (404, {"error": {"message": message}})


def test_a_message_goes_through_a_queue(system):
    published = {"messages": [{"body": {"job": number}} for number in range(2)]}
    assert system.call("/carbyne/v1/queues/jobs/messages", published)[0] == 200
    _, taken = system.call("/carbyne/v1/queues/jobs/take", {"max": 5, "wait_s": 5})
    assert [message["body"] for message in taken["messages"]] == [{"job": 0}, {"job": 1}]
    leases = [message["lease"] for message in taken["messages"]]
    assert system.call("/carbyne/v1/queues/jobs/ack", {"leases": leases}) == (200, {"success": True})
    figures = {"waiting": 0, "delayed": 0, "leased": 0, "dead": 0, "oldest_s": None}
    assert system.call("/carbyne/v1/queues/jobs") == (200, figures)


def test_sam_local_gets_the_same_variables(system):
    written = json.loads((ROOT / ".carbyne" / "env.json").read_text())
    assert written["Ingester"]["RAW_WINDOW_S"]
    assert written["Writer"]["STREAM_NAME"] == "carbyne-stream"


def test_a_second_system_beside_it_and_ctrl_c(system):
    with running() as second:
        assert second.url != system.url
        assert second.key != system.key
        assert system.call("/api/v0/tsdb", [], **{"X-Api-Key": second.key})[0] == 403
        children = second.children
        assert len(children) >= 10
        farewell = second.stop()
        assert "in memory" in farewell
        assert "Traceback" not in farewell
        assert second.process.returncode == 0
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive
    assert system.call("/api/v0/tsdb", []) == (200, {"success": True})


def test_a_redis_node_that_is_killed_comes_back(system):
    """Its own port again, and samples all the while: the replica takes over, and what was lost is replayed."""

    def nodes():
        running = (process for process in system.children if process.status() != psutil.STATUS_ZOMBIE)
        return {process.pid for process in running if "[cluster]" in " ".join(process.cmdline())}

    before = nodes()
    psutil.Process(min(before)).kill()
    end_s = time.monotonic() + 30
    while len(nodes()) < len(before) or nodes() == before:
        assert time.monotonic() < end_s
        time.sleep(0.2)
    assert len(nodes() & before) == len(before) - 1
    assert system.call("/api/v0/tsdb", []) == (200, {"success": True})


def test_kill_9_leaves_no_child(tmp_path):
    (tmp_path / "template.yaml").write_text(SIMPLE)
    with running(tmp_path / "template.yaml", PARAMETERS="RedisEndpoint=none:1") as alone:
        children = alone.children
        assert children
        alone.stop(signal.SIGKILL)
        _, alive = psutil.wait_procs(children, timeout=5)
        assert not alive


@pytest.mark.parametrize(
    ("addition", "line", "name"),
    [
        ("  Queue: {Type: AWS::SQS::Queue}", 14, "AWS::SQS::Queue of Queue"),
        (
            "  Store:\n    Type: AWS::S3::Bucket\n  Other: {Type: 'AWS::Serverless::Api'}",
            16,
            "AWS::Serverless::Api of Other",
        ),
        (
            "  F:\n    Type: AWS::Serverless::Function\n    Properties: {CodeUri: .,\n      Timeout: !Select [0, [1]]}",
            17,
            "the intrinsic !Select",
        ),
        (
            "  F:\n    Type: AWS::Serverless::Function\n    Properties: {Events: {Tick:\n      {Type: Schedule}}}",
            17,
            "the event type Schedule of F.Tick",
        ),
        (
            "  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      CodeUri: !Ref Nowhere",
            17,
            "Nowhere has no value",
        ),
    ],
)
def test_what_is_unknown_stops_the_start_with_its_line(tmp_path, addition, line, name):
    template = tmp_path / "template.yaml"
    template.write_text(SIMPLE + addition + "\n")
    system = System(template, PARAMETERS="RedisEndpoint=none:1")
    assert system.process.wait(10) == 1
    assert f"{template}:{line}: " in system.lines[-1]
    assert name in system.lines[-1]
    system.process.stdout.close()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("Nothing=1", "no parameter Nothing"),
        ("StreamMode=SOMETIMES", "StreamMode can't be SOMETIMES"),
        ("x", "Name=value"),
    ],
)
def test_wrong_parameters_are_named(given, message):
    system = System(PARAMETERS=given)
    assert system.process.wait(10) == 1
    assert message in system.lines[-1]
    system.process.stdout.close()


@pytest.fixture
def function(tmp_path):
    """Makes a function of a handler's body with a time-out of a second."""

    def make(body):
        code = "import os, sys, time\ncalls = 0\ndef handler(event, context):\n" + textwrap.indent(body, "    ")
        (tmp_path / "app.py").write_text(code)
        own = {
            "AWS_LAMBDA_FUNCTION_NAME": "f",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_LAMBDA_LOG_LEVEL": "INFO",
        }
        return Function("F", {"PYTHONPATH": str(tmp_path), "_HANDLER": "app.handler", **own}, 1.0)

    yield make
    stop_all()


def test_a_worker_keeps_its_state_and_prints_without_harm(function):
    counting = function("global calls; calls += 1; print('noise'); return [calls, event, context.function_name]")
    assert [counting.invoke("e"), counting.invoke("e")] == [[1, "e", "f"], [2, "e", "f"]]


@pytest.mark.parametrize(
    "body", ["time.sleep(60)", "raise ValueError('x')", "os._exit(3)", "return 'x' * 7_000_000", "return {1}"]
)
def test_a_failure_is_an_error_and_the_next_call_works(function, body):
    failing = function(f"if event == 'fail':\n    {body}\nreturn 'fine'")
    with pytest.raises(FunctionError):
        failing.invoke("fail")
    assert failing.invoke("") == "fine"


def test_a_time_out_is_told_from_a_death(function):
    failing = function("time.sleep(60) if event == 'late' else os._exit(3)")
    with pytest.raises(FunctionError, match=r"F ran out of time \(1 s\)"):
        failing.invoke("late")
    with pytest.raises(FunctionError, match="F does not start, or died"):
        failing.invoke("")


def test_an_event_over_6_mb_is_refused(function):
    with pytest.raises(FunctionError, match="6 MB"):
        function("return 1").invoke("x" * 7_000_000)


def test_a_function_sees_its_own_environment_alone(function):
    assert function("return sorted(os.environ)").invoke({}) == sorted(
        [
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
            "AWS_LAMBDA_FUNCTION_NAME",
            "AWS_LAMBDA_LOG_LEVEL",
            "PYTHONPATH",
            "_HANDLER",
        ]
    )


def test_metrics_have_mackerels_names():
    now = iter([0.0, 1.0, 11.0])
    again = readings(lambda: next(now))
    assert not [name for name in next(again) if name.endswith(".delta")]
    metrics = next(again)
    assert {"loadavg5", "cpu.user.percentage", "memory.used", "interface.lo.rxBytes.delta"} <= metrics.keys()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name) for name in metrics)
