"""The charts are upgraded and uninstalled under connectors that serve: none is restarted, and none is lost."""

from collections.abc import Iterator

import pytest
from conftest import Deploy

from support import install, kube
from support.agent import Endpoint, agent_of, calling_all_the_time
from support.connector import Connector, connector
from support.install import Image

# The operator is upgraded and uninstalled.
pytestmark = pytest.mark.alone

CRDS = ("mcpconnectors.mcp-connectors.io", "credentialsources.mcp-connectors.io")


@pytest.fixture
def installed_again(image: Image) -> Iterator[None]:
    """Whatever a story did to the installation, the next one finds it as it was."""
    yield
    install.install_charts(image)


def operator_pods() -> set[str]:
    """Uids of the operator's pods, without those that are going."""
    found = kube.items(kube.OPERATOR_NAMESPACE, "pods", kube.OPERATOR_SELECTOR)
    return {pod["metadata"]["uid"] for pod in found if "deletionTimestamp" not in pod["metadata"]}


def test_an_upgrade_restarts_no_connector(deploy: Deploy, image: Image, installed_again: None) -> None:
    vault = deploy().connector
    pods, operator, revision = vault.pod_identities(), operator_pods(), vault.deployment()["metadata"]["generation"]
    endpoint, token = Endpoint.of(vault), vault.token()
    with calling_all_the_time(endpoint, token, "list_vault_secrets", keep_alive=False, path="secret/apps") as traffic:
        install.install_charts(image, {"pollInterval": "5s", "logLevel": "debug", "replicas": 1})
        vault.wait_ready()
    assert operator_pods().isdisjoint(operator)
    assert (vault.pod_identities(), vault.deployment()["metadata"]["generation"]) == (pods, revision)
    assert traffic.calls > 0
    assert traffic.failures == []


def test_an_image_that_cannot_be_pulled(deploy: Deploy, namespace: str, image: Image, installed_again: None) -> None:
    before = deploy().connector
    pods = set(before.pod_identities())
    missing = {"repository": "registry.invalid/mcp-connectors", "tag": "none", "pullPolicy": "IfNotPresent"}
    install.install_charts(image, {"connectorImage": missing})

    kube.apply(namespace, connector("new"))
    new = Connector(namespace, "new")
    failed = new.wait_for("Available", "False", "ImagePullFailed")
    assert "registry.invalid/mcp-connectors:none" in failed["message"]
    assert "imagePullSecrets" in failed["message"]
    assert new.wait_for("Ready", "False", "ImagePullFailed")["message"] == failed["message"]
    # A registry comes back: nothing for a person to unblock in the connector.
    assert "Stalled" not in new.conditions()
    # Those that ran before go on with the image that they have.
    before.wait_for("EndpointReady", "False", "ConfigurationPending")
    assert pods <= set(before.pod_identities())
    assert agent_of(before).answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]

    install.install_charts(image)
    new.wait_ready()
    before.wait_ready()


def test_an_uninstall_leaves_connectors_serving(
    deploy: Deploy, namespace: str, image: Image, installed_again: None
) -> None:
    vault = deploy().connector
    pods, agent = vault.pod_identities(), agent_of(vault)
    install.uninstall_charts()
    assert operator_pods() == set()
    for crd in CRDS:
        assert kube.find(namespace, "customresourcedefinition", crd), f"{crd} is gone"
    assert vault.pod_identities() == pods
    assert agent.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
    # What is applied meanwhile waits for an operator.
    other = connector("other")
    kube.apply(namespace, other)

    install.install_charts(image)
    Connector(namespace, "other").wait_ready()
    vault.wait_ready()
    assert vault.pod_identities() == pods
