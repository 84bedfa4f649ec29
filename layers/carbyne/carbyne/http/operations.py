"""What the description of the API says of each route beside its method and path, by the function that answers it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple

from msgspec import Meta

from carbyne.http import answers
from carbyne.http.message import SKIPPED_HEADER, TIME_S_MAX
from carbyne.intake import mackerel
from carbyne.intake.writer import Writer
from carbyne.read import mackerel as reads
from carbyne.read.mackerel import RESOLUTION_HEADER, WARNINGS_HEADER
from carbyne.registry import api, graphs, hosts


class Parameter(NamedTuple):
    """Of the query.  ``kind``: its type, in a list if it may come more than once."""

    name: str
    kind: Any
    about: str
    required: bool = False


class Operation(NamedTuple):
    """``answer`` and ``body``: types; ``headers`` of the answer: name -> what it says; ``unknown``: what 404 means."""

    summary: str
    answer: Any
    body: Any = None
    query: Sequence[Parameter] = ()
    headers: Mapping[str, str] = {}
    unknown: str = ""


Text = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[int, Meta(ge=-TIME_S_MAX, le=TIME_S_MAX)]

SPAN: Final = (
    Parameter("from", Seconds, "Seconds since 1970", required=True),
    Parameter("to", Seconds, "Seconds since 1970, not before `from`", required=True),
)
PARTIAL: Final = Parameter("partial", Literal["true", "false"], "true: answer with what there is where it would be 503")
READ: Final = (
    Parameter("name", Text, "Of the metric", required=True),
    *SPAN,
    Parameter("resolution", Literal["raw", "5m", "1h", "1d"], "Without it, what suits the span"),
    Parameter("agg", Literal["avg", "min", "max", "sum", "count"], "Of a bucket; not with resolution=raw"),
    PARTIAL,
)
SKIPPED: Final = {SKIPPED_HEADER: "`<reason>=<number>`, comma separated, if parts of the body were skipped"}
WARNINGS: Final = {WARNINGS_HEADER: "What is missing in the answer; only with partial=true"}
READ_HEADERS: Final = {**WARNINGS, RESOLUTION_HEADER: "Resolution of the answer: raw, 5m, 1h or 1d"}
MODIFIED: Final = {"Last-Modified": "When the document was put"}
HOST: Final = "The host is unknown"
SERVICE: Final = "The service is unknown"
ROLE: Final = "The service or role is unknown"
OWNER: Final = "The host, service, role or namespace is unknown"

OPERATIONS: Final[Mapping[Callable[..., object], Operation]] = {
    Writer.post_of_hosts: Operation("Store samples of hosts", answers.Success, list[mackerel.Sample], headers=SKIPPED),
    Writer.post_of_service: Operation(
        "Store samples of a service", answers.Success, list[mackerel.SampleOfService], headers=SKIPPED
    ),
    Writer.delete: Operation(
        "Delete what was posted before of a source",
        answers.Success,
        query=(
            Parameter("source", Text, "`host/<id>` or `service/<name>`", required=True),
            Parameter("name", Text, "Of the metric; without it all of the source's"),
            Parameter("from", Seconds, "Seconds since 1970; without `from` and `to` all that there is"),
            Parameter("to", Seconds, "Seconds since 1970, not before `from`, and included"),
        ),
    ),
    reads.host_metrics: Operation(
        "Samples of one metric of a host",
        answers.Points,
        query=READ,
        headers=READ_HEADERS,
        unknown="The host never had this metric",
    ),
    reads.service_metrics: Operation(
        "Samples of one metric of a service",
        answers.Points,
        query=READ,
        headers=READ_HEADERS,
        unknown="The service never had this metric",
    ),
    reads.host_metric_names: Operation("Metrics of a host", answers.Names),
    reads.service_metric_names: Operation("Metrics of a service", answers.Names),
    reads.latest: Operation(
        "The newest sample of each of several metrics of several hosts",
        answers.Latest,
        query=(
            Parameter("hostId", Annotated[list[Text], Meta(min_length=1)], "Hosts", required=True),
            Parameter("name", Annotated[list[Text], Meta(min_length=1)], "Metrics", required=True),
            PARTIAL,
        ),
        headers=WARNINGS,
    ),
    reads.storage: Operation(
        "Where the samples of a source lie",
        list[answers.Stored],
        query=(Parameter("source", Text, "As `host/<id>` or `service/<name>`", required=True), *SPAN),
    ),
    api.description: Operation("This description", dict[str, Any]),
    api.org: Operation("The tenant of the API key", answers.Org),
    api.post_host: Operation("Register a host", answers.Id, hosts.HostForm),
    api.get_hosts: Operation(
        "Find hosts",
        answers.Hosts,
        query=(
            Parameter("service", str, "Hosts of this service"),
            Parameter("role", list[str], "Hosts of any of these roles of the service"),
            Parameter("name", str, "Hosts of this name"),
            Parameter("status", list[hosts.Status], "Of any of these; without it working and standby"),
            Parameter("customIdentifier", str, "The host of this identifier"),
        ),
    ),
    api.get_host: Operation("A host, live or retired", answers.OneHost, unknown=HOST),
    api.put_host: Operation("Change a host", answers.Id, hosts.HostForm, unknown=HOST),
    api.post_status: Operation("Set the status of a host", answers.Success, api.StatusForm, unknown=HOST),
    api.put_roles: Operation("Give a host these roles and no others", answers.Success, api.RolesForm, unknown=HOST),
    api.post_retire: Operation("Retire a host; the body is not looked at", answers.Success, Any, unknown=HOST),
    api.delete_host: Operation(
        "Remove a host, live or retired, with all of its samples, checks and metadata", answers.Success, unknown=HOST
    ),
    api.get_states: Operation("The latest states of a host's checks", answers.CheckStates, unknown=HOST),
    api.post_statuses: Operation(
        "Set the status of several hosts", answers.Success, api.StatusesForm, unknown="One of the hosts is unknown"
    ),
    api.post_retirements: Operation(
        "Retire several hosts", answers.Success, api.IdsForm, unknown="One of the hosts is unknown"
    ),
    api.get_host_by_custom_identifier: Operation(
        "The live host of a custom identifier, which may hold slashes",
        answers.OneHost,
        query=(Parameter("caseInsensitive", Literal["true", "false"], "Whether either case will do"),),
        unknown="No live host has this identifier",
    ),
    api.post_reports: Operation("Report states of checks", answers.Success, api.ReportsForm, headers=SKIPPED),
    api.post_graphs: Operation("Define graphs of custom metrics", answers.Success, list[graphs.Graph]),
    api.get_graphs: Operation("Graph definitions", answers.Graphs),
    api.delete_graph: Operation("Forget a graph definition", answers.Success, api.NameForm),
    api.get_services: Operation("Services", answers.Services),
    api.post_service: Operation("Make a service", answers.Service, api.NamedForm),
    api.delete_service: Operation("Delete a service, its roles and its metadata", answers.Service, unknown=SERVICE),
    api.get_roles: Operation("The roles of a service", answers.Roles, unknown=SERVICE),
    api.post_role: Operation("Make a role", answers.Role, api.NamedForm, unknown=SERVICE),
    api.delete_role: Operation("Delete a role and its metadata", answers.Role, unknown=ROLE),
    api.get_spaces: Operation("Namespaces of metadata", answers.Namespaces, unknown=OWNER),
    api.get_metadata: Operation("A metadata document, as it was put", Any, headers=MODIFIED, unknown=OWNER),
    api.put_metadata: Operation("Put a metadata document: any JSON", answers.Success, Any, unknown=OWNER),
    api.delete_metadata: Operation("Forget a metadata document", answers.Success, unknown=OWNER),
}
