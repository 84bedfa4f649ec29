"""Integrations of AWS over an account in memory: what is found, read, counted and stored."""

from collections import Counter

import msgspec
import pytest
from carbyne.clouds import budget
from carbyne.clouds.aws import AwsCloud, name_of
from carbyne.clouds.collector import Collector
from carbyne.clouds.ports import CloudPoint, CloudRefusedError, CloudTaken
from carbyne.clouds.scheduler import cloud_scheduler
from carbyne.clouds.worker import CloudWorker
from carbyne.core import limits
from carbyne.core.errors import RetryableError
from carbyne.registry import integrations
from carbyne.registry.integrations import AwsIntegration, CloudJob

from tests.support.clouds import AWS_FORM, samples_of
from tests.support.registry_system import NOW_S, System

MINUTE = NOW_S // 60
ARN = {
    "EC2": "arn:aws:ec2:us-east-1:1:instance/i-1",
    "RDS": "arn:aws:rds:us-east-1:1:db:main",
    "ALB": "arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/app/front/50dc",
    "Lambda": "arn:aws:lambda:us-east-1:1:function:pay",
    "SQS": "arn:aws:sqs:us-east-1:1:jobs",
    "DynamoDB": "arn:aws:dynamodb:us-east-1:1:table/orders",
    "ElastiCache": "arn:aws:elasticache:us-east-1:1:cluster:cache-001",
    "S3": "arn:aws:s3:::files",
}
LISTED = {
    "AWS/EC2": [("CPUUtilization", {"InstanceId": "i-1"}), ("CPUUtilization", {"ImageId": "ami-1"})],
    "AWS/RDS": [("CPUUtilization", {"DBInstanceIdentifier": "main"}), ("Unknown", {"DBInstanceIdentifier": "main"})],
    "AWS/ApplicationELB": [
        ("RequestCount", {"LoadBalancer": "app/front/50dc"}),
        ("RequestCount", {"LoadBalancer": "app/front/50dc", "AvailabilityZone": "a"}),
        ("HealthyHostCount", {"LoadBalancer": "app/front/50dc", "TargetGroup": "targetgroup/web/9"}),
        ("TargetResponseTime", {"LoadBalancer": "app/front/50dc"}),
    ],
    "AWS/Lambda": [
        ("Invocations", {"FunctionName": "pay"}),
        ("Invocations", {"FunctionName": "pay", "Resource": "pay"}),
        ("Invocations", {"FunctionName": "pay", "Resource": "pay:7"}),
        ("Invocations", {"FunctionName": "pay", "Resource": "pay:live"}),
    ],
    "AWS/SQS": [("NumberOfMessagesSent", {"QueueName": "jobs"}), ("NumberOfMessagesSent", {"QueueName": "untagged"})],
    "AWS/DynamoDB": [
        ("ThrottledRequests", {"TableName": "orders", "Operation": "PutItem"}),
        ("ThrottledRequests", {"TableName": "orders", "Operation": "GetItem"}),
        ("ReturnedItemCount", {"TableName": "orders", "Operation": "Query"}),
        ("ReturnedBytes", {"TableName": "orders", "StreamLabel": "2026", "Operation": "GetRecords"}),
    ],
    "AWS/ElastiCache": [
        ("CPUUtilization", {"CacheClusterId": "cache-001", "CacheNodeId": "0001"}),
        ("CPUUtilization", {"CacheClusterId": "cache-001"}),
        ("GetTypeCmds", {"CacheClusterId": "cache-001", "CacheNodeId": "0001"}),
        ("CmdGet", {"CacheClusterId": "cache-001", "CacheNodeId": "0001"}),
    ],
    "AWS/S3": [
        ("AllRequests", {"BucketName": "files", "FilterId": "EntireBucket"}),
        ("AllRequests", {"BucketName": "files", "FilterId": "other"}),
        ("BucketSizeBytes", {"BucketName": "files", "StorageType": "StandardStorage"}),
        ("NumberOfObjects", {"BucketName": "files", "StorageType": "AllStorageTypes"}),
    ],
}
NAMES = {
    "EC2": {"ec2.cpu.used"},
    "RDS": {"rds.cpu.used"},
    "ALB": {
        "alb.request.count",
        "alb.host_count.web.healthy",
        "alb.response.time",
        "alb.response.time_p90",
        "alb.response.time_p95",
        "alb.response.time_p99",
    },
    "Lambda": {
        "lambda.count.invocations",
        "lambda.count_per_alias.unqualified.invocations",
        "lambda.count_per_version.7.invocations",
        "lambda.count_per_alias.live.invocations",
    },
    "SQS": {"sqs.message_count.sent"},
    "DynamoDB": {
        "dynamodb.requests.throttled_requests",
        "dynamodb.request_count.requests",
        *(f"dynamodb.returned_item_count.Query.{each}" for each in ("minimum", "average", "maximum")),
        *(f"dynamodb.returned_bytes.GetRecords.{each}" for each in ("minimum", "average", "maximum")),
    },
    "ElastiCache": {"elasticache.cpu.used", "elasticache.valkey.commands.get_type"},
    "S3": {"s3.requests.all_requests", "s3.bucket_size.StandardStorage", "s3.number_of_objects.count"},
}


