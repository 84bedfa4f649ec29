"""The operator's commands on real tables: tenants and keys made, listed and revoked; what is kept of a key."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.stub import Stubber
from carbyne.adapters.dynamodb.accounts import DynamoAccounts, add_key
from carbyne.adapters.dynamodb.usage import DynamoUsage
from carbyne.cli import main
from carbyne.cli.desk import Desk
from carbyne.core.errors import RequestError
from carbyne.core.limits import TENANT_CACHE_S
from carbyne.tenants.accounts import BOTH, Accounts, Grant, Permission
from carbyne.tenants.months import MonthUse

from tests.support.stores import create_table

ROOT = Path(__file__).resolve().parents[2]
OLD_KEY = "made-before-there-were-permissions"


class TestDesk(Desk):
    """Writes into lists; keys are key-1, key-2, ...; the stack ``carbyne`` names the table."""

    __test__ = False

    def __init__(self, aws, table):
        self.aws, self.outputs = aws, {"AccountsTableName": table}
        self.said, self.remarks, self.made = [], [], 0

    def say(self, line):
        self.said.append(line)

    def remark(self, line):
        self.remarks.append(line)

    def now_s(self):
        return 1_700_000_000 + self.made

    def new_key(self):
        self.made += 1
        return f"key-{self.made}"

    def client(self, service):
        client = self.aws.client(service)
        if service == "cloudformation":
            stubber = Stubber(client)
            outputs = [{"OutputKey": key, "OutputValue": value} for key, value in self.outputs.items()]
            stack = {"StackName": "carbyne", "CreationTime": 0, "StackStatus": "UPDATE_COMPLETE", "Outputs": outputs}
            stubber.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": "carbyne"})
            stubber.activate()
        return client


@pytest.fixture
def table(aws):
    return create_table(aws.client("dynamodb"), "pk")


@pytest.fixture
def desk(aws, table):
    return TestDesk(aws, table)


@pytest.fixture
def run(desk, table):
    """Runs a command; what it said, or the last remark if it failed."""

    def run(command, status=0, where=None):
        desk.said.clear()
        assert main([*command.split(), *(where or ["--accounts-table", table])], desk) == status, desk.remarks
        return list(desk.said) if status == 0 else desk.remarks[-1]

    return run


@pytest.fixture
def store(aws, table):
    return DynamoAccounts(aws.client("dynamodb"), table)


def test_tenants(run):
    assert run("tenants list") == []
    for tenant in ("shop", "blog"):
        run(f"tenants create --tenant {tenant}")
    assert run("tenants list") == ["blog", "shop"]
    assert "exists" in run("tenants create --tenant shop", 1)
    assert "name of a tenant" in run("tenants create --tenant a:b", 1)


def test_limits_of_a_tenant(run, aws, table):
    run("tenants create --tenant shop")
    defaults = run("tenants limits --tenant shop")
    assert [line.split("\t")[::2] for line in defaults] == [
        ["samples-per-minute", "0"],
        ["active-series", "0"],
        ["body-bytes", "-"],
        ["old-windows-per-minute", "-"],
        ["deletes-per-minute", "-"],
        ["series-per-source", "-"],
    ]
    DynamoUsage(aws.client("dynamodb"), table).add("shop", {1_700_000_000 // 60: 40}, MonthUse(202_311, {}))
    assert run("tenants limits --tenant shop --samples-per-minute 500")[0] == "samples-per-minute\t500\t40"
    assert run("tenants limits --tenant shop --active-series 7")[:2] == [
        "samples-per-minute\t500\t40",
        "active-series\t7\t0",
    ]
    assert run("tenants limits --tenant shop --samples-per-minute default")[0] == defaults[0][:-1] + "40"


def test_limits_that_are_none(run):
    run("tenants create --tenant shop")
    assert run("tenants pairs --tenant shop --replica-label r") == []
    assert "tenant nobody is unknown" in run("tenants pairs --tenant nobody", 1)
    assert "a label needs a name" in run("tenants pairs --tenant shop --cluster-label=", 1)
    assert "tenant nobody is unknown" in run("tenants limits --tenant nobody", 1)
    assert "tenant nobody is unknown" in run("tenants limits --tenant nobody --active-series 1", 1)
    assert "more than 6291456 bytes" in run("tenants limits --tenant shop --body-bytes 7000000", 1)
    for bad in ("0", "-1", "x", "1.5", str(10**15)):
        with pytest.raises(SystemExit):
            run(f"tenants limits --tenant shop --active-series={bad}")


def test_a_key_may_do_what_it_was_made_for(run, store):
    run("tenants create --tenant shop")
    made = {
        "": BOTH,
        "--read": Permission.READ,
        "--write": Permission.WRITE,
        "--read --write": BOTH,
    }
    for options, permission in made.items():
        [api_key] = run(f"keys create --tenant shop --name agents {options}")
        assert store.grant_of(api_key) == Grant("shop", permission)
    assert store.grant_of("key-0") is None


def test_keys_are_listed_without_themselves(run, aws, table):
    run("tenants create --tenant shop")
    run("tenants create --tenant blog")
    [api_key] = run("keys create --tenant shop --name agents")
    run("keys create --tenant blog --name dashboard --read")
    add_key(aws.client("dynamodb"), table, "local", "shop")
    rows = [line.split("\t") for line in run("keys list")]
    assert [line[1:] for line in rows] == [
        ["shop", "read+write", "-", ""],
        ["shop", "read+write", "2023-11-14", "agents"],
        ["blog", "read", "2023-11-14", "dashboard"],
    ]
    assert all(re.fullmatch("[0-9a-f]{16}", line[0]) for line in rows)
    assert len(run("keys list --tenant blog")) == 1
    everything = json.dumps(aws.client("dynamodb").scan(TableName=table)["Items"])
    assert api_key not in everything
    assert "dashboard" in everything


def test_a_revoked_key_stops_within_its_time_and_others_go_on(run, store):
    clock = [1000.0]
    accounts = Accounts(store, lambda: clock[0])
    run("tenants create --tenant shop")
    [revoked], [other] = (run(f"keys create --tenant shop --name {name}") for name in ("one", "two"))
    for api_key in (revoked, other):
        assert accounts.tenant({"x-api-key": api_key}, BOTH) == "shop"
    [key_id] = [line.split("\t")[0] for line in run("keys list") if line.endswith("one")]
    run(f"keys revoke {key_id}")
    clock[0] += TENANT_CACHE_S
    with pytest.raises(RequestError):
        accounts.tenant({"x-api-key": revoked}, BOTH)
    assert accounts.tenant({"x-api-key": other}, BOTH) == "shop"
    assert [line.split("\t")[-1] for line in run("keys list")] == ["two"]
    assert "no key" in run(f"keys revoke {key_id}", 1)


def test_revoking_needs_a_whole_id(run):
    run("tenants create --tenant shop")
    run("keys create --tenant shop --name agents")
    [key_id] = [line.split("\t")[0] for line in run("keys list")]
    for bad in ("''", "x", key_id[:15], f"{key_id}0", "0" * 16, "key-1"):
        assert "no key has the id" in run(f"keys revoke {bad}", 1)
    assert len(run("keys list")) == 1


def test_keys_that_are_not_made(run):
    assert "tenant shop is unknown" in run("keys create --tenant shop --name agents", 1)
    run("tenants create --tenant shop")
    assert "printable" in run(f"keys create --tenant shop --name {'x' * 65}", 1)
    assert run("keys list") == []


def test_a_key_without_permissions_in_its_item_may_do_both(aws, table, store):
    add_key(aws.client("dynamodb"), table, OLD_KEY, "shop")
    [item] = aws.client("dynamodb").scan(TableName=table)["Items"]
    aws.client("dynamodb").put_item(TableName=table, Item={"pk": item["pk"], "tenant": item["tenant"]})
    assert store.grant_of(OLD_KEY) == Grant("shop", BOTH)


def test_tables_are_found_by_the_stack(run, desk):
    run("tenants create --tenant shop", where=["--stack", "carbyne"])
    assert run("tenants list") == ["shop"]
    desk.outputs = {"Url": "x"}
    assert "no output AccountsTableName" in run("tenants list", 1, where=["--stack", "carbyne"])
    assert "--stack" in run("tenants list", 1, where=["--accounts-table", ""])


def test_a_table_that_is_not_there_is_said_so(run):
    assert "ResourceNotFound" in run("tenants list", 1, where=["--accounts-table", "no-such-table"])


def carbyne(aws, *arguments):
    environment = {**aws.environment, "PYTHONPATH": str(ROOT / "layers/carbyne"), "PATH": ""}
    command = [sys.executable, "-m", "carbyne", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_as_a_command(aws, table):
    assert carbyne(aws, "tenants", "create", "--tenant", "shop", "--accounts-table", table).returncode == 0
    made = carbyne(aws, "keys", "create", "--tenant", "shop", "--name", "x", "--accounts-table", table)
    assert re.fullmatch(r"cb_[A-Za-z0-9_-]{43}\n", made.stdout), made.stderr
    wrong = carbyne(aws, "keys")
    assert (wrong.returncode, "create" in wrong.stderr) == (2, True)
