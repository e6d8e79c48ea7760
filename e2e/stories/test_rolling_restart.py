"""Pods are replaced while agents call: no call fails, over old connections as over new ones.

ROLLING_RESTARTS=20    how often all pods are replaced; once if unset
"""

import os
from typing import Any

from conftest import Deploy

from support import kube
from support.agent import Endpoint, calling_all_the_time
from support.connector import Connector
from support.waiting import eventually

RESTARTS = int(os.environ.get("ROLLING_RESTARTS", "1"))
CALL: dict[str, Any] = {"path": "secret/apps"}


def test_a_rolling_restart_fails_no_call(deploy: Deploy) -> None:
    vault = deploy(workload={"replicas": 2}).connector
    eventually("both replicas run", lambda: vault.status().get("readyReplicas") == 2, explain=vault.explain)
    endpoint, token = Endpoint.of(vault), vault.token()
    with (
        calling_all_the_time(endpoint, token, "list_vault_secrets", keep_alive=False, **CALL) as anew,
        calling_all_the_time(endpoint, token, "list_vault_secrets", keep_alive=True, **CALL) as kept,
    ):
        eventually("calls are made", lambda: min(anew.calls, kept.calls) > 10)
        for number in range(RESTARTS):
            pods = set(vault.pod_identities())
            vault.change({"workload": {"annotations": {"prometheus.io/path": f"/{number}"}}})
            _is_rolled(vault, pods)
        seen = anew.calls, kept.calls
        eventually("calls go on", lambda: anew.calls > seen[0] + 10 and kept.calls > seen[1] + 10)
    print(f"  {RESTARTS} restarts, {anew.calls} calls over new connections and {kept.calls} over one that is kept")
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
