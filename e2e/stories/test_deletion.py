"""What is deleted goes, with all that was made from it, whoever goes first."""

from conftest import Deploy, deploy_in

from support import kube
from support.connector import owned_objects
from support.operator import MAIN, Operator
from support.waiting import eventually


def test_everything_owned_goes_with_the_connector(deploy: Deploy) -> None:
    vault = deploy(workload={"replicas": 2}).connector
    kinds = {name.split("/")[0] for name in owned_objects(vault)}
    expected = {"Deployment", "ReplicaSet", "Pod", "Service", "ConfigMap", "ServiceAccount", "NetworkPolicy"}
    assert expected | {"PodDisruptionBudget"} <= kinds
    kube.delete(vault.namespace, "mcpconnector", vault.name)
    eventually("nothing owned is left", lambda: not owned_objects(vault), timeout=90)
    # The user's own objects stay.
    for kind, name in (("secret", "vault-reader"), ("configmap", "vault-ca"), ("credentialsource", "vault-reader")):
        assert kube.find(vault.namespace, kind, name) is not None

    def unused() -> bool:
        status = kube.get(vault.namespace, "credentialsource", "vault-reader")["status"]
        return bool(status["connectorCount"] == 0 and status["conditions"][0]["reason"] == "NotUsed")

    eventually("the source says that nobody uses it", unused)


def test_connectors_can_be_deleted_without_the_operator(
    own_operator: Operator, own_namespace: str, vault_up: None
) -> None:
    vault = deploy_in(own_namespace).connector
    own_operator.stop()
    kube.delete(vault.namespace, "mcpconnector", vault.name, "--timeout=30s")
    kube.delete(vault.namespace, "credentialsource", "vault-reader", "--timeout=30s")
    eventually("nothing owned is left", lambda: not owned_objects(vault), timeout=90)


def test_a_namespace_goes_with_all_that_is_in_it(deploy: Deploy) -> None:
    vault = deploy().connector
    kube.kubectl("delete", "namespace", vault.namespace, "--timeout=120s", timeout=150)
    # The operator did not fight it, and goes on.
    assert "panicked" not in MAIN.log(200)
    for operator in MAIN.pods():
        assert operator["status"]["containerStatuses"][0]["ready"]
