"""The Kubernetes API as a person uses it: through kubectl."""

import json
from collections.abc import Sequence
from typing import Any

import yaml

from . import planted
from .machine import ProgramError, run

Manifest = dict[str, Any]

OPERATOR_NAMESPACE = "mcp-connectors-system"
OPERATOR_USER = f"system:serviceaccount:{OPERATOR_NAMESPACE}:mcp-connectors"


class RefusedError(Exception):
    """The API server did not take an object; the text is what kubectl told."""


def kubectl(*words: str, stdin: str | None = None, timeout: float = 120) -> str:
    """Runs kubectl and returns what it prints."""
    return run("kubectl", *words, stdin=stdin, timeout=timeout)


def apply(namespace: str, *manifests: Manifest) -> None:
    """Applies manifests as `kubectl apply` does.

    Raises RefusedError with kubectl's words if the API server refuses one of them.
    """
    _send(namespace, "apply", manifests)


def create(namespace: str, *manifests: Manifest) -> None:
    """Creates objects. Raises RefusedError like `apply`."""
    _send(namespace, "create", manifests)


def _send(namespace: str, verb: str, manifests: Sequence[Manifest]) -> None:
    planted.remember_secrets(manifests)
    try:
        kubectl("--namespace", namespace, verb, "--filename", "-", stdin=yaml.safe_dump_all(manifests))
    except ProgramError as failure:
        raise RefusedError(failure.errors.strip()) from failure


def get(namespace: str, kind: str, name: str) -> Manifest:
    """One object as it is."""
    found: Manifest = json.loads(kubectl("--namespace", namespace, "get", kind, name, "--output", "json"))
    return found


def find(namespace: str, kind: str, name: str) -> Manifest | None:
    """One object, or nothing if it doesn't exist."""
    text = kubectl("--namespace", namespace, "get", kind, name, "--output", "json", "--ignore-not-found")
    found: Manifest | None = json.loads(text) if text.strip() else None
    return found


def items(namespace: str, kinds: str, selector: str = "") -> list[Manifest]:
    """The objects of some kinds."""
    text = kubectl("--namespace", namespace, "get", kinds, "--selector", selector, "--output", "json")
    found: list[Manifest] = json.loads(text)["items"]
    return found


def patch(namespace: str, kind: str, name: str, change: Manifest) -> None:
    """Merges a change into an object. Raises RefusedError like `apply`."""
    if kind == "secret":
        planted.remember_secrets([{"kind": "Secret", "metadata": {"name": name}} | change])
    try:
        kubectl("--namespace", namespace, "patch", kind, name, "--type", "merge", "--patch", json.dumps(change))
    except ProgramError as failure:
        raise RefusedError(failure.errors.strip()) from failure


def delete(namespace: str, kind: str, name: str, *words: str) -> None:
    """Deletes an object, and waits until it is gone unless told otherwise."""
    kubectl("--namespace", namespace, "delete", kind, name, "--ignore-not-found", *words)


def create_namespace(name: str) -> None:
    """Makes a namespace that admits only pods of the restricted profile."""
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    }
    kubectl("apply", "--filename", "-", stdin=yaml.safe_dump(namespace))


def token(namespace: str, service_account: str, audience: str) -> str:
    """A ServiceAccount's token, from the API server's TokenRequest."""
    words = ("create", "token", service_account, "--audience", audience, "--duration", "20m")
    made = kubectl("--namespace", namespace, *words).strip()
    planted.remember(f"a token of {namespace}/{service_account}", made)
    return made


def events(namespace: str, name: str) -> list[Manifest]:
    """Events about one object."""
    return [event for event in items(namespace, "events") if event["involvedObject"]["name"] == name]


def stop_operator() -> None:
    """Stops every replica of the operator, and waits until they are gone."""
    words = ("--namespace", OPERATOR_NAMESPACE)
    kubectl(*words, "scale", "deployment/mcp-connectors", "--replicas=0")
    kubectl(*words, "wait", "pod", "--selector", OPERATOR_SELECTOR, "--for=delete", "--timeout=90s")


def start_operator() -> None:
    """Starts the operator, and waits until its replicas are ready."""
    words = ("--namespace", OPERATOR_NAMESPACE)
    kubectl(*words, "scale", "deployment/mcp-connectors", f"--replicas={OPERATOR_REPLICAS}")
    kubectl(*words, "rollout", "status", "deployment/mcp-connectors", "--timeout=240s", timeout=300)


OPERATOR_REPLICAS = 2
OPERATOR_SELECTOR = "app.kubernetes.io/name=mcp-connectors,app.kubernetes.io/component=operator"


def operator_restarts() -> dict[str, str]:
    """Why the kubelet started containers of the operator anew, by pod."""
    found = items(OPERATOR_NAMESPACE, "pods", OPERATOR_SELECTOR)
    return {
        pod["metadata"]["name"]: f"{status['restartCount']} times, last: {status['lastState']}"
        for pod in found
        for status in pod["status"].get("containerStatuses", [])
        if status["restartCount"] > 0
    }


# It logs everything there is, which is for a search at the end and too much for a person.
FINE_LEVELS = ('"level":"TRACE"', '"level":"DEBUG"')


def operator_log(lines: int = 0) -> str:
    """What the operator wrote, without its finest levels; or its last lines."""
    words = ("logs", "--selector", OPERATOR_SELECTOR, "--tail=-1")
    written = kubectl("--namespace", OPERATOR_NAMESPACE, *words).splitlines()
    return "\n".join([line for line in written if not any(level in line for level in FINE_LEVELS)][-lines:])


def operator_metrics() -> dict[str, str]:
    """The metrics of the operator's pods."""
    names = [pod["metadata"]["name"] for pod in items(OPERATOR_NAMESPACE, "pods", OPERATOR_SELECTOR)]
    path = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods"
    return {name: kubectl("get", "--raw", f"{path}/{name}:8080/proxy/metrics") for name in names}
