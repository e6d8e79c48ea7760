"""Pods can't start: the connector says why once, and then the operator is quiet."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import new_namespace

from support import kube, vault_server
from support.audit import AuditLog
from support.connector import Connector, ca_config_map, connector, secret, source
from support.waiting import eventually

QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "no-pods"},
    "spec": {"hard": {"pods": "0"}},
}
# What stands in the way, the reason that is told, and words of its message.
CASES: dict[str, tuple[dict[str, Any], list[kube.Manifest], str, str]] = {
    "no node matches": ({"nodeSelector": {"example.com/disk": "none"}}, [], "Unschedulable", "matches its constraints"),
    "no node has room": ({"resources": {"requests": {"memory": "900Ti"}}}, [], "Unschedulable", "No node has room"),
    "a quota": ({}, [QUOTA], "PodsRefused", "exceeded quota"),
    # Less than the runtime needs to start any program.
    "no memory": ({"resources": {"limits": {"memory": "3Mi"}}}, [], "CrashLooping", "memory limit may be too small"),
}


@pytest.fixture
def namespaces(vault_up: None) -> Iterator[dict[str, str]]:
    """A namespace for each case: they are waited for together."""
    made = {case: new_namespace(case) for case in CASES}
    yield made
    for name in made.values():
        kube.delete_namespace(name)


def test_it_is_said_once(namespaces: dict[str, str]) -> None:
    for case, namespace in namespaces.items():
        workload, others, _, _ = CASES[case]
        if others:
            kube.apply(namespace, *others)
            eventually("the quota counts", lambda: kube.get(namespace, "resourcequota", "no-pods").get("status"))  # noqa: B023
        kube.apply(namespace, secret(vault_server.make_token()), ca_config_map(vault_server.ca_pem()), source())
        kube.apply(namespace, connector(workload=workload))
    for case, namespace in namespaces.items():
        _is_told(Connector(namespace), case)

    time.sleep(3)
    log = AuditLog.from_now()
    # Longer than the operator's poll, and than the kubelet waits before it starts a container again that has crashed.
    time.sleep(20)
    for case, namespace in namespaces.items():
        assert log.writes(namespace) == [], case
        warnings = [event for event in kube.events(namespace, "vault") if event["reason"] == CASES[case][2]]
        assert len(warnings) == 1, case
        assert (warnings[0].get("series") or {}).get("count", 1) <= 2, case

    for case, namespace in namespaces.items():
        _is_mended(Connector(namespace), quota=bool(CASES[case][1]))
    for namespace in namespaces.values():
        Connector(namespace).wait_ready()


def _is_told(vault: Connector, case: str) -> None:
    _, _, reason, words = CASES[case]
    # With so little memory, the pod's sandbox may take several tries, too.
    available = vault.wait_for("Available", "False", reason, timeout=240)
    assert words in available["message"]
    ready = vault.wait_for("Ready", "False", reason)
    assert ready["message"] == available["message"]
    # A cluster that gets a new node heals it: nothing for a person to unblock in the connector.
    assert "Stalled" not in vault.conditions()


def _is_mended(vault: Connector, quota: bool) -> None:
    if quota:
        kube.delete(vault.namespace, "resourcequota", "no-pods")
        # The Deployment's controller waits longer and longer; a change lets it try at once.
        kube.kubectl("--namespace", vault.namespace, "rollout", "restart", f"deployment/{vault.owned}")
    else:
        vault.change({"workload": None})


def test_a_bad_change_leaves_the_good_pods_in_place(namespace: str, vault_up: None) -> None:
    kube.apply(
        namespace, secret(vault_server.make_token()), ca_config_map(vault_server.ca_pem()), source(), connector()
    )
    vault = Connector(namespace)
    vault.wait_ready()
    pods = set(vault.pod_identities())
    vault.change({"workload": {"nodeSelector": {"example.com/disk": "none"}}})
    pending = vault.wait_for("EndpointReady", "False", "ConfigurationPending")
    assert "can't be replaced" in pending["message"]
    conditions = vault.conditions()
    # Agents are still served by the pods from before.
    assert conditions["Available"]["status"] == "True"
    assert pods <= set(vault.pod_identities())
    vault.change({"workload": None})
    vault.wait_ready()
