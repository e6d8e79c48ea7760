"""Credentials come from Vault itself: an agent in the pods logs in as the connector, and keeps them fresh."""

import errno
import json
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from conftest import new_namespace

from support import kube, vault_server
from support.agent import Agent, agent_of
from support.connector import OUTAGE_SECONDS, Connector, ca_config_map, connector
from support.kube import Manifest
from support.vault_source import AUDIENCE, by_role, kept, make_role, reading, source
from support.waiting import eventually


@pytest.fixture
def role(namespace: str, vault_up: None) -> Iterator[str]:
    """A role for the connector's own ServiceAccount, which may read where the connector's token lies."""
    name = f"story-{secrets.token_hex(2)}"
    make_role(name, namespace)
    yield name
    vault_server.delete_service_account_role(name)
    vault_server.delete_policy(name)
    vault_server.delete_secret(name)


def deploy(namespace: str, *manifests: Manifest, **spec: Any) -> Connector:
    """A connector whose credentials come from Vault."""
    kube.apply(namespace, ca_config_map(vault_server.ca_pem()), *manifests, connector(**spec))
    return Connector(namespace)


def agent_process(pod: str) -> int:
    """The process of a pod's agent; the machine is the node."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"/mcp-connectors") and words[1] == b"agent" and f"HOSTNAME={pod}".encode() in environment:
            return int(folder.name)
    raise AssertionError(f"no agent of {pod}")


def planted(subject: Connector) -> str:
    """Everything that Kubernetes stores of a namespace and that may hold no credential."""
    kinds = "secrets,configmaps,events,pods,deployments,mcpconnectors,credentialsources"
    return json.dumps(kube.items(subject.namespace, kinds))


def test_a_kept_token_is_fetched_and_its_successor_too(namespace: str, role: str) -> None:
    subject = deploy(namespace, source(by_role(role), kept(role)))
    subject.wait_ready()
    agent, pods = agent_of(subject), subject.pod_identities()
    assert agent.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
    before = subject.status()["credentials"]["revision"]
    next_token = vault_server.make_token()
    vault_server.put_secret(role, {"token": next_token})
    eventually(
        "the next revision is in use",
        lambda: subject.status()["credentials"]["revision"] != before,
        timeout=10 + OUTAGE_SECONDS,
        explain=subject.explain,
    )
    subject.wait_ready(OUTAGE_SECONDS)
    assert subject.pod_identities() == pods
    subject.wait_for_event("Normal", "CredentialsRotated")
    assert next_token not in planted(subject)


def test_the_agent_says_why_it_is_not_let_in(namespace: str, role: str) -> None:
    vault_server.make_service_account_role(role, namespace, "mcp-another", AUDIENCE)
    subject = deploy(namespace, source(by_role(role), kept(role)))
    # The pod starts all the same.
    subject.wait_for("EndpointReady", "True", timeout=120)
    failed = subject.wait_for("CredentialsLoaded", "False", "VaultLoginFailed", OUTAGE_SECONDS)
    assert "audience and subject" in failed["message"]
    vault_server.make_service_account_role(role, namespace, "mcp-vault", AUDIENCE)
    # Somebody who mends it at once is heard at once; later it may take five minutes.
    subject.wait_ready(300 + OUTAGE_SECONDS)


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Another namespace."""
    name = new_namespace("elsewhere")
    yield name
    kube.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def test_vault_asks_the_api_server_who_logs_in(namespace: str, elsewhere: str, role: str) -> None:
    vault_server.review_tokens()
    vault_server.make_reviewed_role(role, [namespace], "mcp-vault", AUDIENCE)
    login = {"kubernetes": {"role": role, "audience": AUDIENCE}}
    try:
        subject = deploy(namespace, source(login, kept(role)))
        # The same ServiceAccount's name in a namespace that the role is not bound to.
        stranger = deploy(elsewhere, source(login, kept(role)))
        subject.wait_ready()
        assert agent_of(subject).answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
        refused = stranger.wait_for("CredentialsLoaded", "False", "VaultLoginFailed", 120)
        assert "(403)" in refused["message"] and "namespace" in refused["message"], refused
        vault_server.make_reviewed_role(role, [namespace, elsewhere], "mcp-vault", AUDIENCE)
        stranger.wait_ready(300 + OUTAGE_SECONDS)
    finally:
        vault_server.delete_reviewed_role(role)


def test_a_policy_is_added_after_a_refusal(namespace: str, role: str) -> None:
    vault_server.write_policy(role, reading("secret/data/other"))
    subject = deploy(namespace, source(by_role(role), kept(role)))
    refused = subject.wait_for("CredentialsLoaded", "False", "VaultPermissionMissing", 120)
    assert f"secret/data/{role}" in refused["message"]
    vault_server.write_policy(role, reading(f"secret/data/{role}"))
    subject.wait_ready(300 + OUTAGE_SECONDS)


