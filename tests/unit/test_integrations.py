"""Settings of integrations through the API: what is kept, what is refused and how, and what stays secret."""

import re

import pytest
from carbyne.core.limits import CLOUD_INTEGRATIONS_PER_TENANT_MAX, EXTERNAL_IDS_PER_TENANT_MAX
from carbyne.registry import cloud_metrics, integrations, tags

from tests.support.clouds import AWS_FORM, AZURE_FORM
from tests.support.registry_system import System

AWS = "/api/v0/aws-integrations"
AZURE = "/carbyne/v1/azure-integrations"


@pytest.fixture
def system():
    return System()


@pytest.fixture
def form(system):
    """Settings with an external id of the tenant."""
    return {**AWS_FORM, "externalId": external_id(system)}


def external_id(system, key="key-a"):
    return system.ok("POST", f"{AWS}-external-id", None, key)["externalId"]


def test_an_integration_is_kept_as_mackerels_client_sends_it(system, form):
    services = {
        "EC2": {"enable": True, "role": "shop:web", "excludedMetrics": ["ec2.cpu.used"], "retireAutomatically": True},
        "ALB": {"enable": False, "role": None, "excludedMetrics": []},
    }
    sent = {**form, "memo": "m", "includedTags": "service:shop", "excludedTags": "'a:b':c", "services": services}
    made = system.ok("POST", AWS, sent)
    answered = {
        "EC2": services["EC2"],
        "ALB": {**services["ALB"], "retireAutomatically": False},
    }
    assert made == {**sent, "services": answered, "id": "host1", "key": None, "budgetDollars": 50.0}
    assert system.ok("GET", f"{AWS}/host1") == made
    assert system.ok("GET", AWS) == {"aws_integrations": [made]}
    less = {name: value for name, value in sent.items() if name not in ("roleArn", "externalId")}
    changed = system.ok("PUT", f"{AWS}/host1", {**less, "name": "other", "key": None, "budgetDollars": 7})
    assert changed == {**made, "name": "other", "budgetDollars": 7.0}
    assert [job.integration for job in integrations.jobs(system.store)] == ["host1"]
    assert system.ok("DELETE", f"{AWS}/host1") == changed
    assert system.ok("GET", AWS) == {"aws_integrations": []} and list(integrations.jobs(system.store)) == []
    assert "is unknown" in system.refused(404, "GET", f"{AWS}/host1")


EC2 = {"enable": True, "role": None}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": ""}, "$.name"),
        ({"region": "tokyo"}, "region: the name of a region"),
        ({"roleArn": None}, "roleArn, externalId: give"),
        ({"roleArn": "arn:aws:iam::123456789012:role/Other"}, "roleArn: the ARN of a role, whose name begins with"),
        ({"externalId": "x" * 32}, "externalId: not one of yours"),
        ({"key": "AKIA", "secretKey": "hush"}, "key: access keys of users are not kept"),
        ({"includedTags": "a"}, "includedTags: tags are written key:value"),
        ({"excludedTags": "a:b c:d"}, "excludedTags: tags are written"),
        ({"budgetDollars": -1}, "$.budgetDollars"),
        ({"services": {"Redshift": EC2}}, "services.Redshift: not collected here; these are: ALB, DynamoDB, EC2"),
        ({"services": {"EC2": {**EC2, "role": "web"}}}, "services.EC2.role: a role is written"),
        ({"services": {"SQS": {**EC2, "retireAutomatically": True}}}, "services.SQS.retireAutomatically: only of EC2"),
        (
            {"services": {"EC2": {**EC2, "excludedMetrics": ["ec2.cpu"]}}},
            "services.EC2.excludedMetrics: 'ec2.cpu' is no metric of EC2",
        ),
        (
            {"services": {"EC2": {**EC2, "excludedMetrics": ["ec2.cpu.used"], "includedMetrics": ["ec2.cpu.used"]}}},
            "services: includedMetrics and excludedMetrics exclude each other",
        ),
        ({"services": []}, "$.services"),
    ],
)
def test_what_can_not_be_kept_is_refused_by_the_name_of_its_field(system, form, change, told):
    message = system.refused(400, "POST", AWS, {**form, **change})
    assert told in message and "hush" not in message
    assert system.ok("GET", AWS) == {"aws_integrations": []}


def test_services_that_are_not_collected_may_be_there_if_they_are_off(system, form):
    services = {"Redshift": {"enable": False, "role": None, "includedMetrics": None, "excludedMetrics": None}}
    system.ok("POST", AWS, {**form, "services": services})


