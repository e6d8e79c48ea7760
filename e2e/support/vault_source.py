"""CredentialSources whose credentials come from Vault itself, by a login as the connector."""

from typing import Any

from . import vault_server
from .connector import API_VERSION, CA_CONFIG_MAP, CREDENTIALS
from .kube import Manifest
from .vault_server import VaultServer

AUDIENCE = "vault"


def reading(*paths: str, capability: str = "read") -> str:
    """A policy that permits reading paths."""
    return "\n".join(f'path "{path}" {{ capabilities = ["{capability}"] }}' for path in paths)


def source(auth: Manifest, *wanted: Manifest, at: VaultServer = vault_server.SHARED, **vault_fields: Any) -> Manifest:
    """A CredentialSource in a Vault of the cluster."""
    authority = {"configMap": {"name": CA_CONFIG_MAP, "key": "ca.crt"}}
    fields = {"address": at.url, "caBundle": authority, "auth": auth, "secrets": list(wanted), "refreshInterval": "10s"}
    return {
        "apiVersion": API_VERSION,
        "kind": "CredentialSource",
        "metadata": {"name": CREDENTIALS},
        "spec": {"hosts": [at.host_name], "vault": fields | vault_fields},
    }


def make_role(name: str, namespace: str, at: VaultServer = vault_server.SHARED) -> None:
    """A role for the connector's own ServiceAccount, which may read where the connector's token lies."""
    at.trust_cluster()
    at.write_policy(name, reading(f"secret/data/{name}"))
    at.make_service_account_role(name, namespace, "mcp-vault", AUDIENCE)
    at.put_secret(name, {"token": at.make_token()})


def by_role(role: str) -> Manifest:
    """Login as the connector's ServiceAccount."""
    return {"jwt": {"mount": vault_server.CLUSTER_MOUNT, "role": role, "audience": AUDIENCE}}


def kept(path: str) -> Manifest:
    """The connector's token, in the KV engine."""
    return {"kv": {"mount": "secret", "path": path}, "fields": {"token": "token"}}
