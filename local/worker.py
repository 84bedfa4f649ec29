"""A Lambda execution environment: the child that imports one handler and calls it, one JSON line at a time."""

import importlib
import json
import logging
import os
import sys
import time
import traceback
from types import SimpleNamespace

NAME, MEMORY = os.environ["AWS_LAMBDA_FUNCTION_NAME"], os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
ARN = f"arn:aws:lambda:us-east-1:123456789012:function:{NAME}"


class JsonLines(logging.Formatter):
    """What Lambda's own runtime writes with LogFormat JSON, as far as we show it."""

    def format(self, record: logging.LogRecord) -> str:
        trace = self.formatException(record.exc_info) if record.exc_info else None
        return json.dumps({"level": record.levelname, "message": record.getMessage(), "exception": trace})


def context(request_id: str, timeout_s: float) -> SimpleNamespace:
    """What a handler gets beside its event."""
    end_s = time.monotonic() + timeout_s
    names = {"function_name": NAME, "function_version": "$LATEST", "memory_limit_in_mb": MEMORY}
    left = {"get_remaining_time_in_millis": lambda: int((end_s - time.monotonic()) * 1000)}
    return SimpleNamespace(aws_request_id=request_id, invoked_function_arn=ARN, **names, **left)


def main() -> None:
    """Answers go to the stdout that we were started with; whatever the function prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    log = logging.StreamHandler()
    log.setFormatter(JsonLines())
    logging.basicConfig(level=os.environ["AWS_LAMBDA_LOG_LEVEL"], handlers=[log])
    module, _, name = os.environ["_HANDLER"].rpartition(".")
    handler = getattr(importlib.import_module(module), name)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        request_id, timeout_s, event = json.loads(line)
        try:
            answer = json.dumps({"answer": handler(event, context(request_id, timeout_s))})
        except Exception as error:  # noqa: BLE001 - a function may raise anything, and Lambda reports it
            traceback.print_exc()
            answer = json.dumps({"error": f"{type(error).__name__}: {error}"})
        print(answer, file=answers, flush=True)


if __name__ == "__main__":
    main()
