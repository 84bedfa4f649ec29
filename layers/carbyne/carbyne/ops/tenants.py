"""``carbyne tenants``: who may keep samples here."""

from argparse import Namespace
from typing import TYPE_CHECKING

from carbyne import names
from carbyne.adapters import accounts
from carbyne.errors import RequestError
from carbyne.ops.desk import Desk, accounts_table, add_deployment

if TYPE_CHECKING:
    from carbyne.ops.desk import Groups


def add(groups: "Groups") -> None:
    """``tenants create`` and ``tenants list``."""
    group = groups.add_parser("tenants", help="make and list tenants", description=__doc__)
    commands = group.add_subparsers(title="commands", dest="command", required=True)

    making = commands.add_parser("create", help="make a tenant, which then needs a key")
    making.add_argument("--tenant", required=True, help="its name, which never changes")
    making.set_defaults(run=create)

    listing = commands.add_parser("list", help="all tenants, one a line")
    listing.set_defaults(run=list_all)

    for command in (making, listing):
        add_deployment(command, "accounts_table")


def create(arguments: Namespace, desk: Desk) -> None:
    """RequestError for a malformed name, or one that is taken."""
    tenant = names.tenant(arguments.tenant)
    if not accounts.add_tenant(desk.dynamodb(), accounts_table(desk, arguments), tenant):
        raise RequestError(400, f"the tenant {tenant} exists")
    desk.remark(f"made; next: carbyne keys create --tenant {tenant} --name <what for>")


def list_all(arguments: Namespace, desk: Desk) -> None:
    for tenant in accounts.tenants(desk.dynamodb(), accounts_table(desk, arguments)):
        desk.say(tenant)
