"""``carbyne rules``: checks rule files of Prometheus, and loads them into a running Carbyne."""

import json
import os
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import yaml

from carbyne.core.errors import RequestError, RetryableError
from carbyne.rules import files
from carbyne.rules.forms import RuleGroups

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from carbyne.cli.desk import Desk, Groups


def add(groups: "Groups") -> None:
    """``rules check``, ``load``, ``list``, ``show`` and ``delete``."""
    group = groups.add_parser("rules", help="check and load rule files of Prometheus", description=__doc__)
    commands = group.add_subparsers(title="commands", dest="command", required=True)
    checking = commands.add_parser("check", help="check files without loading them")
    checking.add_argument("file", nargs="+", help="a rule file in YAML")
    checking.set_defaults(run=check)
    loading = commands.add_parser("load", help="make or replace a rule file")
    loading.add_argument("file", help="a rule file in YAML")
    loading.add_argument("--name", default="", help="its name there; without it that of the file")
    loading.set_defaults(run=load)
    listing = commands.add_parser("list", help="all rule files, one a line: name, groups, rules, last change")
    listing.set_defaults(run=list_all)
    showing = commands.add_parser("show", help="a rule file as YAML")
    showing.set_defaults(run=show)
    deleting = commands.add_parser("delete", help="delete a rule file")
    deleting.set_defaults(run=delete)
    for command in (showing, deleting):
        command.add_argument("name", help="of the file")
    for command in (loading, listing, showing, deleting):
        _add_door(command)


def check(arguments: Namespace, desk: "Desk") -> None:
    """RequestError for the first file that is refused."""
    for file in arguments.file:
        checked = _checked(file, desk)
        desk.say(f"{file}: {_numbers(checked)}")


def load(arguments: Namespace, desk: "Desk") -> None:
    """RequestError if the file, or the server, refuses."""
    _checked(arguments.file, desk)
    name = arguments.name or Path(arguments.file).name
    loaded = _ask(arguments, desk, "PUT", name, Path(arguments.file).read_bytes())
    desk.say(f"{loaded['name']}: {loaded['groups']} groups, {loaded['rules']} rules")


def list_all(arguments: Namespace, desk: "Desk") -> None:
    """What the server has."""
    rows = [
        (each["name"], str(each["groups"]), str(each["rules"]), each["changedAt"])
        for each in _ask(arguments, desk, "GET")["files"]
    ]
    desk.say_rows(("name", "groups", "rules", "changed"), rows)


def show(arguments: Namespace, desk: "Desk") -> None:
    """RequestError 404 for an unknown name."""
    kept = _ask(arguments, desk, "GET", arguments.name)
    desk.say(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=100).rstrip("\n"))


def delete(arguments: Namespace, desk: "Desk") -> None:
    """RequestError 404 for an unknown name."""
    _ask(arguments, desk, "DELETE", arguments.name)
    desk.say(f"{arguments.name} is deleted")


def _add_door(command: "ArgumentParser") -> None:
    command.add_argument("--url", default=os.environ.get("CARBYNE_URL", "http://127.0.0.1:8080"), help="CARBYNE_URL")
    command.add_argument("--key", default=os.environ.get("CARBYNE_API_KEY", ""), help="CARBYNE_API_KEY")


def _checked(file: str, desk: "Desk") -> RuleGroups:
    try:
        body = Path(file).read_bytes()
    except OSError as error:
        raise RequestError(400, f"{file} can't be read: {error.strerror}") from None
    checked = files.read(body, file)
    for remark in (remark for group in checked.groups for remark in group.remarks()):
        desk.remark(f"{file}: {remark}")
    return checked


def _numbers(checked: RuleGroups) -> str:
    return f"{len(checked.groups)} groups, {sum(len(group.rules) for group in checked.groups)} rules"


def _ask(arguments: Namespace, desk: "Desk", method: str, name: str = "", body: bytes | None = None) -> Any:  # noqa: ANN401
    path = f"/carbyne/v1/rules/{quote(name, safe='')}" if name else "/carbyne/v1/rules"
    headers = {"X-Api-Key": arguments.key, "Content-Type": "application/yaml"}
    status, answer = desk.ask(method, f"{arguments.url}{path}", headers, body)
    try:
        answered = json.loads(answer)
    except ValueError:
        raise RetryableError(f"{arguments.url} answered {status}, and no JSON: is it Carbyne's URL?") from None
    if status != 200:
        raise RequestError(status, str(answered.get("error", {}).get("message", answered)))
    return answered
