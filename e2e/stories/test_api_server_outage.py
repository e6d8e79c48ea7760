"""The API server is away: agents are served all the same, and the operator works again soon after it is back."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from conftest import Deploy

from support import kube, machine
from support.agent import Endpoint, calling_all_the_time
from support.operator import MAIN
from support.waiting import eventually

# The API server is away.
pytestmark = pytest.mark.alone

OUTAGE_SECONDS = 40


@pytest.fixture(autouse=True)
def api_server_runs_again() -> Iterator[None]:
    """Whatever happened, the cluster is whole again."""
    yield
    machine.run(machine.CLUSTER, "up")
    MAIN.start()


def kill(program: str) -> None:
    """Ends a program of the node at once."""
    found = subprocess.run(["pgrep", "--full", f"/{program} "], capture_output=True, text=True, check=True)
    for process in found.stdout.split():
        os.kill(int(process), signal.SIGKILL)


def test_agents_are_served_and_the_operator_comes_back(deploy: Deploy) -> None:
    vault = deploy().connector
    endpoint, token = Endpoint.of(vault), vault.token()
    with calling_all_the_time(endpoint, token, "list_vault_secrets", keep_alive=False, path="secret/apps") as traffic:
        kill("kube-apiserver")
        time.sleep(OUTAGE_SECONDS)
    assert traffic.failures == []
    assert traffic.calls > OUTAGE_SECONDS

    # The kubelet's watches would come back up to a minute and a half later. Started anew, it leaves the pods as they are.
    kill("kubelet")
    machine.run(machine.CLUSTER, "up", "--keep", timeout=360)
    vault.change({"tools": {"allow": ["get_vault_health"]}})
    generation = vault.object()["metadata"]["generation"]
    eventually(
        "the operator works again",
        lambda: "get_vault_health" in kube.get(vault.namespace, "configmap", vault.owned)["data"]["config.json"],
        timeout=90,
    )
    eventually("the change is served", lambda: _serves(vault.status(), generation), timeout=300, explain=vault.explain)
    vault.wait_ready()


def _serves(status: kube.Manifest, generation: int) -> bool:
    return status["observedGeneration"] == generation and status.get("tools", {}).get("count") == 1
