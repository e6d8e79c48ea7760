"""Who may call: what happens to those who may not, and what each of those who may is offered."""

import asyncio
import base64
import json
from typing import Any

import httpx2
import pytest
from conftest import Deployed

from support import kube
from support.agent import Agent, Endpoint, error_of, message, post
from support.connector import Connector

LIST = message("tools/list")
METADATA = "/.well-known/oauth-protected-resource/mcp"


def refused(response: httpx2.Response, status: int, error: str, connector: Connector) -> dict[str, Any]:
    """Checks a refusal as a client sees it: status, challenge, and nothing listed."""
    assert response.status_code == status, response.text
    assert "tools" not in response.text.replace("tools/list", ""), response.text
    challenge = response.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    metadata_url = connector.status()["url"].removesuffix("/mcp") + METADATA
    assert f'resource_metadata="{metadata_url}"' in challenge
    told: dict[str, Any] = response.json()["error"]
    assert told["data"]["error"] == error
    return told


def test_without_a_token(running: Deployed) -> None:
    body = refused(post(Endpoint.of(running.connector), None, LIST), 401, "unauthorized", running.connector)
    # Whoever reads this knows what to do.
    assert running.connector.status()["audience"] in body["message"]
    assert "serviceAccountToken.audience" in body["message"]


def test_a_token_in_the_query_is_no_token(running: Deployed) -> None:
    response = post(Endpoint.of(running.connector), None, LIST, query=f"?access_token={running.connector.token()}")
    refused(response, 401, "unauthorized", running.connector)


@pytest.mark.parametrize("audience", ["https://kubernetes.default.svc", "http://mcp-other.elsewhere.svc:8080/mcp"])
def test_a_token_for_somebody_else(running: Deployed, audience: str) -> None:
    token = running.connector.token(audience=audience)
    body = refused(post(Endpoint.of(running.connector), token, LIST), 401, "invalid_token", running.connector)
    assert body["data"]["reason"] == "audience"


def test_a_token_that_is_not_the_clusters(running: Deployed) -> None:
    head, claims, signature = running.connector.token().split(".")
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    name = decoded["kubernetes.io"]["serviceaccount"]["name"]
    changed = json.dumps(decoded).replace(f'"{name}"', '"somebody"').encode()
    forged = base64.urlsafe_b64encode(changed).rstrip(b"=").decode()
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    for token in (f"{head}.{forged}.{signature}", f"{unsigned}.{forged}.", "not-a-token"):
        refused(post(Endpoint.of(running.connector), token, LIST), 401, "invalid_token", running.connector)


def test_a_service_account_of_another_namespace(running: Deployed) -> None:
    token = running.connector.token(namespace="default")
    body = refused(post(Endpoint.of(running.connector), token, LIST), 403, "insufficient_scope", running.connector)
    assert body["data"]["subject"] == "system:serviceaccount:default:default"
    assert "spec.access.allow" in body["message"]


def test_the_operators_identity_may_shake_hands_and_nothing_else(running: Deployed) -> None:
    def token(audience: str) -> str:
        return kube.token(kube.OPERATOR_NAMESPACE, "mcp-connectors", f"mcp-connectors.io/operator{audience}")

    endpoint, namespace = Endpoint.of(running.connector), running.connector.namespace
    own = token(f"/{namespace}/{running.connector.name}")
    assert post(endpoint, own, message("server/discover")).status_code == 200
    # What another connector's pods are shown opens nothing here.
    for audience in ("", f"/{namespace}/another", f"/another/{running.connector.name}"):
        assert post(endpoint, token(audience), message("server/discover")).status_code == 401, audience
    response = post(endpoint, own, LIST)
    assert response.status_code == 403
    assert "vault" not in response.text


def test_resource_metadata_can_be_read_without_a_token(running: Deployed) -> None:
    endpoint = Endpoint.of(running.connector)

    async def read() -> httpx2.Response:
        async with endpoint.http(None) as http:
            return await http.get(endpoint.url.removesuffix("/mcp") + METADATA)

    response = asyncio.run(read())
    assert response.status_code == 200
    metadata = response.json()
    assert metadata["resource"] == running.connector.status()["audience"]
    assert len(metadata["authorization_servers"]) == 1
    assert metadata["bearer_methods_supported"] == ["header"]


def test_a_page_of_a_browser_and_a_foreign_host_are_refused(running: Deployed) -> None:
    endpoint, token = Endpoint.of(running.connector), running.connector.token()
    assert post(endpoint, token, LIST, {"origin": "https://evil.example.com"}).status_code == 403
    assert post(endpoint, token, LIST, {"host": "evil.example.com"}).status_code == 403
    for host in ("mcp-vault", f"mcp-vault.{running.connector.namespace}"):
        assert post(endpoint, token, LIST, {"host": host}).status_code == 200
    long = f"mcp-vault.{running.connector.namespace}.svc.cluster.local:8080"
    assert post(endpoint, token, LIST, {"host": long}).status_code == 200


def test_each_caller_is_offered_what_access_gives_it(running: Deployed) -> None:
    vault = running.connector
    kube.kubectl("--namespace", vault.namespace, "create", "serviceaccount", "triage")
    kube.kubectl("--namespace", vault.namespace, "create", "serviceaccount", "nobody")
    rules = [
        {"namespace": vault.namespace, "serviceAccount": "triage", "tools": ["get_vault_*"]},
        {"namespace": "default", "serviceAccount": "*", "mutations": True},
    ]
    everything = {"mutations": "Confirm", "allow": ["*"], "deny": ["list_vault_secrets"]}
    name = "guarded"
    manifest = vault.object()
    spec = manifest["spec"] | {"access": {"allow": rules}, "tools": everything}
    kube.apply(
        vault.namespace,
        {"apiVersion": manifest["apiVersion"], "kind": "McpConnector", "metadata": {"name": name}, "spec": spec},
    )
    guarded = Connector(vault.namespace, name)
    guarded.wait_ready()
    endpoint = Endpoint.of(guarded)

    triage = Agent(endpoint, guarded.token("triage"))
    tools = triage.tools()
    assert tools
    assert all(tool.startswith("get_vault_") for tool in tools)
    other = Agent(endpoint, guarded.token(namespace="default"))
    assert "write_vault_secret" in other.tools()
    assert "list_vault_secrets" not in other.tools()
    # What it may not use is unknown to it: not listed, not suggested, not refused by name.
    with pytest.raises(Exception, match="unknown tool: read_vault_secret"):
        triage.call("read_vault_secret", path="secret/apps/web")
    nobody = post(endpoint, guarded.token("nobody"), LIST)
    refused(nobody, 403, "insufficient_scope", guarded)


def test_a_read_only_connector_names_the_field_that_would_allow_a_mutation(running: Deployed) -> None:
    agent = Agent(Endpoint.of(running.connector), running.connector.token())
    assert "write_vault_secret" not in agent.tools()
    error = error_of(agent.call("write_vault_secret", path="secret/apps/web", data={"a": "b"}))
    assert error["code"] == "permission_denied"
    assert "spec.tools.mutations" in error["remedy"]
    # Nor does any rule name who may.
    assert "spec.access.allow" in error["remedy"]
