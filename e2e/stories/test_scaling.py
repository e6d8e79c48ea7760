"""How many pods run: as the spec says, as an autoscaler or somebody else says, and none while the connector is suspended."""

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from conftest import Deploy

from support import external_metrics, kube, scripted_platform
from support.agent import Endpoint, headers_of, message
from support.connector import LIMITS, Connector
from support.machine import ROOT
from support.waiting import eventually, throughout

AUTOSCALER = ROOT / "config" / "autoscaling" / "horizontal-pod-autoscaler.yaml"


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
    vault.change({"workload": {"annotations": {"prometheus.io/path": "/changed"}}})
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


def test_an_autoscaler_follows_the_calls_in_flight(namespace: str, tmp_path: Path) -> None:
    autoscaler = yaml.safe_load(AUTOSCALER.read_text())
    name = autoscaler["spec"]["scaleTargetRef"]["name"]
    # As the sample, but it needs fewer calls, and gives back at once what it doesn't need.
    autoscaler["spec"]["metrics"][0]["external"]["target"]["averageValue"] = "3"
    autoscaler["spec"]["behavior"] = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    patient = LIMITS | {"callTimeout": "60s", "platform": {"requestTimeout": "60s"}}
    with (
        scripted_platform.running(tmp_path, namespace, name) as platform,
        external_metrics.serving(tmp_path / "metrics", namespace),
    ):
        (jenkins,) = platform.deploy(scripted_platform.CREDENTIALS, name, workload={"replicas": 1}, limits=patient)
        kube.apply(namespace, autoscaler)
        platform.does(name, "hang")
        with waiting_calls(jenkins, 6):
            eventually("2 replicas run", lambda: jenkins.status().get("readyReplicas") == 2, 120, explain=jenkins.explain)
            assert jenkins.object()["spec"]["workload"]["replicas"] == 2
        platform.does(name, "well")
        eventually("1 replica is left", lambda: jenkins.status().get("replicas") == 1, 120, explain=jenkins.explain)
        kube.delete(namespace, "hpa", autoscaler["metadata"]["name"])


@contextmanager
def waiting_calls(connector: Connector, count: int) -> Iterator[None]:
    """Calls that go on for as long as this does, each again when its time is up."""
    endpoint, token = Endpoint.of(connector), connector.token()
    body = message("tools/call", name=scripted_platform.TOOL, arguments={})
    stop = threading.Event()

    async def call_on() -> None:
        async with endpoint.http(token) as http:
            while True:
                await http.post(endpoint.url, json=body, headers=headers_of(body), timeout=90)

    async def all_of_them() -> None:
        calls = [asyncio.ensure_future(call_on()) for _ in range(count)]
        await asyncio.to_thread(stop.wait)
        for call in calls:
            call.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(all_of_them()), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
