"""A connector that is managed from git by a real Argo CD, in each of the ways in which Argo CD compares."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from conftest import new_namespace
from testcluster import argocd

from support import kube, vault_server
from support.audit import AuditLog
from support.connector import PROBE, Connector, ca_config_map, connector, owned_objects, secret, source
from support.kube import Manifest
from support.waiting import eventually

# How long nothing may move, once an application is there.
QUIET_SECONDS = 30
MODES = {
    "client-side": {},
    "server-side apply": {"syncOptions": ["ServerSideApply=true"]},
    "server-side diff": {
        "syncOptions": ["ServerSideApply=true"],
        "annotations": {"argocd.argoproj.io/compare-options": "ServerSideDiff=true"},
    },
}


@pytest.fixture(scope="module", autouse=True)
def argo(argocd_up: None) -> None:
    """Every story here needs Argo CD."""


class Application:
    """An application of Argo CD whose manifests are in git."""

    def __init__(self, namespace: str, mode: dict[str, Any]) -> None:
        self.name = self.path = namespace
        self.namespace = namespace
        policy = {
            "automated": {"prune": True, "selfHeal": True},
            "syncOptions": mode.get("syncOptions", []),
        }
        self.manifest: Manifest = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {
                "name": self.name,
                "finalizers": ["resources-finalizer.argocd.argoproj.io"],
                "annotations": mode.get("annotations", {}),
            },
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": argocd.repository_url("connectors"),
                    "path": self.path,
                    "targetRevision": "main",
                },
                "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
                "syncPolicy": policy,
            },
        }

    def commit(self, *manifests: Manifest) -> str:
        """Puts these manifests into git, in place of those of the same file."""
        files: dict[str, str | None] = {
            f"{self.path}/{manifest['kind'].lower()}.yaml": yaml.safe_dump(manifest) for manifest in manifests
        }
        return argocd.commit("connectors", files)

    def object(self) -> Manifest:
        return kube.get(argocd.NAMESPACE, "applications.argoproj.io", self.name)

    def states(self) -> tuple[str, str]:
        """Sync and health."""
        status = self.object().get("status", {})
        return status.get("sync", {}).get("status", ""), status.get("health", {}).get("status", "")

    def refresh(self) -> None:
        """Asks for a look at git now, instead of at the next interval."""
        patch = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}
        kube.patch(argocd.NAMESPACE, "applications.argoproj.io", self.name, patch)

    def wait_for(self, sync: str, health: str, timeout: float = 120) -> None:
        eventually(
            f"{self.name} is {sync} and {health}",
            lambda: self.states() == (sync, health),
            timeout,
            explain=lambda: json.dumps(self.object().get("status", {}), indent=1)[:4000],
        )

    def resource_health(self, kind: str) -> Manifest:
        """What Argo CD shows of the resource of a kind."""
        nodes = argocd.api("GET", f"v1/applications/{self.name}/resource-tree")["nodes"]
        (found,) = [node for node in nodes if node["kind"] == kind]
        health: Manifest = found.get("health", {})
        return health


@pytest.fixture(params=MODES)
def application(request: pytest.FixtureRequest, vault_up: None) -> Iterator[Application]:
    """An application with a connector that works."""
    namespace = new_namespace("gitops")
    # A Secret has no place in git.
    kube.apply(namespace, secret(vault_server.make_token()))
    application = Application(namespace, MODES[request.param])
    application.commit(ca_config_map(vault_server.ca_pem()), source(), connector())
    kube.apply(argocd.NAMESPACE, application.manifest)
    yield application
    kube.kubectl("-n", argocd.NAMESPACE, "delete", "application", application.name, "--ignore-not-found", timeout=120)
    kube.kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")


def test_an_application_is_healthy_when_its_connector_answers_and_stays_so(application: Application) -> None:
    vault = Connector(application.namespace)
    application.wait_for("Synced", "Healthy")
    # Argo CD did not call it healthy too early.
    assert vault.conditions()["Ready"]["status"] == "True"
    assert application.resource_health("McpConnector")["status"] == "Healthy"

    before = application.object()["status"]
    log = AuditLog.from_now()
    time.sleep(QUIET_SECONDS)
    assert application.states() == ("Synced", "Healthy")
    assert application.object()["status"]["history"] == before["history"], "Argo CD synced again though git is the same"
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
    kube.kubectl("-n", argocd.NAMESPACE, "delete", "application", application.name, "--wait", timeout=120)
    vault = Connector(application.namespace)
    assert kube.find(application.namespace, "mcpconnector", vault.name) is None
    eventually("everything owned is gone", lambda: not owned_objects(vault), 60)
