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
from support.operator import Operator
from support.waiting import eventually

LEASE_SECONDS = 12


@pytest.fixture(autouse=True)
def operator(own_operator: Operator) -> Iterator[Operator]:
    """An operator of this file's own, of which both replicas run before and after each of these stories."""
    own_operator.start()
    yield own_operator
    own_operator.start()


@pytest.fixture
def namespace(own_namespace: str) -> str:
    """What that operator looks after."""
    return own_namespace


def takes_over_from(former: str, operator: Operator) -> None:
    """Waits until another pod leads."""
    eventually(
        f"another pod than {former} leads",
        lambda: operator.leader() not in {"", former},
        timeout=LEASE_SECONDS,
        interval=0.2,
    )


@contextlib.contextmanager
def holders(operator: Operator) -> Iterator[Iterator[str]]:
    """Who holds the Lease, one after the other, beginning with whoever does now; empty where nobody does."""
    words = ("--namespace", operator.namespace, "get", "lease", operator.lease, "--watch", "--request-timeout=2m")
    shown = ("--output", 'jsonpath={.spec.holderIdentity}{"\\n"}')
    with subprocess.Popen(("kubectl", *words, *shown), stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        yield (holder for holder, _ in itertools.groupby(line.strip() for line in watch.stdout))
        watch.terminate()


def end_leader(operator: Operator) -> str:
    """Deletes the pod that leads, and returns its name."""
    former = operator.leader()
    kube.delete(operator.namespace, "pod", former, "--wait=false")
    return former


def test_a_leader_that_is_told_to_end_hands_over(deploy: Deploy, operator: Operator) -> None:
    vault = deploy().connector
    with holders(operator) as held_by:
        former = next(held_by)
        assert former == end_leader(operator)
        # Given back, so that nobody has to wait until the Lease has run out.
        assert next(held_by) == ""
        assert next(held_by) not in {"", former}
    vault.change({"tools": {"allow": ["get_vault_health"]}})
    eventually("the new leader works", lambda: vault.status().get("tools", {}).get("count") == 1, timeout=90)


def test_a_leader_that_dies_is_replaced(deploy: Deploy, operator: Operator) -> None:
    vault = deploy().connector
    former = operator.leader()
    with frozen(former, operator):
        takes_over_from(former, operator)
        vault.change({"tools": {"allow": ["get_vault_health"]}})
        eventually("the new leader works", lambda: vault.status().get("tools", {}).get("count") == 1, timeout=90)


def test_a_leader_that_slept_writes_nothing_when_it_wakes(deploy: Deploy, operator: Operator) -> None:
    vault = deploy().connector
    former = operator.leader()
    (address,) = [pod["status"]["podIP"] for pod in operator.pods() if pod["metadata"]["name"] == former]
    log = AuditLog.from_now()
    with frozen(former, operator):
        takes_over_from(former, operator)
        # Work that the sleeper knows nothing of, and would do the other way round.
        vault.change({"tools": {"allow": ["get_vault_health"]}})
        eventually("the new leader works", lambda: vault.status().get("tools", {}).get("count") == 1, timeout=90)
    eventually("the sleeper has noticed", lambda: former in operator.restarts(), timeout=60)
    assert log.writes(user=operator.user, address=address) == []
    # The same log shows what the new leader wrote.
    assert log.writes(user=operator.user)
    assert operator.leader() != former


@contextlib.contextmanager
def frozen(pod: str, operator: Operator) -> Iterator[None]:
    """The process of one of the operator's pods sleeps, as on a machine that hangs."""
    process = process_of(pod, operator)
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def process_of(pod: str, operator: Operator) -> int:
    """The process of one of the operator's pods; the machine is the node."""
    names = {f"POD_NAMESPACE={operator.namespace}".encode(), f"POD_NAME={pod}".encode()}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            environment = set((folder / "environ").read_bytes().split(b"\0"))
        except OSError:
            continue
        if words[0].endswith(b"/mcp-connectors") and names <= environment:
            return int(folder.name)
    raise AssertionError(f"no process of {pod}")
