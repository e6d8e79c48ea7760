"""Somebody else's object has the name that the operator needs: it is left alone, and the connector says so."""

from typing import Any

from support import kube, vault_server
from support.connector import Connector, ca_config_map, connector, secret, source

PORTS = [{"port": 80, "targetPort": 8080}]
FOREIGN: dict[str, dict[str, Any]] = {
    "service": {"apiVersion": "v1", "kind": "Service", "spec": {"selector": {"app": "mine"}, "ports": PORTS}},
    "configmap": {"apiVersion": "v1", "kind": "ConfigMap", "data": {"mine": "untouched"}},
    "serviceaccount": {"apiVersion": "v1", "kind": "ServiceAccount"},
}


def test_foreign_objects_are_left_untouched(namespace: str, vault_up: None) -> None:
    # A connector of its own for each kind: they are waited for together.
    kube.apply(namespace, *[manifest | {"metadata": {"name": f"mcp-{kind}"}} for kind, manifest in FOREIGN.items()])
    before = {kind: kube.get(namespace, kind, f"mcp-{kind}")["metadata"]["resourceVersion"] for kind in FOREIGN}
    kube.apply(namespace, secret(vault_server.make_token()), ca_config_map(vault_server.ca_pem()), source())
    kube.apply(namespace, *[connector(kind) for kind in FOREIGN])
    for kind, manifest in FOREIGN.items():
        vault = Connector(namespace, kind)
        taken = vault.wait_for("Accepted", "False", "NameTaken")
        assert f"{manifest['kind']} mcp-{kind} exists" in taken["message"]
        assert "left untouched" in taken["message"]
        assert vault.conditions()["Stalled"]["status"] == "True"
        assert kube.get(namespace, kind, f"mcp-{kind}")["metadata"]["resourceVersion"] == before[kind]
    for kind in FOREIGN:
        kube.delete(namespace, kind, f"mcp-{kind}")
    for kind in FOREIGN:
        Connector(namespace, kind).wait_for("Accepted", "True", "Accepted")


def test_a_connector_takes_up_no_object_of_another_one(namespace: str, vault_up: None) -> None:
    # The labels of the operator are not enough where somebody else is named as the owner.
    kube.apply(namespace, secret("x"), ca_config_map(vault_server.ca_pem()), source(), connector("other"))
    owner = kube.get(namespace, "mcpconnector", "other")["metadata"]
    reference = {"apiVersion": "mcp-connectors.io/v1alpha1", "kind": "McpConnector", "controller": True}
    labels = {"app.kubernetes.io/managed-by": "mcp-connectors", "mcp-connectors.io/connector": "vault"}
    metadata = {
        "name": "mcp-vault",
        "labels": labels,
        "ownerReferences": [reference | {"name": "other", "uid": owner["uid"]}],
    }
    kube.apply(namespace, FOREIGN["configmap"] | {"metadata": metadata})
    kube.apply(namespace, connector())
    taken = Connector(namespace).wait_for("Accepted", "False", "NameTaken")
    assert "McpConnector other" in taken["message"]
    assert kube.get(namespace, "configmap", "mcp-vault")["data"] == {"mine": "untouched"}
