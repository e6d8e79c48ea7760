"""Two operators, one leader: whoever leads ends, is killed or sleeps, and the other takes over; no two write at once."""

import contextlib
import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Deploy

from support import kube
from support.audit import AuditLog
from support.kube import Manifest
from support.waiting import eventually

# Operators are killed.
pytestmark = pytest.mark.alone

LEASE = "mcp-connectors-operator"
LEASE_SECONDS = 12


@pytest.fixture(autouse=True)
def two_operators() -> Iterator[None]:
    """Both replicas run before and after each of these stories."""
    kube.start_operator()
    yield
    kube.start_operator()


def leader() -> str:
    """The pod that holds the Lease; empty when it was given back."""
    lease = kube.get(kube.OPERATOR_NAMESPACE, "lease", LEASE)
    holder: str = lease["spec"].get("holderIdentity", "")
    return holder


def operator_pods() -> list[Manifest]:
    """Every pod of the operator."""
    return kube.items(kube.OPERATOR_NAMESPACE, "pods", kube.OPERATOR_SELECTOR)


def takes_over_from(former: str) -> None:
    """Waits until another pod leads."""
    eventually(
        f"another pod than {former} leads",
        lambda: leader() not in {"", former},
        timeout=LEASE_SECONDS,
        interval=0.2,
    )


@contextlib.contextmanager
def holders() -> Iterator[Iterator[str]]:
    """Who holds the Lease, one after the other, beginning with whoever does now; empty where nobody does."""
    words = ("--namespace", kube.OPERATOR_NAMESPACE, "get", "lease", LEASE, "--watch", "--request-timeout=2m")
    shown = ("--output", 'jsonpath={.spec.holderIdentity}{"\\n"}')
    with subprocess.Popen(("kubectl", *words, *shown), stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        yield (holder for holder, _ in itertools.groupby(line.strip() for line in watch.stdout))
        watch.terminate()


def end_leader(*words: str) -> str:
    """Deletes the pod that leads, and returns its name."""
    former = leader()
    kube.kubectl("--namespace", kube.OPERATOR_NAMESPACE, "delete", "pod", former, "--wait=false", *words)
    return former


def test_a_leader_that_is_told_to_end_hands_over(deploy: Deploy) -> None:
    vault = deploy().connector
    with holders() as held_by:
        former = next(held_by)
        assert former == end_leader()
        # Given back, so that nobody has to wait until the Lease has run out.
        assert next(held_by) == ""
        assert next(held_by) not in {"", former}
    vault.change({"tools": {"allow": ["get_vault_health"]}})
    eventually("the new leader works", lambda: vault.status().get("tools", {}).get("count") == 1, timeout=90)


def test_a_leader_that_dies_is_replaced(deploy: Deploy) -> None:
    vault = deploy().connector
    former = leader()
    with frozen(former):
        takes_over_from(former)
        vault.change({"tools": {"allow": ["get_vault_health"]}})
        eventually("the new leader works", lambda: vault.status().get("tools", {}).get("count") == 1, timeout=90)


def test_a_leader_that_slept_writes_nothing_when_it_wakes(deploy: Deploy) -> None:
    vault = deploy().connector
    former = leader()
    (address,) = [pod["status"]["podIP"] for pod in operator_pods() if pod["metadata"]["name"] == former]
    log = AuditLog.from_now()
    with frozen(former):
        takes_over_from(former)
        # Work that the sleeper knows nothing of, and would do the other way round.
        vault.change({"tools": {"allow": ["get_vault_health"]}})
        eventually("the new leader works", lambda: vault.status().get("tools", {}).get("count") == 1, timeout=90)
    eventually("the sleeper has noticed", lambda: restarted(former), timeout=60)
    assert log.writes(address=address) == []
    assert leader() != former


def restarted(pod: str) -> bool:
    """Whether the pod's container was started again."""
    (found,) = [entry for entry in operator_pods() if entry["metadata"]["name"] == pod]
    return bool(found["status"]["containerStatuses"][0]["restartCount"] > 0)


@contextlib.contextmanager
def frozen(pod: str) -> Iterator[None]:
    """The pod's process sleeps, as on a machine that hangs."""
    process = process_of(pod)
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def process_of(pod: str) -> int:
    """The process of a pod's operator; the machine is the node."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"/mcp-connectors") and f"POD_NAME={pod}".encode() in environment:
            return int(folder.name)
    raise AssertionError(f"no process of {pod}")
