"""The cluster's Vault, filled with what the stories and the demo read."""

import contextlib
import http
from typing import Any

from testcluster import vault
from testcluster.errors import ClusterError
from testcluster.layout import Layout

from . import planted
from .waiting import eventually

POLICY = "mcp-connectors-reader"
# What a platform team would grant: reading in two engines, and nothing else.
READER = """
path "secret/data/*" { capabilities = ["read"] }
path "secret/subkeys/*" { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["read", "list"] }
path "kv1/*" { capabilities = ["read", "list"] }
"""
SECRET_VALUE = "planted-value-b7c1f0d2"
SECRET_URL = "https://web.example.com"


def api(method: vault.Method, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Calls Vault with the root token."""
    return vault.api(method, path, body, token=vault.credentials().root_token)


def prepare() -> None:
    """Brings Vault up, unseals it, and makes sure that it holds what is read later."""
    if not _is_well():
        vault.up()
        vault.init()
    known = vault.credentials()
    planted.remember("Vault's root token and unseal key", known.root_token, known.unseal_key)
    planted.remember("the value in Vault", SECRET_VALUE)
    mounts = api("GET", "sys/mounts")["data"]
    if "secret/" not in mounts:
        api("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    if "kv1/" not in mounts:
        api("POST", "sys/mounts/kv1", {"type": "kv", "options": {"version": "1"}})
    write_policy(POLICY, READER)
    _fill()


def _is_well() -> bool:
    try:
        vault.api("GET", "sys/health")
    except (ClusterError, OSError, ValueError):
        return False
    return True


def _fill() -> None:
    # An engine of version 2 that was just mounted needs a moment before it takes writes.
    def write() -> bool:
        try:
            api("POST", "secret/data/apps/web", {"data": {"url": SECRET_URL, "password": SECRET_VALUE}})
            api("POST", "kv1/legacy", {"user": "app", "password": SECRET_VALUE})
        except vault.VaultError:
            return False
        return True

    eventually("Vault holds the sample secrets", write, timeout=30)


def write_policy(name: str, rules: str) -> None:
    """Makes or changes a policy."""
    api("PUT", f"sys/policies/acl/{name}", {"policy": rules})


def delete_policy(name: str) -> None:
    """Removes a policy."""
    api("DELETE", f"sys/policies/acl/{name}")


def make_token(*policies: str, ttl: str = "2h", renewable: bool = True) -> str:
    """A token with these policies, or with that of a reader."""
    policies = policies or (POLICY,)
    request = {"policies": list(policies), "ttl": ttl, "renewable": renewable, "display_name": "mcp-connectors"}
    token: str = api("POST", "auth/token/create-orphan", request)["auth"]["client_token"]
    planted.remember("a token of Vault", token)
    return token


def make_app_role(name: str, **settings: Any) -> str:
    """Makes or changes an AppRole of a reader, and returns its role id."""
    if "approle/" not in api("GET", "sys/auth")["data"]:
        api("POST", "sys/auth/approle", {"type": "approle"})
    api("POST", f"auth/approle/role/{name}", {"token_policies": [POLICY], **settings})
    role_id: str = api("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
    return role_id


def make_secret_id(role: str) -> str:
    """A secret id with which a role logs in."""
    secret_id: str = api("POST", f"auth/approle/role/{role}/secret-id", {})["data"]["secret_id"]
    planted.remember(f"a secret id of the AppRole {role}", secret_id)
    return secret_id


def wrap_secret_id(role: str) -> str:
    """A wrapping token with a secret id in it."""
    path, root = f"auth/approle/role/{role}/secret-id", vault.credentials().root_token
    token: str = vault.api("POST", path, {}, token=root, wrap_seconds=600)["wrap_info"]["token"]
    planted.remember(f"a wrapped secret id of the AppRole {role}", token)
    return token


def destroy_secret_id(role: str, secret_id: str) -> None:
    """Ends a secret id. Tokens that it was exchanged for live on."""
    api("POST", f"auth/approle/role/{role}/secret-id/destroy", {"secret_id": secret_id})


def logins_of(role: str) -> list[str]:
    """The accessors of the tokens that an AppRole has now."""
    found = []
    for accessor in api("LIST", "auth/token/accessors")["data"]["keys"]:
        # One that has ended since is none of them.
        with contextlib.suppress(vault.VaultError):
            token = api("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
            if (token["meta"] or {}).get("role_name") == role:
                found.append(accessor)
    return found


def revoke_logins(accessors: list[str]) -> None:
    """Ends tokens, unless they have ended."""
    for accessor in accessors:
        with contextlib.suppress(vault.VaultError):
            api("POST", "auth/token/revoke-accessor", {"accessor": accessor})


def delete_app_role(name: str) -> None:
    """Removes an AppRole."""
    api("DELETE", f"auth/approle/role/{name}")


# Where the cluster's own tokens are good for a login.
CLUSTER_MOUNT = "cluster"


def trust_cluster() -> None:
    """Lets ServiceAccounts of the cluster log in, by the cluster's public keys."""
    if f"{CLUSTER_MOUNT}/" in api("GET", "sys/auth")["data"]:
        return
    api("POST", f"sys/auth/{CLUSTER_MOUNT}", {"type": "jwt"})
    key = (Layout.from_environment().pki / "service-accounts.pub").read_text()
    api("POST", f"auth/{CLUSTER_MOUNT}/config", {"jwt_validation_pubkeys": [key]})


def make_service_account_role(name: str, namespace: str, account: str, audience: str, ttl: str = "1h") -> None:
    """Makes or changes a role for one ServiceAccount, with the policy of the same name."""
    role = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_subject": f"system:serviceaccount:{namespace}:{account}",
        "bound_audiences": [audience],
        "token_policies": [name],
        "token_ttl": ttl,
    }
    api("POST", f"auth/{CLUSTER_MOUNT}/role/{name}", role)


