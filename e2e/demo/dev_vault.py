"""A Vault for the demo in a cluster that was there before: a development server, which keeps nothing, with TLS beside it.
Nothing but kubectl reaches it from here."""

import base64
import json
import os
import secrets
import tempfile
from pathlib import Path

from testcluster import pki

from support import kube
from support.kube import Manifest
from support.machine import ProgramError
from support.vault_server import POLICY, READER, SECRET_URL, SECRET_VALUE

NAME = "vault"
CERTIFICATE = "vault-server"
ROOT_TOKEN = "vault-root"
# The development server's own listener, without TLS, is for the inside of its pod only.
OUTSIDE_PORT = 8202
CONFIG = f"""
disable_mlock = true
listener "tcp" {{
  address       = "0.0.0.0:{OUTSIDE_PORT}"
  tls_cert_file = "/tls/tls.crt"
  tls_key_file  = "/tls/tls.key"
}}
"""


def image() -> str:
    """The image that the cluster pulls."""
    return os.environ.get("VAULT_IMAGE") or "hashicorp/vault:1.21"


def host(namespace: str) -> str:
    """Its name in the cluster."""
    return f"{NAME}.{namespace}.svc"


def prepare(namespace: str) -> None:
    """Deploys it, and makes sure that it holds what is read later."""
    if kube.find(namespace, "secret", CERTIFICATE) is None:
        kube.apply(namespace, _certificate(namespace))
    if kube.find(namespace, "secret", ROOT_TOKEN) is None:
        kube.apply(namespace, _secret(ROOT_TOKEN, {"token": secrets.token_urlsafe(24)}))
    kube.apply(namespace, *_workload())
    kube.kubectl("--namespace", namespace, "rollout", "status", f"deployment/{NAME}", "--timeout=300s", timeout=310)
    _vault(namespace, "policy", "write", POLICY, "-", stdin=READER)
    # Not as arguments: the API server's audit log shows those of every command.
    values = json.dumps({"url": SECRET_URL, "password": SECRET_VALUE})
    _vault(namespace, "kv", "put", "-mount=secret", "apps/web", "-", stdin=values)


def make_token(namespace: str) -> str:
    """A token of a reader."""
    words = ("token", "create", "-orphan", f"-policy={POLICY}", "-ttl=24h", "-display-name=mcp-connectors")
    return _vault(namespace, *words, "-field=token").strip()


def ca_pem(namespace: str) -> str:
    """The authority of its certificate."""
    found = kube.get(namespace, "secret", CERTIFICATE)["data"]["ca.crt"]
    return base64.b64decode(found).decode()


def _vault(namespace: str, *words: str, stdin: str = "") -> str:
    # The token is in the container's environment already.
    command = ("--namespace", namespace, "exec", "--stdin", f"deployment/{NAME}", "--", "vault")
    try:
        return kube.kubectl(*command, *words, stdin=stdin)
    except ProgramError as failure:
        raise kube.RefusedError(f"vault {words[0]}: {failure.errors.strip()}") from failure


def _secret(name: str, data: dict[str, str]) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def _certificate(namespace: str) -> Manifest:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        pki.authority(folder, "mcp-connectors-demo")
        pki.issue(folder, pki.Identity("tls", host(namespace), names=(f"DNS:{host(namespace)}",)))
        return _secret(CERTIFICATE, {name: (folder / name).read_text() for name in ("ca.crt", "tls.crt", "tls.key")})


def _workload() -> list[Manifest]:
    labels = {"app": NAME}
    container = {
        "name": NAME,
        "image": image(),
        "imagePullPolicy": "IfNotPresent",
        # Past the entry point of HashiCorp's image, which would let the listener without TLS out of the pod.
        "command": ["vault"],
        "args": ["server", "-dev", "-dev-no-store-token", "-config=/config/vault.hcl"],
        "env": [
            {"name": "VAULT_ADDR", "value": "http://127.0.0.1:8200"},
            *(
                {"name": variable, "valueFrom": {"secretKeyRef": {"name": ROOT_TOKEN, "key": "token"}}}
                for variable in ("VAULT_DEV_ROOT_TOKEN_ID", "VAULT_TOKEN")
            ),
        ],
        "ports": [{"name": "api", "containerPort": OUTSIDE_PORT}],
        "readinessProbe": {
            "httpGet": {"scheme": "HTTPS", "port": "api", "path": "/v1/sys/health"},
            "periodSeconds": 2,
        },
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "config", "mountPath": "/config", "readOnly": True},
            {"name": "tls", "mountPath": "/tls", "readOnly": True},
        ],
    }
    user = 65532
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": f"{NAME}-server"}},
            {"name": "tls", "secret": {"secretName": CERTIFICATE}},
        ],
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{NAME}-server"},
            "data": {"vault.hcl": CONFIG},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": labels, "ports": [{"name": "api", "port": 8200, "targetPort": "api"}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME},
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    ]
