"""What the operator's commands work with: AWS clients, names of tables, the time, new keys, and where to write."""

import os
import secrets
import sys
import time
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from rich.console import Console
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from carbyne.core.errors import RequestError, RetryableError
from carbyne.wiring import operator

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from carbyne.tenants.admin import Tenancies

    Groups = _SubParsersAction[ArgumentParser]


ANSWER_S: Final = 35
"""How long an answer over HTTP may take: API Gateway ends after 30."""


class Desk:
    """The real one; tests replace its methods."""

    def say(self, line: str) -> None:
        """What a script may want to read."""
        self.end_progress()
        sys.stdout.write(f"{line}\n")

    def say_rows(self, titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table: for a script one row a line, separated by tabs; on a terminal in columns with titles."""
        if not sys.stdout.isatty():
            for row in rows:
                self.say("\t".join(row))
            return
        first, *others = titles
        columns = [Column(first, no_wrap=True), *(Column(title, overflow="fold") for title in others)]  # ids stay whole
        table = Table(*columns, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*map(Text, row))  # a Text has no markup: names come from outside
        self.end_progress()
        Console(force_terminal=True).print(table)

    def remark(self, line: str) -> None:
        """What only people want to read."""
        self.end_progress()
        sys.stderr.write(f"{line}\n")

    def is_terminal(self) -> bool:
        """Whether a person reads stdout, and may see colours."""
        return sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def progress(self, line: str) -> None:
        """How far a long command is: on a terminal in the place of the line before, else a remark."""
        if not self._progress.console.is_terminal or self._progress.console.is_dumb_terminal:
            return self.remark(line)
        self._progress.start()
        return self._progress.update(Text(line), refresh=True)

    def end_progress(self) -> None:
        """Take the line of progress off the terminal, and give the cursor back."""
        self._progress.stop()

    @cached_property
    def _progress(self) -> Live:
        # Without a redirection, which would send what is said on stdout to the terminal of stderr.
        console = Console(stderr=True, force_terminal=sys.stderr.isatty())
        return Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False)

    def agrees(self, question: str) -> bool:
        """Whether the operator says yes; RequestError without a terminal."""
        if not sys.stdin.isatty():
            raise RequestError(400, "this needs a confirmation and there is no terminal: give --yes")
        self.end_progress()
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def now_s(self) -> int:
        return int(time.time())

    def new_key(self) -> str:
        """An API key: 256 random bits behind a prefix by which scanners for lost secrets can know it."""
        return f"cb_{secrets.token_urlsafe(32)}"

    def post_form(self, url: str, headers: Mapping[str, str], form: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer to a form; errors as of ``ask``."""
        return self.ask("POST", url, headers, urlencode(form).encode())

    def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of an answer; RequestError for a URL of another kind, RetryableError without an answer."""
        if not url.startswith(("http://", "https://")):
            raise RequestError(400, f"a URL begins with http:// or https://; got {url[:100]!r}")
        request = Request(url, body, dict(headers), method=method)  # noqa: S310 - checked above
        try:
            with urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
                return answer.status, answer.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError as error:
            raise RetryableError(f"{url} does not answer: {error}") from None

    def client(self, service: str) -> Any:  # noqa: ANN401 - boto3's types have no name for any client
        return operator.client(service)

    def dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self.client("dynamodb")
        return client

    def table(self, arguments: Namespace, output: str, option: str) -> str:
        """The name of a table, bucket or stream: of its option, or of the stack's output.  RequestError if neither
        tells."""
        return self._named(arguments, "Output", output, option)

    def parameter(self, arguments: Namespace, parameter: str, option: str) -> str:
        """The same of a parameter of the stack."""
        return self._named(arguments, "Parameter", parameter, option)

    def _named(self, arguments: Namespace, kind: str, name: str, option: str) -> str:
        if named := getattr(arguments, option):
            return str(named)
        if not arguments.stack:
            raise RequestError(400, f"which deployment? give --stack, or --{option.replace('_', '-')}")
        entries = operator.stack(self.client("cloudformation"), arguments.stack).get(f"{kind}s", [])
        values = {entry[f"{kind}Key"]: str(entry[f"{kind}Value"]) for entry in entries}
        if name not in values:
            raise RequestError(404, f"the stack {arguments.stack} has no {kind.lower()} {name}")
        return values[name]


def accounts_table(desk: Desk, arguments: Namespace) -> str:
    """The table of tenants and keys, for commands whose parser has ``add_deployment``'s options."""
    return desk.table(arguments, "AccountsTableName", "accounts_table")


def tenants_of(desk: Desk, arguments: Namespace) -> "Tenancies":
    """Tenants and API keys in that table."""
    return operator.tenants(desk.dynamodb(), accounts_table(desk, arguments))


def add_deployment(parser: ArgumentParser, *options: str) -> None:
    """``--stack`` and, for each name like ``accounts_table``, an option that overrides what the stack says."""
    parser.add_argument(
        "--stack", metavar="NAME", help="the CloudFormation stack whose outputs name tables and buckets"
    )
    for option in options:
        flag = f"--{option.replace('_', '-')}"
        parser.add_argument(flag, metavar="NAME", help=f"this {option.replace('_', ' ')} instead of the stack's")
