"""Which connections the connector's NetworkPolicy lets through. There is no engine for policies in the test cluster:
what is rendered is judged by the rules of the Kubernetes API, in support/network.py."""

from typing import Any

import pytest
from conftest import Deployed

from support import kube
from support.connector import Connector, connector
from support.network import Peer, Policy, pod

AGENT = {"app": "agent"}
OPERATOR = {"app.kubernetes.io/name": "mcp-connectors", "app.kubernetes.io/component": "operator"}
VAULT_POD = {"app": "vault"}
ANYWHERE = Peer("203.0.113.7")


@pytest.fixture(scope="module")
def policy(running: Deployed) -> Policy:
    """The policy as it is in the cluster."""
    vault = running.connector
    return Policy(kube.get(vault.namespace, "networkpolicy", vault.owned))


def test_it_is_about_the_connectors_pods_and_both_directions(running: Deployed, policy: Policy) -> None:
    for found in running.connector.pods():
        assert policy.selects(found["metadata"]["labels"])
    assert not policy.selects(AGENT)
    assert policy.types == {"Ingress", "Egress"}


def test_the_labels_in_the_table_are_the_real_ones() -> None:
    operator = kube.items(kube.OPERATOR_NAMESPACE, "pods", kube.OPERATOR_SELECTOR)[0]
    assert OPERATOR.items() <= operator["metadata"]["labels"].items()
    (vault,) = kube.items("vault", "pods", "app=vault")
    assert VAULT_POD.items() <= vault["metadata"]["labels"].items()


def test_ingress(running: Deployed, policy: Policy) -> None:
    own = running.connector.namespace
    for source, port, allowed in [
        (pod(own, AGENT), 8080, True),
        (pod(own, AGENT), 8081, False),
        (pod("elsewhere", AGENT), 8080, False),
        (pod("elsewhere", OPERATOR), 8080, False),
        (pod(kube.OPERATOR_NAMESPACE, OPERATOR), 8080, True),
        (pod(kube.OPERATOR_NAMESPACE, OPERATOR), 8081, True),
        (pod(kube.OPERATOR_NAMESPACE, AGENT), 8081, False),
        (ANYWHERE, 8080, False),
        (ANYWHERE, 8081, False),
    ]:
        assert policy.lets_in(source, port) is allowed, f"{source} -> {port}"


def test_egress(running: Deployed, policy: Policy) -> None:
    for target, protocol, port, allowed in [
        (pod("kube-system", {"k8s-app": "kube-dns"}), "UDP", 53, True),
        (pod("kube-system", {"k8s-app": "kube-dns"}), "TCP", 53, True),
        (pod("vault", VAULT_POD), "TCP", 8200, True),
        (pod("vault", VAULT_POD), "TCP", 8201, False),
        # Of another namespace no label stands in the policy, which the tenant may read.
        (pod("vault", AGENT), "TCP", 8200, True),
        (pod("vault", AGENT), "TCP", 8080, False),
        (pod(running.connector.namespace, VAULT_POD), "TCP", 8200, False),
        (Peer("169.254.169.254"), "TCP", 80, False),
        (Peer("169.254.169.254"), "TCP", 8200, False),
        (ANYWHERE, "TCP", 8200, False),
        (ANYWHERE, "TCP", 443, False),
        (pod("default", AGENT), "TCP", 6443, False),
    ]:
        assert policy.lets_out(target, port, protocol) is allowed, f"{target} {protocol} {port}"


def test_callers_that_access_names_come_from_their_namespaces(running: Deployed) -> None:
    vault = running.connector
    rules = [{"namespace": "agents", "serviceAccount": "*"}, {"namespace": "triage", "serviceAccount": "bot"}]
    policy = changed(vault.namespace, "guarded", access={"allow": rules})
    for namespace, allowed in [("agents", True), ("triage", True), (vault.namespace, False), ("other", False)]:
        assert policy.lets_in(pod(namespace, AGENT), 8080) is allowed, namespace
    anonymous = changed(vault.namespace, "open", access={"anonymous": True})
    assert anonymous.lets_in(ANYWHERE, 8080)
    assert not anonymous.lets_in(ANYWHERE, 8081)
    nobody = changed(vault.namespace, "closed", access={"allow": []})
    assert not nobody.lets_in(pod(vault.namespace, AGENT), 8080)
    assert nobody.lets_in(pod(kube.OPERATOR_NAMESPACE, OPERATOR), 8080)


def test_a_platform_outside_is_its_port_at_any_address_but_those_of_the_machine_room(running: Deployed) -> None:
    namespace = running.connector.namespace
    kube.patch(
        namespace, "credentialsource", "vault-reader", {"spec": {"hosts": ["vault.example.com", "vault.vault.svc"]}}
    )
    platform = {"vault": {"url": "https://vault.example.com:8200"}}
    outside = changed(namespace, "outside", platform=platform)
    for address, port, allowed in [
        ("203.0.113.7", 8200, True),
        ("203.0.113.7", 443, False),
        ("2001:db8::1", 8200, True),
        ("169.254.169.254", 8200, False),
        ("100.100.100.200", 8200, False),
        ("192.0.0.192", 8200, False),
        ("168.63.129.16", 8200, False),
        ("fd00:ec2::254", 8200, False),
        ("fd00:ec2::23", 8200, False),
        ("fe80::1", 8200, False),
    ]:
        assert outside.lets_out(Peer(address), port, "TCP") is allowed, f"{address} {port}"
    narrowed = changed(namespace, "narrowed", platform=platform, network={"egress": "CIDRs", "cidrs": ["192.0.2.0/24"]})
    assert narrowed.lets_out(Peer("192.0.2.9"), 8200, "TCP")
    assert not narrowed.lets_out(Peer("203.0.113.7"), 8200, "TCP")
    assert narrowed.lets_out(pod("kube-system", {"k8s-app": "kube-dns"}), 53, "UDP")
    wide = changed(namespace, "wide", platform=platform, network={"egress": "Any"})
    assert wide.lets_out(ANYWHERE, 12345, "TCP")


def changed(namespace: str, name: str, **spec: Any) -> Policy:
    """The policy of a connector with something else in its spec."""
    kube.apply(namespace, connector(name, **spec))
    made = Connector(namespace, name)
    made.wait_for("Accepted", "True")
    return Policy(kube.get(namespace, "networkpolicy", made.owned))
