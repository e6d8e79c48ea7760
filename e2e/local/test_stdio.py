"""`mcp-connectors local --stdio` and `--print-config`, with the clients that start servers themselves."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.client.stdio import stdio_client

from conformance.inspector import OK, SERVER, TOOL_FAILED, Inspector
from local.program import COULD_NOT_CHECK, PROGRAM, run

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}},
}


def config(client: str, folder: Path) -> dict[str, Any]:
    """What is printed for a client."""
    done = run("--print-config", client, "-f", str(folder))
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def inspector(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Inspector:
    """The inspector, with the configuration that is printed for it."""
    home = tmp_path_factory.mktemp("inspector")
    (server,) = config("inspector", folder)["mcpServers"].values()
    (home / "mcp.json").write_text(json.dumps({"mcpServers": {SERVER: server}}))
    return Inspector(home)


@pytest.mark.parametrize("era", ["legacy", "modern", "auto"])
def test_the_inspector_lists_and_calls(inspector: Inspector, era: str) -> None:
    told = inspector.run(era, "tools/list", "--strict")
    assert told.status == OK, told.errors
    assert "search_jenkins_jobs" in {tool["name"] for tool in told.result["tools"]}
    told = inspector.run(era, "tools/call", "--tool-name", "check_jenkins_connector", "--tool-args-json", "{}")
    assert told.status == OK, told.errors
    wrong = inspector.run(era, "tools/call", "--tool-name", "get_jenkins_job", "--tool-args-json", '{"job": "none"}')
    assert wrong.status == TOOL_FAILED, wrong.errors


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_python_client_calls_a_tool(folder: Path, mode: str) -> None:
    (server,) = config("claude", folder)["mcpServers"].values()

    async def call() -> tuple[list[str], Any]:
        transport = stdio_client(StdioServerParameters(command=server["command"], args=server["args"]))
        async with Client(transport, mode=mode, read_timeout_seconds=30) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            return tools, (await client.call_tool("search_jenkins_jobs", {})).structured_content

    tools, jobs = asyncio.run(call())
    assert tools == sorted(tools)
    assert jobs["items"]


def test_nothing_but_the_protocol_goes_to_standard_output(folder: Path) -> None:
    argv = [str(PROGRAM), "--log-level", "debug", "local", "--stdio", "--audit", "-f", str(folder)]
    message = json.dumps(INITIALIZE) + "\n"
    done = subprocess.run(argv, input=message, text=True, capture_output=True, timeout=60, check=True)
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["result"]["serverInfo"]["name"] == "mcp-connectors"
    assert done.stderr


def test_which_connector_has_to_be_clear(folder: Path) -> None:
    second = (folder / "connector.yaml").read_text().replace("name: jenkins\n", "name: second\n").split("---\n")[1]
    (folder / "second.yaml").write_text(second)
    unclear = run("--stdio", "-f", str(folder), stdin="")
    assert unclear.returncode == COULD_NOT_CHECK
    assert "ci/jenkins, ci/second" in unclear.stderr
    assert run("--stdio", "-f", str(folder), "--connector", "ci/second", stdin="").returncode == 0
    assert set(config("vscode", folder)["servers"]) == {"ci-jenkins", "ci-second"}
    other = run("--stdio", "-f", str(folder), "--connector", "ci/third", stdin="")
    assert "there is no McpConnector ci/third" in other.stderr


def test_what_is_refused_does_not_speak(folder: Path) -> None:
    file = folder / "connector.yaml"
    file.write_text(file.read_text().replace("hosts: [127.0.0.1]", "hosts: [example.com]"))
    done = run("--stdio", "-f", str(folder), stdin="")
    assert (done.returncode, done.stdout) == (COULD_NOT_CHECK, "")
    assert "HostNotAllowed" in done.stderr


def test_a_signal_ends_it_while_the_client_says_nothing(folder: Path) -> None:
    argv = [str(PROGRAM), "local", "--stdio", "-f", str(folder)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
    process.stdin.flush()
    assert process.stdout is not None
    assert b"serverInfo" in process.stdout.readline()
    process.terminate()
    process.wait(timeout=30)
    assert process.returncode == 0
