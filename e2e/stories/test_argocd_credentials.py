"""A connector to a real Argo CD from the sample, and with credentials that end, are wrong, or are a user's."""

import secrets
from collections.abc import Iterator

import pytest
import yaml
from conftest import new_namespace
from testcluster import argocd

from support import argocd_server, kube
from support.agent import agent_of, error_of, text_of
from support.argocd_server import Application
from support.connector import OUTAGE_SECONDS, Connector
from support.machine import ROOT
from support.waiting import eventually

SAMPLE = ROOT / "config" / "samples" / "argocd.yaml"

pytestmark = pytest.mark.usefixtures("beside_others_at_argocd")


@pytest.fixture
def listed(beside_others_at_argocd: None) -> Iterator[Application]:
    """An application that a connector with good credentials can list."""
    namespace = new_namespace("argocd-listed")
    with argocd_server.running(f"listed-{secrets.token_hex(2)}", namespace) as application:
        yield application
    kube.delete_namespace(namespace)


def test_the_sample_becomes_an_endpoint(namespace: str) -> None:
    payments = Application("payments", namespace)
    payments.commit(*argocd_server.workload("payments", "hello"))
    payments.create()
    payments.sync()
    try:
        kube.apply(namespace, argocd_server.credentials(), argocd_server.ca())
        kube.apply(namespace, *yaml.safe_load_all(SAMPLE.read_text()))
        subject = Connector(namespace, "argocd")
        status = subject.wait_ready()
        assert status["platform"]["type"] == "argoCd"
        assert status["platform"]["version"].startswith(f"v{argocd.VERSION}")
        assert argocd.ACCOUNT in subject.condition("CredentialsAccepted")["message"]
        tools = agent_of(subject).tools()
        assert "get_argocd_app_status" in tools
        # Read-only is what nobody asked to change.
        assert "sync_argocd_app" not in tools
        error = error_of(agent_of(subject).call("sync_argocd_app", app="payments", confirm=True))
        assert "spec.tools.mutations" in error["remedy"]
        # Whoever looks at the connector sees that what it stands for is not well.
        payments.commit(*argocd_server.workload("payments", "hello", fails=True))
        argocd.api("POST", "v1/applications/payments/sync", {})
        payments.wait_for("Synced", "Degraded")
        told = eventually(
            "the connector tells of it",
            lambda: (found := subject.condition("PlatformHealthy"))["reason"] == "ApplicationsUnhealthy" and found,
            # The sample probes at the usual interval.
            120,
        )
        assert "payments" in told["message"]
    finally:
        payments.delete()


def test_a_token_that_is_revoked_is_replaced_without_a_restart(namespace: str, listed: Application) -> None:
    secret = argocd_server.credentials()
    subject = argocd_server.deploy_in(namespace, secret=secret)
    argocd_server.revoke(secret["stringData"]["token"])
    subject.wait_for("CredentialsAccepted", "False", "Rejected", OUTAGE_SECONDS)
    assert subject.condition("PlatformHealthy")["reason"] == "TokenRejected"
    error = error_of(agent_of(subject).call("list_argocd_apps"))
    assert error["code"] == "credentials_unavailable"
    assert secret["stringData"]["token"] not in str(error)
    pods = subject.pod_identities()
    kube.apply(namespace, argocd_server.credentials())
    subject.wait_ready()
    assert subject.pod_identities() == pods
    assert listed.name in text_of(agent_of(subject).call("list_argocd_apps"))


def test_user_and_password_log_in(namespace: str, listed: Application, argocd_up: str) -> None:
    given = {"username": argocd.ACCOUNT, "password": argocd_up}
    subject = argocd_server.deploy_in(namespace, secret=argocd_server.credentials(**given))
    assert listed.name in text_of(agent_of(subject).call("list_argocd_apps"))
    kube.apply(namespace, argocd_server.credentials(username=argocd.ACCOUNT, password="not-the-password"))
    # The session of the right password goes on working; that the new one is wrong is told at once.
    told = subject.wait_for("CredentialsAccepted", "False", "Rejected", OUTAGE_SECONDS + 60)
    assert "not-the-password" not in str(told)
    assert subject.condition("PlatformHealthy")["reason"] in ("LoginRejected", "LoginLockedOut")
    assert listed.name in text_of(agent_of(subject).call("list_argocd_apps"))
