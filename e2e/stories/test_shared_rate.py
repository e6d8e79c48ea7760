"""Replicas that count a caller's calls together, in a real Redis: as many come through as through one. While it is away each
counts by itself, and says so."""

import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from conftest import Deploy
from testcluster.settings import NODE_ADDRESS

from support import kube, node_service
from support.agent import Endpoint, message, post
from support.connector import API_VERSION, Connector
from support.machine import ROOT, run
from support.waiting import eventually

PORT = 16379
PASSWORD = "planted-redis-password"
BURST = 5
AVAILABLE = "mcp_shared_rate_limit_available"


@contextmanager
def redis() -> Iterator[None]:
    """A Redis on the node."""
    program = run(ROOT / "e2e" / "checks" / "tool", "redis-server", timeout=600).strip()
    words = [program, "--bind", NODE_ADDRESS, "--port", str(PORT), "--requirepass", PASSWORD, "--save", ""]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield
        finally:
            server.terminate()


def addresses(connector: Connector) -> list[str]:
    return [pod["status"]["podIP"] for pod in connector.pods()]


def says(connector: Connector, available: int) -> bool:
    """Whether every replica says so of Redis."""

    def told(address: str) -> bool:
        with urllib.request.urlopen(f"http://{address}:8081/metrics", timeout=10) as answer:
            return f"{AVAILABLE} {available}" in answer.read().decode().splitlines()

    return all(told(address) for address in addresses(connector))


def answered(connector: Connector, caller: str) -> list[bool]:
    """Whether each of many calls, which take turns at the replicas, was answered; the others were told to come back."""
    url, token, outcomes = connector.status()["url"], connector.token(caller), []
    for number in range(4 * BURST):
        address = addresses(connector)[number % 2]
        result = post(Endpoint(url, address), token, message("tools/call", name="get_vault_health", arguments={}))
        error = result.json()["result"]["_meta"].get("mcp-connectors.io/error")
        assert error is None or error["code"] == "rate_limited", error
        outcomes.append(error is None)
    return outcomes


def test_replicas_count_together_and_each_by_itself_while_redis_is_away(deploy: Deploy, namespace: str) -> None:
    host = f"redis.{namespace}.svc"
    node_service.lead(namespace, "redis", 6379, PORT)
    source = {
        "apiVersion": API_VERSION,
        "kind": "CredentialSource",
        "metadata": {"name": "redis"},
        "spec": {"hosts": [host], "secret": {"name": "redis", "items": {"password": "password"}}},
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "redis"}, "stringData": {"password": PASSWORD}}
    others = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": f"agent-{n}"}} for n in range(3)]
    kube.apply(namespace, source, secret, *others)
    place = {"address": f"{host}:6379", "insecurePlaintext": True, "credentials": {"name": "redis"}}
    limits = {"calls": {"perMinute": 1, "burst": BURST}, "repeats": {"enabled": False}, "shared": {"redis": place}}
    with redis():
        vault = deploy(workload={"replicas": 2}, limits=limits).connector
        eventually("both replicas count in it", lambda: len(addresses(vault)) == 2 and says(vault, 1), explain=vault.explain)
        # One may have come back by the end.
        assert sum(answered(vault, "agent-0")) in (BURST, BURST + 1)
    eventually("both replicas say that it is away", lambda: says(vault, 0), explain=vault.explain)
    # Agents are served as before, and who is new is counted by each replica.
    assert vault.condition("Ready")["status"] == "True"
    assert sum(answered(vault, "agent-1")) in range(2 * BURST, 2 * BURST + 3)
    with redis():
        eventually("both replicas count in it again", lambda: says(vault, 1), explain=vault.explain)
        assert sum(answered(vault, "agent-2")) in (BURST, BURST + 1)
