"""Credentials that the Secrets Store CSI driver mounts: the real driver, with a store that a test can change."""

import json
from collections.abc import Iterator

import pytest
from testcluster import secrets_store

from support import kube, planted, vault_server
from support.agent import agent_of
from support.connector import (
    API_VERSION,
    CREDENTIALS,
    OUTAGE_SECONDS,
    VAULT_HOST,
    Connector,
    ca_config_map,
    connector,
)
from support.kube import Manifest
from support.waiting import eventually

# The name that the token has in the store, and so as a file.
OBJECT = "ci-token"


@pytest.fixture
def driver(namespace: str) -> Iterator[None]:
    """The driver, on the node while the story goes on."""
    secrets_store.up()
    yield
    # It has to unmount what it mounted.
    kube.kubectl("delete", "mcpconnectors", "--namespace", namespace, "--all")
    eventually("the pods are gone", lambda: not kube.items(namespace, "pods"), timeout=60)
    secrets_store.down()


def put(namespace: str, token: str) -> None:
    """Puts the token into the store."""
    planted.remember("the token in the store of the CSI driver", token)
    secrets_store.put(namespace, {OBJECT: token})


def test_what_the_driver_mounts_is_used_and_its_successor_too(namespace: str, vault_up: None, driver: None) -> None:
    provider_class: Manifest = {
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": {"name": "vault-reader"},
        "spec": {"provider": secrets_store.PROVIDER, "parameters": {"folder": namespace}},
    }
    source: Manifest = {
        "apiVersion": API_VERSION,
        "kind": "CredentialSource",
        "metadata": {"name": CREDENTIALS},
        "spec": {
            "hosts": [VAULT_HOST],
            "csi": {"secretProviderClass": "vault-reader", "items": {"token": OBJECT}},
        },
    }
    kube.apply(namespace, ca_config_map(vault_server.ca_pem()), source, connector())
    subject = Connector(namespace)
    # Unlike a Secret that is missing, this holds up the pod, which is told.
    waits = "A pod waits for what the Secrets Store CSI driver mounts"

    def is_told() -> bool:
        return waits in subject.conditions().get("Available", {}).get("message", "")

    eventually("the pod's waiting is told", is_told, explain=subject.explain)
    first = vault_server.make_token()
    put(namespace, first)
    kube.apply(namespace, provider_class)
    subject.wait_ready()
    agent, pods = agent_of(subject), subject.pod_identities()
    assert agent.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
    before = subject.status()["credentials"]["revision"]
    second = vault_server.make_token()
    put(namespace, second)
    eventually(
        "the next revision is in use",
        lambda: subject.status()["credentials"]["revision"] != before,
        timeout=30 + OUTAGE_SECONDS,
        explain=subject.explain,
    )
    vault_server.revoke_token(first)
    assert agent.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
    subject.wait_ready(OUTAGE_SECONDS)
    assert subject.pod_identities() == pods
    stored = json.dumps(kube.items(namespace, "secrets,configmaps,events,pods,mcpconnectors,credentialsources"))
    assert first not in stored and second not in stored
