"""The charts are upgraded and uninstalled under connectors that serve: none is restarted, and none is lost. Two releases
look after a namespace each."""

from collections.abc import Iterator

import pytest
from conftest import Deploy, deploy_in, new_namespace

from support import install, kube
from support.agent import Endpoint, agent_of, calling_all_the_time
from support.audit import AuditLog
from support.connector import Connector, connector
from support.install import CRDS, Image
from support.waiting import eventually

# The operator is upgraded and uninstalled.
pytestmark = pytest.mark.alone


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


@pytest.fixture
def four_namespaces() -> Iterator[list[str]]:
    """Two for operators, and two for what they look after."""
    names = [new_namespace(name) for name in ("operators-a", "team-a", "operators-b", "team-b")]
    yield names
    for name in names:
        kube.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def test_two_releases_look_after_a_namespace_each(
    image: Image, vault_up: None, installed_again: None, four_namespaces: list[str]
) -> None:
    operators_a, team_a, operators_b, team_b = four_namespaces
    # One for all namespaces is alone in its cluster.
    install.uninstall_charts()
    log = AuditLog.from_now()
    for operators, team in ((operators_a, team_a), (operators_b, team_b)):
        install.install_operator(image, operators, {"watchNamespace": team})
    first, second = (deploy_in(team).connector for team in (team_a, team_b))
    assert kube.items("", "clusterroles,clusterrolebindings", "app.kubernetes.io/name=mcp-connectors") == []
    user_a, user_b = (f"system:serviceaccount:{operators}:mcp-connectors" for operators in (operators_a, operators_b))
    for user, own, foreign in ((user_a, team_a, team_b), (user_b, team_b, team_a)):
        assert log.writes(own, user)
        assert log.writes(foreign, user) == []

    pods = first.pod_identities()
    install.uninstall_operator(operators_a)
    second.change({"tools": {"prefix": "my_"}})
    eventually("the other one goes on", lambda: "my_get_vault_health" in agent_of(second).tools(), 60)
    assert agent_of(first).answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
    assert first.pod_identities() == pods
