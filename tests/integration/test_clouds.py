"""Integrations over the embedded AWS: roles, tags, CloudWatch and the parameter store as the worker uses them."""

import datetime
import secrets
import time
from functools import partial

import pytest
from carbyne.adapters.cloudwatch import AssumedRoles
from carbyne.adapters.https import fetch
from carbyne.adapters.parameters import SecretParameters
from carbyne.clouds.azure import HttpCall
from carbyne.clouds.collector import Collector
from carbyne.core.errors import RetryableError
from carbyne.core.limits import CLOUD_DELAY_S
from carbyne.registry.integrations import CloudJob
from carbyne.wiring.clouds import connected

from tests.support.clouds import AWS_FORM, samples_of
from tests.support.registry_system import System
from tests.support.targets import Server

MINUTES = 6


@pytest.fixture
def account(aws, monkeypatch):
    """Names of resources in the embedded AWS, which the clients of an assumed role reach."""
    for name, text in aws.environment.items():
        monkeypatch.setenv(name, text)
    name = f"c-{secrets.token_hex(4)}"
    tag = {"stack": name}
    aws.client("sqs").create_queue(QueueName=name, tags=tag)
    aws.client("s3").create_bucket(Bucket=name)
    aws.client("s3").put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "stack", "Value": name}]})
    aws.client("sqs").create_queue(QueueName=f"{name}-untagged")
    return name


def put(aws, namespace, metric, dimensions, first_s):
    """A value for each minute: its number."""
    data = [
        {
            "MetricName": metric,
            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
            "Timestamp": datetime.datetime.fromtimestamp(first_s + 60 * number, datetime.UTC),
            "Value": float(number),
        }
        for number in range(MINUTES)
    ]
    aws.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=data)


def test_resources_of_an_assumed_role_become_hosts_with_their_samples(aws, account):
    system = System()
    system.now_s = int(time.time())
    first_s = (system.now_s - CLOUD_DELAY_S) // 60 * 60 - 60 * MINUTES
    put(aws, "AWS/SQS", "NumberOfMessagesSent", {"QueueName": account}, first_s)
    put(aws, "AWS/SQS", "NumberOfMessagesSent", {"QueueName": f"{account}-untagged"}, first_s)
    put(aws, "AWS/S3", "AllRequests", {"BucketName": account, "FilterId": "EntireBucket"}, first_s - 900)
    issued = system.ok("POST", "/api/v0/aws-integrations-external-id")["externalId"]
    services = {name: {"enable": True, "role": None} for name in ("SQS", "S3", "ElastiCache")}
    form = {**AWS_FORM, "externalId": issued, "services": services, "includedTags": f"stack:{account}"}
    made = system.ok("POST", "/api/v0/aws-integrations", form)
    roles = AssumedRoles(aws.client("sts"), time.time)
    collector = Collector(system.registry, partial(connected, roles, None))
    assert collector.run(CloudJob("a", "aws", made["id"], system.now_s // 60), lambda: 60.0)
    hosts = {host["customIdentifier"].split(":")[2] for host in system.ok("GET", "/api/v0/hosts")["hosts"]}
    [state] = system.ok("GET", "/carbyne/v1/integrations")["integrations"]
    assert hosts == {"sqs", "s3"} and state["message"].endswith(" metrics of 2 hosts are read"), state
    read = ("sqs.message_count.sent", "s3.requests.all_requests")  # what S3 has once a day is in there at some times
    stored = {(ts_ms, name): value for (_, ts_ms, name), value in samples_of(system).items() if name in read}
    expected = {(first_s + 60 * number, "sqs.message_count.sent", float(number)) for number in range(MINUTES)}
    expected |= {(first_s - 900 + 60 * number, "s3.requests.all_requests", float(number)) for number in range(MINUTES)}
    assert {(ts_ms // 1000, name, value) for (ts_ms, name), value in stored.items()} == expected


def test_percentiles_are_answered_locally(aws):
    dimensions = {"LoadBalancer": f"app/{secrets.token_hex(4)}/1"}
    put(aws, "AWS/ApplicationELB", "TargetResponseTime", dimensions, int(time.time()) // 3600 * 3600 - 7200)
    metric = {
        "Namespace": "AWS/ApplicationELB",
        "MetricName": "TargetResponseTime",
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
    }
    now = datetime.datetime.now(datetime.UTC)
    answer = aws.client("cloudwatch").get_metric_data(
        MetricDataQueries=[{"Id": "m", "MetricStat": {"Metric": metric, "Period": 3600, "Stat": "p95"}}],
        StartTime=(now - datetime.timedelta(hours=3)).replace(minute=0, second=0, microsecond=0),
        EndTime=now,
    )
    assert answer["MetricDataResults"][0]["Values"] == [float(MINUTES - 1)]


def test_secrets_are_kept_encrypted_by_name(aws):
    prefix = f"/carbyne/{secrets.token_hex(4)}/"
    parameters = SecretParameters(lambda: aws.client("ssm"), prefix)
    assert parameters.get("a/1") is None
    parameters.put("a/1", "first")
    parameters.put("a/1", "second")
    assert parameters.get("a/1") == "second"
    stored = aws.client("ssm").get_parameter(Name=f"{prefix}a/1")["Parameter"]
    assert stored["Type"] == "SecureString" and "second" not in stored["Value"].partition(":")[0]
    parameters.delete("a/1")
    parameters.delete("a/1")
    assert parameters.get("a/1") is None


def test_an_api_is_asked_without_following_redirects_and_its_failures_may_be_asked_again():
    with Server() as server:
        url = server.url("/up", "127.0.0.1")
        assert fetch(HttpCall("GET", url, {})) == (200, b"hello")
        assert fetch(HttpCall("GET", server.url("/moved", "127.0.0.1"), {})).status == 302
        assert fetch(HttpCall("POST", server.url("/wrong", "127.0.0.1"), {}, b"x")).status == 500
        with pytest.raises(RetryableError, match="no answer of 127"):
            fetch(HttpCall("GET", server.url("/close", "127.0.0.1"), {"Authorization": "Bearer hush"}))