class Account:
    """An AwsApi: ``tags`` by ARN; ``values``: of each metric; ``asked``: spans and metrics of every call."""

    def __init__(self, services=tuple(ARN)):
        self.tags = {ARN[service]: {} for service in services}
        self.listed = {namespace: list(rows) for namespace, rows in LISTED.items()}
        self.asked, self.error, self.times = [], None, (0,)

    def resources(self, types):
        self._check()
        return [
            (arn, tags) for arn, tags in self.tags.items() if any(arn.split(":")[2] == t.split(":")[0] for t in types)
        ]

    def existing(self, arns):
        assert arns
        return {arn for arn in arns if arn in self.tags}

    def metrics(self, namespace, *, is_recent):
        assert is_recent == (namespace != "AWS/S3")
        return self.listed[namespace]

    def engines(self):
        return {"cache-001": "valkey"}

    def data(self, metrics, from_s, to_s):
        self._check()
        self.asked.append((from_s, to_s, metrics))
        for at, metric in enumerate(metrics):
            for back in self.times:
                yield CloudPoint(
                    at, (to_s - 60 * (back + 1)) * 1000, 1.0 + len(dict(metric.dimensions).get("Operation", ""))
                )

    def _check(self):
        if self.error:
            raise self.error


class Runs:
    """A tenant with an integration of all services, and a clock."""

    def __init__(self, services=tuple(ARN), **changes):
        self.system, self.account = System(), Account(services)
        self.id = self.make(services, **changes)
        self.collector = self.instance()

    def make(self, services, **changes):
        form = {**AWS_FORM, "externalId": self.ok("POST", "/api/v0/aws-integrations-external-id")["externalId"]}
        form["services"] = {service: {"enable": True, "role": None} for service in services}
        return self.ok("POST", "/api/v0/aws-integrations", {**form, **changes})["id"]

    def ok(self, *request):
        return self.system.ok(*request)

    def instance(self):
        return Collector(self.system.registry, lambda _, settings: AwsCloud(settings, self.account))

    def run(self, minute=None, left_s=60.0):
        job = CloudJob("a", "aws", self.id, self.system.now_s // 60 if minute is None else minute)
        return self.collector.run(job, lambda: left_s)

    def later(self, minutes=5):
        self.system.now_s += minutes * 60
        return self.run()

    def state(self):
        [state] = self.ok("GET", "/carbyne/v1/integrations")["integrations"]
        return state

    def samples(self):
        return samples_of(self.system)

    def hosts(self):
        return {host["customIdentifier"]: host for host in self.ok("GET", "/api/v0/hosts")["hosts"]}


@pytest.mark.parametrize("service", sorted(ARN))
def test_a_resource_is_a_host_with_its_metrics_under_mackerels_names(service):
    runs = Runs([service])
    assert runs.run()
    [(identifier, host)] = runs.hosts().items()
    assert identifier == ("i-1.ec2.amazonaws.com" if service == "EC2" else ARN[service])
    stored = runs.samples()
    if service == "S3":  # its metrics of a day are read some times a day alone
        runs.system.put.clear()
        runs.system.now_s = (NOW_S // 86_400 + 1) * 86_400
        assert runs.run()
        stored |= runs.samples()
    assert {(source, name) for source, _, name in stored} == {(f"host/{host['id']}", name) for name in NAMES[service]}
    state = runs.state()
    assert state["message"] == f"{state['metrics']} metrics of 1 hosts are read" and state["notCalled"] == 0


def test_an_arn_of_another_kind_is_no_resource():
    for service, arn in ARN.items():
        assert [other for other in ARN if name_of(other, arn)] == [service]
    assert name_of("EC2", "arn:aws:ec2:us-east-1:1:volume/v-1") == ""
    assert name_of("S3", "arn:aws:s3:us-east-1:1:accesspoint/x") == "" and name_of("SQS", "nonsense") == ""


def test_what_each_run_reads_leaves_the_last_minutes_out_and_fills_late_points():
    runs = Runs(["EC2"])
    runs.run()
    [(from_s, to_s, _)] = runs.account.asked
    assert to_s == (NOW_S - limits.CLOUD_DELAY_S) // 60 * 60 and to_s - from_s == limits.CLOUD_BACK_S
    before = dict(runs.samples())
    runs.account.times = range(8)
    runs.later()
    assert before.keys() < runs.samples().keys(), "points that came late are there"
    again = runs.account.asked[-1]
    runs.collector.run(CloudJob("a", "aws", runs.id, runs.system.now_s // 60), lambda: 60.0)
    assert runs.account.asked[-1] == again and len(runs.account.asked) == 2, "a run is made once for its minute"


def test_operations_of_one_name_are_added_up():
    runs = Runs(["DynamoDB"])
    runs.run()
    throttled = {value for (_, _, name), value in runs.samples().items() if name.endswith("throttled_requests")}
    assert throttled == {2.0 + len("PutItem") + len("GetItem")}


def test_an_agents_host_is_used_and_keeps_its_name():
    runs = Runs(["EC2"])
    host = runs.system.host(name="web1", customIdentifier="i-1.ec2.amazonaws.com")
    runs.account.tags[ARN["EC2"]] = {"Name": "other", "mackerel-integration": "shop:web / bad role / shop:db"}
    runs.run()
    [known] = runs.ok("GET", "/api/v0/hosts")["hosts"]
    assert (known["id"], known["name"], known["roles"]) == (host, "web1", {"shop": ["db", "web"]})
    assert {source for source, _, _ in runs.samples()} == {f"host/{host}"}


def test_hosts_have_the_role_of_their_service_unless_a_tag_says_another():
    services = {"SQS": {"enable": True, "role": "shop:queue"}, "RDS": {"enable": True, "role": "shop:db"}}
    runs = Runs(services=("SQS", "RDS"))
    runs.ok(
        "PUT",
        f"/api/v0/aws-integrations/{runs.id}",
        {**AWS_FORM, "externalId": None, "services": services}
        | {"externalId": runs.ok("GET", "/api/v0/aws-integrations")["aws_integrations"][0]["externalId"]},
    )
    runs.account.tags[ARN["RDS"]] = {"mackerel-integration": "shop:main"}
    runs.run()
    roles = {identifier: host["roles"] for identifier, host in runs.hosts().items()}
    assert roles == {ARN["SQS"]: {"shop": ["queue"]}, ARN["RDS"]: {"shop": ["main"]}}


def test_tags_choose_what_is_read():
    runs = Runs(["SQS", "RDS"], includedTags="env:live,env:test", excludedTags="team:x")
    runs.account.tags = {ARN["SQS"]: {"env": "live"}, ARN["RDS"]: {"env": "test", "team": "x"}}
    runs.run()
    assert list(runs.hosts()) == [ARN["SQS"]]


@pytest.mark.parametrize(("way", "left"), [("excluded", 5), ("included", 1)])
def test_metrics_that_are_excluded_or_not_included_are_not_called(way, left):
    services = {"ALB": {"enable": True, "role": None, f"{way}Metrics": ["alb.request.count"]}}
    runs = Runs(["ALB"])
    known = runs.ok("GET", "/api/v0/aws-integrations")["aws_integrations"][0]
    runs.ok("PUT", f"/api/v0/aws-integrations/{runs.id}", {**known, "services": services})
    runs.run()
    [(_, _, metrics)] = runs.account.asked
    assert len(metrics) == left and ("alb.request.count" in {metric.name for metric in metrics}) == (way == "included")


def test_a_deleted_resource_retires_its_host_if_its_service_says_so_and_a_filtered_one_does_not():
    services = {
        each: {"enable": True, "role": None, "retireAutomatically": each != "SQS"} for each in ("EC2", "RDS", "SQS")
    }
    runs = Runs(["EC2", "RDS", "SQS"])
    known = runs.ok("GET", "/api/v0/aws-integrations")["aws_integrations"][0]
    runs.ok("PUT", f"/api/v0/aws-integrations/{runs.id}", {**known, "services": services, "excludedTags": "off:1"})
    runs.run()
    del runs.account.tags[ARN["EC2"]], runs.account.tags[ARN["SQS"]]
    runs.account.tags[ARN["RDS"]] = {"off": "1"}
    runs.later(65)
    assert set(runs.hosts()) == {ARN["RDS"], ARN["SQS"]}
    assert runs.state()["hosts"] == 0


def test_dollars_are_projected_by_metric_and_five_statistics_of_one_are_one():
    runs = Runs(["ALB"])
    runs.run()
    state = runs.state()
    assert (state["metrics"], state["dollarsAMonth"]) == (6, round(3 * 0.00001 * budget.RUNS_A_MONTH, 4))
    assert state["spentDollars"] == pytest.approx(3 * 0.00001)
    a_thousand_each_minute = 1_000 * 0.00001 * 60 * 24 * 30.4
    assert round(a_thousand_each_minute) == 438


def test_what_is_over_the_budget_is_not_called_and_says_so():
    affordable = 2.5 * 0.00001 * budget.RUNS_A_MONTH  # two of the load balancer's three metrics
    runs = Runs(["ALB"], budgetDollars=affordable)
    runs.run()
    [(_, _, metrics)] = runs.account.asked
    state = runs.state()
    assert len({metric.metric for metric in metrics}) == 2 and state["metrics"] == len(metrics)
    assert state["notCalled"] == 6 - len(metrics) and f"{state['notCalled']} are over the budget" in state["message"]
    assert state["dollarsAMonth"] <= affordable


def test_a_month_that_is_spent_calls_nothing_until_the_next():
    runs = Runs(["ALB"])
    runs.run()
    spent = integrations.state(runs.system.store, "a", runs.id)
    full = msgspec.structs.replace(spent, spent_dollars=50.0)
    assert integrations.end(runs.system.registry, "a", CloudJob("a", "aws", runs.id), full)
    runs.later()
    assert len(runs.account.asked) == 1 and "the budget of this month is spent" in runs.state()["message"]
    runs.later(31 * 24 * 60)
    assert len(runs.account.asked) == 2 and runs.state()["spentDollars"] < 1


def test_a_crash_behind_the_counting_spends_no_more_than_the_budget():
    """What a call costs is in the state before the call is made."""
    runs = Runs(["EC2"])
    before = []
    read = runs.account.data

    def watched(*asked):
        before.append(integrations.state(runs.system.store, "a", runs.id).spent_dollars)
        return read(*asked)

    runs.account.data = watched
    runs.run()
    assert before == [pytest.approx(0.00001)]


@pytest.mark.parametrize("error", [CloudRefusedError("the role can't be assumed: no"), RetryableError("throttled")])
def test_a_cloud_that_refuses_or_is_away_is_told_and_read_by_a_later_run(error):
    runs = Runs(["EC2"])
    runs.account.error = error
    assert runs.run()
    assert str(error) in runs.state()["message"] and runs.samples() == {}
    runs.account.error = None
    runs.later()
    assert "1 metrics of 1 hosts are read" in runs.state()["message"] and runs.samples()


def test_a_stream_that_is_away_loses_nothing():
    runs = Runs(["EC2"])
    runs.account.times = range(6)
    runs.system.stream_is_away = True
    runs.run()
    assert "the stream is away" in runs.state()["message"]
    runs.system.stream_is_away = False
    runs.account.times = range(11)
    runs.later()
    assert len(runs.samples()) == 11


def test_a_run_out_of_time_says_what_it_did_not_read():
    runs = Runs(["EC2", "S3"])
    runs.run(left_s=limits.CLOUD_STOP_S - 1)
    assert runs.account.asked == [] and "2 were not read in time" in runs.state()["message"]


def test_calls_that_were_not_made_in_time_are_the_first_of_another_run(monkeypatch):
    monkeypatch.setattr("carbyne.clouds.aws.CLOUDWATCH_QUERIES_MAX", 1)
    monkeypatch.setattr("carbyne.clouds.collector.CLOUD_CALLS_AT_ONCE", 1)
    runs, names = Runs(["EC2", "RDS", "SQS"]), set()
    for _ in range(3):
        runs.account.asked.clear()
        left_s = iter([60.0, *[0.0] * 9])
        assert runs.collector.run(CloudJob("a", "aws", runs.id, runs.system.now_s // 60), left_s.__next__)
        [(_, _, [metric])] = runs.account.asked
        names.add(metric.name)
        runs.system.now_s += 300
    assert names == {"ec2.cpu.used", "rds.cpu.used", "sqs.message_count.sent"}


def test_a_job_that_is_old_or_whose_integration_is_gone_is_dropped(caplog):
    runs = Runs(["EC2"])
    assert not runs.run(minute=MINUTE - limits.CLOUD_LATE_MINUTES - 1)
    assert "workers are behind" in caplog.text
    runs.ok("DELETE", f"/api/v0/aws-integrations/{runs.id}")
    assert not runs.run() and runs.account.asked == []


def test_resources_and_metrics_have_bounds(monkeypatch):
    monkeypatch.setattr("carbyne.clouds.collector.CLOUD_RESOURCES_MAX", 1)
    monkeypatch.setattr(budget, "CLOUD_METRICS_MAX", 2)
    runs = Runs(["ALB", "SQS"])
    runs.run()
    state = runs.state()
    assert (state["hosts"], state["metrics"], state["notCalled"]) == (1, 2, 4)
    assert (
        "2 resources are more than 1" in state["message"]
        and "4 are more than one integration may have" in state["message"]
    )


def test_a_call_has_five_hundred_metrics_at_most_and_divides_no_resource():
    runs = Runs(["Lambda"])
    names = [f"f{number}" for number in range(60)]
    runs.account.tags = {f"arn:aws:lambda:us-east-1:1:function:{name}": {} for name in names}
    every = ("Invocations", "Errors", "DeadLetterErrors", "Throttles", "Duration", "IteratorAge")
    runs.account.listed["AWS/Lambda"] = [(metric, {"FunctionName": name}) for name in names for metric in every]
    runs.run()
    calls = [metrics for _, _, metrics in runs.account.asked]
    assert sorted(map(len, calls)) == [100, 500]
    functions = Counter(
        name for metrics in calls for name in {dict(metric.dimensions)["FunctionName"] for metric in metrics}
    )
    assert set(functions.values()) == {1}
    assert runs.state()["dollarsAMonth"] == pytest.approx(360 * 0.00001 * budget.RUNS_A_MONTH, abs=1e-4)


def test_nodes_of_a_cache_are_hosts_of_their_own():
    runs = Runs(["ElastiCache"])
    cluster = {"CacheClusterId": "cache-001"}
    runs.account.listed["AWS/ElastiCache"] = [
        ("CPUUtilization", {**cluster, "CacheNodeId": node}) for node in ("0001", "0002")
    ]
    runs.run()
    assert set(runs.hosts()) == {f"{ARN['ElastiCache']}#0001", f"{ARN['ElastiCache']}#0002"}


class MemoryCloudQueue:
    """A CloudQueue."""

    def __init__(self):
        self.waiting, self.keys, self.done = [], set(), []

    def publish(self, jobs):
        for job, delay_s, key in jobs:
            assert delay_s == 0
            if key not in self.keys:
                self.keys.add(key)
                self.waiting.append(CloudTaken(key, job))

    def take(self, most, lease_s):
        assert lease_s == limits.CLOUD_LEASE_S
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        return taken

    def acknowledge(self, leases):
        self.done += leases


def test_each_integration_is_due_once_in_five_minutes_and_workers_are_called_for_those():
    runs, queue, workers = Runs(["EC2"]), MemoryCloudQueue(), []
    for number in range(11):
        runs.make(["SQS"], name=f"n{number}")
    scheduler = cloud_scheduler(runs.system.store, queue, lambda: workers.append(1), lambda: runs.system.now_s)
    due = []
    for _ in range(limits.CLOUD_EVERY_MINUTES):
        due.append(scheduler.run())
        assert scheduler.run() == due[-1]
        runs.system.now_s += 60
    assert sum(due) == 12 == len(queue.waiting) and max(due) < 12
    assert len(workers) == 2 * sum(-(-each // limits.CLOUD_JOBS_PER_WORKER) for each in due)


def test_a_worker_reads_until_its_queue_is_empty_and_acknowledges(monkeypatch):
    runs, queue = Runs(["EC2"]), MemoryCloudQueue()
    queue.publish([(CloudJob("a", "aws", runs.id, MINUTE), 0, "k"), (CloudJob("a", "aws", "gone", MINUTE), 0, "l")])
    assert CloudWorker(queue, runs.collector).run(lambda: 60.0) == 2
    assert queue.done == ["k", "l"] and runs.samples()
    queue.publish([(CloudJob("a", "aws", runs.id, MINUTE + 5), 0, "m")])
    assert CloudWorker(queue, runs.collector).run(lambda: limits.CLOUD_RESERVE_S) == 0

    def away(*_):
        raise RetryableError("the registry is away")

    monkeypatch.setattr(runs.system.store, "get", away)
    assert CloudWorker(queue, runs.collector).run(lambda: 60.0) == 0
    assert queue.done == ["k", "l"], "it comes again after its lease"


def test_one_tenant_reads_no_integration_of_another():
    runs = Runs(["EC2"])
    assert not runs.collector.run(CloudJob("b", "aws", runs.id, MINUTE), lambda: 60.0)
    assert integrations.find(runs.system.store, "b", AwsIntegration) == []
