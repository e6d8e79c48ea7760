"""Callers: each a thread with a connection of its own, which take turns so that no more calls are made than were asked for."""

import http.client
import itertools
import json
import socket
import threading
import time
from collections import Counter
from typing import Self
from urllib.parse import urlsplit

VERSION = "2026-07-28"
CALLERS = 16
# Addresses that calls come from. Whoever calls without a token is known by address, so each is a caller of its own.
ADDRESSES = 500
# Every so many calls, a caller begins a new connection, or goes before its answer is there.
RENEWS, LEAVES = 40, 23
TIMEOUT = 60
# Where a failed call says why.
ERROR = "mcp-connectors.io/error"

CALLS: tuple[tuple[str, dict[str, object]], ...] = (
    ("search_jenkins_jobs", {}),
    ("get_jenkins_job", {"job": "plain", "cache": False}),
    ("list_jenkins_nodes", {}),
    ("check_jenkins_connector", {}),
    ("no_such_tool", {}),
)


class Load:
    """What is asked of one endpoint, and how it was answered."""

    def __init__(self, url: str, rate: float) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.host, self.port, self.path = parts.hostname, parts.port, parts.path
        self.interval = 1 / rate
        self.outcomes: Counter[str] = Counter()
        self.seconds: list[float] = []
        self._turns = itertools.count()
        self._begun = time.monotonic()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._call_on, args=(number,)) for number in range(CALLERS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _count(self, outcome: str, seconds: float | None = None) -> None:
        with self._lock:
            self.outcomes[outcome] += 1
            # Enough for percentiles, however long it takes.
            if seconds is not None and len(self.seconds) < 1_000_000:
                self.seconds.append(seconds)

    def _call_on(self, number: int) -> None:
        connection: http.client.HTTPConnection | None = None
        for call in itertools.count():
            with self._lock:
                turn = next(self._turns)
            wait = self._begun + turn * self.interval - time.monotonic()
            if self._ended.wait(max(wait, 0)):
                break
            if connection is None or call % RENEWS == 0:
                if connection is not None:
                    connection.close()
                address = (turn + number) % ADDRESSES
                source = (f"127.0.{1 + address // 250}.{1 + address % 250}", 0)
                connection = http.client.HTTPConnection(self.host, self.port, TIMEOUT, source)
            try:
                if not self._call(connection, turn):
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self._count(f"broken: {type(error).__name__}")
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _call(self, connection: http.client.HTTPConnection, turn: int) -> bool:
        """Calls a tool. Whether the connection can be used again."""
        tool, arguments = CALLS[turn % len(CALLS)]
        meta = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "soak", "version": "1"},
        }
        if turn % 3 == 0:
            meta["progressToken"] = turn
        params = {"name": tool, "arguments": arguments, "_meta": meta}
        body = json.dumps({"jsonrpc": "2.0", "id": turn, "method": "tools/call", "params": params})
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": VERSION,
            "Mcp-Method": "tools/call",
            "Mcp-Name": tool,
        }
        begun = time.monotonic()
        connection.request("POST", self.path, body, headers)
        if turn % LEAVES == LEAVES - 1:
            if connection.sock is not None:
                connection.sock.shutdown(socket.SHUT_RDWR)
            connection.close()
            self._count("left")
            return False
        answer = connection.getresponse()
        text = answer.read().decode()
        self._count(outcome_of(answer.status, text, tool), time.monotonic() - begun)
        return not answer.will_close


def outcome_of(status: int, text: str, tool: str) -> str:
    """In one word, how a call was answered."""
    if text.startswith("{"):
        message = json.loads(text)
    else:
        events = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
        messages = [json.loads(event) for event in events if event.strip()]
        message = next((one for one in messages if "result" in one or "error" in one), {})
    if tool == "no_such_tool":
        return "refused" if message.get("error", {}).get("code") == -32602 else f"unexpected: status {status}"
    if status != 200 or "result" not in message:
        return f"unexpected: status {status}"
    if not message["result"].get("isError"):
        return "answered"
    return f"failed: {message['result'].get('_meta', {}).get(ERROR, {}).get('code')}"
