"""Calls between functions: what goes to Lambda, what comes back, and the local runtime's Invoke."""

import json
from threading import Lock, Thread

import boto3
import pytest
from botocore.stub import Stubber
from carbyne.adapters.invoke import CalledWorker, InvokedQueue, InvokedQueues
from carbyne.adapters.redis import queue as redis_queue
from carbyne.checks.scheduler import CheckJob, CheckTaken
from carbyne.core.errors import OverLimitError, RequestError, RetryableError
from carbyne.core.limits import QUEUE_LENGTH_MAX
from carbyne.queue.api import QueueDeps
from werkzeug.serving import make_server
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from local.invoke import Invocations
from servers.lambdas import FunctionError
from tests.support.queue_stores import MemoryQueueWorld
from tests.support.registry_system import load_app

APP = load_app("queue")


class Lambda:
    """A client whose Invoke goes to the queues' own handler."""

    def __init__(self, world):
        self.deps, self.error = QueueDeps(None, world.queues, None), None
        self.lock = Lock()

    def invoke(self, *, FunctionName, Payload):
        assert FunctionName == "carbyne-queue"
        if self.error:
            return {"FunctionError": "Unhandled", "Payload": Body({"errorMessage": self.error})}
        event = json.loads(Payload)
        with self.lock:  # the stores in memory are for one thread
            return {"Payload": Body(APP.handle(event, lambda: self.deps))}


class Body:
    def __init__(self, answer):
        self.answer = answer

    def read(self):
        return json.dumps(self.answer).encode()


def test_checks_go_through_the_queues_function():
    world = MemoryQueueWorld()
    queue = InvokedQueue(InvokedQueues(Lambda(world), "carbyne-queue"), "external-checks", CheckTaken)
    job = CheckJob("a", "m", 7)
    queue.publish([(job, 0, "a/m/7"), (job, 0, "a/m/7"), (CheckJob("b", "m", 7), 30, "b/m/7")])
    [taken] = queue.take(8, 60)
    assert taken == CheckTaken(taken.lease, job)
    queue.acknowledge([taken.lease])
    world.sleep(31)
    assert [each.body.tenant for each in queue.take(8, 60)] == ["b"]
    assert world.queues.names("carbyne") == ["external-checks"] and world.queues.names("a") == []


def test_a_queue_that_is_away_may_be_asked_again_and_one_that_refuses_not():
    world = MemoryQueueWorld()
    client = Lambda(world)
    queue = InvokedQueue(InvokedQueues(client, "carbyne-queue"), "external-checks", CheckTaken)
    assert queue.take(8, 60) == [], "nothing was ever published"
    with pytest.raises(RequestError, match="max"):
        queue.take(0, 60)
    world.table.away = True
    with pytest.raises(RetryableError):
        queue.take(8, 60)
    client.error = "it ran out of time"
    with pytest.raises(RetryableError, match="out of time"):
        queue.take(8, 60)


def test_a_queue_that_is_full_is_told_apart_from_one_that_is_away(monkeypatch):
    monkeypatch.setattr(redis_queue, "QUEUE_LENGTH_MAX", 1)
    queue = InvokedQueue(InvokedQueues(Lambda(MemoryQueueWorld()), "carbyne-queue"), "external-checks", CheckTaken)
    queue.publish([(CheckJob("a", "m", 7), 0, "a/m/7")])
    with pytest.raises(OverLimitError) as over:
        queue.publish([(CheckJob("a", "m", 8), 0, "a/m/8")])
    assert (over.value.limit, over.value.used, over.value.allowed) == ("queue-length", 1, QUEUE_LENGTH_MAX)


def test_a_worker_is_called_and_not_waited_for():
    client = boto3.client("lambda", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        asked = {"FunctionName": "carbyne-worker", "InvocationType": "Event", "Payload": b"{}"}
        stub.add_response("invoke", {"StatusCode": 202}, asked)
        CalledWorker(client, "carbyne-worker")()
        stub.assert_no_pending_responses()


class Echo:
    name = "Echo"

    def invoke(self, event):
        if event == {"fail": True}:
            raise FunctionError("told so")
        return {"got": event}


@pytest.mark.parametrize(
    ("path", "body", "status", "answer", "failed"),
    [
        ("/2015-03-31/functions/carbyne-echo/invocations", {"a": 1}, 200, {"got": {"a": 1}}, False),
        ("/2015-03-31/functions/carbyne-echo/invocations", {"fail": True}, 200, {"errorMessage": "told so"}, True),
        ("/2015-03-31/functions/other/invocations", {}, 404, None, False),
    ],
)
def test_the_local_runtime_invokes(path, body, status, answer, failed):
    invocations = Invocations("")
    invocations.functions = {"carbyne-echo": Echo()}
    told = Client(invocations).post(path, data=json.dumps(body))
    assert (told.status_code, "X-Amz-Function-Error" in told.headers) == (status, failed)
    assert answer is None or told.json == answer


def test_an_event_is_taken_at_once():
    invocations = Invocations("")
    invocations.functions = {"carbyne-echo": Echo()}
    headers = {"X-Amz-Invocation-Type": "Event"}
    told = Client(invocations).post("/2015-03-31/functions/carbyne-echo/invocations", data="{}", headers=headers)
    assert (told.status_code, told.data) == (202, b"")


@Request.application
def lambda_of_aws(request):
    """Says what it was asked for."""
    told = {"asked": [request.method, request.path, request.query_string.decode(), request.get_data().decode()]}
    return Response(json.dumps(told), 409 if request.method == "DELETE" else 202)


@pytest.mark.parametrize(("method", "status"), [("POST", 202), ("DELETE", 409)])
def test_other_calls_of_lambda_go_to_the_embedded_aws(method, status):
    """Such as those that begin and end the reader of a replay."""
    server = make_server("127.0.0.1", 0, lambda_of_aws, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        path = "/2015-03-31/event-source-mappings"
        client = Client(Invocations(f"http://127.0.0.1:{server.port}"))
        told = client.open(path, method=method, data="{}", query_string={"a": "1"})
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert (told.status_code, json.loads(told.data)) == (status, {"asked": [method, path, "a=1", "{}"]})
