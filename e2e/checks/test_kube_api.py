"""The stories' own client of the Kubernetes API finds what kubectl finds, with whatever a kubeconfig has to log in."""

import base64
import json
import os
from pathlib import Path

import pytest

from support import kube
from support.machine import run

# Plural, singular and short, with a group, several, and a category.
KINDS = ("namespaces", "ns", "configmap", "hpa", "leases.coordination.k8s.io", "pods,services", "all", "crd")
MADE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-api", "namespace": "default"}}

pytestmark = pytest.mark.cluster


@pytest.fixture(params=["a certificate", "a program"])
def kubeconfig(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster's kubeconfig as it is, or with a program that hands out the same certificate."""
    config = json.loads(run("kubectl", "config", "view", "--raw", "--flatten", "--output", "json"))
    if request.param == "a program":
        (user,) = config["users"]
        (tmp_path / "credential").write_text(json.dumps(_credential(user["user"])))
        version = "client.authentication.k8s.io/v1"
        words = {"command": "cat", "args": [str(tmp_path / "credential")], "interactiveMode": "Never"}
        user["user"] = {"exec": {"apiVersion": version} | words}
    file = tmp_path / "kubeconfig"
    file.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", os.fspath(file))


def _credential(user: dict[str, str]) -> dict[str, object]:
    certificate, key = (base64.b64decode(user[f"client-{name}-data"]).decode() for name in ("certificate", "key"))
    status = {"clientCertificateData": certificate, "clientKeyData": key}
    return {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}


@pytest.mark.usefixtures("kubeconfig")
def test_it_finds_what_kubectl_finds() -> None:
    for kinds in KINDS:
        found = {(one["kind"], one["metadata"]["uid"]) for one in kube.items("kube-system", kinds)}
        words = ("--namespace", "kube-system", "get", kinds, "--output", "json")
        shown = json.loads(kube.kubectl(*words))["items"]
        assert found == {(one["kind"], one["metadata"]["uid"]) for one in shown}, kinds
    assert kube.items("kube-system", "pods"), "there is nothing to be found"


@pytest.mark.usefixtures("kubeconfig")
def test_it_applies_as_kubectl_does_and_follows() -> None:
    kube.delete("default", "configmap", "kube-api")
    try:
        states = kube.follow("default", "configmap", "kube-api", 60)
        assert next(states) is None
        kube.apply("default", MADE | {"data": {"kept": "1", "gone": "1"}})
        made = next(states)
        assert made is not None
        assert made["data"] == {"kept": "1", "gone": "1"}
        # What kubectl applies next, it merges with what was applied here.
        kube.apply("default", MADE | {"data": {"kept": "2"}})
        changed = next(states)
        assert changed is not None
        assert changed["data"] == {"kept": "2"}
        with pytest.raises(kube.RefusedError, match="unknown field"):
            kube.apply("default", MADE | {"metadata": {"name": "kube-api-2"}, "dta": {}})
    finally:
        kube.delete("default", "configmap", "kube-api")
    assert next(states) is None
    assert kube.find("default", "configmap", "kube-api") is None


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(kube.RefusedError, match="no kind of the name nonsense"):
        kube.get("default", "nonsense", "a")
    with pytest.raises(kube.RefusedError, match='configmaps "kube-api" not found'):
        kube.get("default", "configmap", "kube-api")
