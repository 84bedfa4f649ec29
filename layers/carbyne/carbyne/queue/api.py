"""The HTTP side of queues.

Functions of the stack call it by Invoke, with the event of an HTTP request and the tenant beside it: API Gateway makes
events with fields of its own choice alone, so no request from outside can have one.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta, Raw

from carbyne.core.errors import OverLimitError, RequestError
from carbyne.core.keys import QueueKey
from carbyne.core.limits import (
    DELAY_S_MAX,
    LEASE_S,
    LEASE_S_MAX,
    MESSAGE_BYTES_MAX,
    MESSAGE_KEY_CHARACTERS_MAX,
    MESSAGES_PER_CALL_MAX,
    TAKE_WAIT_S_MAX,
)
from carbyne.core.names import OVER_LIMIT_HEADER
from carbyne.http.answers import DONE, Success
from carbyne.http.forms import form
from carbyne.http.message import Request, Response, error_response
from carbyne.http.routes import Call, Parameter, Route, dispatch, invoked
from carbyne.queue.queues import NewMessage, Queues
from carbyne.queue.sweep import Sweep
from carbyne.tenants.accounts import BOTH, Accounts, Permission

PATH: Final = "/carbyne/v1/queues"
READY: Final = "ready"
"""Parameter: ``true`` for the queues that may have a message to take."""
Messages = Annotated[int, Meta(ge=1, le=MESSAGES_PER_CALL_MAX)]
LeaseSeconds = Annotated[int, Meta(ge=1, le=LEASE_S_MAX)]
Texts = Annotated[list[str], Meta(min_length=1, max_length=MESSAGES_PER_CALL_MAX)]


class PublishedMessage(msgspec.Struct, frozen=True):
    """``body``: any JSON; ``key``: it is published once within an hour; ``delay_s``: when it can be taken."""

    body: Raw
    key: Annotated[str, Meta(min_length=1, max_length=MESSAGE_KEY_CHARACTERS_MAX)] | None = None
    delay_s: Annotated[float, Meta(ge=0, le=DELAY_S_MAX)] = 0.0


class Publish(msgspec.Struct, frozen=True):
    """The body of a publish."""

    messages: Annotated[list[PublishedMessage], Meta(min_length=1, max_length=MESSAGES_PER_CALL_MAX)]


class Take(msgspec.Struct, frozen=True):
    """``max``: messages; ``wait_s``: how long to wait for the first one; ``lease_s``: how long they are the taker's."""

    max: Messages = 1
    wait_s: Annotated[float, Meta(ge=0, le=TAKE_WAIT_S_MAX)] = 0.0
    lease_s: LeaseSeconds = LEASE_S


class Leases(msgspec.Struct, frozen=True):
    """As takes gave them."""

    leases: Texts


class Extension(Leases, frozen=True):
    """``lease_s``: from now on."""

    lease_s: LeaseSeconds = LEASE_S


class DeadIds(msgspec.Struct, frozen=True):
    """Ids of dead letters."""

    ids: Texts


class QueueAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an answer about queues."""


class QueueNames(QueueAnswer, frozen=True):
    """The queues of a tenant."""

    queues: list[str]


class PublishedIds(QueueAnswer, frozen=True):
    """In the order of the messages; a key that was published before has the id of then."""

    ids: list[str]


class LeasedMessage(QueueAnswer, frozen=True):
    """``lease`` acknowledges it; ``tries``: how often it was taken, this time included."""

    id: str
    lease: str
    body: Any
    tries: int


class TakenMessages(QueueAnswer, frozen=True):
    """Empty if none came in time."""

    messages: list[LeasedMessage]


class LostLeases(QueueAnswer, frozen=True):
    """Leases that were over before; another taker may have the messages."""

    lost: list[str]


class QueueFigures(QueueAnswer, frozen=True):
    """``oldest_s``: since when the first waiting message was published, null without one."""

    waiting: int
    delayed: int
    leased: int
    dead: int
    oldest_s: int | None


class DeadLetter(QueueAnswer, frozen=True):
    """A message that was taken as often as it may be; ``died_at`` in seconds."""

    id: str
    body: Any
    tries: int
    died_at: int


class DeadLetters(QueueAnswer, frozen=True):
    """The oldest first; ``next``: of the following page, null at the end."""

    messages: list[DeadLetter]
    next: str | None


class Count(QueueAnswer, frozen=True):
    """How many of the ids were dead letters."""

    put_back: int


class Purged(QueueAnswer, frozen=True):
    """``more``: purge again for the rest."""

    purged: int
    more: bool


class Deleted(QueueAnswer, frozen=True):
    """``deleted``: items of the queue; ``more``: the rest goes within minutes, or at once by deleting it again."""

    deleted: int
    more: bool


class QueueDeps(NamedTuple):
    """What the function takes."""

    accounts: Accounts
    queues: Queues
    sweep: Sweep


def route(event: Mapping[str, Any], request: Request, deps: QueueDeps) -> Response:
    """The answer to a request from outside, by its API key, or to one of the stack's functions, for its tenant."""
    if "tenant" in event:
        return _invoked(request, event["tenant"], deps.queues)
    return dispatch(ROUTES, request, deps.accounts, deps.queues)


