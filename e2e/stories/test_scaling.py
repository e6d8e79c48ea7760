"""How many pods run: as the spec says, as somebody else says, and none while the connector is suspended."""

import subprocess
import threading

from conftest import Deploy

from support import kube
from support.connector import Connector
from support.waiting import eventually, throughout


def scale(vault: Connector, what: str, replicas: int) -> None:
    kube.kubectl("--namespace", vault.namespace, "scale", what, f"--replicas={replicas}")


def wanted(vault: Connector) -> int:
    replicas: int = vault.deployment()["spec"]["replicas"]
    return replicas


def has(vault: Connector, replicas: int) -> None:
    def look() -> bool:
        status = vault.status()
        return (status.get("replicas"), status.get("readyReplicas")) == (replicas, replicas)

    eventually(f"{replicas} replicas are ready", look, timeout=90, explain=vault.explain)
    if replicas:
        vault.wait_ready()


def test_without_replicas_in_the_spec_an_autoscaler_has_its_way(deploy: Deploy) -> None:
    vault = deploy().connector
    assert wanted(vault) == 1
    scale(vault, f"deployment/{vault.owned}", 2)
    has(vault, 2)
    # A change of the spec doesn't reset the number either.
    vault.change({"workload": {"labels": {"example.com/team": "a"}}})
    throughout("2 replicas are wanted", lambda: wanted(vault) == 2, seconds=5)
    has(vault, 2)
    assert kube.find(vault.namespace, "poddisruptionbudget", vault.owned) is None


def test_the_scale_subresource_works_and_unset_keeps_the_number(deploy: Deploy) -> None:
    vault = deploy(workload={"replicas": 1}).connector
    scale(vault, "mcpconnector/vault", 2)
    has(vault, 2)
    assert vault.object()["spec"]["workload"]["replicas"] == 2
    assert vault.status()["selector"] == ",".join(
        f"{key}={value}" for key, value in sorted(vault.deployment()["spec"]["selector"]["matchLabels"].items())
    )
    assert kube.find(vault.namespace, "poddisruptionbudget", vault.owned) is not None

    # Every state of the Deployment is watched: not even for a moment does it want 1.
    seen: list[int] = []
    stop = threading.Event()
    watcher = threading.Thread(target=_watch_replicas, args=(vault, seen, stop), daemon=True)
    watcher.start()
    vault.change({"workload": {"replicas": None}})
    generation = vault.object()["metadata"]["generation"]
    eventually("the operator has seen it", lambda: vault.status()["observedGeneration"] == generation)
    throughout("2 replicas are wanted", lambda: wanted(vault) == 2, seconds=5)
    stop.set()
    watcher.join(30)
    assert seen
    assert set(seen) == {2}
    # Now it is anybody's.
    scale(vault, f"deployment/{vault.owned}", 1)
    throughout("1 replica is wanted", lambda: wanted(vault) == 1, seconds=5)
    has(vault, 1)


def _watch_replicas(vault: Connector, seen: list[int], stop: threading.Event) -> None:
    words = ["kubectl", "--namespace", vault.namespace, "get", "deployment", vault.owned, "--watch"]
    with subprocess.Popen(
        [*words, "--output", "jsonpath={.spec.replicas}{'\\n'}"], stdout=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        reader = threading.Thread(target=lambda: seen.extend(int(line) for line in watch.stdout), daemon=True)  # type: ignore[union-attr]
        reader.start()
        stop.wait(120)
        watch.terminate()
        reader.join(10)


def test_suspended_and_back(deploy: Deploy) -> None:
    vault = deploy().connector
    vault.change({"suspend": True})
    suspended = vault.wait_for("Available", "False", "Suspended")
    assert "spec.suspend" in suspended["message"]
    eventually("no pod runs", lambda: not kube.items(vault.namespace, "pods", vault.selector), timeout=90)
    vault.wait_for("Ready", "False", "Suspended")
    # Everything else stays, so that agents' configuration stays right.
    assert kube.find(vault.namespace, "service", vault.owned) is not None
    vault.change({"suspend": False})
    has(vault, 1)


def test_scaled_to_zero_it_says_so(deploy: Deploy) -> None:
    vault = deploy().connector
    scale(vault, f"deployment/{vault.owned}", 0)
    vault.wait_for("Available", "False", "ScaledToZero")
    scale(vault, f"deployment/{vault.owned}", 1)
    has(vault, 1)
