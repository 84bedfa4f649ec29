"""Lambda functions in processes of their own: one request at a time each, a time-out is a kill."""

import functools
import importlib
import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from queue import LifoQueue
from types import SimpleNamespace
from typing import Any

PAYLOAD_BYTES_MAX = 6 * 1024 * 1024  # of an event and of an answer
CONCURRENCY = 4  # of each function


class FunctionError(Exception):
    """No answer: the function raised, died, ran out of time, or its event or answer was too large."""


class Function:
    """``environment``: all that it sees.  Its first process starts at once, others when needed."""

    def __init__(self, name: str, environment: dict[str, str], timeout_s: float) -> None:
        self.name, self.environment, self.timeout_s = name, environment, timeout_s
        self.idle: LifoQueue[ProcessPoolExecutor] = LifoQueue()
        for _ in range(CONCURRENCY):
            self.idle.put(self._process())
        self._run(bool)

    def invoke(self, event: object) -> Any:  # noqa: ANN401 - the function's own answer
        """The function's answer to an event; FunctionError if there is none."""
        request = json.dumps(event)
        if len(request) > PAYLOAD_BYTES_MAX:
            raise FunctionError("the event is larger than 6 MB")
        reply = self._run(call, request, self.timeout_s)
        if len(reply) > PAYLOAD_BYTES_MAX:
            raise FunctionError("the answer is larger than 6 MB")
        if "error" in (answer := json.loads(reply)):
            raise FunctionError(answer["error"])
        return answer["answer"]

    def _run(self, work: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
        process, begun_s = self.idle.get(), time.monotonic()
        try:
            return process.submit(work, *arguments).result()
        except BrokenProcessPool:
            process = self._process()
            is_late = time.monotonic() - begun_s >= self.timeout_s
            reason = f"ran out of time ({self.timeout_s:g} s)" if is_late else "does not start, or died"
            raise FunctionError(f"{self.name} {reason}") from None
        finally:
            self.idle.put(process)

    def _process(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), start, (self.environment,))


def stop_all() -> None:
    """Kill the processes of all functions."""
    for process in multiprocessing.active_children():
        process.kill()


def start(environment: dict[str, str]) -> None:
    """Become an execution environment, with these variables and their paths alone; end with the process above."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    libraries = [path for path in sys.path if path.startswith((sys.prefix, sys.base_prefix))]
    sys.path = [*environment["PYTHONPATH"].split(os.pathsep), *libraries]
    logging.basicConfig(level=environment["AWS_LAMBDA_LOG_LEVEL"])
    handler()


def end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
    os._exit(0)


@functools.cache
def handler() -> Callable[[object, SimpleNamespace], object]:
    module, _, name = os.environ["_HANDLER"].rpartition(".")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def call(request: str, timeout_s: float) -> str:
    """Answer or error of the handler as JSON; the alarm ends this process."""
    name, end_s = os.environ["AWS_LAMBDA_FUNCTION_NAME"], time.monotonic() + timeout_s
    context = SimpleNamespace(
        aws_request_id=str(uuid.uuid4()),
        function_name=name,
        function_version="$LATEST",
        invoked_function_arn=f"arn:aws:lambda:us-east-1:123456789012:function:{name}",
        memory_limit_in_mb=os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"],
        get_remaining_time_in_millis=lambda: int((end_s - time.monotonic()) * 1000),
    )
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        return json.dumps({"answer": handler()(json.loads(request), context)})
    except Exception as error:  # noqa: BLE001 - a function may raise anything, and Lambda reports it
        traceback.print_exc()
        return json.dumps({"error": f"{type(error).__name__}: {error}"})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
