"""Pods are replaced while agents call: no call fails, over old connections as over new ones."""

from typing import Any

from conftest import Deploy

from support import kube
from support.agent import Endpoint, calling_all_the_time
from support.connector import Connector
from support.waiting import eventually

CALL: dict[str, Any] = {"path": "secret/apps"}


def test_a_rolling_restart_fails_no_call(deploy: Deploy) -> None:
    vault = deploy(workload={"replicas": 2}).connector
    eventually("both replicas run", lambda: vault.status().get("readyReplicas") == 2, explain=vault.explain)
    endpoint, token, pods = Endpoint.of(vault), vault.token(), set(vault.pod_identities())
    with (
        calling_all_the_time(endpoint, token, "list_vault_secrets", keep_alive=False, **CALL) as anew,
        calling_all_the_time(endpoint, token, "list_vault_secrets", keep_alive=True, **CALL) as kept,
    ):
        eventually("calls are made", lambda: min(anew.calls, kept.calls) > 10)
        vault.change({"workload": {"annotations": {"example.com/rolled": "1"}}})
        _is_rolled(vault, pods)
        seen = anew.calls, kept.calls
        eventually("calls go on", lambda: anew.calls > seen[0] + 10 and kept.calls > seen[1] + 10)
    assert anew.failures == []
    assert kept.failures == []
    vault.wait_ready()


def _is_rolled(vault: Connector, before: set[str]) -> None:
    def look() -> bool:
        running = {pod["metadata"]["uid"] for pod in kube.items(vault.namespace, "pods", vault.selector)}
        status = vault.deployment()["status"]
        return not running & before and status.get("readyReplicas") == status.get("updatedReplicas") == 2

    eventually("every pod is a new one, and the old ones are gone", look, timeout=180, explain=vault.explain)


def test_a_changed_spec_goes_over_to_new_pods_without_a_gap(deploy: Deploy) -> None:
    vault = deploy().connector
    endpoint, token, pods = Endpoint.of(vault), vault.token(), set(vault.pod_identities())
    with calling_all_the_time(endpoint, token, "get_vault_health", keep_alive=False) as traffic:
        vault.change({"tools": {"allow": ["get_vault_health"]}})
        status = vault.wait_ready()
        # Ready means: this generation's configuration, on every replica.
        assert status["tools"]["count"] == 1
        assert not set(vault.pod_identities()) & pods
    assert traffic.failures == []
