"""What CloudFormation gets: the template as SAM transforms it, with the policies that SAM adds."""

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
from carbyne.core import limits

from harness.template import template
from tests.support.expansion import EXISTING, MANAGED, Expansion, transform

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "layers" / "carbyne" / "carbyne"
SHARED = "this policy names no resource, and a role of our own for each function would say no less with 200 more lines:"
WIDE = {
    "AWSLambdaBasicExecutionRole": f"{SHARED} it writes logs",
    "AWSLambdaVPCAccessExecutionRole": f"{SHARED} it attaches functions to subnets, and EC2 has no names for that yet",
    "AWSLambdaKinesisExecutionRole": f"{SHARED} it reads streams for the event source, and there is one stream here",
    "ReplayerRole": "Lambda lists streams when the mapping is made, and streams in a list have no names",
    "SupervisorRole": "mappings have no name before they are made: the function that they feed is the condition",
    "AWSLambdaDynamoDBExecutionRole": f"{SHARED} it reads streams for the event source, and there is one here",
}
"""Managed policies with the resource ``*``, and why each is acceptable."""
MODULES = {"replay": "replayer", "relief": "sealer", "backlog": "sealer", "cache": "reader", "near": "reader"} | {
    "bugs": "evaluator"
}
"""Modules that are not called like the function whose metrics they emit."""
NOT_ALARMED = {
    ("writer", "SamplesRejected.*"): "the sum of all reasons is alarmed; these say why",
    ("writer", "SamplesPassedOver.*"): "what is taken and not stored on purpose; the answer says so",
    ("reader", "CacheHits"): "reads of blocks that the cache spared",
    ("reader", "CacheMisses"): "a slower read and nothing else",
    ("reader", "CacheNearHits"): "reads that did not even ask the cache in Redis",
    ("writer", "PutRetries"): "a retry that succeeds is normal; one that does not is a 503, which is alarmed",
    ("writer", "PostsRefused"): "a 503, which is alarmed; the log names the tenant",
    ("writer", "PostsRefused.*"): "says which limit",
    ("writer", "SamplesOfUnknownHosts"): "they are stored; the log and the answer name the hosts",
    ("writer", "DeletesAccepted"): "what people asked for",
    ("ingester", "Deletes"): "what people asked for",
    ("ingester", "RowsLate"): "agents that come back after an outage",
    ("sealer", "WindowsMended"): "progress on late rows and deletes; it says nothing about what is left",
    ("ingester", "RowsTooOld"): "redriven too late, which the operator is told",
    ("ingester", "RecordsIngested"): "progress; a stop shows as iterator age",
    ("ingester", "RowsStored"): "progress",
    ("sealer", "WindowsSealed"): "progress; a stop shows as the oldest due window",
    ("sealer", "WindowsSealedEarly"): "Redis was filling and empties itself; its memory is alarmed",
    ("sealer", "BlocksWritten"): "progress",
    ("sealer", "RollupsWritten"): "progress",
    ("sealer", "SamplesSealed"): "progress",
    ("replayer", "RecordsReplayed"): "progress; a replay that comes to no end shows as rebuilding lanes",
    ("archiver", "BlocksArchived"): "progress; a stop shows as iterator age",
    ("reconciler", "BlocksReconciled"): "progress",
    ("probe", "RedisNodesUnwatched"): "a cluster larger than the probe's answer: these nodes have no graphs, no more",
}
"""(service, metric) without an alarm, and why."""


@pytest.fixture(scope="module")
def stack():
    return transform((ROOT / "template.yaml").read_text())


@pytest.fixture(scope="module")
def resources(stack):
    return stack["Resources"]


def of_type(resources, kind):
    return {name: body["Properties"] for name, body in resources.items() if body["Type"] == kind}


def listed(value):
    return value if isinstance(value, list) else [value]


def statements(resources):
    """(where, statement) of all policies of roles, the managed ones written out."""
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        for policy in role.get("Policies", []):
            yield from ((name, statement) for statement in policy["PolicyDocument"]["Statement"])
        for arn in role.get("ManagedPolicyArns", []):
            managed = arn.rpartition("/")[2]
            yield from ((managed, statement) for statement in MANAGED[managed]["Document"]["Statement"])
    for name, policy in of_type(resources, "AWS::IAM::Policy").items():
        yield from ((name, statement) for statement in policy["PolicyDocument"]["Statement"])


