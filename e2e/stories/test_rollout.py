"""A change of the operator's own, such as a new image, reaches the connectors one after the other, and not at all once too
many did not become Ready."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import deploy_in

from support import kube
from support.connector import Connector
from support.install import Image
from support.operator import Operator
from support.waiting import eventually, throughout

ONE_BY_ONE = {"rollout": {"maxConcurrent": 1, "maxFailures": 1}}
IMPATIENT = {"rollout": ONE_BY_ONE["rollout"] | {"readyTimeout": "20s"}}
NAMES = ("first", "second", "third")
numbers = itertools.count()


@pytest.fixture
def connectors(
    own_operator: Operator, own_namespace: str, vault_up: None, image: Image
) -> Iterator[list[Connector]]:
    """Three connectors of different ages, with an operator of this file's own, which is afterwards as it was."""
    own_operator.install(image, ONE_BY_ONE)
    yield [deploy_in(own_namespace, name).connector for name in NAMES]
    own_operator.install(image)


def template(connector: Connector) -> Any:
    """What the Deployment's pods are made from."""
    return connector.deployment()["spec"]["template"]


def is_out(deployment: kube.Manifest) -> bool:
    """Whether every pod of the Deployment is made from its template, and available."""
    status = deployment.get("status", {})
    counts = {status.get(field) for field in ("replicas", "updatedReplicas", "availableReplicas")}
    seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return seen and counts == {deployment["spec"]["replicas"]}


def waits(connector: Connector) -> str:
    """Why the connector waits for its turn; empty if it doesn't."""
    reason: str = connector.conditions().get("Reconciling", {}).get("reason", "")
    return reason if reason.startswith("Rollout") else ""


def test_a_new_default_reaches_one_after_the_other(
    connectors: list[Connector], own_operator: Operator, image: Image
) -> None:
    before = {connector.owned: template(connector) for connector in connectors}
    collector = f"http://collector.example.com:{4300 + next(numbers)}"
    own_operator.install(image, ONE_BY_ONE | {"telemetry": {"otlpEndpoint": collector}})
    order: list[str] = []
    done: set[str] = set()

    def look() -> bool:
        # Of one moment, as one list is: objects that are read one after the other show states that never stood together.
        for deployment in kube.items(connectors[0].namespace, "deployments"):
            name = deployment["metadata"]["name"]
            if name not in before or deployment["spec"]["template"] == before[name]:
                continue
            if name not in order:
                order.append(name)
            if is_out(deployment):
                done.add(name)
        assert len(order) - len(done) <= 1, f"at the same time: {order}, of which only {done} are out"
        return len(done) == len(connectors)

    eventually("all are changed", look, timeout=300, explain=connectors[-1].explain)
    assert order == [connector.owned for connector in connectors], "the oldest first"


def test_a_broken_image_stops_at_the_first_and_a_person_is_not_held_up(
    connectors: list[Connector], own_operator: Operator, image: Image
) -> None:
    broken = {"connectorImage": {"repository": image.repository, "tag": "missing"}}
    own_operator.install(image, IMPATIENT | broken)
    first, second, third = connectors

    def told() -> bool:
        return any(event["reason"] == "RolloutFailed" for event in kube.events(first.namespace, first.name))

    eventually("the first has failed", told, timeout=240, explain=first.explain)
    eventually("the others are stopped", lambda: waits(third) == "RolloutStopped", timeout=60, explain=third.explain)
    assert third.condition("Ready")["status"] == "True"
    old = template(second)
    throughout("the second stays as it is", lambda: template(second) == old, seconds=20)
    third.change({"tools": {"prefix": "my_"}})
    eventually("the third is changed", lambda: template(third) != old, timeout=30, explain=third.explain)
    # The way back.
    own_operator.install(image, ONE_BY_ONE)
    for connector in connectors:
        connector.wait_ready(timeout=240)
