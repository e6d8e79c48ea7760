"""The program as `cargo build` makes it, and the double of Jenkins that it calls."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from support.machine import programs
from support.waiting import eventually

PROGRAM = Path(os.environ.get("MCP_CONNECTORS") or programs() / "mcp-connectors")
DOUBLE = Path(os.environ.get("PLATFORM_DOUBLE") or programs() / "platform-double")

# Exit statuses of --check.
CHECK_FAILED = 1
COULD_NOT_CHECK = 2

# What the double of Jenkins accepts.
USER, API_TOKEN = "bot", "planted-token"

MANIFESTS = """\
apiVersion: mcp-connectors.io/v1alpha1
kind: CredentialSource
metadata:
  name: bot
  namespace: ci
spec:
  hosts: [127.0.0.1]
  secret: {{name: bot, items: {{user: user, api_token: token}}}}
---
apiVersion: mcp-connectors.io/v1alpha1
kind: McpConnector
metadata:
  name: jenkins
  namespace: ci
spec:
  platform:
    jenkins:
      url: {url}
      insecureHttp: true
  credentials:
    name: bot
  probe: {{interval: 5s, timeout: 2s}}
"""
SECRET = """\
---
apiVersion: v1
kind: Secret
metadata: {{name: bot, namespace: ci}}
stringData: {{user: {user}, token: {token}}}
"""

def manifests(url: str) -> str:
    """A connector to the double of Jenkins, without its Secret."""
    return MANIFESTS.format(url=url)

def secret(token: str = API_TOKEN) -> str:
    """Its Secret."""
    return SECRET.format(user=USER, token=token)

def run(*words: str, stdin: str | None = None, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs `mcp-connectors local` to its end."""
    argv = [str(PROGRAM), "local", *words]
    return subprocess.run(argv, input=stdin, text=True, capture_output=True, timeout=timeout, check=False)

class Running:
    """A program that goes on, and what it has written so far."""

    def __init__(self, *argv: str | Path) -> None:
        words = [str(word) for word in argv]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True)
        self.lines: list[str] = []
        self.errors: list[str] = []
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.lines)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors)),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str], lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))

    def wait_for(self, pattern: str, after: int = 0, timeout: float = 40) -> re.Match[str]:
        """Waits for a line, and returns the match. `after` lines are not looked at."""

        def look() -> re.Match[str] | None:
            assert self.process.poll() is None, self.told()
            return next((match for line in self.lines[after:] if (match := re.search(pattern, line))), None)

        return eventually(pattern, look, timeout, explain=self.told)

    def told(self) -> str:
        """Everything that it wrote."""
        return "\n".join([*self.lines, *self.errors])

    def end(self, how: signal.Signals = signal.SIGINT, timeout: float = 30) -> int:
        """Ends it by a signal, and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(timeout)
        for reader in self._readers:
            reader.join()
        return status

@contextmanager
def local(*words: str | Path) -> Iterator[Running]:
    """`mcp-connectors local` at a free port; it has to end well."""
    running = Running(PROGRAM, "local", "--listen", "127.0.0.1:0", *words)
    try:
        yield running
    except BaseException:
        running.process.kill()
        running.end()
        raise
    assert running.end() == 0, running.told()

def put_fault(url: str, fault: dict[str, object]) -> None:
    """Has a double fail from now on, or work again: `{"mode": "up"}`."""
    request = urllib.request.Request(url, json.dumps(fault).encode(), {"Content-Type": "application/json"}, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens at a port."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def jenkins() -> Iterator[str]:
    """The URL of a double of Jenkins."""
    running = Running(DOUBLE, "jenkins", "--listen", "127.0.0.1:0")
    try:
        yield running.wait_for(r"the platform at (\S+)").group(1)
    finally:
        running.end(signal.SIGTERM)

