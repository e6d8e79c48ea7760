"""Everything comes from git: one application of Argo CD holds custom resources, operator and connectors."""

import os
import time
from collections.abc import Iterator

import pytest
import yaml
from testcluster import argocd

from support import argocd_server, install, kube, operator, vault_server
from support.argocd_server import MODES, Application, in_git
from support.audit import AuditLog
from support.connector import Connector, ca_config_map, connector, owned_objects, secret, source
from support.install import CRDS, RELEASE, Image
from support.kube import Manifest
from support.machine import ROOT
from support.operator import MAIN
from support.waiting import eventually

# The operator goes, and comes from elsewhere.
pytestmark = pytest.mark.alone

# How long nothing may move in each mode; ten minutes before a release.
QUIET_SECONDS = int(os.environ.get("QUIET_SECONDS", "10"))
REPOSITORY = "everything"
NAMES = ("vault", "second")


def in_wave(number: int, namespace: str, manifest: Manifest) -> Manifest:
    """A manifest that Argo CD applies when all of the waves before are healthy."""
    metadata = {"namespace": namespace, "annotations": {"argocd.argoproj.io/sync-wave": str(number)}}
    return manifest | {"metadata": manifest["metadata"] | metadata}


def commit_all(namespace: str) -> None:
    """Puts the charts into git, and beside them two connectors, and what is to come after those."""
    after = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "after"}}
    manifests = [ca_config_map(vault_server.ca_pem()), source(), *(connector(name) for name in NAMES)]
    waves = [*(in_wave(1, namespace, one) for one in manifests), in_wave(2, namespace, after)]
    charts = [path for path in (ROOT / "charts").rglob("*") if path.is_file()]
    argocd.commit(
        REPOSITORY,
        {str(path.relative_to(ROOT)): path.read_text() for path in charts}
        | {f"connectors/{one['kind']}-{one['metadata']['name']}.yaml": yaml.safe_dump(one) for one in waves},
    )


def sources(image: Image) -> list[Manifest]:
    """Both charts and the connectors."""
    values = {"image": {"repository": image.repository, "tag": image.tag, "pullPolicy": "Never"}}
    return [
        in_git(REPOSITORY, "charts/mcp-connectors-crds", helm={"releaseName": f"{RELEASE}-crds"}),
        in_git(REPOSITORY, "charts/mcp-connectors", helm={"releaseName": RELEASE, "valuesObject": values}),
        in_git(REPOSITORY, "connectors"),
    ]


@pytest.fixture
def everything(argocd_up: str, vault_up: None, namespace: str, image: Image) -> Iterator[Application]:
    """An application, and a cluster in which nothing of it is installed."""
    application = Application("everything", MAIN.namespace)
    try:
        MAIN.uninstall()
        install.uninstall_crds()
        kube.kubectl("delete", "customresourcedefinition", *CRDS)
        # A Secret has no place in git.
        kube.apply(namespace, secret(vault_server.make_token()))
        commit_all(namespace)
        yield application
    finally:
        application.delete()
        operator.install_main(image)


def test_everything_is_healthy_stays_so_and_goes_at_once(everything: Application, namespace: str, image: Image) -> None:
    connectors = [Connector(namespace, name) for name in NAMES]
    everything.create(sources=sources(image), **MODES["client-side"])
    everything.wait_for("Synced", "Healthy", timeout=180)
    waited_for = [one.condition("Ready") for one in connectors]
    assert [ready["status"] for ready in waited_for] == ["True", "True"]
    after = kube.get(namespace, "configmap", "after")["metadata"]["creationTimestamp"]
    assert all(ready["lastTransitionTime"] <= after for ready in waited_for), "a wave did not wait for Ready"

    pods = [one.pod_identities() for one in connectors]
    for mode, arguments in MODES.items():
        everything.create(sources=sources(image), **arguments)
        everything.sync(arguments["options"])
        stays_as_it_is(everything, mode)
    assert [one.pod_identities() for one in connectors] == pods

    vault, second = connectors
    argocd.commit(REPOSITORY, {"connectors/McpConnector-second.yaml": None})
    everything.refresh()
    eventually("what is no longer in git is gone", lambda: not owned_objects(second), 60)
    assert kube.find(namespace, "mcpconnector", second.name) is None
    everything.wait_for("Synced", "Healthy")
    assert vault.pod_identities() == pods[0]

    everything.delete()
    eventually("everything owned is gone", lambda: not owned_objects(vault), 60)
    assert kube.items(MAIN.namespace, "all,networkpolicies", kube.OPERATOR_SELECTOR) == []
    # Who removes an application by mistake loses no connectors of others.
    for crd in CRDS:
        assert kube.find(namespace, "customresourcedefinition", crd), f"{crd} is gone"


def stays_as_it_is(application: Application, mode: str) -> None:
    """Nothing is written by the operator, looked at again because of it, or synced by Argo CD."""
    history, log, events = application.history(), AuditLog.from_now(), argocd_server.events_of_ours()
    time.sleep(QUIET_SECONDS)
    assert application.states() == ("Synced", "Healthy"), mode
    assert application.history() == history, f"{mode}: Argo CD synced again though git is the same"
    assert log.writes() == [], mode
    assert argocd_server.events_of_ours() == events, f"{mode}: Argo CD was made to look again"
