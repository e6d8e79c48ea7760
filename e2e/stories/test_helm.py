"""The charts are upgraded and uninstalled under connectors that serve: none is restarted, and none is lost. Two releases
look after a namespace each, beside one that looks after all others."""

from collections.abc import Iterator

import pytest
from conftest import Deploy, deploy_in

from support import install, kube, operator
from support.agent import Endpoint, agent_of, calling_all_the_time
from support.audit import AuditLog
from support.connector import Connector, connector, owned_objects, source
from support.install import CRDS, Image
from support.operator import MAIN, Operator
from support.waiting import eventually


@pytest.fixture
def own(own_operator: Operator, image: Image) -> Iterator[Operator]:
    """An operator of this file's own. Whatever a story did to it, the next one finds it as it was."""
    yield own_operator
    own_operator.install(image)


@pytest.fixture
def namespace(own_namespace: str) -> str:
    """What that operator looks after."""
    return own_namespace


def pods_of(operator: Operator) -> set[str]:
    """Uids of an operator's pods, without those that are going."""
    return {pod["metadata"]["uid"] for pod in operator.pods() if "deletionTimestamp" not in pod["metadata"]}


def test_an_upgrade_restarts_no_connector(deploy: Deploy, image: Image, own: Operator) -> None:
    vault = deploy().connector
    pods, before, revision = vault.pod_identities(), pods_of(own), vault.deployment()["metadata"]["generation"]
    endpoint, token = Endpoint.of(vault), vault.token()
    with calling_all_the_time(endpoint, token, "list_vault_secrets", keep_alive=False, path="secret/apps") as traffic:
        install.install_crds()
        own.install(image, {"pollInterval": "2s", "logLevel": "debug", "replicas": 1})
        # Whatever it would change, it has changed by then.
        eventually("the new one has looked more than once", lambda: own.looks() >= 5)
        vault.wait_ready()
    assert len(pods_of(own)) == 1
    assert pods_of(own).isdisjoint(before)
    assert (vault.pod_identities(), vault.deployment()["metadata"]["generation"]) == (pods, revision)
    assert traffic.calls > 0
    assert traffic.failures == []


def test_an_image_that_cannot_be_pulled(deploy: Deploy, namespace: str, image: Image, own: Operator) -> None:
    before = deploy().connector
    pods = set(before.pod_identities())
    missing = {"repository": "registry.invalid/mcp-connectors", "tag": "none", "pullPolicy": "IfNotPresent"}
    own.install(image, {"connectorImage": missing})

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

    own.install(image)
    new.wait_ready()
    before.wait_ready()


def test_an_uninstall_leaves_connectors_serving(deploy: Deploy, namespace: str, image: Image, own: Operator) -> None:
    vault = deploy().connector
    pods, agent = vault.pod_identities(), agent_of(vault)
    own.uninstall()
    assert pods_of(own) == set()
    # Nobody else needs the chart of the custom resources, as long as they stay.
    install.uninstall_crds()
    for crd in CRDS:
        assert kube.find(namespace, "customresourcedefinition", crd), f"{crd} is gone"
    assert vault.pod_identities() == pods
    assert agent.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
    # What is applied meanwhile waits for an operator.
    other = connector("other")
    kube.apply(namespace, other)

    install.install_crds()
    own.install(image)
    Connector(namespace, "other").wait_ready()
    vault.wait_ready()
    assert vault.pod_identities() == pods


@pytest.fixture
def two_operators() -> Iterator[list[Operator]]:
    """Two that look after a namespace each, and are not installed yet."""
    found = [operator.own(namespace) for namespace in ("own-team-a", "own-team-b")]
    for one in found:
        one.claim()
    yield found
    for one in found:
        one.give_back()


def test_two_releases_look_after_a_namespace_each_beside_one_for_all_others(
    image: Image, vault_up: None, shared_namespace: str, two_operators: list[Operator]
) -> None:
    operator_a, operator_b = two_operators
    log = AuditLog.from_now()
    # The one for all others leaves them alone, also while nobody else looks after them.
    kube.apply(operator_a.watched, source(), connector("early"))
    other = deploy_in(shared_namespace).connector
    early = Connector(operator_a.watched, "early")
    assert "conditions" not in early.status()
    assert owned_objects(early) == []

    for one in two_operators:
        one.install(image)
    first, second = (deploy_in(one.watched).connector for one in two_operators)
    early.wait_ready()
    assert roles_of(operator_a) == roles_of(operator_b) == {"Role", "RoleBinding"}
    for one, foreign in ((operator_a, operator_b.watched), (operator_b, operator_a.watched), (MAIN, operator_a.watched)):
        assert log.writes(one.watched or shared_namespace, one.user)
        assert log.writes(foreign, one.user) == []
    assert log.writes(operator_b.watched, MAIN.user) == []
    told = "".join(MAIN.metrics().values())
    assert f'namespace="{other.namespace}"' in told
    assert f'namespace="{first.namespace}"' not in told

    pods = first.pod_identities()
    operator_a.uninstall()
    second.change({"tools": {"prefix": "my_"}})
    eventually("the other one goes on", lambda: "my_get_vault_health" in agent_of(second).tools(), 60)
    assert agent_of(first).answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
    assert first.pod_identities() == pods


def roles_of(operator: Operator) -> set[str]:
    """Kinds of the roles and bindings that an operator's release has made, in whichever namespace."""
    found = kube.items("", "clusterroles,clusterrolebindings,roles,rolebindings", "app.kubernetes.io/component=operator")
    release = "meta.helm.sh/release-namespace"
    return {one["kind"] for one in found if one["metadata"].get("annotations", {}).get(release) == operator.namespace}
