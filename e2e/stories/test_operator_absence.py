"""The operator is killed, away, or restarted: connectors go on working, and nothing is written without need."""

import json
import time
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from conftest import Deploy

from support import kube, vault_server
from support.agent import Agent, Endpoint, calling_all_the_time
from support.audit import AuditLog
from support.connector import CREDENTIALS, PATIENT_PROBE, Connector, ca_config_map, connector, secret, source
from support.kube import Manifest
from support.operator import Operator
from support.waiting import eventually


@pytest.fixture
def operator(own_operator: Operator) -> Iterator[Operator]:
    """An operator of this file's own, which runs after each of these stories."""
    yield own_operator
    own_operator.start()


@pytest.fixture
def namespace(own_namespace: str) -> str:
    """What that operator looks after."""
    return own_namespace


def kill(operator: Operator) -> None:
    """Ends the operator at once, as a node that dies would."""
    words = ("--namespace", operator.namespace, "delete", "pod", "--selector", kube.OPERATOR_SELECTOR)
    kube.kubectl(*words, "--grace-period=0", "--force", "--wait=false")


def test_killed_in_the_middle_of_its_work_it_converges(
    namespace: str, vault_up: None, operator: Operator
) -> None:
    names = [f"vault-{number}" for number in range(3)]
    kube.apply(namespace, secret(vault_server.make_token()), ca_config_map(vault_server.ca_pem()), source())
    kube.apply(namespace, *[connector(name) for name in names])
    eventually("the first objects are there", lambda: kube.items(namespace, "serviceaccounts", "!none")[1:])
    kill(operator)
    for name in names:
        Connector(namespace, name).wait_ready()


def test_agents_are_served_while_the_operator_is_away(deploy: Deploy, operator: Operator) -> None:
    vault = deploy().connector
    endpoint, token = Endpoint.of(vault), vault.token()
    with calling_all_the_time(endpoint, token, "list_vault_secrets", keep_alive=False, path="secret/apps") as traffic:
        operator.stop()
        calls = traffic.calls
        # A rotation works without it.
        kube.patch(vault.namespace, "secret", "vault-reader", {"stringData": {"token": vault_server.make_token()}})
        words = ("--namespace", vault.namespace, "rollout", "restart", f"deployment/{vault.owned}")
        kube.kubectl(*words)
        kube.kubectl("--namespace", vault.namespace, "rollout", "status", f"deployment/{vault.owned}", "--timeout=90s")
        assert Agent(endpoint, token).answer("get_vault_health")["state"] == "active"
        eventually("calls go on", lambda: traffic.calls > calls + 50)
    assert traffic.failures == []
    # What happened in its absence is seen by the next one.
    vault.change({"tools": {"allow": ["get_vault_health"]}})
    operator.start()
    vault.wait_ready()
    assert vault.status()["tools"]["count"] == 1


def test_converged_it_writes_nothing_for_a_minute(deploy: Deploy, operator: Operator) -> None:
    vault = deploy(probe=PATIENT_PROBE).connector
    settle(operator)
    # On a busy machine a pod may answer late, which is something to tell; what is written at rest is written in each minute.
    eventually("a minute without a write", lambda: writes_nothing(operator, vault, lambda: time.sleep(60)), timeout=150)
    # The count means something: the same log shows what it reads.
    log = AuditLog.from_now()
    version = vault.object()["metadata"]["resourceVersion"]
    vault.change({"workload": {"annotations": {"prometheus.io/path": "/changed"}}})
    eventually("a change is written", lambda: log.writes(vault.namespace, operator.user))
    assert vault.object()["metadata"]["resourceVersion"] != version
    vault.wait_ready()


def test_restarted_when_all_is_done_it_writes_nothing(deploy: Deploy, operator: Operator) -> None:
    vault = deploy(probe=PATIENT_PROBE).connector
    settle(operator)

    def restart() -> None:
        log = AuditLog.from_now()
        operator.stop()
        operator.start()
        eventually("it has listed connectors", lambda: log.verbs(operator.user)["list mcpconnectors"] >= 1, timeout=60)
        # It asks every connector more than once.
        time.sleep(20)

    # Here, too, a pod may answer late, and only then.
    eventually("a restart without a write", lambda: writes_nothing(operator, vault, restart), timeout=90)


def writes_nothing(operator: Operator, connector: Connector, while_: Callable[[], None]) -> bool:
    """Whether an operator wrote nothing meanwhile. What it wrote can only be what is new of this connector or its source."""
    log = AuditLog.from_now()
    told = [("mcpconnectors", connector.name), ("credentialsources", CREDENTIALS)]
    before = {of_it: kube.get(connector.namespace, *of_it)["status"] for of_it in told}
    while_()
    writes = log.writes(user=operator.user)
    statuses = {
        of_it: [what_is_told(status) for status in (was, *log.statuses(connector.namespace, *of_it, operator.user))]
        for of_it, was in before.items()
    }
    shown = "\n".join([*writes, *(json.dumps(status) for said in statuses.values() for status in said)])
    assert len(writes) == sum(len(said) - 1 for said in statuses.values()), f"something else is written:\n{shown}"
    for said in statuses.values():
        assert all(old != new for old, new in pairwise(said)), f"nothing new is told:\n{shown}"
    if writes:
        print(shown, flush=True)
    return not writes


def what_is_told(status: Manifest) -> Manifest:
    """A status without the times of its conditions."""
    conditions = [{**condition, "lastTransitionTime": None} for condition in status["conditions"]]
    return {name: value for name, value in status.items() if value is not None} | {"conditions": conditions}


def settle(operator: Operator) -> None:
    """Waits until an operator has written nothing for some seconds."""

    def quiet() -> bool:
        log = AuditLog.from_now()
        time.sleep(5)
        return not log.writes(user=operator.user)

    eventually("the operator has nothing to write", quiet, interval=0.1)
