"""The MCP inspector's command line, with a ServiceAccount's token, as a person uses it to look at a connector."""

import re
from pathlib import Path

import pytest
from conftest import Deployed

from conformance.inspector import OK, TOOL_FAILED, UNAUTHORIZED, Inspector
from support.connector import Connector

ERAS = ("legacy", "modern", "auto")


@pytest.fixture
def inspector(running: Deployed, tmp_path: Path) -> Inspector:
    """The inspector with a token of the connector's namespace."""
    return Inspector.made(tmp_path, _url(running.connector), running.connector.token())


def _url(connector: Connector) -> str:
    # Names of Services mean nothing on this machine, their addresses do.
    return f"http://{connector.service_address()}:8080/mcp"


@pytest.mark.parametrize("era", ERAS)
def test_it_lists_tools_of_which_every_client_can_read_the_schemas(
    running: Deployed, inspector: Inspector, era: str
) -> None:
    # With --strict it fails on a schema that some clients or models can't use.
    told = inspector.run(era, "tools/list", "--strict")
    assert told.status == OK, told.errors
    print(f"{len(re.findall('^Warning:', told.errors, re.MULTILINE))} remarks on portability")
    assert len(told.result["tools"]) == running.connector.status()["tools"]["count"]


@pytest.mark.parametrize(
    ("era", "spoken"), [("legacy", "2025-11-25"), ("modern", "2026-07-28"), ("auto", "2026-07-28")]
)
def test_it_connects(inspector: Inspector, era: str, spoken: str) -> None:
    told = inspector.run(era, "initialize")
    assert told.status == OK, told.errors
    assert told.result["protocolVersion"] == spoken
    assert told.result["serverInfo"]["name"] == "mcp-connectors"


@pytest.mark.parametrize("era", ERAS)
def test_it_calls_a_tool(inspector: Inspector, era: str) -> None:
    arguments = ("--tool-name", "list_vault_secrets", "--tool-args-json", '{"path": "secret/apps"}')
    told = inspector.run(era, "tools/call", *arguments)
    assert told.status == OK, told.errors
    assert told.result["structuredContent"]["items"] == ["web"]


@pytest.mark.parametrize("era", ERAS)
def test_it_sees_that_a_call_failed(inspector: Inspector, era: str) -> None:
    arguments = ("--tool-name", "list_vault_secrets", "--tool-args-json", '{"path": "nowhere/apps"}')
    told = inspector.run(era, "tools/call", *arguments)
    assert told.status == TOOL_FAILED, told.errors
    assert told.result["isError"] is True
    assert told.result["_meta"]["mcp-connectors.io/error"]["code"] == "not_found"


@pytest.mark.parametrize("era", ERAS)
def test_it_finds_the_version(inspector: Inspector, era: str) -> None:
    told = inspector.run(era, "resources/list")
    assert told.status == OK, told.errors
    assert [resource["uri"] for resource in told.result["resources"]] == ["server://version"]


@pytest.mark.parametrize("method", ["prompts/list", "resources/templates/list"])
@pytest.mark.parametrize("era", ERAS)
def test_it_finds_the_lists_that_are_empty(inspector: Inspector, era: str, method: str) -> None:
    told = inspector.run(era, method)
    assert told.status == OK, told.errors
    assert [entries for name, entries in told.result.items() if not name.startswith("_")] == [[]]


@pytest.mark.parametrize("era", ERAS)
def test_it_learns_that_a_token_is_needed(running: Deployed, tmp_path: Path, era: str) -> None:
    told = Inspector.made(tmp_path, _url(running.connector), None).run(era, "tools/list")
    assert told.status == UNAUTHORIZED, told.errors