def test_no_action_is_a_wildcard(resources):
    for where, statement in statements(resources):
        assert statement["Effect"] == "Allow"
        assert not [action for action in listed(statement["Action"]) if "*" in action], where


def test_every_wide_resource_has_a_reason(resources):
    wide = {where for where, statement in statements(resources) if "*" in listed(statement["Resource"])}
    assert wide <= WIDE.keys()


def test_no_function_inside_is_to_call_what_it_cannot_reach(resources):
    """Its network has endpoints of S3 and DynamoDB alone. Destinations and event sources are Lambda's own."""
    inside = {f"{name}Role" for name, f in of_type(resources, "AWS::Lambda::Function").items() if "VpcConfig" in f}
    by_lambda = {"kinesis", "lambda", "logs", "ec2", "xray", "sqs"}
    for where, statement in statements(resources):
        if where in inside:
            services = {action.partition(":")[0] for action in listed(statement["Action"])}
            assert services <= {"dynamodb", "s3", "elasticache"} | by_lambda, where
            assert "kinesis:PutRecords" not in listed(statement["Action"]), where


def test_functions_with_redis_may_connect_as_their_user_and_no_other(resources):
    policy = resources["RedisAccess"]["Properties"]
    inside = {f"{name}Role" for name, f in of_type(resources, "AWS::Lambda::Function").items() if "VpcConfig" in f}
    assert {role["Ref"] for role in policy["Roles"]} == inside != set()
    [statement] = policy["PolicyDocument"]["Statement"]
    assert statement["Action"] == "elasticache:Connect"
    group, user = statement["Resource"]
    assert group["Fn::Sub"].endswith(":replicationgroup:${Redis}")
    assert user == {"Fn::GetAtt": ["RedisAppUser", "Arn"]}


