"""Lambda functions as pools of worker processes: one request at a time each, a time-out is a kill."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import uuid
from typing import Any

from local.process import ROOT

PAYLOAD_BYTES_MAX = 6 * 1024 * 1024  # of an event and of an answer
VERBOSE = os.environ.get("LOG", "").lower() == "debug"
Worker = subprocess.Popen  # reads requests from stdin and ends with it, so it never outlives us


class FunctionError(Exception):
    """No answer: the function raised, died, ran out of time, or its event or answer was too large."""


class Function:
    """``environment``: all that a worker sees; ``size``: how many of them at most, started when needed."""

    def __init__(self, name: str, environment: dict[str, str], timeout_s: float, size: int) -> None:
        self.name, self.environment, self.timeout_s = name, environment, timeout_s
        self.running: set[Worker[str]] = set()
        self.idle: queue.LifoQueue[Worker[str] | None] = queue.LifoQueue()
        for worker in [*[None] * (size - 1), self._launch()]:
            self.idle.put(worker)

    def invoke(self, event: object) -> Any:  # noqa: ANN401 - the function's own answer
        """The function's answer to an event; FunctionError if there is none."""
        line = json.dumps([str(uuid.uuid4()), self.timeout_s, event])
        if len(line) > PAYLOAD_BYTES_MAX:
            raise FunctionError("the event is larger than 6 MB")
        worker = self.idle.get()
        try:
            worker = worker if worker and worker.poll() is None else self._launch()
            reply = self._exchange(worker, line)
        finally:
            self.idle.put(worker)
        if len(reply) > PAYLOAD_BYTES_MAX or not reply:
            raise FunctionError("the answer is larger than 6 MB" if reply else "died or ran out of time")
        if "error" in (answer := json.loads(reply)):
            raise FunctionError(answer["error"])
        return answer["answer"]

    def stop(self) -> None:
        for worker in list(self.running):
            self._end(worker)

    def _launch(self) -> Worker[str]:
        command = [sys.executable, "-P", str(ROOT / "local" / "worker.py")]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        worker: Worker[str] = Worker(command, env=self.environment, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]
        self.running.add(worker)
        threading.Thread(target=self._show, args=(worker.stderr,), daemon=True).start()
        if not (worker.stdout and worker.stdout.readline()):
            raise FunctionError(f"{self.name} does not start; its error is above")
        return worker

    def _exchange(self, worker: Worker[str], line: str) -> str:
        """One line there, one line back; none if the worker dies, be it by its time-out."""
        assert worker.stdin and worker.stdout
        limit = threading.Timer(self.timeout_s, worker.kill)
        limit.start()
        with contextlib.suppress(BrokenPipeError):
            print(line, file=worker.stdin, flush=True)
        reply = worker.stdout.readline()
        limit.cancel()
        if not reply:
            self._end(worker)
        return reply

    def _end(self, worker: Worker[str]) -> None:
        self.running.discard(worker)
        worker.kill()
        worker.wait()
        for pipe in (worker.stdin, worker.stdout):
            with contextlib.suppress(BrokenPipeError, AttributeError):
                pipe.close()  # type: ignore[union-attr]

    def _show(self, log: Any) -> None:  # noqa: ANN401
        with log:
            for line in log:
                if text := line.rstrip() if VERBOSE else concise(line):
                    print(f"[{self.name}] {text}", file=sys.stderr, flush=True)


def concise(line: str) -> str:
    """A log line as a person wants it: warnings and worse of JSON lines, other lines as they are."""
    with contextlib.suppress(json.JSONDecodeError):
        entry = json.loads(line)
        if isinstance(entry, dict):
            level, cause = entry.get("level", ""), (entry.get("exception") or "").strip().split("\n")[-1]
            return (
                f"{level}: {entry.get('message')} {cause}".rstrip() if level in ("WARNING", "ERROR", "CRITICAL") else ""
            )
    return line.rstrip()
