"""EventBridge Scheduler: a function called at a fixed rate, one call at a time; a failed call is not repeated."""

import re
import threading
import time
import uuid

from local.aws import REGION
from local.functions import Function, FunctionError

RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
UNIT_S = {"minute": 60.0, "hour": 3600.0, "day": 86400.0}


class Schedule:
    """``expression``: rate(N minutes), hours or days; ValueError for another."""

    def __init__(self, function: Function, expression: str) -> None:
        if not (rate := RATE.fullmatch(expression)):
            raise ValueError(f"the schedule {expression}")
        self.function, self.period_s = function, int(rate[1]) * UNIT_S[rate[2]]
        self.stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._follow, daemon=True).start()

    def stop(self) -> None:
        self.stopping.set()

    def _follow(self) -> None:
        while not self.stopping.wait(self.period_s):
            moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            event = {"version": "0", "id": str(uuid.uuid4()), "detail-type": "Scheduled Event", "detail": "{}"}
            event |= {"source": "aws.scheduler", "account": "123456789012", "time": moment, "region": REGION}
            try:
                self.function.invoke({**event, "resources": []})
            except FunctionError as error:
                if not self.stopping.is_set():
                    print(f"[{self.function.name}] the scheduled call failed: {error}", flush=True)