def test_every_function_logs_json_into_its_own_group(resources):
    groups = of_type(resources, "AWS::Logs::LogGroup")
    for name, function in of_type(resources, "AWS::Lambda::Function").items():
        assert function["LoggingConfig"]["LogGroup"] == {"Ref": f"{name}Logs"}
        assert function["LoggingConfig"]["SystemLogLevel"] == "WARN"
        assert groups[f"{name}Logs"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_every_event_source_has_a_destination_a_bounded_age_and_metrics(resources):
    sources = of_type(resources, "AWS::Lambda::EventSourceMapping")
    assert sources
    for name, source in sources.items():
        assert source["DestinationConfig"]["OnFailure"]["Destination"], name
        assert source["MaximumRecordAgeInSeconds"] not in (None, -1), name
        assert source["MetricsConfig"] == {"Metrics": ["EventCount"]}, name


def test_schedules_are_bounded(resources):
    policies = {
        name: body["Target"]["RetryPolicy"] for name, body in of_type(resources, "AWS::Scheduler::Schedule").items()
    }
    assert policies["SealerEachMinute"] == {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
    assert all(policy["MaximumEventAgeInSeconds"] <= 3600 for policy in policies.values())


def test_timeouts_are_in_order(resources):
    functions = {name: f["Timeout"] for name, f in of_type(resources, "AWS::Lambda::Function").items()}
    assert limits.SEAL_RESERVE_S < functions["Sealer"] < limits.SEAL_LEASE_MS / 1000
    assert functions["Ingester"] > limits.REDIS_BUDGET_S * 2
    assert limits.REDIS_BUDGET_S < functions["Reader"] < 30
    assert functions["Archiver"] < resources["ArchiverChanges"]["Properties"]["MaximumRecordAgeInSeconds"] < 24 * 3600


def test_nothing_has_a_name_that_blocks_a_second_stack(resources):
    given = {"RedisAppUser": ["UserId", "UserName"], "RedisUsers": ["UserGroupId"], "RedisAccess": ["PolicyName"]}
    given["Domain"] = ["DomainName"]  # a parameter's
    for name, body in resources.items():
        properties = body.get("Properties", {})
        if body["Type"].startswith(("AWS::IAM::Role", "AWS::Lambda::Layer", "AWS::ApiGateway")):
            continue
        names = [p for p in properties if re.fullmatch(r"\w*(Name|Id)", p) and p not in REFERENCES]
        assert names == given.get(name, []), name


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_names_of_redis_are_the_stacks_own(stack, partition):
    """ElastiCache takes 40 characters, in lower case; two stacks made within one minute differ in the first group."""
    numbers = [f"51af3d{tail}-9c1b-11f0-8d2a-0affc0ffee01" for tail in ("c0", "c1")]
    named = {}
    for name in ("carbyne", "carbyne-prod", "team-carbyne-prod", "a-b-c-d", "Team-A-carbyne-eu-prod"):
        for number in numbers:
            stack_id = f"arn:{partition}:cloudformation:eu-west-1:123456789012:stack/{name}/{number}"
            made = Expansion(stack, stack_id=stack_id).resources
            names = {made["RedisAppUser"]["Properties"][key] for key in ("UserId", "UserName")}
            [group_name] = names | {made["RedisUsers"]["Properties"]["UserGroupId"]}
            assert re.fullmatch(r"[a-z][a-z0-9-]{0,39}", group_name) and "--" not in group_name
            named.setdefault(group_name, set()).add(number)
    assert named == {"carbyne-51af3dc0-9c1b": {numbers[0]}, "carbyne-51af3dc1-9c1b": {numbers[1]}}


@pytest.mark.parametrize(
    ("given", "refusals"),
    [
        ({}, []),
        (EXISTING, []),
        ({"VpcSubnetIds": "subnet-0a"}, ["VpcSubnetIds needs VpcSecurityGroupIds"]),
        ({"VpcSecurityGroupIds": "sg-0a"}, ["VpcSecurityGroupIds needs VpcSubnetIds"]),
        ({"RedisEndpoint": "redis:1"}, ["RedisEndpoint needs VpcSubnetIds"]),
        ({**EXISTING, "RedisUser": "a", "RedisPasswordSecret": "a:SecretString:b"}, []),
        ({**EXISTING, "RedisNodeType": "cache.m7g.large"}, ["RedisNodeType is for a cluster that is made"]),
        ({**EXISTING, "RedisDurability": "sync"}, ["RedisDurability is for a cluster that is made"]),
        ({"RedisUser": "a"}, ["RedisUser and RedisPasswordSecret need RedisEndpoint"]),
        ({"RedisPasswordSecret": "a:SecretString:b"}, ["RedisUser and RedisPasswordSecret need RedisEndpoint"]),
        ({"RedisDurability": "async"}, ["RedisDurability needs Profile=large"]),
        ({"RedisDurability": "async", "Profile": "large"}, []),
        ({"DomainName": "a.example"}, ["DomainName needs CertificateArn"]),
        ({"CertificateArn": "arn:aws:acm:a:1:certificate/0"}, ["CertificateArn needs DomainName"]),
        ({"DomainName": "a.example", "CertificateArn": "arn:aws:acm:a:1:certificate/0"}, []),
        ({"Architecture": "x86_64"}, ["Architecture=x86_64 is for sam local alone"]),
        ({"ReserveConcurrency": 1}, []),
        ({"ReserveConcurrency": 1, "StreamMode": "ON_DEMAND"}, ["ReserveConcurrency needs StreamMode=PROVISIONED"]),
    ],
)
def test_what_does_not_fit_together_is_refused(stack, given, refusals):
    assert given.keys() <= stack["Parameters"].keys()
    told = Expansion(stack, given).refusals
    assert [text[: len(refusal)] for text, refusal in zip(told, refusals, strict=True)] == refusals


@pytest.mark.parametrize(("shards", "factor"), [(1, 1), (1, 10), (8, 5), (128, 10)])
def test_a_reserve_is_what_the_stream_can_use_at_once(stack, shards, factor):
    """Less would throttle the ingester; accounts with a quota of 10 refuse any, so that none is the default."""
    given = {"StreamShards": shards, "IngesterParallelization": factor}
    for reserve, expected in ((0, {}), (1, {"Ingester": shards * factor})):
        made = Expansion(stack, {**given, "ReserveConcurrency": reserve}).resources
        functions = of_type(made, "AWS::Lambda::Function")
        key = "ReservedConcurrentExecutions"
        assert {name: body[key] for name, body in functions.items() if key in body} == expected


@pytest.mark.parametrize("profile", ["small", "lean", "standard", "large"])
def test_the_stages_limit_is_far_above_normal_load(stack, profile):
    """1,000 hosts post 17 times a second; HTTP APIs have a quota of 5,000 requests at once."""
    made = Expansion(stack, {"Profile": profile}).resources
    limit = made["HttpApiApiGatewayDefaultStage"]["Properties"]["DefaultRouteSettings"]
    assert 5 * 17 < limit["ThrottlingRateLimit"] <= limit["ThrottlingBurstLimit"] <= 5_000


@pytest.mark.parametrize("profile", ["small", "lean", "standard", "large"])
def test_the_subnets_hold_the_nodes(stack, profile):
    """The smallest VPC is a /24, AWS keeps five addresses of a subnet, and nodes are spread over both."""
    shards = stack["Parameters"]["RedisShards"]["MaxValue"]
    made = Expansion(stack, {"Profile": profile, "RedisShards": shards}).resources
    sizes = [
        2 ** made[name]["Properties"]["CidrBlock"]["Fn::Select"][1]["Fn::Cidr"][2] for name in ("SubnetA", "SubnetB")
    ]
    nodes = shards * (1 + int(made["Redis"]["Properties"]["ReplicasPerNodeGroup"]))
    functions = 20
    assert sum(sizes) == 256
    assert nodes / 2 + functions <= min(sizes) - 5
    assert r"2[0-4])$" in stack["Parameters"]["VpcCidr"]["AllowedPattern"]


def test_a_domain_is_mapped_to_the_stage(stack):
    name = {"DomainName": "metrics.example.com", "CertificateArn": "arn:aws:acm:us-east-1:1:certificate/0"}
    assert not {"Domain", "DomainMapping"} & Expansion(stack).resources.keys()
    expansion = Expansion(stack, name)
    made = expansion.resources
    assert made["Domain"]["Properties"]["DomainName"] == "metrics.example.com"
    assert made["DomainMapping"]["Properties"]["Stage"] == {"Ref": "HttpApiApiGatewayDefaultStage"}
    assert expansion.value(stack["Outputs"]["Url"]["Value"]) == "https://metrics.example.com"
    assert Expansion(stack).value(stack["Outputs"]["Url"]["Value"]) == {"Fn::GetAtt": ["HttpApi", "ApiEndpoint"]}


def test_access_logs_are_asked_for_and_name_no_key(stack):
    stage = "HttpApiApiGatewayDefaultStage"
    assert "DoorLogs" not in (made := Expansion(stack).resources)
    assert "AccessLogSettings" not in made[stage]["Properties"]
    made = Expansion(stack, {"AccessLogs": "true"}).resources
    logged = made[stage]["Properties"]["AccessLogSettings"]
    assert logged["DestinationArn"] == {"Fn::GetAtt": ["DoorLogs", "Arn"]}
    line = json.loads(re.sub(r":\$context\.(\w+)([,}])", r":0\2", logged["Format"]))
    assert not {"authorization", "x-api-key", "headers"} & line.keys()
    assert "RetentionInDays" in made["DoorLogs"]["Properties"]


def test_a_functions_policy_stays_small(resources):
    """A permission takes about 400 of its 20,480 bytes; every route is one, and the URL for agents two."""
    permissions = [body["FunctionName"]["Ref"] for body in of_type(resources, "AWS::Lambda::Permission").values()]
    assert {name: permissions.count(name) for name in permissions} == {
        "Writer": 8,
        "Reader": 10,
        "Page": 8,
        "Queue": 2,
        "Registry": 1,
    }


def test_whatever_s3_does_not_have_can_be_restored(resources):
    recovery = {
        name: body.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled", False)
        for name, body in of_type(resources, "AWS::DynamoDB::Table").items()
    }
    assert recovery == {"AccountsTable": True, "RegistryTable": True, "QueuesTable": True, "BlocksTable": False}


REFERENCES = {"VpcId", "SubnetId", "RouteTableId", "GroupId", "ServiceName", "CacheSubnetGroupName", "MetricName"}
REFERENCES |= {
    "CacheParameterGroupName",
    "FunctionName",
    "DestinationSecurityGroupId",
    "LayerName",
    "StageName",
    "ApiId",
}


def test_redis_is_a_cluster_that_refuses_instead_of_evicting(resources):
    redis = resources["Redis"]
    expected = {
        "Engine": "valkey",
        "ClusterMode": "enabled",
        "AutomaticFailoverEnabled": True,
        "MultiAZEnabled": {"Fn::If": ["RedisHasReplica", True, False]},
        "TransitEncryptionEnabled": True,
        "TransitEncryptionMode": "required",
        "AtRestEncryptionEnabled": True,
        "NumNodeGroups": {"Ref": "RedisShards"},
        "ReplicasPerNodeGroup": {"Fn::FindInMap": ["Profiles", {"Ref": "Profile"}, "Replicas"]},
    }
    assert {name: redis["Properties"][name] for name in expected} == expected
    assert redis["UpdatePolicy"] == {"UseOnlineResharding": True}
    group = resources["RedisParameters"]["Properties"]
    assert group["Properties"] == {"cluster-enabled": "yes", "maxmemory-policy": "noeviction"}
    assert group["CacheParameterGroupFamily"] == f"valkey{redis['Properties']['EngineVersion'].partition('.')[0]}"
    assert resources["RedisAppUser"]["Properties"]["AuthenticationMode"] == {"Type": "iam"}


def test_redis_admits_the_functions_alone(resources):
    groups = of_type(resources, "AWS::EC2::SecurityGroup")
    [ingress] = groups["RedisGroup"]["SecurityGroupIngress"]
    assert ingress["SourceSecurityGroupId"] == {"Ref": "FunctionsGroup"}
    assert ingress["FromPort"] == ingress["ToPort"] == 6379
    assert "SecurityGroupIngress" not in groups["FunctionsGroup"]
    assert [rule["FromPort"] for rule in groups["FunctionsGroup"]["SecurityGroupEgress"]] == [443]
    assert resources["FunctionsToRedis"]["Properties"]["DestinationSecurityGroupId"] == {"Ref": "RedisGroup"}


def test_the_network_has_no_way_out_but_two_free_endpoints(resources):
    kinds = {body["Type"] for body in resources.values()}
    assert not kinds & {"AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::Route"}
    endpoints = of_type(resources, "AWS::EC2::VPCEndpoint").values()
    assert {endpoint["VpcEndpointType"] for endpoint in endpoints} == {"Gateway"}
    assert {e["ServiceName"]["Fn::Sub"].rpartition(".")[2] for e in endpoints} == {"s3", "dynamodb"}


def test_network_and_redis_are_made_by_conditions_alone(resources):
    for name, body in resources.items():
        if body["Type"].startswith("AWS::EC2::"):
            assert body["Condition"] == "NetworkIsOurs", name
        if body["Type"].startswith("AWS::ElastiCache::"):
            assert body["Condition"] == "RedisIsOurs", name


def alarm_metrics(resources):
    """(alarm, namespace, metric, value of its first dimension, empty without one) of all alarms."""
    for name, alarm in of_type(resources, "AWS::CloudWatch::Alarm").items():
        parts = [m["MetricStat"]["Metric"] for m in alarm.get("Metrics", []) if "MetricStat" in m] or [alarm]
        for part in parts:
            dimensions = part.get("Dimensions", [{"Value": ""}])
            yield name, part["Namespace"], part["MetricName"], dimensions[0]["Value"]


def emitted():
    """(service, metric) of every count in the code; a metric with a varying end is ``Name.*``."""
    for path in CODE.rglob("*.py"):
        service = MODULES.get(path.stem, path.stem if path.stem in SERVICES else None)
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("add", "peak")
            ):
                owner = ast.unparse(node.func.value)
                if owner.endswith("meter") and node.args:
                    assert service, f"{path}: which function emits this?"
                    yield service, _name(node.args[0])


def _name(argument):
    if isinstance(argument, ast.JoinedStr):
        return f"{argument.values[0].value}*"
    return argument.value


SERVICES = {folder.name for folder in (ROOT / "functions").iterdir() if (folder / "app.py").exists()}


def test_alarms_watch_metrics_that_the_code_emits(resources):
    watched = {(value, metric) for _, space, metric, value in alarm_metrics(resources) if space == "Carbyne"}
    assert watched <= set(emitted())


def test_every_metric_is_alarmed_or_says_why_not(resources):
    watched = {(value, metric) for _, space, metric, value in alarm_metrics(resources) if space == "Carbyne"}
    assert set(emitted()) - watched == NOT_ALARMED.keys()


def written_out(metrics):
    """ "." is what stands there in the line above, and "..." all of it up to what follows."""
    above = []
    for metric in metrics:
        line = metric if metric[0] != "..." else [*above[: len(above) - len(metric) + 1], *metric[1:]]
        above = [above[index] if part == "." else part for index, part in enumerate(line)]
        yield above


def test_our_alarms_are_of_this_stack(resources):
    for name, alarm in of_type(resources, "AWS::CloudWatch::Alarm").items():
        for part in [m["MetricStat"]["Metric"] for m in alarm.get("Metrics", []) if "MetricStat" in m] or [alarm]:
            if part["Namespace"] == "Carbyne":
                assert part["Dimensions"][1:] == [{"Name": "stack", "Value": {"Ref": "AWS::StackName"}}], name


def test_the_dashboard_shows_metrics_that_the_code_emits(resources):
    body = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    shown = [m for widget in json.loads(body)["widgets"] for m in written_out(widget["properties"]["metrics"])]
    ours = {(m[3], m[1]) for m in shown if m[0] == "Carbyne"}
    assert ours <= set(emitted())
    assert {tuple(m[4:]) for m in shown if m[0] == "Carbyne"} == {("stack", "${AWS::StackName}")}
    references = set(re.findall(r"\$\{(\w+)\}", body))
    assert references <= resources.keys()


def test_errors_of_every_function_are_watched(resources):
    functions = of_type(resources, "AWS::Lambda::Function").keys()
    watched = {
        value["Ref"] for _, space, name, value in alarm_metrics(resources) if (space, name) == ("AWS/Lambda", "Errors")
    }
    assert watched == functions


def test_throttles_of_all_functions_are_one_metric(resources):
    """They share the account's concurrency, and each metric of an alarm costs a tenth of a dollar."""
    alarm = resources["ThrottlesAlarm"]["Properties"]
    assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("AWS/Lambda", "Throttles", "Sum")
    assert "Dimensions" not in alarm and "Metrics" not in alarm


def test_an_alarm_by_math_has_ten_metrics_at_most(resources):
    """CloudWatch refuses more when the stack is made."""
    for name, alarm in of_type(resources, "AWS::CloudWatch::Alarm").items():
        assert sum("MetricStat" in part for part in alarm.get("Metrics", [])) <= 10, name


def test_every_event_source_is_watched(resources):
    sources = of_type(resources, "AWS::Lambda::EventSourceMapping")
    watched = list(alarm_metrics(resources))
    given_up = {value["Ref"] for _, _, metric, value in watched if metric == "OnFailureDestinationDeliveredEventCount"}
    assert given_up == sources.keys()
    late = {value["Ref"] for _, _, metric, value in watched if metric == "IteratorAge"}
    assert late == {source["FunctionName"]["Ref"] for source in sources.values()}
    buckets = {value["Ref"] for _, _, metric, value in watched if metric == "NumberOfObjects"}
    assert buckets == {s["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"][0] for s in sources.values()}


def test_every_alarm_reaches_the_topic_and_knows_what_silence_means(resources):
    for name, alarm in of_type(resources, "AWS::CloudWatch::Alarm").items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}], name
        is_fault = name in ("SealerSilentAlarm", "AlertsSilentAlarm", "RedisNodesAwayAlarm")
        silence = "breaching" if is_fault else "notBreaching"
        assert alarm["TreatMissingData"] == silence, name


