"""The files of the page, as its build left them: plain, and compressed beside it as ``.br`` and ``.gz``.

Names of files carry a hash of their content, so browsers keep them for good; ``index.html``, which names them, is asked
for each time.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from carbyne.core.errors import RequestError
from carbyne.http.message import Request, Response, if_changed

INDEX: Final = "index.html"
TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
ENCODINGS: Final = {"br": ".br", "gzip": ".gz"}
"""What a client may accept -> the suffix of that form, the best first."""
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""The page loads and asks nothing but its own origin, and no text becomes a script."""
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000",
    "Vary": "Accept-Encoding",
}


def page(folder: Path, request: Request) -> Response:
    """``GET /``."""
    response = _file(folder, INDEX, request)
    return if_changed(request, response)


def asset(folder: Path, request: Request, name: str) -> Response:
    """``GET /assets/{name}``; RequestError 404 for a name that the build did not make."""
    if name == INDEX or name not in _names(folder):
        raise RequestError(404, f"the page has no file {name[:100]!r}; load the page again")
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}
    answer = _file(folder, name, request)
    return Response(answer.status, answer.body, {**answer.headers, **kept})


def _file(folder: Path, name: str, request: Request) -> Response:
    if name not in _names(folder):
        raise RequestError(404, "the page was not built: run `make web`")
    accepted = {part.split(";")[0].strip() for part in request.headers.get("accept-encoding", "").split(",")}
    encoding = next((coding for coding in ENCODINGS if coding in accepted), None)
    encoded = {"Content-Encoding": encoding} if encoding else {}
    kind = {"Content-Type": f"{TYPES[Path(name).suffix]}; charset=utf-8"}
    return Response(200, _bytes(folder / (name + ENCODINGS.get(encoding or "", ""))), {**HEADERS, **kind, **encoded})


@cache
def _names(folder: Path) -> frozenset[str]:
    """What may be asked for: never a path out of the folder."""
    return frozenset(path.name for path in folder.glob("*") if path.suffix in TYPES)


@cache
def _bytes(path: Path) -> bytes:
    return path.read_bytes()
