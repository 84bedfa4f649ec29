"""``carbyne keys``: API keys of tenants.  A key is shown when it is made and never again: only its hash is stored."""

import re
from argparse import Namespace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from carbyne.cli.desk import Desk, add_deployment, tenants_of
from carbyne.core.errors import RequestError
from carbyne.core.limits import API_KEY_NAME_CHARACTERS_MAX, TENANT_CACHE_S
from carbyne.tenants.accounts import BOTH, Permission

if TYPE_CHECKING:
    from carbyne.cli.desk import Groups
    from carbyne.tenants.admin import ApiKey


def add(groups: "Groups") -> None:
    """``keys create``, ``keys list`` and ``keys revoke``."""
    group = groups.add_parser("keys", help="make, list and revoke API keys", description=__doc__)
    commands = group.add_subparsers(title="commands", dest="command", required=True)

    making = commands.add_parser(
        "create", help="make a key", description="The key goes to stdout, and nothing else does."
    )
    making.add_argument("--tenant", required=True, help="whose key it is")
    making.add_argument("--name", required=True, help="what it is for; shown in lists")
    making.add_argument("--read", action="store_true", help="it may read; without --read and --write it may do both")
    making.add_argument("--write", action="store_true", help="it may write; agents need both")
    making.set_defaults(run=create)

    listing = commands.add_parser("list", help="all keys: id, tenant, permission, when they were made, name")
    listing.add_argument("--tenant", help="only those of one tenant")
    listing.set_defaults(run=list_all)

    revoking = commands.add_parser("revoke", help=f"make a key stop, within {TENANT_CACHE_S} seconds")
    revoking.add_argument("id", help="as the list shows it")
    revoking.set_defaults(run=revoke)

    for command in (making, listing, revoking):
        add_deployment(command, "accounts_table")


def create(arguments: Namespace, desk: Desk) -> None:
    """RequestError for an unknown tenant, or a name that would spoil a list."""
    tenants = tenants_of(desk, arguments)
    if not arguments.name.isprintable() or not 0 < len(arguments.name) <= API_KEY_NAME_CHARACTERS_MAX:
        raise RequestError(400, f"a name has 1 to {API_KEY_NAME_CHARACTERS_MAX} printable characters")
    if not tenants.has(arguments.tenant):
        raise RequestError(404, f"the tenant {arguments.tenant} is unknown; make it with: carbyne tenants create")
    permission = _permission(arguments)
    api_key = desk.new_key()
    key_id = tenants.add_key(api_key, arguments.tenant, permission, arguments.name, desk.now_s())
    desk.say(api_key)
    desk.remark(f"made {key_id}; it may {_words(permission)}. It can't be shown again.")


def list_all(arguments: Namespace, desk: Desk) -> None:
    rows = [
        (key.key_id, key.tenant, _words(key.permission), _date(key), key.name)
        for key in tenants_of(desk, arguments).api_keys()
        if arguments.tenant in (None, key.tenant)
    ]
    desk.say_rows(("id", "tenant", "permission", "made", "name"), rows)


def revoke(arguments: Namespace, desk: Desk) -> None:
    """RequestError for an unknown id."""
    tenants = tenants_of(desk, arguments)
    keys = tenants.api_keys(arguments.id) if re.fullmatch("[0-9a-f]{16}", arguments.id) else []
    if not keys:
        raise RequestError(404, f"no key has the id {arguments.id}; carbyne keys list shows them")
    tenants.revoke(arguments.id)
    desk.remark(f"revoked {arguments.id} of {keys[0].tenant}; it is refused within {TENANT_CACHE_S} seconds")


def _permission(arguments: Namespace) -> Permission:
    asked = (Permission.READ if arguments.read else Permission(0)) | (
        Permission.WRITE if arguments.write else Permission(0)
    )
    return asked or BOTH


def _words(permission: Permission) -> str:
    return "+".join(flag.name.lower() for flag in Permission if flag in permission and flag.name)


def _date(key: "ApiKey") -> str:
    return datetime.fromtimestamp(key.created_s, UTC).strftime("%Y-%m-%d") if key.created_s else "-"
