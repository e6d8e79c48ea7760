"""The clients that agents are built with, in both eras of the protocol, with a ServiceAccount's token."""

import hashlib
import ipaddress
import json
import os
from pathlib import Path

import anyio
import httpx2
import pytest
from conftest import Deployed
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from testcluster.settings import BRIDGE

from support.agent import Agent, Endpoint, agent_of
from support.machine import run
from support.waiting import eventually

TYPESCRIPT = Path(__file__).parent / "typescript"


@pytest.mark.parametrize(
    ("mode", "version"), [("auto", "2026-07-28"), ("2026-07-28", "2026-07-28"), ("legacy", "2025-11-25")]
)
def test_the_python_client(running: Deployed, mode: str, version: str) -> None:
    async def look_around(client: Client) -> tuple[str, str, list[str], object]:
        tools = await client.list_tools()
        health = await client.call_tool("get_vault_health", {})
        names = [tool.name for tool in tools.tools]
        server = client.server_info.name if client.server_info else ""
        return str(client.protocol_version), server, names, health.structured_content

    spoken, server, tools, health = agent_of(running.connector, mode).use(look_around)
    assert spoken == version
    # A client that names the revision doesn't ask who answers.
    assert server == ("" if mode == version else "mcp-connectors")
    assert tools == sorted(tools)
    assert len(tools) == running.connector.status()["tools"]["count"]
    assert isinstance(health, dict)
    assert health["state"] == "active"


def test_the_python_client_over_ipv6(running: Deployed) -> None:
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    address = link_local(running.connector.pods()[0]["status"]["podIP"])
    agent = Agent(Endpoint(running.connector.status()["url"], address), running.connector.token())
    assert agent.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]


def link_local(pod_address: str) -> str:
    """A pod's IPv6 address on the bridge, which every link makes of its hardware address (RFC 4291, appendix A)."""
    (neighbour,) = json.loads(run("ip", "-json", "neighbour", "show", pod_address, "dev", BRIDGE))
    hardware = bytes.fromhex(neighbour["lladdr"].replace(":", ""))
    interface = bytes([hardware[0] ^ 2]) + hardware[1:3] + b"\xff\xfe" + hardware[3:]
    return f"{ipaddress.IPv6Address(bytes.fromhex('fe80' + '0' * 12) + interface)}%{BRIDGE}"


def test_the_python_client_makes_many_calls_at_once(running: Deployed) -> None:
    answers: list[bool] = []

    async def call_many(client: Client) -> None:
        async def one() -> None:
            result = await client.call_tool("list_vault_secrets", {"path": "secret/apps"})
            answers.append(not result.is_error and (result.structured_content or {}).get("items") == ["web"])

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(one)

    agent_of(running.connector).use(call_many)
    assert answers == [True] * 20


def test_the_typescript_client(running: Deployed) -> None:
    endpoint = Endpoint.of(running.connector)
    environment = {
        "MCP_URL": endpoint.url,
        "MCP_ADDRESS": endpoint.address,
        "MCP_TOKEN": running.connector.token(),
    }
    told = json.loads(run("node", _typescript_client(), env=environment, timeout=60))
    assert told["server"]["name"] == "mcp-connectors"
    assert told["protocolVersion"] == "2025-11-25"
    assert len(told["tools"]) == running.connector.status()["tools"]["count"]
    assert told["health"]["state"] == "active"
    assert told["secrets"]["items"] == ["web"]
    # Every tool says what it does to the world, so that a client may ask before it calls.
    assert all(tool["annotations"]["readOnlyHint"] is True for tool in told["tools"])
    assert all("outputSchema" in tool for tool in told["tools"])


def _typescript_client() -> Path:
    """Installs the locked packages into the user's cache, once for each lock file."""
    lock = (TYPESCRIPT / "package-lock.json").read_bytes() + (TYPESCRIPT / "client.mjs").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mcp-connectors"
    folder = cache / f"typescript-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not (folder / "complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json", "client.mjs"):
            (folder / name).write_bytes((TYPESCRIPT / name).read_bytes())
        run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=folder, timeout=180)
        (folder / "complete").touch()
    return folder / "client.mjs"


def test_the_python_client_of_an_agent_that_may_not_call(running: Deployed) -> None:
    agent = Agent(Endpoint.of(running.connector), running.connector.token(namespace="default"))

    def is_refused() -> bool:
        try:
            agent.tools()
        except MCPError:
            return True
        except httpx2.RemoteProtocolError:
            # The server closes the connection of whoever it refuses, and the client was about to use it again.
            return False
        raise AssertionError("it was let in")

    eventually("it is told so", is_refused)
