"""What a person asks a connector for by annotation, as Argo CD's actions do: a probe, its credentials, new pods; and taking
its pods away for a while."""

import datetime

from conftest import Deploy

from support import kube, vault_server
from support.connector import CREDENTIALS, Connector, secret
from support.install import POLL_SECONDS
from support.waiting import eventually, throughout

# No probe comes by itself while a story runs, so that the first has to have the time that it needs on a busy machine.
SELDOM = {"interval": "1h", "timeout": "10s"}


def ask(vault: Connector, annotation: str, kind: str = "mcpconnector", name: str = "vault") -> str:
    """Sets the annotation to the time now, and returns it."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kube.patch(vault.namespace, kind, name, {"metadata": {"annotations": {f"mcp-connectors.io/{annotation}": now}}})
    return now


def honoured(vault: Connector, request: str, time: str) -> None:
    def look() -> bool:
        return vault.status().get("requests", {}).get(request) == time

    eventually(f"{request} of {time} is honoured", look, timeout=30, explain=vault.explain)


def test_a_probe_that_is_asked_for_finds_out_at_once_and_is_done_once(deploy: Deploy) -> None:
    deployed = deploy(probe=SELDOM)
    vault = deployed.connector
    vault_server.revoke_token(deployed.token)
    honoured(vault, "probe", ask(vault, "probe-requested-at"))
    vault.wait_for("CredentialsAccepted", "False", timeout=30)
    version = vault.object()["metadata"]["resourceVersion"]
    throughout("nothing is written", lambda: vault.object()["metadata"]["resourceVersion"] == version, 3 * POLL_SECONDS)
    assert [event["reason"] for event in kube.events(vault.namespace, "vault")].count("ProbeRequested") == 1


def test_credentials_are_tried_again_for_every_connector_of_a_source(deploy: Deploy) -> None:
    deployed = deploy(probe=SELDOM)
    vault = deployed.connector
    vault_server.revoke_token(deployed.token)
    honoured(vault, "reload", ask(vault, "reload-requested-at", "credentialsource", CREDENTIALS))
    vault.wait_for("CredentialsAccepted", "False", timeout=30)
    kube.apply(vault.namespace, secret(vault_server.make_token()))
    vault.wait_ready()


def test_a_restart_replaces_the_pods_once_and_the_annotation_may_go(deploy: Deploy) -> None:
    vault = deploy().connector
    before = set(vault.pod_identities())
    time = ask(vault, "restarted-at")
    honoured(vault, "restart", time)
    eventually("other pods", lambda: before.isdisjoint(vault.pod_identities()), timeout=90, explain=vault.explain)
    vault.wait_ready()
    after = vault.pod_identities()
    gone = {"metadata": {"annotations": {"mcp-connectors.io/restarted-at": None}}}
    kube.patch(vault.namespace, "mcpconnector", "vault", gone)
    throughout("the pods stay", lambda: vault.pod_identities() == after, seconds=10)


def test_what_is_no_time_is_told_and_does_nothing(deploy: Deploy) -> None:
    vault = deploy().connector
    annotations = {"mcp-connectors.io/restarted-at": "now"}
    before = vault.pod_identities()
    kube.patch(vault.namespace, "mcpconnector", "vault", {"metadata": {"annotations": annotations}})

    def told() -> bool:
        return any(event["reason"] == "RequestRefused" for event in kube.events(vault.namespace, "vault"))

    eventually("it is told", told, timeout=30, explain=vault.explain)
    assert vault.pod_identities() == before


def test_suspended_and_resumed_it_is_as_before(deploy: Deploy) -> None:
    vault = deploy().connector
    vault.change({"suspend": True})
    eventually("no pod is left", lambda: not vault.pods(), timeout=90, explain=vault.explain)
    vault.wait_for("Ready", "False", "Suspended")
    vault.change({"suspend": False})
    vault.wait_ready()
