"""The connector's identity in Vault ends: the conditions and the tools say so, and a new one is enough."""

import secrets
from collections.abc import Iterator

import pytest
from conftest import deploy_in

from support import kube, vault_server
from support.agent import agent_of, error_of
from support.connector import OUTAGE_SECONDS, Connector, ca_config_map, connector, source

# Long enough to become ready: for its last 30 seconds a token that can't be renewed is a finding of its own.
TOKEN_SECONDS = 75
# A token of the role is renewed until it is this old, and then logged in for again.
LOGIN_SECONDS = 30


def test_a_token_ends(namespace: str, vault_up: None) -> None:
    token = vault_server.make_token(ttl=f"{TOKEN_SECONDS}s", renewable=False)
    subject = deploy_in(namespace, token=token).connector
    agent, pods = agent_of(subject), subject.pod_identities()
    expiring = subject.wait_for("PlatformHealthy", "False", "TokenExpiring", TOKEN_SECONDS)
    assert "token" in expiring["message"]
    # It works to the end.
    assert agent.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]

    expired = subject.wait_for("CredentialsAccepted", "False", "Expired", OUTAGE_SECONDS + 30)
    assert "token" in expired["message"]
    assert subject.wait_for("Ready", "False", "Expired", OUTAGE_SECONDS)["message"] == expired["message"]
    error = error_of(agent.call("list_vault_secrets", path="secret/apps"))
    assert error["code"] == "credentials_unavailable"
    assert "token" in error["remedy"]

    kube.patch(namespace, "secret", "vault-reader", {"stringData": {"token": vault_server.make_token()}})
    subject.wait_ready(OUTAGE_SECONDS)
    assert agent.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
    assert subject.pod_identities() == pods


@pytest.fixture
def role() -> Iterator[str]:
    """Name of an AppRole with tokens that don't live long."""
    name = f"story-{secrets.token_hex(2)}"
    yield name
    vault_server.delete_app_role(name)


def test_an_app_role_logs_in_until_its_secret_id_is_revoked(namespace: str, vault_up: None, role: str) -> None:
    role_id = vault_server.make_app_role(role, token_ttl="20s", token_max_ttl=f"{LOGIN_SECONDS}s")
    secret_id = vault_server.make_secret_id(role)
    fields = {"role_id": role_id, "secret_id": secret_id}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault-reader"}, "stringData": fields}
    items = {field: field for field in fields}
    kube.apply(namespace, secret, ca_config_map(vault_server.ca_pem()), source(items=items))
    kube.apply(namespace, connector(vault={"auth": {"appRole": {}}}))
    subject = Connector(namespace)
    subject.wait_ready()
    agent, pods = agent_of(subject), subject.pod_identities()
    assert agent.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]

    vault_server.destroy_secret_id(role, secret_id)
    # The token that was logged in for is good until it ends; then there is no other.
    rejected = subject.wait_for("CredentialsAccepted", "False", "Rejected", LOGIN_SECONDS + OUTAGE_SECONDS)
    assert "secret id" in rejected["message"]
    subject.wait_for("Ready", "False", "Rejected", OUTAGE_SECONDS)
    assert subject.condition("PlatformHealthy")["reason"] == "LoginRejected"
    error = error_of(agent.call("list_vault_secrets", path="secret/apps"))
    assert error["code"] == "credentials_unavailable"
    assert secret_id not in str(subject.object()) + str(error)

    new = {"stringData": {"secret_id": vault_server.make_secret_id(role)}}
    kube.patch(namespace, "secret", "vault-reader", new)
    subject.wait_ready(OUTAGE_SECONDS)
    assert agent.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
    assert subject.pod_identities() == pods
