"""A cluster whose pods and Services have addresses of both families: agents call a connector by IPv6, and it calls a
platform that is named by an IPv6 address."""

import ipaddress
import json

import pytest
from testcluster import network, vault
from testcluster.settings import NODE_ADDRESS_6

from support import kube, vault_server
from support.agent import Agent, Endpoint
from support.connector import Connector, ca_config_map, connector, secret, source
from support.kube import Manifest

# What stands between agent and Vault in the cluster, by its address alone.
VAULT_SERVICE = "vault-ipv6"
HOST = f"[{vault.ADDRESS_6}]"

pytestmark = pytest.mark.skipif(not network.has_ipv6(), reason="this machine has no IPv6, so the cluster has none")


def test_agent_connector_and_platform_meet_by_ipv6(namespace: str, vault_up: None) -> None:
    kube.apply(vault.NAMESPACE, _vault_service())
    try:
        kube.apply(namespace, secret(vault_server.make_token()), ca_config_map(vault_server.ca_pem()))
        url = f"https://{HOST}:{vault.PORT}"
        kube.apply(namespace, source(hosts=(HOST,)), connector(vault={"url": url}))
        running = Connector(namespace)
        status = running.wait_ready()
        assert status["platform"]["version"] == vault_server.api("GET", "sys/health")["version"]

        address = _only_ipv6(kube.get(namespace, "service", running.owned)["spec"]["clusterIPs"])
        by_name = Agent(Endpoint(status["url"], address), running.token())
        assert by_name.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
        # Who was told the address alone calls by it.
        by_address = Agent(Endpoint(f"http://[{address}]:8080/mcp", address), running.token())
        assert by_address.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
        (pod,) = running.pods()
        _only_ipv6([one["ip"] for one in pod["status"]["podIPs"]])
        assert NODE_ADDRESS_6 in _peers(namespace, pod["metadata"]["name"])
    finally:
        kube.delete(vault.NAMESPACE, "service", VAULT_SERVICE)


def _vault_service() -> Manifest:
    """A Service that has no address but one of IPv6."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": VAULT_SERVICE},
        "spec": {
            "selector": {"app": "vault"},
            "ipFamilyPolicy": "SingleStack",
            "ipFamilies": ["IPv6"],
            "clusterIP": vault.ADDRESS_6,
            "ports": [{"name": "api", "port": vault.PORT, "targetPort": "api"}],
        },
    }


def _only_ipv6(addresses: list[str]) -> str:
    """The one of IPv6 among an object's two addresses."""
    families = {ipaddress.ip_address(address).version: address for address in addresses}
    assert sorted(families) == [4, 6], addresses
    return families[6]


def _peers(namespace: str, pod: str) -> set[str]:
    """Where calls came from, by the audit records."""
    lines = kube.kubectl("--namespace", namespace, "logs", pod, "--container", "server").splitlines()
    records = [record["data"] for line in lines if "specversion" in (record := json.loads(line))]
    return {record["src_endpoint"]["ip"] for record in records}
