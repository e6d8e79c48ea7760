"""The Secret is rotated while agents call: every replica goes over to the new token, and nobody notices."""

from conftest import Deploy

from support import kube, vault_server
from support.agent import Endpoint, calling_all_the_time
from support.waiting import eventually


def test_rotation_with_both_tokens_valid_fails_no_call(deploy: Deploy) -> None:
    deployed = deploy(workload={"replicas": 2})
    vault = deployed.connector
    # Also when the second replica is up.
    eventually("both replicas run", lambda: vault.status().get("readyReplicas") == 2, explain=vault.explain)
    vault.wait_ready()
    before, pods = vault.status()["credentials"], vault.pod_identities()
    assert (before["replicas"], before["loadedReplicas"]) == (2, 2)
    endpoint, token = Endpoint.of(vault), vault.token()

    with calling_all_the_time(endpoint, token, "list_vault_secrets", keep_alive=False, path="secret/apps") as traffic:
        eventually("calls are made", lambda: traffic.calls > 10)
        kube.patch(vault.namespace, "secret", "vault-reader", {"stringData": {"token": vault_server.make_token()}})

        def rotated() -> bool:
            now = vault.status()["credentials"]
            return bool(now["revision"] != before["revision"] and now["loadedReplicas"] == now["replicas"] == 2)

        eventually("all replicas run on the new revision", rotated, explain=vault.explain)
        vault.wait_ready()
        # The old token goes only now, as a careful rotation does it; nothing uses it any more.
        vault_server.revoke_token(deployed.token)
        after = traffic.calls
        eventually("calls are made without the old token", lambda: traffic.calls > after + 40)
    assert traffic.failures == []
    assert vault.pod_identities() == pods
    # What is shown of a revision says nothing about the token.
    assert len(vault.status()["credentials"]["revision"]) == 8
    assert vault.condition("CredentialsLoaded")["reason"] == "Loaded"
