"""The Secret comes late, in parts, or wrong: the conditions say so one after the other, and nobody touches the
connector."""

from support import kube, vault_server
from support.agent import agent_of, error_of
from support.connector import Connector, ca_config_map, connector, secret, source


def prepare(namespace: str) -> Connector:
    """Everything but the Secret."""
    kube.apply(namespace, ca_config_map(vault_server.ca_pem()), source(), connector())
    return Connector(namespace)


def test_from_no_secret_to_a_good_one(namespace: str, vault_up: None) -> None:
    vault = prepare(namespace)
    generation = vault.object()["metadata"]["generation"]

    # No Secret: the pod runs, answers, and says what is missing.
    missing = vault.wait_for("CredentialsLoaded", "False", "NoFields")
    assert "make the Secret" in missing["message"]
    assert "token" in missing["message"]
    # A ready pod is counted as available a moment later.
    vault.wait_for("Available", "True")
    vault.wait_for("EndpointReady", "True")
    vault.wait_for("PlatformHealthy", "True", "NoCredentials")
    conditions = vault.conditions()
    assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("False", "NoFields")
    assert conditions["CredentialsAccepted"]["status"] == "Unknown"
    # Only a person's patience is asked for: the Secret may come at any time.
    assert "Stalled" not in conditions
    agent = agent_of(vault)
    assert agent.answer("get_vault_health")["state"] == "active"
    error = error_of(agent.call("list_vault_secrets", path="secret/apps"))
    assert error["code"] == "credentials_unavailable"
    pods = vault.pod_identities()

    # A Secret without the key.
    other = secret("x")
    other["stringData"] = {"other": "x"}
    kube.apply(namespace, other)
    vault.wait_for("CredentialsLoaded", "False")

    # The key without content.
    kube.patch(namespace, "secret", "vault-reader", {"stringData": {"token": ""}})
    empty = vault.wait_for("CredentialsLoaded", "False", "FieldMissing")
    assert "token" in empty["message"]

    # A token that Vault does not know.
    kube.patch(namespace, "secret", "vault-reader", {"stringData": {"token": "hvs.nobody-gave-this-out"}})
    vault.wait_for("CredentialsLoaded", "True", "Loaded")
    rejected = vault.wait_for("CredentialsAccepted", "False", "Rejected")
    assert "put a new one into the connector's credentials" in rejected["message"]
    assert "hvs." not in str(vault.status())

    # A good one.
    kube.patch(namespace, "secret", "vault-reader", {"stringData": {"token": vault_server.make_token()}})
    vault.wait_ready()
    assert agent_of(vault).answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
    # Nothing was restarted, and nobody touched the connector.
    assert vault.pod_identities() == pods
    assert vault.object()["metadata"]["generation"] == generation


def test_a_token_with_a_trailing_newline(namespace: str, vault_up: None) -> None:
    vault = prepare(namespace)
    kube.apply(namespace, secret(vault_server.make_token() + "\n"))
    vault.wait_ready()


def test_a_token_of_two_lines(namespace: str, vault_up: None) -> None:
    vault = prepare(namespace)
    token = vault_server.make_token()
    kube.apply(namespace, secret(f"{token}\nsecond-line"))
    invalid = vault.wait_for("CredentialsLoaded", "False", "FieldInvalid")
    assert "token" in invalid["message"]
    assert token not in str(vault.object())
    assert "second-line" not in str(vault.status())


def test_a_secret_that_goes_away_leaves_the_loaded_token_in_use(namespace: str, vault_up: None) -> None:
    vault = prepare(namespace)
    kube.apply(namespace, secret(vault_server.make_token()))
    vault.wait_ready()
    kube.delete(namespace, "secret", "vault-reader")
    gone = vault.wait_for("CredentialsLoaded", "False", "NoFields")
    assert "stay in use" in gone["message"]
    # A set that can't be used never replaces one that can.
    assert agent_of(vault).answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
    assert vault.condition("CredentialsAccepted")["status"] == "True"
