"""The HTTP side of the page: its files, its session, and what it asks beside Mackerel's API.

The routes of files and of the session itself are for the page alone: they speak HTML and cookies, so the description of
the API does not have them.  A session's cookie goes to its own path and nowhere else; all other requests carry a token
as API keys are carried.  So no request that another site makes a browser send can do anything.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from carbyne.core.errors import RequestError
from carbyne.core.limits import SESSION_S_MAX
from carbyne.core.names import OPERATOR
from carbyne.http.answers import DONE, Answer, Success
from carbyne.http.forms import form
from carbyne.http.message import Request, Response
from carbyne.http.routes import Call, Route, dispatch, public
from carbyne.page import files
from carbyne.page.sessions import Session, Sessions, Token
from carbyne.page.system import System, SystemState
from carbyne.tenants.accounts import NO_KEY, Accounts, Permission

SESSION_PATH: Final = "/carbyne/v1/session"
COOKIE: Final = "carbyne-session"


class SignIn(msgspec.Struct, frozen=True):
    """The body of a sign-in."""

    key: str


class SessionOfPage(Answer, frozen=True):
    """What the page knows of its session; ``token`` is good for ``expires_in`` seconds."""

    tenant: str
    permissions: list[str]
    key: str
    token: str
    expires_in: int


class SessionToken(Answer, frozen=True):
    """The session of a cookie, null without one."""

    session: SessionOfPage | None


class SessionInfo(Answer, frozen=True):
    """A session of the API key that asks; times in seconds."""

    id: str
    created_at: int
    seen_at: int
    ends_at: int
    agent: str
    is_current: bool


class SessionList(Answer, frozen=True):
    """The sessions of one API key."""

    sessions: list[SessionInfo]


class PageParts(NamedTuple):
    """What answers."""

    accounts: Accounts
    sessions: Sessions
    system: System


class PageDeps(NamedTuple):
    """What the function's routes take."""

    accounts: Accounts
    page: PageParts


def route(request: Request, folder: Path, deps: Callable[[], PageDeps]) -> Response:
    """The answer to a request; files need no store, so ``deps`` is called for the others alone."""
    if any(file.parts_of(request.method, request.path) is not None for file in FILES):
        return public(FILES, request, folder)
    return dispatch((*SITE, *ROUTES), request, *deps())


def get_page(folder: Path, call: Call) -> Response:
    return files.page(folder, call.request)


def get_asset(folder: Path, call: Call) -> Response:
    return files.asset(folder, call.request, call.parts["name"])


def post_session(page: PageParts, call: Call) -> Response:
    """Sign in.  A form of another site can send neither this content type nor this header's value."""
    request = call.request
    if request.headers.get("content-type", "").split(";")[0] != "application/json":
        raise RequestError(400, "sign in with a JSON body: Content-Type must be application/json")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise RequestError(403, "another site can't sign in here")
    session_id, token = page.sessions.begin(form(call, SignIn).key, request.headers.get("user-agent", ""))
    return _answer(token, (_cookie(request, session_id, SESSION_S_MAX),))


def get_session(page: PageParts, call: Call) -> Response:
    """The next token of the cookie's session, null if there is none (any more)."""
    session_id = call.request.cookies.get(COOKIE, "")
    token = page.sessions.renew(session_id) if session_id else None
    gone = (_cookie(call.request, "", 0),) if session_id and token is None else ()
    return _answer(token, gone)


def delete_session(page: PageParts, call: Call) -> Response:
    """Sign out."""
    if session_id := call.request.cookies.get(COOKIE, ""):
        page.sessions.end(session_id)
    return Response(200, '{"success":true}', cookies=(_cookie(call.request, "", 0),))


def get_sessions(page: PageParts, call: Call) -> SessionList:
    """The sessions of the API key that asks, directly or by a session of its."""
    who = page.accounts.who(call.request.headers)
    sessions = page.sessions.of_key(who.key_item)
    return SessionList([_info(session, sessions[session], who.session) for session in reversed(list(sessions))])


def revoke_session(page: PageParts, call: Call) -> Success:
    page.sessions.revoke(page.accounts.who(call.request.headers).key_item, call.parts["id"])
    return DONE


def get_system(page: PageParts, call: Call) -> SystemState:
    if call.tenant != OPERATOR:  # what all tenants share is none of a tenant's business
        raise RequestError(403, f"only keys of the tenant {OPERATOR} see how the system does")
    return page.system.state()


FILES: Final[tuple[Route[Path], ...]] = (
    Route("GET", "/", NO_KEY, "The page", str, get_page),
    Route("GET", "/assets/{name}", NO_KEY, "A file of the page", str, get_asset),
)
SITE: Final[tuple[Route[PageParts], ...]] = (
    Route("POST", SESSION_PATH, NO_KEY, "Sign in", SessionToken, post_session, body=SignIn),
    Route("GET", SESSION_PATH, NO_KEY, "The next token", SessionToken, get_session),
    Route("DELETE", SESSION_PATH, NO_KEY, "Sign out", Success, delete_session),
)
UNDESCRIBED: Final = (*FILES, *SITE)
"""What is no part of the API: files, and the cookie of the page's session."""
ROUTES: Final[tuple[Route[PageParts], ...]] = (
    Route("GET", "/carbyne/v1/sessions", Permission.READ, "Sessions of the API key", SessionList, get_sessions),
    Route(
        "DELETE",
        "/carbyne/v1/sessions/{id}",
        Permission.READ,
        "End a session of the API key",
        Success,
        revoke_session,
        not_found="The API key has no such session",
    ),
    Route(
        "GET",
        "/carbyne/v1/system",
        Permission.READ,
        "Redis, lanes, windows to seal and the replay, for keys of the system's own tenant",
        SystemState,
        get_system,
    ),
)


def _answer(token: Token | None, cookies: tuple[str, ...]) -> Response:
    answer = SessionToken(None if token is None else _session(token))
    return Response(200, msgspec.json.encode(answer).decode(), {"Cache-Control": "no-store"}, cookies)


def _session(token: Token) -> SessionOfPage:
    permissions = [flag.name.lower() for flag in Permission if flag in token.permission and flag.name]
    return SessionOfPage(token.tenant, permissions, token.key_id, token.text, token.expires_in_s)


def _cookie(request: Request, value: str, age_s: int) -> str:
    """Over plain HTTP, which `make run` speaks, a browser would not keep a Secure one."""
    secure = "" if request.headers.get("x-forwarded-proto") == "http" else "; Secure"
    return f"{COOKIE}={value}; Path={SESSION_PATH}; Max-Age={age_s}; HttpOnly; SameSite=Strict{secure}"


def _info(handle: str, session: Session, current: str) -> SessionInfo:
    return SessionInfo(
        handle, session.created_s, session.seen_s, session.ends_s, session.agent, is_current=handle == current
    )
