"""Integrations through the whole system of `make run`: scheduler, queue, worker, embedded AWS, stream, reader."""

import datetime
import time

import boto3
import psutil
import pytest

from tests.support.clouds import AWS_FORM
from tests.support.make_run import running

READ_S = 240
INTEGRATIONS = 12
"""Each is due in one minute of five, which its id decides: of so many some are due soon."""


def client_of(system, service):
    """Of the embedded AWS, by the port on which it listens."""
    [server] = [child for child in system.children if "servers.aws" in child.cmdline()]
    [port] = {each.laddr.port for each in server.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


@pytest.mark.nightly
def test_a_queue_of_aws_is_a_host_with_its_samples():
    with running() as system:
        client_of(system, "sqs").create_queue(QueueName="jobs", tags={"env": "live"})
        first_s = int(time.time()) // 60 * 60 - 600
        client_of(system, "cloudwatch").put_metric_data(
            Namespace="AWS/SQS",
            MetricData=[
                {
                    "MetricName": "NumberOfMessagesSent",
                    "Dimensions": [{"Name": "QueueName", "Value": "jobs"}],
                    "Timestamp": datetime.datetime.fromtimestamp(first_s + 60 * number, datetime.UTC),
                    "Value": float(number),
                }
                for number in range(5)
            ],
        )
        issued = system.call("/api/v0/aws-integrations-external-id", {})[1]["externalId"]
        for number in range(INTEGRATIONS):
            status, made = system.call(
                "/api/v0/aws-integrations", {**AWS_FORM, "externalId": issued, "name": f"n{number}"}
            )
            assert status == 200, made
        read, end_s = [], time.monotonic() + READ_S
        while not read and time.monotonic() < end_s:
            time.sleep(1)
            runs = system.call("/carbyne/v1/integrations")[1]["integrations"]
            read = [run for run in runs if "are read" in run["message"]]
        assert read and read[0]["message"] == "1 metrics of 1 hosts are read", runs
        [host] = [each for each in system.call("/api/v0/hosts")[1]["hosts"] if each["name"] == "jobs"]
        url = f"/api/v0/hosts/{host['id']}/metrics?name=sqs.message_count.sent&from={first_s}&to={first_s + 600}"
        end_s = time.monotonic() + 20
        while len(points := system.call(url)[1].get("metrics", [])) < 5 and time.monotonic() < end_s:
            time.sleep(0.2)
        assert [point["value"] for point in points] == [0.0, 1.0, 2.0, 3.0, 4.0]
