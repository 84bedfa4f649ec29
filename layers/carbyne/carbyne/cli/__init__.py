"""The operator's commands: ``python -m carbyne <group> <command>``.

A group is a module with ``add(groups)``, which adds its parsers and sets ``run`` of each to a function of the parsed
arguments and the Desk.  A group of one command is that command.  What a script may want goes to stdout,
remarks and progress to stderr.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence

from carbyne.cli import keys, query, reconcile, redis, redrive, reindex, replay, rules, tenants
from carbyne.cli.desk import Desk
from carbyne.core.errors import CarbyneError
from carbyne.wiring.operator import ClientError

GROUPS = (tenants, keys, reconcile, reindex, replay, redrive, redis, query, rules)
DESCRIPTION = """Operator's commands of Carbyne.

Tables and buckets are found through the outputs of the stack (--stack carbyne), or named one by one.  Account,
region and endpoint come from the usual AWS_ variables and files."""


def main(arguments: Sequence[str], desk: Desk | None = None) -> int:
    """Run one command; its exit status: 0, 1 if it failed, 2 if it is not one."""
    parsed = parser().parse_args(arguments)
    desk = desk or Desk()
    try:
        parsed.run(parsed, desk)
    except (CarbyneError, ClientError) as error:
        desk.remark(f"carbyne: {error}")
        return 1
    finally:
        desk.end_progress()
    return 0


def parser() -> ArgumentParser:
    """Of all commands."""
    top = ArgumentParser("carbyne", description=DESCRIPTION, formatter_class=RawDescriptionHelpFormatter)
    groups = top.add_subparsers(title="groups", dest="group", required=True)
    for group in GROUPS:
        group.add(groups)
    return top
