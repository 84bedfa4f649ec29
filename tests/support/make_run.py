"""`make run` as a process, and requests to it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import psutil

from servers.process import ROOT

READY = re.compile(r"Carbyne is ready: (\S+)  API key: (\S+)")


class System:
    """One `make run`, started; ``lines`` has what it printed until it was ready or ended."""

    def __init__(self, *arguments, **environment):
        command = [sys.executable, "-m", "local", *map(str, arguments)]
        everything = {**os.environ, "PYTHONPATH": "layers/carbyne", "PORT": "0", **environment}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(command, cwd=ROOT, env=everything, text=True, **pipes)
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            if match := READY.search(line):
                self.url, self.key = match.groups()
                break

    @property
    def children(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, number=signal.SIGINT):
        """What it printed after the signal."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=20)[0]

    def call(self, path, body=None, **headers):
        """(status, body) of a request with this system's key."""
        headers = {"X-Api-Key": self.key, "Content-Type": "application/json", **headers}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


@contextlib.contextmanager
def running(*arguments, **environment):
    system = System(*arguments, **environment)
    try:
        assert system.lines and READY.search(system.lines[-1]), "".join(system.lines)
        yield system
    finally:
        system.process.kill()
        system.process.communicate()
