"""``carbyne tenants``: who may keep samples here, and how many."""

from argparse import ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from carbyne.cli.desk import Desk, add_deployment, tenants_of
from carbyne.core import names
from carbyne.core.errors import RequestError
from carbyne.core.limits import BODY_BYTES_MAX, TENANT_CACHE_S
from carbyne.tenants.usage import LIMITS, PAIR_LABELS

if TYPE_CHECKING:
    from carbyne.cli.desk import Groups


def add(groups: "Groups") -> None:
    """``tenants create``, ``tenants list``, ``tenants limits`` and ``tenants pairs``."""
    group = groups.add_parser("tenants", help="make and list tenants, and set their limits", description=__doc__)
    commands = group.add_subparsers(title="commands", dest="command", required=True)

    making = commands.add_parser("create", help="make a tenant, which then needs a key")
    making.add_argument("--tenant", required=True, help="its name, which never changes")
    making.set_defaults(run=create)

    listing = commands.add_parser("list", help="all tenants, one a line")
    listing.set_defaults(run=list_all)

    bounding = commands.add_parser(
        "limits",
        help="show a tenant's limits and what it uses, or change them",
        description=f"A change holds within {TENANT_CACHE_S} seconds. Prints limit, its value, and what is used.",
    )
    bounding.add_argument("--tenant", required=True, help="whose limits")
    for name in LIMITS:
        bounding.add_argument(f"--{_option(name)}", type=_limit, metavar="N", help="a number, or: default")
    bounding.set_defaults(run=limits)

    pairing = commands.add_parser(
        "pairs",
        help="name the labels by which replicas of a Prometheus are told apart",
        description=f"A change holds within {TENANT_CACHE_S} seconds.",
    )
    pairing.add_argument("--tenant", required=True, help="whose labels")
    for flag, name in zip(("--cluster-label", "--replica-label"), PAIR_LABELS, strict=True):
        pairing.add_argument(flag, default=name, metavar="NAME", help="default: %(default)s")
    pairing.set_defaults(run=pairs)

    for command in (making, listing, bounding, pairing):
        add_deployment(command, "accounts_table")


def create(arguments: Namespace, desk: Desk) -> None:
    """RequestError for a malformed name, or one that is taken."""
    tenant = names.tenant(arguments.tenant)
    if tenant == names.OPERATOR:
        raise RequestError(400, f"{tenant} is the system's own tenant, made by its monitor; next: carbyne keys create")
    if not tenants_of(desk, arguments).add(tenant):
        raise RequestError(400, f"the tenant {tenant} exists")
    desk.remark(f"made; next: carbyne keys create --tenant {tenant} --name <what for>")


def list_all(arguments: Namespace, desk: Desk) -> None:
    for tenant in tenants_of(desk, arguments).all():
        desk.say(tenant)


def limits(arguments: Namespace, desk: Desk) -> None:
    """RequestError for an unknown tenant, or a body that no function could take."""
    tenants, tenant = tenants_of(desk, arguments), arguments.tenant
    asked = {name: getattr(arguments, name) for name in LIMITS if getattr(arguments, name) is not None}
    if asked.get("body_bytes", 0) > BODY_BYTES_MAX:
        raise RequestError(400, f"no body can have more than {BODY_BYTES_MAX} bytes")
    changed = {name: limit or None for name, limit in asked.items()}
    if changed and not tenants.set_limits(tenant, changed):
        raise _unknown(tenant)
    standing = tenants.standing_of(tenant)
    if standing is None:
        raise _unknown(tenant)
    now_s = desk.now_s()
    used = {"samples_per_minute": standing.samples_at(now_s), "active_series": standing.series_at(now_s)}
    rows = [(_option(name), str(getattr(standing.limits, name)), str(used.get(name, "-"))) for name in LIMITS]
    desk.say_rows(("limit", "value", "used"), rows)


def pairs(arguments: Namespace, desk: Desk) -> None:
    """RequestError for an unknown tenant, or a label without a name."""
    names_given = arguments.cluster_label, arguments.replica_label
    if not all(names_given):
        raise RequestError(400, "a label needs a name")
    if not tenants_of(desk, arguments).set_pair_labels(arguments.tenant, names_given):
        raise _unknown(arguments.tenant)


def _unknown(tenant: str) -> RequestError:
    return RequestError(404, f"the tenant {tenant} is unknown; carbyne tenants list shows them")


def _option(name: str) -> str:
    return name.replace("_", "-")


def _limit(text: str) -> int:
    """A positive number; 0 for the default."""
    if text == "default":
        return 0
    if not text.isdecimal() or not 0 < int(text) < 10**15:
        raise ArgumentTypeError(f"a limit is a positive number or the word default; got {text!r}")
    return int(text)
