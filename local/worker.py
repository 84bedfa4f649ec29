"""A Lambda execution environment: the child that imports one handler and calls it, one JSON line at a time."""

import importlib
import json
import logging
import os
import sys
import time
import traceback
from types import SimpleNamespace
from typing import Any


class JsonLines(logging.Formatter):
    """What Lambda's own runtime writes with LogFormat JSON, as far as we show it."""

    def format(self, record: logging.LogRecord) -> str:
        trace = self.formatException(record.exc_info) if record.exc_info else None
        return json.dumps({"level": record.levelname, "message": record.getMessage(), "exception": trace})


def _context(request: dict[str, Any]) -> SimpleNamespace:
    end = time.monotonic() + request["timeout_s"]
    name, memory = os.environ["AWS_LAMBDA_FUNCTION_NAME"], os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
    return SimpleNamespace(
        function_name=name,
        function_version="$LATEST",
        memory_limit_in_mb=memory,
        aws_request_id=request["id"],
        invoked_function_arn=f"arn:aws:lambda:us-east-1:123456789012:function:{name}",
        get_remaining_time_in_millis=lambda: int((end - time.monotonic()) * 1000),
    )


def main() -> None:
    """Answers go to the stdout that we were started with; whatever the function prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=os.environ["AWS_LAMBDA_LOG_LEVEL"], handlers=[handler])
    module, _, name = os.environ["_HANDLER"].rpartition(".")
    handle = getattr(importlib.import_module(module), name)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            text = json.dumps({"answer": handle(request["event"], _context(request))})
        except Exception as error:  # noqa: BLE001 - a function may raise anything, and Lambda reports it
            traceback.print_exc()
            text = json.dumps({"error": f"{type(error).__name__}: {error}"})
        print(text, file=answers, flush=True)


if __name__ == "__main__":
    main()
