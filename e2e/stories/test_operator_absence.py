"""The operator is killed, away, or restarted: connectors go on working, and nothing is written without need."""

import time
from collections.abc import Iterator

import pytest
from conftest import Deploy, Deployed, deploy_in

from support import kube, vault_server
from support.agent import Agent, Endpoint, calling_all_the_time
from support.audit import AuditLog
from support.connector import Connector, ca_config_map, connector, secret, source
from support.waiting import eventually

# The operator is killed, and its writes are counted.
pytestmark = pytest.mark.alone


@pytest.fixture(autouse=True)
def operator_runs_again() -> Iterator[None]:
    """The operator runs after each of these stories."""
    yield
    kube.start_operator()


def kill_operator() -> None:
    """Ends the operator at once, as a node that dies would."""
    words = ("--namespace", kube.OPERATOR_NAMESPACE, "delete", "pod", "--selector", kube.OPERATOR_SELECTOR)
    kube.kubectl(*words, "--grace-period=0", "--force", "--wait=false")


def test_killed_in_the_middle_of_its_work_it_converges(namespace: str, vault_up: None) -> None:
    names = [f"vault-{number}" for number in range(3)]
    kube.apply(namespace, secret(vault_server.make_token()), ca_config_map(vault_server.ca_pem()), source())
    kube.apply(namespace, *[connector(name) for name in names])
    eventually("the first objects are there", lambda: kube.items(namespace, "serviceaccounts", "!none")[1:])
    kill_operator()
    for name in names:
        Connector(namespace, name).wait_ready()


def test_agents_are_served_while_the_operator_is_away(deploy: Deploy) -> None:
    vault = deploy().connector
    endpoint, token = Endpoint.of(vault), vault.token()
    with calling_all_the_time(endpoint, token, "list_vault_secrets", keep_alive=False, path="secret/apps") as traffic:
        kube.stop_operator()
        # A rotation works without it.
        kube.patch(vault.namespace, "secret", "vault-reader", {"stringData": {"token": vault_server.make_token()}})
        words = ("--namespace", vault.namespace, "rollout", "restart", f"deployment/{vault.owned}")
        kube.kubectl(*words)
        kube.kubectl("--namespace", vault.namespace, "rollout", "status", f"deployment/{vault.owned}", "--timeout=90s")
        assert Agent(endpoint, token).answer("get_vault_health")["state"] == "active"
    assert traffic.calls > 50
    assert traffic.failures == []
    # What happened in its absence is seen by the next one.
    vault.change({"tools": {"allow": ["get_vault_health"]}})
    kube.start_operator()
    vault.wait_ready()
    assert vault.status()["tools"]["count"] == 1


@pytest.fixture(scope="module")
def converged(shared_namespace: str, vault_up: None) -> Deployed:
    """A connector of this file's namespace."""
    return deploy_in(shared_namespace)


def test_converged_it_writes_nothing_for_a_minute(converged: Deployed) -> None:
    vault = converged.connector
    vault.wait_ready()
    settle(vault.namespace)
    log = AuditLog.from_now()
    time.sleep(60)
    assert log.writes(vault.namespace) == []
    # The count means something: the same log shows what it reads.
    version = vault.object()["metadata"]["resourceVersion"]
    vault.change({"workload": {"annotations": {"story": "changed"}}})
    eventually("a change is written", lambda: log.writes(vault.namespace))
    assert vault.object()["metadata"]["resourceVersion"] != version
    vault.wait_ready()


def test_restarted_when_all_is_done_it_writes_nothing(converged: Deployed) -> None:
    vault = converged.connector
    vault.wait_ready()
    settle(vault.namespace)
    before = vault.object()["metadata"]["resourceVersion"]
    log = AuditLog.from_now()
    kube.stop_operator()
    kube.start_operator()
    # It has read everything, and asked every connector, more than once.
    eventually("the operator has listed connectors", lambda: log.verbs()["list mcpconnectors"] >= 1, timeout=60)
    time.sleep(20)
    assert log.writes(vault.namespace) == []
    assert vault.object()["metadata"]["resourceVersion"] == before


def settle(namespace: str) -> None:
    """Waits until nothing was written in a namespace for some seconds."""

    def quiet() -> bool:
        log = AuditLog.from_now()
        time.sleep(5)
        return not log.writes(namespace)

    eventually("the operator has nothing to write", quiet, interval=0.1)
