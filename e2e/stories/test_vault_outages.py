"""Vault is sealed, stopped, or no longer wants the token: the conditions say it in time, and say when it is over."""

import secrets
from collections.abc import Iterator

import pytest
from conftest import deploy_in
from testcluster.vault import Vault

from support import kube, vault_server
from support.agent import agent_of, error_of
from support.connector import OUTAGE_SECONDS, PROBE, Connector, ca_config_map, connector
from support.vault_server import VaultServer
from support.vault_source import by_role, kept, make_role, source
from support.waiting import eventually

STORY_POLICY = "mcp-connectors-story"


@pytest.fixture
def vault(own_vault: VaultServer) -> Iterator[Vault]:
    """The Vault that the stories seal and stop. Whatever one did to it, the next one finds it well."""
    yield own_vault.server
    own_vault.server.start()
    own_vault.server.unseal()


@pytest.fixture(scope="module")
def running(own_vault: VaultServer, shared_namespace: str) -> Connector:
    """A ready connector to it that stories share and leave as it is."""
    return deploy_in(shared_namespace, to=own_vault).connector


@pytest.fixture
def connected(running: Connector, vault: Vault) -> Connector:
    """The connector, as well as Vault."""
    running.wait_ready(OUTAGE_SECONDS)
    return running


def is_down(subject: Connector, reason: str) -> None:
    """Checks what is seen of an outage, and that it takes away neither the endpoint nor the pods."""
    pods = subject.pod_identities()
    healthy = subject.wait_for("PlatformHealthy", "False", reason, OUTAGE_SECONDS)
    assert healthy["message"]
    ready = subject.condition("Ready")
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", reason, healthy["message"])
    conditions = subject.conditions()
    assert conditions["Available"]["status"] == conditions["EndpointReady"]["status"] == "True"
    assert conditions["CredentialsLoaded"]["status"] == "True"
    assert conditions["CredentialsAccepted"]["status"] == "Unknown"
    # Not for good: kstatus takes Stalled for the end.
    assert "Stalled" not in conditions
    row = kube.kubectl("--namespace", subject.namespace, "get", "mcpconnector", subject.name, "--no-headers")
    assert row.split()[1:4] == ["False", "vault", reason]
    subject.wait_for_event("Warning", reason)
    assert subject.pod_identities() == pods


def test_vault_is_sealed(connected: Connector, vault: Vault) -> None:
    agent = agent_of(connected)
    manifest = connector("reporting", vault={"url": vault.url}, probe=PROBE | {"outage": "Report"})
    kube.apply(connected.namespace, manifest)
    reporting = Connector(connected.namespace, "reporting")
    reporting.wait_ready()
    vault.seal()
    is_down(connected, "Sealed")
    # Where the manifest asks for it, an outage is only reported.
    reporting.wait_for("PlatformHealthy", "False", "Sealed", OUTAGE_SECONDS)
    ready = reporting.condition("Ready")
    assert ready["status"] == "True"
    assert "The platform is down" in ready["message"]
    # Agents reach the endpoint all the same, and are told.
    assert agent.answer("get_vault_health")["state"] == "sealed"
    error = error_of(agent.call("list_vault_secrets", path="secret/apps"))
    assert error["code"] == "platform_unavailable"
    assert "sealed" in str(error)
    vault.unseal()
    connected.wait_ready(OUTAGE_SECONDS)
    reporting.wait_for("PlatformHealthy", "True", "Healthy", OUTAGE_SECONDS)


def test_vault_is_stopped(connected: Connector, vault: Vault) -> None:
    agent = agent_of(connected)
    vault.stop()
    is_down(connected, "Unreachable")
    error = error_of(agent.call("list_vault_secrets", path="secret/apps"))
    assert error["code"] == "platform_unavailable"
    # Back, it is sealed first.
    vault.start()
    connected.wait_for("PlatformHealthy", "False", "Sealed", OUTAGE_SECONDS)
    vault.unseal()
    connected.wait_ready(OUTAGE_SECONDS)
    assert agent.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]


def test_vault_is_sealed_for_a_while(namespace: str, own_vault: VaultServer, vault: Vault) -> None:
    role = f"story-{secrets.token_hex(2)}"
    make_role(role, namespace, own_vault)
    kube.apply(
        namespace,
        ca_config_map(own_vault.ca_pem()),
        source(by_role(role), kept(role), at=own_vault),
        connector(vault={"url": vault.url}, probe={"interval": "5s", "outage": "Report"}),
    )
    subject = Connector(namespace)
    subject.wait_ready()
    pods = subject.pod_identities()
    vault.seal()
    # What was fetched stays good: it is said, and nothing is taken away.
    warned = subject.wait_for("CredentialsLoaded", "True", "VaultSealed", 30 + OUTAGE_SECONDS)
    assert "stays in use" in warned["message"]
    vault.unseal()
    subject.wait_for("CredentialsLoaded", "True", "Loaded", 30 + OUTAGE_SECONDS)
    subject.wait_ready(OUTAGE_SECONDS)
    assert subject.pod_identities() == pods


def test_the_token_is_revoked(namespace: str, vault_up: None) -> None:
    deployed = deploy_in(namespace)
    subject = deployed.connector
    vault_server.revoke_token(deployed.token)
    rejected = subject.wait_for("CredentialsAccepted", "False", "Rejected", OUTAGE_SECONDS)
    assert "revoked" in rejected["message"]
    assert subject.condition("Ready")["reason"] == "Rejected"
    assert subject.condition("PlatformHealthy")["reason"] == "TokenInvalid"
    error = error_of(agent_of(subject).call("list_vault_secrets", path="secret/apps"))
    assert error["code"] == "credentials_unavailable"

    def source_tells() -> bool:
        ready = kube.get(namespace, "credentialsource", "vault-reader")["status"]["conditions"][0]
        return (ready["status"], ready["reason"]) == ("False", "UserNotReady")

    eventually("the CredentialSource tells that its user isn't ready", source_tells)
    # A new one mends it, without a restart.
    pods = subject.pod_identities()
    kube.patch(namespace, "secret", "vault-reader", {"stringData": {"token": vault_server.make_token()}})
    subject.wait_ready(OUTAGE_SECONDS)
    assert subject.pod_identities() == pods


def test_the_tokens_policy_is_removed(namespace: str, vault_up: None) -> None:
    vault_server.write_policy(STORY_POLICY, vault_server.READER)
    subject = deploy_in(namespace, token=vault_server.make_token(STORY_POLICY)).connector
    vault_server.delete_policy(STORY_POLICY)
    try:
        missing = subject.wait_for("CredentialsAccepted", "False", "PermissionMissing", OUTAGE_SECONDS)
        assert "policy" in missing["message"]
        assert subject.condition("Ready")["reason"] == "PermissionMissing"
        # Vault itself is well.
        assert subject.condition("PlatformHealthy")["status"] == "True"
        error = error_of(agent_of(subject).call("list_vault_secrets", path="secret/apps"))
        # Vault shows an engine only to those whose policies permit something in it.
        assert error["code"] == "permission_denied", error
        assert "secret/apps" in error["message"], error
        assert "capability list" in error["remedy"], error
    finally:
        vault_server.write_policy(STORY_POLICY, vault_server.READER)
    subject.wait_ready(OUTAGE_SECONDS)
    vault_server.delete_policy(STORY_POLICY)
