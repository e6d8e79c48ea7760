"""A connector that is managed from git by a real Argo CD, in each of the ways in which Argo CD compares."""

import os
import time
from collections.abc import Iterator

import pytest
from conftest import new_namespace

from support import argocd_server, kube, vault_server
from support.agent import agent_of, error_of
from support.argocd_server import MODES, Application
from support.audit import AuditLog
from support.connector import PROBE, Connector, ca_config_map, connector, owned_objects, secret, source
from support.waiting import eventually

# How long nothing may move, once an application is there.
QUIET_SECONDS = int(os.environ.get("QUIET_SECONDS", "10"))


pytestmark = pytest.mark.usefixtures("beside_others_at_argocd")


@pytest.fixture(params=MODES)
def application(request: pytest.FixtureRequest, beside_others_at_argocd: None, vault_up: None) -> Iterator[Application]:
    """An application with a connector that works."""
    namespace = new_namespace("gitops")
    # A Secret has no place in git.
    kube.apply(namespace, secret(vault_server.make_token()))
    application = Application(namespace, namespace)
    application.commit(ca_config_map(vault_server.ca_pem()), source(), connector())
    application.create(**MODES[request.param])
    yield application
    application.delete()
    kube.delete_namespace(namespace)


def test_an_application_is_healthy_when_its_connector_answers_and_stays_so(application: Application) -> None:
    vault = Connector(application.namespace)
    application.wait_for("Synced", "Healthy")
    # Argo CD did not call it healthy too early.
    assert vault.conditions()["Ready"]["status"] == "True"
    assert application.resource_health("McpConnector")["status"] == "Healthy"
    # A first look at the platform may end before all of it was seen, where the machine is slow; the next one sees it.
    eventually("all is known", lambda: "not known" not in vault.conditions()["PlatformHealthy"]["message"], 60)

    history = application.history()
    log = AuditLog.from_now()
    time.sleep(QUIET_SECONDS)
    assert application.states() == ("Synced", "Healthy")
    assert application.history() == history, "Argo CD synced again though git is the same"
    assert log.writes(application.namespace) == []

    # Somebody changes it by hand.
    vault.change({"suspend": True, "probe": {"interval": "1h"}})
    eventually("git wins", lambda: vault.object()["spec"]["probe"] == PROBE, 60)
    # What git says nothing about is the cluster's own.
    assert vault.object()["spec"]["suspend"] is True
    application.wait_for("Synced", "Suspended")
    assert application.resource_health("McpConnector")["status"] == "Suspended"
    vault.change({"suspend": None})
    application.wait_for("Synced", "Healthy")


def test_a_broken_connector_is_degraded_in_our_words_and_comes_back(application: Application) -> None:
    application.wait_for("Synced", "Healthy")
    application.commit(source(hosts=("elsewhere.example.com",)))
    application.refresh()
    application.wait_for("Synced", "Degraded")
    health = application.resource_health("McpConnector")
    assert health["status"] == "Degraded"
    assert health["message"].startswith("HostNotAllowed: ") and "vault.vault.svc" in health["message"]

    application.commit(source())
    application.refresh()
    application.wait_for("Synced", "Healthy")


def test_an_application_that_is_deleted_leaves_nothing(application: Application) -> None:
    application.wait_for("Synced", "Healthy")
    application.delete()
    vault = Connector(application.namespace)
    assert kube.find(application.namespace, "mcpconnector", vault.name) is None
    eventually("everything owned is gone", lambda: not owned_objects(vault), 60)


def test_a_connector_manages_the_argo_cd_that_manages_it(namespace: str) -> None:
    """Its own application is listed, compared and synced; and what it may not do to it is said, and by whom."""
    rules = [
        {"namespace": namespace, "serviceAccount": "keeper", "mutations": True},
        {"namespace": namespace, "serviceAccount": "reader"},
    ]
    manifest = argocd_server.connector(
        access={"allow": rules}, tools={"mutations": "Confirm", "allow": ["*", "delete_argocd_app"]}
    )
    for name in ("keeper", "reader"):
        kube.apply(namespace, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
    kube.apply(namespace, argocd_server.credentials())
    own = Application(namespace, namespace)
    own.commit(argocd_server.ca(), argocd_server.source(), manifest)
    own.create()
    own.sync()
    try:
        subject, app = Connector(namespace, "argocd"), {"app": own.name}
        keeper, reader = (agent_of(subject, service_account=name) for name in ("keeper", "reader"))
        (listed,) = reader.answer("list_argocd_apps", name_contains=own.name)["items"]
        assert (listed["sync_status"], listed["health_status"]) == ("Synced", "Healthy")
        (itself,) = reader.answer("get_argocd_app_resources", **app, kind="McpConnector")["items"]
        assert (itself["name"], itself["health"]["status"]) == ("argocd", "Healthy")

        manifest["spec"]["probe"] = PROBE | {"interval": "7s"}
        own.commit(manifest)
        assert keeper.answer("refresh_argocd_app", **app)["sync"]["status"] == "OutOfSync"
        (changed,) = reader.answer("get_argocd_diff", **app)["resources"]
        assert (changed["kind"], changed["name"]) == ("McpConnector", "argocd")
        assert [path["path"].endswith("interval") for path in changed["paths"]] == [True]

        assert "sync_argocd_app" not in reader.tools()
        planned = keeper.answer("sync_argocd_app", **app, wait_seconds=20)
        # Its pods are replaced by what it does; the one that does it finishes first.
        done = keeper.answer("sync_argocd_app", **app, wait_seconds=20, confirm=True, plan=planned["plan"])
        assert (done["result"]["triggered"], done["result"]["finished"]) == (True, True)
        own.wait_for("Synced", "Healthy")
        assert subject.object()["spec"]["probe"]["interval"] == "7s"
        subject.wait_ready()
        assert reader.answer("get_argocd_app_status", **app)["sync"]["status"] == "Synced"

        # The connector offers it, and Argo CD does not allow it to the connector's account.
        planned = keeper.answer("delete_argocd_app", **app, confirm_name=own.name)
        error = error_of(
            keeper.call("delete_argocd_app", **app, confirm_name=own.name, confirm=True, plan=planned["plan"])
        )
        assert (error["code"], "applications, delete" in error["remedy"]) == ("permission_denied", True), error
        assert own.states() == ("Synced", "Healthy")
    finally:
        own.delete()
