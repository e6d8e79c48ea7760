"""What a confused or hostile caller sends: it is told what is wrong, and the endpoint lives on."""

import json
from collections.abc import Iterator

import pytest
from conftest import Deployed

from support.agent import Endpoint, agent_of, error_of, headers_of, message, post

CALL = message("tools/call", name="list_vault_secrets", arguments={"path": "secret/apps"})


@pytest.fixture(autouse=True)
def the_endpoint_lives_on(running: Deployed) -> Iterator[None]:
    """After whatever was sent, the pods are the same and answer."""
    pods = running.connector.pod_identities()
    yield
    assert agent_of(running.connector).answer("get_vault_health")["state"] == "active"
    assert running.connector.pod_identities() == pods


@pytest.fixture(scope="module")
def door(running: Deployed) -> tuple[Endpoint, str]:
    """Where to send to, and a good token."""
    return Endpoint.of(running.connector), running.connector.token()


def test_an_argument_of_ten_megabytes(door: tuple[Endpoint, str]) -> None:
    big = message("tools/call", name="list_vault_secrets", arguments={"path": "x" * 10_000_000})
    response = post(*door, big)
    assert response.status_code == 413
    assert "larger than 1048576 bytes" in response.text


def test_an_argument_that_is_too_long_for_its_field(running: Deployed) -> None:
    error = error_of(agent_of(running.connector).call("list_vault_secrets", path="x" * 2_000))
    assert error["code"] == "invalid_argument"
    assert "path" in error["argument"]
    assert "x" * 100 not in str(error)


def test_text_that_is_no_utf_8(door: tuple[Endpoint, str]) -> None:
    body = json.dumps(CALL).encode().replace(b"secret/apps", b"secret/\xff\xfe")
    response = post(*door, body, headers_of(CALL))
    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32700


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"jsonrpc":"2.0"}', b"[" * 100_000])
def test_text_that_is_no_request(door: tuple[Endpoint, str], body: bytes) -> None:
    response = post(*door, body, headers_of(CALL))
    assert 400 <= response.status_code < 500, response.text


def test_a_tool_in_the_wrong_case_is_suggested_rightly(running: Deployed) -> None:
    with pytest.raises(Exception, match="did you mean list_vault_secrets"):
        agent_of(running.connector).call("List_Vault_Secrets", path="secret/apps")


def test_an_argument_that_does_not_exist_is_named(running: Deployed) -> None:
    error = error_of(agent_of(running.connector).call("list_vault_secrets", paht="secret/apps"))
    assert error["code"] == "invalid_argument"
    assert "paht" in error["message"]
    assert "path" in error["remedy"]


@pytest.mark.parametrize(
    "path", ["secret/../sys/seal", "secret/%2e%2e/sys", "secret/apps/web\r\nX-Vault-Token: a", "sys/seal", "//"]
)
def test_a_path_that_leads_elsewhere(running: Deployed, path: str) -> None:
    result = agent_of(running.connector).call("read_vault_secret", path=path)
    assert error_of(result)["code"] in {"invalid_argument", "not_found", "permission_denied"}


def test_headers_that_contradict_the_body(door: tuple[Endpoint, str]) -> None:
    response = post(*door, CALL, {"mcp-name": "get_vault_health"})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == -32020
