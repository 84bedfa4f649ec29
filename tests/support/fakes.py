"""Stores in memory under the names that tests use, and ports that stop or count."""

from harness.wired import NoDeletes
from servers.memory import MemoryBlocks as FakeBlocks
from servers.memory import MemoryTable as FakeTable
from servers.memory import item_bytes, write_units

__all__ = ["Crash", "FakeBlocks", "FakeTable", "NoDeletes", "NoMarkers", "Steps", "item_bytes", "write_units"]


class Crash(Exception):
    """A function ends here, whatever it was doing."""


class NoMarkers:
    """The deletes of sources that have none, as an archiver asks for them."""

    def of(self, source):
        return self

    def markers(self):
        return []


class Steps:
    """The steps of a run: one before and one after each call of the ports that ``watched`` wraps.  ``look`` is called
    at each of them, and the run crashes at number ``stop``."""

    def __init__(self, stop=None, look=lambda: None):
        self.stop = stop
        self.look = look
        self.count = 0

    def watched(self, port):
        return _Watched(port, self)

    def step(self):
        self.look()
        self.count += 1
        if self.count - 1 == self.stop:
            raise Crash(f"at step {self.stop}")


class _Watched:
    def __init__(self, port, steps):
        self._port = port
        self._steps = steps

    def __getattr__(self, name):
        def call(*args, **more):
            self._steps.step()
            result = getattr(self._port, name)(*args, **more)
            self._steps.step()
            return result

        return call


class DictCache:
    """The cache of reads in memory; it keeps everything, so that a stale entry would be found, and as in Redis the
    sources of a lane share it."""

    def __init__(self):
        self.entries, self.hits, self.misses = {}, 0, 0

    def get(self, source, key):
        entry = self.entries.get((source.lane, key))
        self.hits, self.misses = self.hits + (entry is not None), self.misses + (entry is None)
        return entry

    def put(self, source, key, value):
        self.entries[source.lane, key] = value