def test_a_dynamic_credential_goes_through_three_leases(namespace: str, role: str) -> None:
    vault_server.make_issuing_role(role, ttl="30s")
    vault_server.write_policy(role, reading(f"secret/data/{role}") + reading(f"pki/issue/{role}", capability="update"))
    issued = {
        "dynamic": {"path": f"pki/issue/{role}", "parameters": {"common_name": "ci.example.com"}},
        "fields": {"certificate": "certificate"},
    }
    subject = deploy(namespace, source(by_role(role), kept(role), issued))
    subject.wait_ready()
    seen = {vault_server.leases(f"pki/issue/{role}")[0]}

    def three() -> bool:
        now = vault_server.leases(f"pki/issue/{role}")
        assert now, "a lease ended before there was another"
        seen.update(now)
        return len(seen) > 2

    eventually("three leases", three, timeout=30 * 4, explain=subject.explain)
    assert subject.condition("Ready")["status"] == "True"
    kube.delete(namespace, "mcpconnector", subject.name)
    eventually("leases and token are given back", lambda: not vault_server.leases(f"pki/issue/{role}"), timeout=60)


def test_a_wrapped_secret_id_is_used_twice(namespace: str, vault_up: None) -> None:
    name = f"story-{secrets.token_hex(2)}"
    role_id = vault_server.make_app_role(name, token_policies=[name])
    vault_server.write_policy(name, reading(f"secret/data/{name}"))
    vault_server.put_secret(name, {"token": vault_server.make_token()})
    path = f"auth/approle/role/{name}/secret-id"
    wrapped = vault_server.wrap_secret_id(name)
    login = {
        "appRole": {
            "roleId": role_id,
            "secretId": {"secret": {"name": "login", "key": "wrapped"}},
            "wrapping": {"creationPath": path},
        }
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"wrapped": wrapped}}
    try:
        subject = deploy(namespace, secret, source(login, kept(name)))
        subject.wait_ready()
        kube.apply(namespace, connector("second"))
        second = Connector(namespace, "second")
        alarm = second.wait_for("CredentialsLoaded", "False", "WrappedSecretConsumed", 120)
        assert "somebody else" in alarm["message"]
        subject.wait_ready(OUTAGE_SECONDS)
        new = {"stringData": {"wrapped": vault_server.wrap_secret_id(name)}}
        kube.patch(namespace, "secret", "login", new)
        # Both see the new one; whoever comes first unwraps it, and the first doesn't need it.
        second.wait_ready(300 + OUTAGE_SECONDS)
    finally:
        vault_server.delete_app_role(name)
        vault_server.delete_policy(name)
        vault_server.delete_secret(name)


def test_the_volume_is_full(namespace: str, role: str) -> None:
    # More than what the agent keeps back for telling how it does.
    large = {"ca": "x" * 24 * 1024}
    both = {"kv": {"mount": "secret", "path": role}, "fields": {"token": "token", "ca": "ca"}}
    vault_server.put_secret(role, {"token": vault_server.make_token()} | large)
    subject = deploy(namespace, source(by_role(role), both))
    subject.wait_ready()
    agent, pods, before = agent_of(subject), subject.pod_identities(), subject.status()["credentials"]["revision"]
    pod = subject.pods()[0]["metadata"]["name"]
    filler = Path(f"/proc/{agent_process(pod)}/root/var/run/secrets/mcp-connectors.io/credentials/..filler")
    with pytest.raises(OSError, match="No space left") as full, filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    assert full.value.errno == errno.ENOSPC
    next_token = vault_server.make_token()
    vault_server.put_secret(role, {"token": next_token} | large)
    # What was written before stays whole and in use.
    warned = subject.wait_for("CredentialsLoaded", "True", "CredentialsNotWritten", 30 + OUTAGE_SECONDS)
    assert "what was fetched before stays in use" in warned["message"]
    assert subject.status()["credentials"]["revision"] == before
    assert agent.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
    filler.unlink()
    subject.wait_for("CredentialsLoaded", "True", "Loaded", 60 + OUTAGE_SECONDS)
    assert subject.status()["credentials"]["revision"] != before
    subject.wait_ready(OUTAGE_SECONDS)
    assert subject.pod_identities() == pods
    assert next_token not in planted(subject)


def test_the_agent_is_killed(namespace: str, role: str) -> None:
    subject = deploy(namespace, source(by_role(role), kept(role)))
    subject.wait_ready()
    agent = agent_of(subject)
    pod = subject.pods()[0]["metadata"]["name"]

    def restarts() -> int:
        statuses = kube.get(namespace, "pod", pod)["status"]["initContainerStatuses"]
        return int(next(status["restartCount"] for status in statuses if status["name"] == "agent"))

    os.kill(agent_process(pod), signal.SIGKILL)
    eventually("the kubelet starts it again", lambda: restarts() == 1, timeout=60, explain=subject.explain)
    # A pod is not ready while a container of it starts anew; the server has never stopped.
    kube.kubectl("--namespace", namespace, "wait", f"pod/{pod}", "--for=condition=Ready", "--timeout=60s")
    subject.wait_ready(OUTAGE_SECONDS)
    eventually("the Service leads to it again", lambda: _reached(agent), timeout=OUTAGE_SECONDS)
    assert agent.answer("list_vault_secrets", path="secret/apps")["items"] == ["web"]
    vault_server.put_secret(role, {"token": vault_server.make_token()})
    subject.wait_ready(OUTAGE_SECONDS)


def _reached(agent: Agent) -> bool:
    try:
        return bool(agent.tools())
    except httpx2.ConnectError:
        return False
