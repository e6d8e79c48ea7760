"""Agents: MCP clients that call a connector's Service by the URL in its status."""

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from . import planted
from .connector import Connector

PROTOCOL = "2026-07-28"
Answer = TypeVar("Answer")


class ServiceTransport(httpx2.AsyncBaseTransport):
    """Sends requests for a Service's name to its address, and leaves the Host header as it is."""

    def __init__(self, address: str, port: int | None, keep_alive: bool) -> None:
        limits = httpx2.Limits(max_connections=100, max_keepalive_connections=20 if keep_alive else 0)
        self._inner = httpx2.AsyncHTTPTransport(limits=limits)
        self._address, self._port = address, port

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(host=self._address, port=self._port or request.url.port)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass(frozen=True)
class Endpoint:
    """Where a connector answers."""

    url: str
    address: str
    # Where it is not the URL's.
    port: int | None = None

    @classmethod
    def of(cls, connector: Connector) -> "Endpoint":
        """As the connector's status and its Service say."""
        return cls(connector.status()["url"], connector.service_address())

    def http(self, token: str | None, keep_alive: bool = True) -> httpx2.AsyncClient:
        """A plain HTTP client."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        transport = ServiceTransport(self.address, self.port, keep_alive)
        return httpx2.AsyncClient(transport=transport, headers=headers, timeout=30)


class Agent:
    """The official Python client, with a ServiceAccount's token."""

    def __init__(self, endpoint: Endpoint, token: str | None, mode: str = "auto") -> None:
        self._endpoint, self._token, self._mode = endpoint, token, mode

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[Client]:
        """A connected client."""
        async with self._endpoint.http(self._token) as http:
            transport = streamable_http_client(self._endpoint.url, http_client=http)
            async with Client(transport, mode=self._mode, read_timeout_seconds=30) as client:
                yield client

    def use(self, act: Callable[[Client], Awaitable[Answer]]) -> Answer:
        """Connects, does something, and leaves."""

        async def connected() -> Answer:
            async with self.connect() as client:
                return await act(client)

        try:
            return asyncio.run(connected())
        except BaseExceptionGroup as failures:
            raise _only_failure(failures) from failures

    def tools(self) -> list[str]:
        """Names of the tools that it is offered."""

        async def names(client: Client) -> list[str]:
            return [tool.name for tool in (await client.list_tools()).tools]

        return self.use(names)

    def call(self, tool: str, **arguments: Any) -> CallToolResult:
        """Calls a tool."""
        result = self.use(lambda client: client.call_tool(tool, arguments))
        planted.tell_answer(tool, arguments, result.model_dump_json(), bool(result.is_error))
        return result

    def answer(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Calls a tool that must succeed, and returns its structured answer."""
        result = self.call(tool, **arguments)
        assert not result.is_error, f"{tool} failed: {text_of(result)}"
        assert result.structured_content is not None
        answer: dict[str, Any] = result.structured_content
        return answer


def _only_failure(failures: BaseException) -> BaseException:
    """What the client met, without the task groups around it."""
    while isinstance(failures, BaseExceptionGroup):
        failures = failures.exceptions[0]
    return failures


def agent_of(connector: Connector, mode: str = "auto", service_account: str = "default") -> Agent:
    """An agent of the connector's own namespace."""
    return Agent(Endpoint.of(connector), connector.token(service_account), mode)


def text_of(result: CallToolResult) -> str:
    """The text of a tool's answer."""
    return "\n".join(str(getattr(block, "text", "")) for block in result.content)


def error_of(result: CallToolResult) -> dict[str, Any]:
    """What a failed call says: code, message, remedy. A second block marks a failure that may hold a platform's words."""
    assert result.is_error, f"the call did not fail: {text_of(result)}"
    found: dict[str, Any] = json.loads(getattr(result.content[0], "text", ""))
    return found


def message(method: str, **parameters: Any) -> dict[str, Any]:
    """A request of the newest protocol revision, as it goes over the wire."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": PROTOCOL,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "story", "version": "1"},
    }
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**parameters, "_meta": meta}}


def headers_of(body: dict[str, Any]) -> dict[str, str]:
    """The headers that go with such a request."""
    headers = {
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
        "mcp-protocol-version": PROTOCOL,
        "mcp-method": body["method"],
    }
    if "name" in body["params"]:
        headers["mcp-name"] = body["params"]["name"]
    return headers


def post(
    endpoint: Endpoint,
    token: str | None,
    body: dict[str, Any] | bytes,
    headers: dict[str, str] | None = None,
    query: str = "",
) -> httpx2.Response:
    """One HTTP request to the endpoint, without any client's help."""

    async def send() -> httpx2.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = headers_of(body) if isinstance(body, dict) else {}
        async with endpoint.http(token) as http:
            return await http.post(endpoint.url + query, content=content, headers=given | (headers or {}))

    return asyncio.run(send())


@dataclass
class Traffic:
    """What became of the calls that were made all the time."""

    calls: int = 0
    failures: list[str] = field(default_factory=list)


@contextlib.contextmanager
def calling_all_the_time(
    endpoint: Endpoint,
    token: str,
    tool: str,
    keep_alive: bool,
    pause: float = 0.05,
    callers: int = 1,
    **arguments: Any,
) -> Iterator[Traffic]:
    """Calls a tool again and again in the background, over kept connections or a new one for each call.

    Each caller rests for `pause` seconds between its calls.
    """
    traffic, stop = Traffic(), threading.Event()
    body = message("tools/call", name=tool, arguments=arguments)

    async def loop(http: httpx2.AsyncClient) -> None:
        while not stop.is_set():
            problem = await _call(http, endpoint.url, body)
            traffic.calls += 1
            if problem is not None:
                traffic.failures.append(f"call {traffic.calls} at {time.strftime('%H:%M:%S')}: {problem}")
            await asyncio.sleep(pause)

    async def call_all_the_time() -> None:
        async with endpoint.http(token, keep_alive) as http:
            await asyncio.gather(*(loop(http) for _ in range(callers)))

    thread = threading.Thread(target=lambda: asyncio.run(call_all_the_time()), daemon=True)
    thread.start()
    try:
        yield traffic
    finally:
        stop.set()
        thread.join(60)


async def _call(http: httpx2.AsyncClient, url: str, body: dict[str, Any]) -> str | None:
    try:
        response = await http.post(url, content=json.dumps(body).encode(), headers=headers_of(body))
    except httpx2.HTTPError as error:
        return repr(error)
    if response.status_code != httpx2.codes.OK:
        return f"HTTP {response.status_code}: {response.text[:300]}"
    result = response.json().get("result", {})
    return response.text[:300] if result.get("isError", True) else None