def _invoked(request: Request, tenant: str, queues: Queues) -> Response:
    """What is over a limit is told apart from what is away: the caller's alarm is for the second one."""
    try:
        return invoked(ROUTES, request, tenant, queues)
    except OverLimitError as over:
        return error_response(503, str(over), {OVER_LIMIT_HEADER: f"{over.limit} {over.used} {over.allowed}"})


def get_queues(queues: Queues, call: Call) -> QueueNames:
    names = queues.ready if call.request.query.get(READY, ["false"])[-1] == "true" else queues.names
    return QueueNames(names(call.tenant))


def post_messages(queues: Queues, call: Call) -> PublishedIds:
    return PublishedIds(queues.publish(_queue(call), list(map(_new, form(call, Publish).messages))))


def post_take(queues: Queues, call: Call) -> TakenMessages:
    asked = form(call, Take)
    taken = queues.take(_queue(call), asked.max, asked.wait_s, asked.lease_s)
    return TakenMessages([LeasedMessage(each.id, each.lease, Raw(each.body), each.tries) for each in taken])


def post_ack(queues: Queues, call: Call) -> Success:
    queues.acknowledge(_queue(call), form(call, Leases).leases)
    return DONE


def post_extend(queues: Queues, call: Call) -> LostLeases:
    asked = form(call, Extension)
    return LostLeases(queues.extend(_queue(call), asked.leases, asked.lease_s))


def post_release(queues: Queues, call: Call) -> LostLeases:
    return LostLeases(queues.extend(_queue(call), form(call, Leases).leases, 0))


def get_queue(queues: Queues, call: Call) -> QueueFigures:
    state = queues.state(_queue(call))
    oldest_s = None if state.oldest_ms is None else state.oldest_ms // 1000
    return QueueFigures(state.waiting, state.delayed, state.leased, state.dead, oldest_s)


def delete_queue(queues: Queues, call: Call) -> Deleted:
    return Deleted(*queues.delete(_queue(call)))


def delete_messages(queues: Queues, call: Call) -> Purged:
    return Purged(*queues.purge(_queue(call)))


def get_dead(queues: Queues, call: Call) -> DeadLetters:
    after = (call.request.query.get("next") or [""])[0]
    dead = queues.dead(_queue(call), after, MESSAGES_PER_CALL_MAX + 1)
    page = dead[:MESSAGES_PER_CALL_MAX]
    letters = [DeadLetter(each.id, Raw(each.body), each.tries, each.died_s) for each in page]
    return DeadLetters(letters, page[-1].id if len(dead) > len(page) else None)


def post_put_back(queues: Queues, call: Call) -> Count:
    return Count(queues.put_back(_queue(call), form(call, DeadIds).ids))


def delete_dead(queues: Queues, call: Call) -> Purged:
    return Purged(*queues.purge_dead(_queue(call)))


def _queue(call: Call) -> QueueKey:
    return QueueKey(call.tenant, call.parts["name"])


def _new(message: PublishedMessage) -> NewMessage:
    body = bytes(message.body)
    if len(body) > MESSAGE_BYTES_MAX:
        raise RequestError(413, f"the body of a message has {len(body)} bytes; send at most {MESSAGE_BYTES_MAX}")
    return NewMessage(body, int(message.delay_s * 1000), message.key or "")


NEXT: Final = Parameter("next", Annotated[str, Meta(min_length=1)], "Continue behind a page: the `next` of its answer")
ONLY_READY: Final = Parameter(READY, Literal["true", "false"], "true: those that may have a message to take now")
UNKNOWN: Final = "Nothing was published in this queue, or not since it was deleted"
WRITE: Final = Permission.WRITE
ROUTES: Final[tuple[Route[Queues], ...]] = (
    Route("GET", PATH, Permission.READ, "Names of the queues", QueueNames, get_queues, parameters=(ONLY_READY,)),
    Route("POST", f"{PATH}/{{name}}/messages", WRITE, "Publish messages", PublishedIds, post_messages, body=Publish),
    Route("POST", f"{PATH}/{{name}}/take", BOTH, "Take messages", TakenMessages, post_take, Take, not_found=UNKNOWN),
    Route("POST", f"{PATH}/{{name}}/ack", BOTH, "Messages are done", Success, post_ack, Leases, not_found=UNKNOWN),
    Route("POST", f"{PATH}/{{name}}/extend", BOTH, "Keep messages", LostLeases, post_extend, Extension),
    Route("POST", f"{PATH}/{{name}}/release", BOTH, "Give messages back", LostLeases, post_release, Leases),
    Route("GET", f"{PATH}/{{name}}", Permission.READ, "Figures", QueueFigures, get_queue, not_found=UNKNOWN),
    Route("DELETE", f"{PATH}/{{name}}", BOTH, "Delete a queue", Deleted, delete_queue, not_found=UNKNOWN),
    Route("DELETE", f"{PATH}/{{name}}/messages", BOTH, "Delete messages", Purged, delete_messages, not_found=UNKNOWN),
    Route("GET", f"{PATH}/{{name}}/dead", Permission.READ, "Dead letters", DeadLetters, get_dead, parameters=(NEXT,)),
    Route("POST", f"{PATH}/{{name}}/dead/put-back", BOTH, "Let them be taken again", Count, post_put_back, DeadIds),
    Route("DELETE", f"{PATH}/{{name}}/dead", BOTH, "Delete dead letters", Purged, delete_dead, not_found=UNKNOWN),
)