def test_names_are_taken_once_and_numbers_are_limited(system, form):
    system.ok("POST", AWS, form)
    assert "name: there is an integration 'shop'" in system.refused(400, "POST", AWS, form)
    for number in range(1, CLOUD_INTEGRATIONS_PER_TENANT_MAX):
        system.ok("POST", AWS, {**form, "name": f"n{number}"})
    assert "which is the limit" in system.refused(400, "POST", AWS, {**form, "name": "one too many"})


def test_an_external_id_is_its_tenants_alone_and_unused_ones_are_forgotten(system, form):
    assert "not one of yours" in system.refused(400, "POST", AWS, form, key="key-b")
    system.ok("POST", AWS, form)
    first = external_id(system)
    later = [external_id(system) for _ in range(EXTERNAL_IDS_PER_TENANT_MAX)]
    assert not integrations.is_issued(system.store, "a", first)
    assert all(integrations.is_issued(system.store, "a", each) for each in [form["externalId"], *later])
    assert re.fullmatch(r"[0-9a-f]{32}", first)


def test_the_secret_of_azure_is_written_and_never_read(system):
    made = system.ok("POST", AZURE, AZURE_FORM)
    assert "clientSecret" not in made and system.secrets.texts == {"a/host1": AZURE_FORM["clientSecret"]}
    system.ok("PUT", f"{AZURE}/host1", {**{k: v for k, v in AZURE_FORM.items() if k != "clientSecret"}, "memo": "m"})
    assert system.secrets.texts["a/host1"] == AZURE_FORM["clientSecret"]
    system.ok("PUT", f"{AZURE}/host1", {**AZURE_FORM, "clientSecret": "new"})
    assert system.secrets.texts["a/host1"] == "new"
    everything = (
        str(system.store.table) + str(system.ok("GET", AZURE)) + str(system.ok("GET", "/carbyne/v1/integrations"))
    )
    assert AZURE_FORM["clientSecret"] not in everything and "new" not in everything
    system.ok("DELETE", f"{AZURE}/host1")
    assert system.secrets.texts == {}


def test_azure_needs_a_secret_at_first_and_ids_in_their_form(system):
    without = {name: value for name, value in AZURE_FORM.items() if name != "clientSecret"}
    assert "clientSecret: give" in system.refused(400, "POST", AZURE, without)
    assert "$.tenantId" in system.refused(400, "POST", AZURE, {**AZURE_FORM, "tenantId": "me/../you"})
    assert "services.VM: not collected" in system.refused(400, "POST", AZURE, {**AZURE_FORM, "services": {"VM": EC2}})
    assert system.secrets.texts == {}


def test_metrics_that_can_be_excluded_are_mackerels(system):
    named = system.ok("GET", f"{AWS}-excludable-metrics")
    assert list(named) == list(cloud_metrics.AWS)
    assert {service: len(names) for service, names in named.items()} == {
        "ALB": 34,
        "DynamoDB": 30,
        "EC2": 22,
        "ElastiCache": 179,
        "Lambda": 30,
        "RDS": 75,
        "S3": 22,
        "SQS": 11,
    }
    assert {"ec2.cpu.used", "ec2.network.in", "alb.request.count", "rds.cpu.used"} <= {
        name for names in named.values() for name in names
    }
    assert (
        "rds.aurora.row_lock_time.row_lock" in named["RDS"]
        and "elasticache.redis.commands.get_type" in named["ElastiCache"]
    )


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("", []),
        ("service:foo, service:bar", [("service", "foo"), ("service", "bar")]),
        ("\"service:role\": 'foo,bar'", [("service:role", "foo,bar")]),
        ('a b:c d,e:""', [("a b", "c d"), ("e", "")]),
    ],
)
def test_tags_are_written_as_at_mackerel(text, parsed):
    assert tags.parse("includedTags", text) == parsed


def test_one_included_tag_chooses_a_resource_and_one_excluded_tag_leaves_it_out():
    included, excluded = [("a", "1"), ("b", "2")], [("c", "3")]
    assert [tags.is_chosen(of, included, excluded) for of in ({"a": "1"}, {"b": "2", "c": "4"}, {"a": "2"})] == [
        1,
        1,
        0,
    ]
    assert not tags.is_chosen({"a": "1", "c": "3"}, included, excluded) and tags.is_chosen({}, [], excluded)
    assert list(tags.roles({"mackerel-integration": "shop:web / shop:db"})) == ["shop:web", "shop:db"]
