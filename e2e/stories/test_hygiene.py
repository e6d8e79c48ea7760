"""Secrets stay where they belong: not in logs, events, statuses, or what kubectl shows, whatever happens to them."""

import json

from conftest import Deploy

from support import kube, vault_server
from support.agent import agent_of
from support.connector import CREDENTIALS, OUTAGE_SECONDS, changed_by_agents
from support.operator import MAIN

WRITTEN = "planted-write-5d1c77aa"
GENERATED_KEY = "made_up_on_the_way"


def test_no_credential_is_told_anywhere(deploy: Deploy, namespace: str) -> None:
    deployed = deploy(
        tools={"mutations": "Confirm"},
        access=changed_by_agents(namespace),
        vault={"releaseValues": [{"path": "secret/apps/*", "keys": ["password"]}]},
    )
    vault, first = deployed.connector, deployed.token
    caller = vault.token()
    agent = agent_of(vault)
    # Values travel in both directions, as a manifest allowed it.
    assert (
        agent.answer("read_vault_secret", path="secret/apps/web", key="password")["value"] == vault_server.SECRET_VALUE
    )
    refused = agent.call("write_vault_secret", path="secret/apps/new", data={"password": WRITTEN}, confirm=True)
    assert refused.is_error  # The reader's policy doesn't let it.
    agent.call("read_vault_secret", path=f"secret/{WRITTEN}")
    # A token that ends badly is told about, too.
    second = "hvs.planted-bad-token-9c1e"
    kube.patch(vault.namespace, "secret", "vault-reader", {"stringData": {"token": second}})
    vault.wait_for("CredentialsAccepted", "False", "Rejected", OUTAGE_SECONDS)
    agent.call("list_vault_secrets", path="secret/apps")

    planted = {first, second, caller, vault_server.SECRET_VALUE}
    places = {
        "the log of its pods": kube.kubectl(
            "--namespace", vault.namespace, "logs", "--selector", vault.selector, "--tail=-1"
        ),
        "the operator's log": MAIN.log(),
        "events": json.dumps(kube.items(vault.namespace, "events")),
        "objects": json.dumps(
            kube.items(vault.namespace, "mcpconnectors,credentialsources,deployments,pods,configmaps")
        ),
    }
    assert "list_vault_secrets" in places["the log of its pods"], "the audit record of a call is there"
    for place, text in places.items():
        for value in (*planted, WRITTEN):
            assert value not in text, f"a planted value is in {place}"
        # Not even a part of it.
        assert first[4:20] not in text, f"a part of the token is in {place}"


def test_a_connector_gets_at_its_own_credentials_only(deploy: Deploy) -> None:
    vault = deploy().connector
    (pod,) = vault.pods()
    account = pod["spec"]["serviceAccountName"]
    assert account == vault.owned
    # What every account may ask is which APIs there are, who it is, and since Kubernetes 1.37 which authorities the cluster trusts
    # (`system:cluster-trust-bundle-discovery` in `bootstrappolicy/policy.go`): public certificates, and nothing else that is kept.
    caller = f"system:serviceaccount:{vault.namespace}:{account}"
    groups = [f"--as-group={group}" for group in ("system:serviceaccounts", "system:authenticated")]
    allowed = kube.kubectl("--namespace", vault.namespace, "auth", "can-i", "--list", f"--as={caller}", *groups)
    resources = {line.split()[0]: line for line in allowed.splitlines()[1:] if not line.startswith(" ")}
    trusted = resources.pop("clustertrustbundles.certificates.k8s.io", "[get list watch]")
    assert trusted.endswith("[get list watch]"), allowed
    assert resources and all(resource.endswith((".authorization.k8s.io", ".authentication.k8s.io")) for resource in resources), allowed
    # The kubelet mounts what the CredentialSource names, and of the cluster's own nothing.
    named = {volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume}
    assert named == {CREDENTIALS}, pod["spec"]["volumes"]
    assert pod["spec"]["automountServiceAccountToken"] is False
