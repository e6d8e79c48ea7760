"""The first ten minutes: a sample, a Secret and a CA become an endpoint that an agent can use."""

import yaml

from support import kube, vault_server
from support.agent import Agent, Endpoint
from support.connector import Connector, ca_config_map, secret
from support.machine import ROOT

SAMPLE = ROOT / "config" / "samples" / "vault.yaml"
CONDITIONS = (
    "Ready",
    "Accepted",
    "Available",
    "EndpointReady",
    "CredentialsLoaded",
    "CredentialsAccepted",
    "PlatformHealthy",
)


def test_the_sample_becomes_an_endpoint_that_an_agent_uses(namespace: str, vault_up: None) -> None:
    kube.apply(namespace, secret(vault_server.make_token()), ca_config_map(vault_server.ca_pem()))
    kube.apply(namespace, *yaml.safe_load_all(SAMPLE.read_text()))
    vault = Connector(namespace)
    status = vault.wait_ready()
    # A person who never looked again sees the same as one who did.
    assert status["observedGeneration"] == vault.object()["metadata"]["generation"]

    _everything_that_kubectl_shows_is_true(vault)
    _an_agent_uses_it(vault)


def _everything_that_kubectl_shows_is_true(vault: Connector) -> None:
    status = vault.status()
    assert list(vault.conditions()) == list(CONDITIONS)
    assert {condition["status"] for condition in vault.conditions().values()} == {"True"}
    url = f"http://mcp-vault.{vault.namespace}.svc:8080/mcp"
    assert (status["url"], status["audience"]) == (url, url)
    assert status["authentication"] == "ServiceAccountToken"
    assert (status["replicas"], status["readyReplicas"]) == (1, 1)
    assert status["credentials"]["replicas"] == status["credentials"]["loadedReplicas"] == 1
    assert status["platform"]["type"] == "vault"
    assert status["platform"]["version"] == vault_server.api("GET", "sys/health")["version"]
    assert {"2025-06-18", "2025-11-25", "2026-07-28"} <= set(status["protocolVersions"])

    header, row = _columns(vault.namespace, "mcpconnectors")
    assert header == ["NAME", "READY", "PLATFORM", "HEALTH", "CREDENTIALS", "TOOLS", "URL", "AGE"]
    assert row[:4] == ["vault", "True", "vault", "Healthy"]
    assert row[4:7] == ["Accepted", str(status["tools"]["count"]), url]
    # The source is judged after its connectors.
    kube.kubectl(
        "--namespace",
        vault.namespace,
        "wait",
        "credentialsource/vault-reader",
        "--for=condition=Ready",
        "--timeout=60s",
    )
    header, row = _columns(vault.namespace, "credentialsources")
    assert header == ["NAME", "READY", "REASON", "SECRET", "CONNECTORS", "AGE"]
    assert row[:5] == ["vault-reader", "True", "Ready", "vault-reader", "1"]

    told = kube.kubectl("--namespace", vault.namespace, "describe", "mcpconnector", "vault")
    for expected in (*CONDITIONS, url, "Vault takes the token for", "An agent that calls now can expect an answer."):
        assert expected in told, f"{expected!r} is not in:\n{told}"
    vault.wait_for_event("Normal", "Ready")
    explained = kube.kubectl("explain", "mcpconnector.spec.tools.mutations")
    assert "brake, not an approval" in " ".join(explained.split())


def _columns(namespace: str, kind: str) -> tuple[list[str], list[str]]:
    header, row = kube.kubectl("--namespace", namespace, "get", kind).strip().splitlines()
    return header.split(), row.split()


def _an_agent_uses_it(vault: Connector) -> None:
    agent = Agent(Endpoint.of(vault), vault.token())
    tools = agent.tools()
    assert len(tools) == vault.status()["tools"]["count"]
    assert {"get_vault_health", "list_vault_secrets", "read_vault_secret"} <= set(tools)
    # Read-only is what nobody asked to change.
    assert "write_vault_secret" not in tools

    health = agent.answer("get_vault_health")
    assert (health["state"], health["sealed"]) == ("active", False)
    assert agent.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
    assert agent.answer("list_vault_secrets", path="kv1")["items"] == ["legacy"]

    keys = agent.call("read_vault_secret", path="secret/apps/web")
    assert keys.structured_content is not None
    assert sorted(keys.structured_content["keys"]) == ["password", "url"]
    assert vault_server.SECRET_VALUE not in str(keys)
    # The sample releases url, and nothing else.
    assert agent.answer("read_vault_secret", path="secret/apps/web", key="url")["value"] == vault_server.SECRET_URL
    refused = agent.call("read_vault_secret", path="secret/apps/web", key="password")
    assert refused.is_error
    assert vault_server.SECRET_VALUE not in str(refused)
    assert "releaseValues" in str(refused.content)
