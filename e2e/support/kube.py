"""The Kubernetes API as stories use it: through kubectl where a person's command is what is shown, and otherwise asked
directly."""

import contextlib
import json
import time
from collections.abc import Iterator

import yaml

from . import planted
from .kube_api import Manifest as Manifest
from .kube_api import RefusedError as RefusedError
from .kube_api import kube_api
from .machine import ProgramError, run

OPERATOR_NAMESPACE = "mcp-connectors-system"
OPERATOR_SELECTOR = "app.kubernetes.io/name=mcp-connectors,app.kubernetes.io/component=operator"

NOT_FOUND, CONFLICT = 404, 409
TOKEN_SECONDS = 20 * 60
# What `kubectl apply` calls itself, and where it notes down what it applied.
APPLIER = "kubectl-client-side-apply"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# A watch is begun anew by then, should it have broken off without a word.
WATCH_SECONDS = 30.0
PAUSE_SECONDS = 1.0


def kubectl(*words: str, stdin: str | None = None, timeout: float = 120) -> str:
    """Runs kubectl and returns what it prints."""
    return run("kubectl", *words, stdin=stdin, timeout=timeout)


def apply(namespace: str, *manifests: Manifest) -> None:
    """Applies manifests as `kubectl apply` does.

    Raises RefusedError with the API server's words if it refuses one of them.
    """
    planted.remember_secrets(manifests)
    for manifest in manifests:
        try:
            _apply_first(namespace, manifest)
        except RefusedError as refusal:
            if refusal.status != CONFLICT:
                raise
            _apply_again(namespace, manifest)


def _apply_first(namespace: str, manifest: Manifest) -> None:
    """Makes an object as `kubectl apply` does, which notes down in it what was applied."""
    metadata = manifest["metadata"]
    annotations = metadata.get("annotations", {}) | {LAST_APPLIED: json.dumps(manifest) + "\n"}
    noted = manifest | {"metadata": metadata | {"annotations": annotations}}
    api = kube_api()
    path = api.resource_of(manifest).path(metadata.get("namespace", namespace))
    api.request("POST", path, noted, fieldManager=APPLIER, fieldValidation="Strict")


def _apply_again(namespace: str, manifest: Manifest) -> None:
    """Merges what was applied before, what is applied now, and what is there, which only kubectl can."""
    try:
        kubectl("--namespace", namespace, "apply", "--filename", "-", stdin=yaml.safe_dump(manifest))
    except ProgramError as failure:
        raise RefusedError(failure.errors.strip()) from failure


def get(namespace: str, kind: str, name: str) -> Manifest:
    """One object as it is."""
    api = kube_api()
    return _shown(api.request("GET", api.resource(kind).path(namespace, name)))


def find(namespace: str, kind: str, name: str) -> Manifest | None:
    """One object, or nothing if it doesn't exist."""
    try:
        return get(namespace, kind, name)
    except RefusedError as refusal:
        if refusal.status == NOT_FOUND:
            return None
        raise


def items(namespace: str, kinds: str, selector: str = "", fields: str = "") -> list[Manifest]:
    """The objects of some kinds, in all namespaces if none is named."""
    api = kube_api()
    return [
        # In a list they don't say what they are.
        {"apiVersion": resource.api_version, "kind": resource.kind} | _shown(item)
        for resource in api.resources(kinds)
        for item in api.request("GET", resource.path(namespace), labelSelector=selector, fieldSelector=fields)["items"]
    ]


def follow(namespace: str, kind: str, name: str, seconds: float) -> Iterator[Manifest | None]:
    """An object as it is, and again each time that it changes; nothing while it doesn't exist. Ends after some seconds.

    An API server that goes away meanwhile is waited for.
    """
    api = kube_api()
    path, only = api.resource(kind).path(namespace), f"metadata.name={name}"
    end, has_answered = time.monotonic() + seconds, False
    while (left := end - time.monotonic()) > 0:
        try:
            found = api.request("GET", path, fieldSelector=only)
            has_answered = True
            yield _shown(found["items"][0]) if found["items"] else None
            version, watched = found["metadata"]["resourceVersion"], min(left, WATCH_SECONDS)
            with contextlib.closing(api.changes(path, watched, fieldSelector=only, resourceVersion=version)) as changes:
                for change in changes:
                    # It tells by an error that it can't go on from there.
                    if change["type"] == "ERROR":
                        break
                    yield None if change["type"] == "DELETED" else _shown(change["object"])
        except RefusedError:
            if not has_answered:
                raise
            time.sleep(PAUSE_SECONDS)


def _shown(found: Manifest) -> Manifest:
    """An object without who has set each of its fields, as kubectl shows it."""
    found["metadata"].pop("managedFields", None)
    return found


def patch(namespace: str, kind: str, name: str, change: Manifest) -> None:
    """Merges a change into an object. Raises RefusedError like `apply`."""
    api = kube_api()
    resource = api.resource(kind)
    if resource.kind == "Secret":
        planted.remember_secrets([{"kind": "Secret", "metadata": {"name": name}} | change])
    headers = {"Content-Type": "application/merge-patch+json"}
    api.request("PATCH", resource.path(namespace, name), change, headers, fieldManager="kubectl-patch")


def delete(namespace: str, kind: str, name: str, *words: str) -> None:
    """Deletes an object, and waits until it is gone unless told otherwise."""
    kubectl("--namespace", namespace, "delete", kind, name, "--ignore-not-found", *words)


def create_namespace(name: str) -> None:
    """Makes a namespace that admits only pods of the restricted profile."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply("", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def delete_namespace(name: str) -> None:
    """Has a namespace deleted, if there is one, and doesn't wait for it."""
    api = kube_api()
    try:
        api.request("DELETE", api.resource("namespace").path("", name))
    except RefusedError as refusal:
        if refusal.status != NOT_FOUND:
            raise


def token(namespace: str, service_account: str, audience: str) -> str:
    """A ServiceAccount's token, from the API server's TokenRequest."""
    api = kube_api()
    spec = {"audiences": [audience], "expirationSeconds": TOKEN_SECONDS}
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = api.resource("serviceaccount").path(namespace, service_account)
    made = str(api.request("POST", f"{path}/token", wanted)["status"]["token"])
    planted.remember(f"a token of {namespace}/{service_account}", made)
    return made


def events(namespace: str, name: str) -> list[Manifest]:
    """Events about one object."""
    return items(namespace, "events", fields=f"involvedObject.name={name}")
