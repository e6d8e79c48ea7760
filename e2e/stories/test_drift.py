"""Somebody changes what the operator owns: it is put back, and what isn't the operator's stays."""

from conftest import Deployed

from support import kube
from support.connector import Connector
from support.waiting import eventually


def test_an_owned_service_is_put_back(running: Deployed) -> None:
    vault = running.connector
    change = {"spec": {"selector": {"app.kubernetes.io/name": "somebody-else"}}}
    kube.patch(vault.namespace, "service", vault.owned, change)

    def is_back() -> bool:
        selector = kube.get(vault.namespace, "service", vault.owned)["spec"]["selector"]
        return bool(selector["app.kubernetes.io/name"] == "mcp-connector")

    eventually("the selector is put back", is_back, timeout=30)


def test_a_configuration_that_was_edited_is_put_back(running: Deployed) -> None:
    vault = running.connector
    before = kube.get(vault.namespace, "configmap", vault.owned)["data"]
    kube.patch(vault.namespace, "configmap", vault.owned, {"data": {"config.json": "{}"}})

    def is_back() -> bool:
        return bool(kube.get(vault.namespace, "configmap", vault.owned)["data"] == before)

    eventually("the configuration is put back", is_back, timeout=30)


def test_what_was_deleted_comes_back(running: Deployed) -> None:
    vault = running.connector
    for kind in ("configmap", "networkpolicy", "serviceaccount", "service", "deployment"):
        uid = kube.get(vault.namespace, kind, vault.owned)["metadata"]["uid"]
        kube.delete(vault.namespace, kind, vault.owned)
        eventually(f"the {kind} is back", lambda: _is_new(vault, kind, uid), timeout=30)  # noqa: B023
    vault.wait_ready()


def _is_new(vault: Connector, kind: str, uid: str) -> bool:
    found = kube.find(vault.namespace, kind, vault.owned)
    return found is not None and found["metadata"]["uid"] != uid


def test_what_others_add_stays(running: Deployed) -> None:
    vault = running.connector
    note = {"metadata": {"annotations": {"example.com/note": "ours"}, "labels": {"example.com/team": "a"}}}
    kube.patch(vault.namespace, "service", vault.owned, note)
    vault.change({"workload": {"annotations": {"prometheus.io/path": "/changed"}}})
    vault.wait_ready()
    metadata = kube.get(vault.namespace, "service", vault.owned)["metadata"]
    assert metadata["annotations"]["example.com/note"] == "ours"
    assert metadata["labels"]["example.com/team"] == "a"
