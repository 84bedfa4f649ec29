"""Integrations of Azure over a stub of its API, which every request must fit byte by byte."""

import pytest
from carbyne.clouds.azure import AzureCloud, HttpAnswer
from carbyne.clouds.collector import Collector
from carbyne.core.errors import RetryableError
from carbyne.registry.integrations import CloudJob, secret_name

from tests.support.clouds import AZURE_FORM, UUIDS, AzureStub, samples_of
from tests.support.registry_system import NOW_S, System

TENANT, CLIENT, SUBSCRIPTION = UUIDS
GROUP = f"https://management.azure.com/subscriptions/{SUBSCRIPTION}"
MACHINE = f"{GROUP}/resourceGroups/shop/providers/Microsoft.Compute/virtualMachines/web%201"
DATABASE = f"{GROUP}/resourceGroups/shop/providers/Microsoft.Sql/servers/s/databases/orders"
SPAN = "timespan=2023-11-14T21:51:00Z/2023-11-14T22:11:00Z&interval=PT1M"
"""NOW_S is 2023-11-14T22:13:20Z: twenty minutes up to two minutes ago."""
LOG_IN = f"""POST https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token
Content-Type: application/x-www-form-urlencoded
Accept: application/json

client_id={CLIENT}&scope=https%3A%2F%2Fmanagement.azure.com%2F.default&client_secret=s%2Bcr3t%2F~\
&grant_type=client_credentials"""
GETS = [
    f"{GROUP}/providers/Microsoft.Compute/virtualMachines?api-version=2024-07-01",
    f"{GROUP}/resources?$filter=resourceType%20eq%20%27Microsoft.Sql/servers/databases%27&api-version=2021-04-01",
    f"{MACHINE}/providers/Microsoft.Insights/metricDefinitions?api-version=2023-10-01",
    f"{DATABASE}/providers/Microsoft.Insights/metricDefinitions?api-version=2023-10-01",
    f"{MACHINE}/providers/Microsoft.Insights/metrics?{SPAN}&metricnames=Percentage%20CPU,Network%20In%20Total"
    "&aggregation=Average,Total&api-version=2023-10-01",
    f"{DATABASE}/providers/Microsoft.Insights/metrics?{SPAN}&metricnames=cpu_percent,storage"
    "&aggregation=Average,Maximum&api-version=2023-10-01",
]