@pytest.mark.parametrize(
    ("silent", "fires"),
    [({}, False), ({"Evaluator": 0}, True), ({"Scheduler": 0}, True), ({"Notifier": 0}, True), ({"failed": 5}, True)],
    ids=["none", "evaluator", "scheduler", "notifier", "failing"],
)
def test_five_minutes_of_silence_of_what_makes_alerts_are_an_alarm(resources, silent, fires):
    """With the sums of five minutes, in which each function runs five times."""
    alarm = resources["AlertsSilentAlarm"]["Properties"]
    of_all, *parts = alarm["Metrics"]
    sums = {}
    for part in parts:
        stat = part["MetricStat"]
        [dimension] = stat["Metric"]["Dimensions"]
        assert (stat["Period"] * alarm["EvaluationPeriods"], stat["Stat"]) == (300, "Sum")
        is_error = stat["Metric"]["MetricName"] == "Errors"
        sums[part["Id"]] = silent.get("failed", 0) if is_error else silent.get(dimension["Value"]["Ref"], 5)
    least = eval(of_all["Expression"].replace("MIN", "min"), {"min": min, "FILL": lambda value, _: value}, sums)
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "LessThanThreshold")
    assert (least < alarm["Threshold"]) is fires


def test_the_alarm_on_unsealed_windows_comes_at_a_quarter_of_the_retention(stack):
    for hours, entry in stack["Mappings"]["RecordAge"].items():
        assert entry["QuarterSeconds"] == int(hours) * 3600 // 4


