"""Lambda's Invoke in front of the functions, for those that call others; its other calls go to the embedded AWS."""

import json
import re
import threading
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.error import HTTPError

from werkzeug.wrappers import Request, Response

from servers.lambdas import Function, FunctionError

PATH = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")


class Invocations:
    """A WSGI application; ``functions``: by the names that the template's references give; ``aws_url``: of the embedded
    AWS."""

    def __init__(self, aws_url: str) -> None:
        self._aws_url = aws_url
        self.functions: Mapping[str, Function] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:  # noqa: ANN401
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        matched = PATH.fullmatch(request.path)
        if matched is None:
            return self._by_aws(request)
        function = self.functions.get(matched[1]) if request.method == "POST" else None
        if function is None:
            told = {"Type": "User", "Message": f"no such function here: {request.method} {request.path}"}
            return Response(json.dumps(told), 404, {"x-amzn-ErrorType": "ResourceNotFoundException"})
        event = json.loads(request.get_data() or b"{}")
        if request.headers.get("X-Amz-Invocation-Type") == "Event":
            threading.Thread(target=self._run, args=(function, event), daemon=True).start()
            return Response(b"", 202)
        answer, failed = self._run(function, event)
        headers = {"X-Amz-Function-Error": "Unhandled"} if failed else {}
        return Response(json.dumps(answer), 200, headers, content_type="application/json")

    def _by_aws(self, request: Request) -> Response:
        url = f"{self._aws_url}{request.full_path.removesuffix('?')}"
        headers = {name: value for name, value in request.headers.items() if name not in ("Host", "Content-Length")}
        call = urllib.request.Request(url, request.get_data() or None, headers, method=request.method)  # noqa: S310 - of loopback
        try:
            with urllib.request.urlopen(call, timeout=20) as answer:  # noqa: S310
                return Response(answer.read(), answer.status, dict(answer.headers))
        except HTTPError as error:
            with error:
                return Response(error.read(), error.code, dict(error.headers))

    def _run(self, function: Function, event: object) -> tuple[object, bool]:
        """The answer, or the error as Lambda tells it, and whether it is one."""
        try:
            return function.invoke(event), False
        except FunctionError as error:
            print(f"[{function.name}] {error}", flush=True)
            return {"errorMessage": str(error)}, True