def delete_service_account_role(name: str) -> None:
    """Removes such a role."""
    api("DELETE", f"auth/{CLUSTER_MOUNT}/role/{name}")


# Where Vault asks the API server about each token that it is shown.
REVIEWING_MOUNT = "kubernetes"


def review_tokens() -> None:
    """Turns on Vault's Kubernetes auth method, which reviews tokens as Vault's own ServiceAccount."""
    if f"{REVIEWING_MOUNT}/" in api("GET", "sys/auth")["data"]:
        return
    vault.register_kubernetes()
    api("POST", f"sys/auth/{REVIEWING_MOUNT}", {"type": "kubernetes"})
    api("POST", f"auth/{REVIEWING_MOUNT}/config", {"kubernetes_host": "https://kubernetes.default.svc"})


def make_reviewed_role(name: str, namespaces: list[str], account: str, audience: str) -> None:
    """Makes or changes a role of that method for the ServiceAccounts of a name, with the policy of the role's name."""
    role = {
        "bound_service_account_names": [account],
        "bound_service_account_namespaces": namespaces,
        "audience": audience,
        "token_policies": [name],
        "token_ttl": "1h",
    }
    api("POST", f"auth/{REVIEWING_MOUNT}/role/{name}", role)


def delete_reviewed_role(name: str) -> None:
    """Removes such a role."""
    api("DELETE", f"auth/{REVIEWING_MOUNT}/role/{name}")


def put_secret(path: str, data: dict[str, str]) -> None:
    """A new version of a secret in the engine `secret`."""
    planted.remember(f"secret/{path} in Vault", *data.values())
    api("POST", f"secret/data/{path}", {"data": data})


def delete_secret(path: str) -> None:
    """Removes a secret with all its versions."""
    api("DELETE", f"secret/metadata/{path}")


def make_issuing_role(name: str, ttl: str) -> None:
    """A role of the engine `pki`, whose certificates have leases."""
    if "pki/" not in api("GET", "sys/mounts")["data"]:
        api("POST", "sys/mounts/pki", {"type": "pki"})
        api("POST", "pki/root/generate/internal", {"common_name": "stories", "ttl": "24h"})
    role = {"allow_any_name": True, "ttl": ttl, "max_ttl": ttl, "generate_lease": True}
    api("POST", f"pki/roles/{name}", role | {"key_type": "ec", "key_bits": 256})


def leases(prefix: str) -> list[str]:
    """The leases that live below a path."""
    try:
        keys: list[str] = api("LIST", f"sys/leases/lookup/{prefix}")["data"]["keys"]
    except vault.VaultError as error:
        if error.status == http.HTTPStatus.NOT_FOUND:
            return []
        raise
    return keys


def revoke_token(token: str) -> None:
    """Ends a token."""
    api("POST", "auth/token/revoke", {"token": token})


def ca_pem() -> str:
    """The authority of Vault's certificate."""
    return vault.ca_file().read_text()