class Runs:
    """A tenant with an integration of both services."""

    def __init__(self, **changes):
        self.system, self.stub = System(), AzureStub(SUBSCRIPTION, NOW_S)
        self.id = self.system.ok("POST", "/carbyne/v1/azure-integrations", {**AZURE_FORM, **changes})["id"]

    def run(self, fetch=None):
        collector = Collector(self.system.registry, lambda tenant, settings: self._cloud(tenant, settings, fetch))
        return collector.run(CloudJob("a", "azure", self.id, self.system.now_s // 60), lambda: 60.0)

    def state(self):
        [state] = self.system.ok("GET", "/carbyne/v1/integrations")["integrations"]
        return state

    def samples(self):
        return {(ts_ms, name): value for (_, ts_ms, name), value in samples_of(self.system).items()}

    def _cloud(self, tenant, settings, fetch):
        secret = self.system.secrets.get(secret_name(tenant, settings.id))
        return AzureCloud(settings, secret, fetch or self.stub.fetch)


def test_requests_are_as_microsoft_documents_them_to_the_byte():
    runs = Runs()
    assert runs.run()
    headers = "Authorization: Bearer t0ken\nAccept: application/json\n\n"
    assert runs.stub.requests[0] == LOG_IN
    assert sorted(runs.stub.requests[1:]) == sorted(f"GET {url}\n{headers}" for url in GETS)


def test_machines_and_databases_are_hosts_with_samples_under_mackerels_names():
    runs = Runs()
    runs.run()
    hosts = {host["customIdentifier"]: host for host in runs.system.ok("GET", "/api/v0/hosts")["hosts"]}
    machine, database = hosts["5f3b.virtual_machine.azure.microsoft.com"], hosts[runs.stub.database]
    assert (machine["name"], machine["roles"], database["name"]) == ("web 1", {"shop": ["vm"]}, "s/orders")
    first_ms, second_ms = ((NOW_S // 60 - back) * 60_000 for back in (5, 4))
    assert runs.samples() == {
        (first_ms, "azure.virtual_machine.cpu.percent"): 12.5,
        (second_ms, "azure.virtual_machine.cpu.percent"): 13.0,
        (first_ms, "azure.virtual_machine.network_total.in"): 100.0,
        (second_ms, "azure.virtual_machine.network_total.in"): 101.0,
        (first_ms, "azure.sql_database.cpu.percent"): 12.5,
        (second_ms, "azure.sql_database.cpu.percent"): 13.0,
        (first_ms, "azure.sql_database.storage.used"): 7.0,
        (second_ms, "azure.sql_database.storage.used"): 8.0,
    }
    state = runs.state()
    assert (state["metrics"], state["hosts"], state["dollarsAMonth"]) == (4, 2, round(2 * 0.00001 * 8_928, 4))


def test_tags_and_metrics_are_chosen_as_of_aws():
    services = {
        "VirtualMachine": {"enable": True, "role": None, "includedMetrics": ["azure.virtual_machine.cpu.percent"]}
    }
    runs = Runs(includedTags="env:live", services=services)
    runs.run()
    assert runs.stub.requests[-1].count("metricnames=Percentage%20CPU&") == 1 and runs.state()["hosts"] == 1
    runs = Runs(excludedTags="env:live")
    runs.run()
    assert list({name.split(".")[1] for _, name in runs.samples()}) == ["sql_database"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"log_in": 401},
            "the service principal can't log in: 401 invalid_client AADSTS7000215: Invalid client secret.",
        ),
        ({"status": 403}, "Azure refuses: 403 AuthorizationFailed The client does not have authorization"),
        ({"status": 429}, "Azure answers 429"),
        ({"status": 503}, "Azure answers 503"),
        ({"next_link": "https://evil.example/more"}, "a list of Azure goes on at another host, evil.example"),
    ],
)
def test_refusals_are_told_without_the_secret_and_read_by_a_later_run(change, told):
    runs = Runs()
    vars(runs.stub).update(change)
    assert runs.run()
    assert told in runs.state()["message"] and runs.samples() == {}
    assert AZURE_FORM["clientSecret"] not in str(runs.system.store.table) + runs.state()["message"]
    assert not any("evil" in request for request in runs.stub.requests)
    vars(runs.stub).update(log_in=200, status=200, next_link="")
    runs.system.now_s += 300
    runs.stub.now_s += 300
    runs.run()
    assert runs.samples()


def test_a_list_goes_on_at_its_link():
    runs = Runs()
    runs.stub.next_link = f"{GROUP}/resources?$skiptoken=2"
    runs.run()
    assert f"GET {GROUP}/resources?$skiptoken=2" in runs.stub.requests[2].split("\n")[0]


def test_an_id_that_is_no_path_of_the_api_is_refused_before_the_token_goes_there():
    runs = Runs()
    runs.stub.machine = "@evil.example/x"
    assert runs.run() and "has the id '@evil.example/x'" in runs.state()["message"]
    assert not any("evil" in request for request in runs.stub.requests)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html>", "200 without JSON"),
        (b"[]", "200 without JSON"),
        (b"{}", "lacks access_token"),
        (b'{"access_token": 1}', "lacks access_token"),
    ],
)
def test_an_answer_of_another_form_is_a_refusal(body, told):
    runs = Runs()
    assert runs.run(lambda _: HttpAnswer(200, body))
    assert told in runs.state()["message"]


def test_a_point_without_a_time_is_a_refusal_and_an_api_that_is_away_is_asked_later():
    runs = Runs()
    stub = runs.stub

    def broken(call):
        answer = stub.fetch(call)
        return answer._replace(body=answer.body.replace(b"2023-11-14T", b"yesterday "))

    assert runs.run(broken) and "has the time" in runs.state()["message"]

    def away(_):
        raise RetryableError("no answer of login.microsoftonline.com: timed out")

    runs.system.now_s += 300
    assert runs.run(away) and "no answer of login" in runs.state()["message"]


def test_a_resource_has_as_many_calls_as_its_metrics_need(monkeypatch):
    monkeypatch.setattr("carbyne.clouds.azure.AZURE_METRICS_PER_CALL_MAX", 1)
    runs = Runs()
    runs.run()
    assert runs.state()["dollarsAMonth"] == round(4 * 0.00001 * 8_928, 4)
    assert sum("/metrics?" in request for request in runs.stub.requests) == 4


def test_no_host_of_azure_is_retired():
    assert AzureCloud(None, "", None).gone(["x"]) == set()
