"""Takes integrations from their queue, lets them be read, and acknowledges."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from carbyne.clouds.collector import Collector
from carbyne.clouds.ports import CloudQueue, CloudTaken
from carbyne.core.errors import RetryableError
from carbyne.core.limits import CLOUD_AT_ONCE, CLOUD_LEASE_S, CLOUD_RESERVE_S

_log = logging.getLogger(__name__)


class CloudWorker:
    """Ends when its queue is empty: jobs have no delay, and are published before a worker is called."""

    def __init__(self, queue: CloudQueue, collector: Collector) -> None:
        self._queue = queue
        self._collector = collector

    def run(self, seconds_left: Callable[[], float]) -> int:
        """How many integrations were read."""
        read = 0
        with ThreadPoolExecutor(CLOUD_AT_ONCE) as threads:
            while seconds_left() > CLOUD_RESERVE_S and (taken := self._queue.take(CLOUD_AT_ONCE, CLOUD_LEASE_S)):
                done = [lease for lease in threads.map(lambda each: self._done(each, seconds_left), taken) if lease]
                if done:
                    self._queue.acknowledge(done)
                read += len(done)
        return read

    def _done(self, taken: CloudTaken, seconds_left: Callable[[], float]) -> str:
        """The lease if the job is done, empty if it must come again."""
        try:
            self._collector.run(taken.body, seconds_left)
        except RetryableError as error:
            _log.warning("an integration of %s comes again: %s", taken.body.tenant, error)
            return ""
        return taken.lease