def test_the_console_asks_for_every_parameter_once(stack):
    groups = stack["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    asked = [name for group in groups for name in group["Parameters"]]
    assert sorted(asked) == sorted(stack["Parameters"])


def test_a_stack_needs_no_answer(stack):
    assert [name for name, body in stack["Parameters"].items() if "Default" not in body] == []


def test_the_first_key_is_a_command_and_never_a_key(stack):
    command = stack["Outputs"]["FirstKeyCommand"]["Value"]["Fn::Sub"]
    assert "keys create" in command
    assert set(re.findall(r"\$\{([^}]+)\}", command)) == {"AWS::StackName"}


def test_samconfig_has_three_ways_to_deploy():
    tomllib = pytest.importorskip("tomllib")
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    known = template()["Parameters"].keys()
    for name in ("default", "dev", "prod"):
        deploy = config[name]["deploy"]["parameters"]
        given = {pair.partition("=")[0] for pair in deploy.get("parameter_overrides", "").split()}
        assert given <= known
        assert deploy["capabilities"] == "CAPABILITY_IAM"
        assert "build_dir" not in config[name]["build"]["parameters"]


def test_what_sam_local_builds_for_this_machine_is_never_deployed():
    """It has a folder of its own and no deployment; the folder's name tells the layer's Makefile the processor."""
    tomllib = pytest.importorskip("tomllib")
    here = tomllib.loads((ROOT / "samconfig.toml").read_text())["x86_64"]
    assert here.keys() == {"build", "local_invoke", "local_start_api"}
    assert {part["parameters"]["parameter_overrides"] for part in here.values()} == {"Architecture=x86_64"}
    folder = here["build"]["parameters"]["build_dir"]
    for command in ("local_invoke", "local_start_api"):
        assert here[command]["parameters"]["template_file"] == f"{folder}/template.yaml"
    for artifacts, processor in (
        (f"/a/{folder}/CarbyneLayer", "x86_64"),
        ("/a/.aws-sam/build/CarbyneLayer", "aarch64"),
    ):
        make = ["make", "-n", "-C", ROOT / "layers" / "carbyne", "build-CarbyneLayer", f"ARTIFACTS_DIR={artifacts}"]
        told = subprocess.run(make, capture_output=True, text=True, check=True).stdout
        assert set(re.findall(r"--platform manylinux\w*?_(x86_64|aarch64)", told)) == {processor}


def test_the_architecture_is_one_parameter(stack):
    for architecture in ("arm64", "x86_64"):
        made = Expansion(stack, {"Architecture": architecture}).resources
        assert {tuple(f["Architectures"]) for f in of_type(made, "AWS::Lambda::Function").values()} == {(architecture,)}
        [layer] = of_type(made, "AWS::Lambda::LayerVersion").values()
        assert layer["CompatibleArchitectures"] == [architecture]
    assert stack["Parameters"]["Architecture"]["Default"] == "arm64"


def test_every_waiver_of_checkov_has_its_reason():
    lines = [line.strip() for line in (ROOT / ".checkov.yaml").read_text().partition("skip-check:")[2].split("\n")]
    first = next(index for index, line in enumerate(lines) if line)
    assert lines[first].startswith("# ")
    assert all(line.startswith(("# ", "- CKV")) for line in lines if line)
