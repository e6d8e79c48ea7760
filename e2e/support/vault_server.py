"""Vault, filled with what the stories and the demo read: the one that all share, and others like it."""

import contextlib
import http
from dataclasses import dataclass
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
# Where the cluster's own tokens are good for a login.
CLUSTER_MOUNT = "cluster"
# Where Vault asks the API server about each token that it is shown.
REVIEWING_MOUNT = "kubernetes"


@dataclass(frozen=True)
class VaultServer:
    """A Vault in the cluster, and what its administrator does."""

    namespace: str = vault.NAMESPACE

    @property
    def server(self) -> vault.Vault:
        """What runs."""
        return vault.Vault(self.namespace)

    @property
    def host_name(self) -> str:
        """What connectors and sources know it by."""
        return self.server.host_name

    @property
    def url(self) -> str:
        """Its address for connectors and sources."""
        return self.server.url

    def api(self, method: vault.Method, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Calls it with the root token."""
        return self.server.api(method, path, body, token=self.server.credentials().root_token)

    def prepare(self) -> None:
        """Brings it up, unseals it, and makes sure that it holds what is read later."""
        if not self.is_well():
            self.server.up()
            self.server.init()
        self.fill()

    def fill(self) -> None:
        """Makes sure that one that is unsealed holds what is read later."""
        known = self.server.credentials()
        planted.remember("Vault's root token and unseal key", known.root_token, known.unseal_key)
        planted.remember("the value in Vault", SECRET_VALUE)
        mounts = self.api("GET", "sys/mounts")["data"]
        if "secret/" not in mounts:
            self.api("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
        if "kv1/" not in mounts:
            self.api("POST", "sys/mounts/kv1", {"type": "kv", "options": {"version": "1"}})
        self.write_policy(POLICY, READER)
        self._put_samples()

    def is_well(self) -> bool:
        """Whether it serves: it runs, and is not sealed."""
        try:
            self.server.api("GET", "sys/health")
        except (ClusterError, OSError, ValueError):
            return False
        return True

    def _put_samples(self) -> None:
        # An engine of version 2 that was just mounted needs a moment before it takes writes.
        def write() -> bool:
            try:
                self.api("POST", "secret/data/apps/web", {"data": {"url": SECRET_URL, "password": SECRET_VALUE}})
                self.api("POST", "kv1/legacy", {"user": "app", "password": SECRET_VALUE})
            except vault.VaultError:
                return False
            return True

        eventually("Vault holds the sample secrets", write, timeout=30)

    def write_policy(self, name: str, rules: str) -> None:
        """Makes or changes a policy."""
        self.api("PUT", f"sys/policies/acl/{name}", {"policy": rules})

    def delete_policy(self, name: str) -> None:
        """Removes a policy."""
        self.api("DELETE", f"sys/policies/acl/{name}")

    def make_token(self, *policies: str, ttl: str = "2h", renewable: bool = True) -> str:
        """A token with these policies, or with that of a reader."""
        policies = policies or (POLICY,)
        request = {"policies": list(policies), "ttl": ttl, "renewable": renewable, "display_name": "mcp-connectors"}
        token: str = self.api("POST", "auth/token/create-orphan", request)["auth"]["client_token"]
        planted.remember("a token of Vault", token)
        return token

    def make_app_role(self, name: str, **settings: Any) -> str:
        """Makes or changes an AppRole of a reader, and returns its role id."""
        if "approle/" not in self.api("GET", "sys/auth")["data"]:
            self.api("POST", "sys/auth/approle", {"type": "approle"})
        self.api("POST", f"auth/approle/role/{name}", {"token_policies": [POLICY], **settings})
        role_id: str = self.api("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        return role_id

    def make_secret_id(self, role: str) -> str:
        """A secret id with which a role logs in."""
        secret_id: str = self.api("POST", f"auth/approle/role/{role}/secret-id", {})["data"]["secret_id"]
        planted.remember(f"a secret id of the AppRole {role}", secret_id)
        return secret_id

    def wrap_secret_id(self, role: str) -> str:
        """A wrapping token with a secret id in it."""
        path, root = f"auth/approle/role/{role}/secret-id", self.server.credentials().root_token
        token: str = self.server.api("POST", path, {}, token=root, wrap_seconds=600)["wrap_info"]["token"]
        planted.remember(f"a wrapped secret id of the AppRole {role}", token)
        return token

    def destroy_secret_id(self, role: str, secret_id: str) -> None:
        """Ends a secret id. Tokens that it was exchanged for live on."""
        self.api("POST", f"auth/approle/role/{role}/secret-id/destroy", {"secret_id": secret_id})

    def logins_of(self, role: str) -> list[str]:
        """The accessors of the tokens that an AppRole has now."""
        found = []
        for accessor in self.api("LIST", "auth/token/accessors")["data"]["keys"]:
            # One that has ended since is none of them.
            with contextlib.suppress(vault.VaultError):
                token = self.api("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
                if (token["meta"] or {}).get("role_name") == role:
                    found.append(accessor)
        return found

    def revoke_logins(self, accessors: list[str]) -> None:
        """Ends tokens, unless they have ended."""
        for accessor in accessors:
            with contextlib.suppress(vault.VaultError):
                self.api("POST", "auth/token/revoke-accessor", {"accessor": accessor})

    def delete_app_role(self, name: str) -> None:
        """Removes an AppRole."""
        self.api("DELETE", f"auth/approle/role/{name}")

    def trust_cluster(self) -> None:
        """Lets ServiceAccounts of the cluster log in, by the cluster's public keys."""
        if f"{CLUSTER_MOUNT}/" in self.api("GET", "sys/auth")["data"]:
            return
        self.api("POST", f"sys/auth/{CLUSTER_MOUNT}", {"type": "jwt"})
        key = (Layout.from_environment().pki / "service-accounts.pub").read_text()
        self.api("POST", f"auth/{CLUSTER_MOUNT}/config", {"jwt_validation_pubkeys": [key]})

    def make_service_account_role(
        self, name: str, namespace: str, account: str, audience: str, ttl: str = "1h"
    ) -> None:
        """Makes or changes a role for one ServiceAccount, with the policy of the same name."""
        role = {
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_subject": f"system:serviceaccount:{namespace}:{account}",
            "bound_audiences": [audience],
            "token_policies": [name],
            "token_ttl": ttl,
        }
        self.api("POST", f"auth/{CLUSTER_MOUNT}/role/{name}", role)

    def delete_service_account_role(self, name: str) -> None:
        """Removes such a role."""
        self.api("DELETE", f"auth/{CLUSTER_MOUNT}/role/{name}")

    def review_tokens(self) -> None:
        """Turns on Vault's Kubernetes auth method, which reviews tokens as Vault's own ServiceAccount."""
        if f"{REVIEWING_MOUNT}/" in self.api("GET", "sys/auth")["data"]:
            return
        self.server.register_kubernetes()
        self.api("POST", f"sys/auth/{REVIEWING_MOUNT}", {"type": "kubernetes"})
        self.api("POST", f"auth/{REVIEWING_MOUNT}/config", {"kubernetes_host": "https://kubernetes.default.svc"})

    def make_reviewed_role(self, name: str, namespaces: list[str], account: str, audience: str) -> None:
        """Makes or changes a role of that method for the ServiceAccounts of a name, with the policy of its own name."""
        role = {
            "bound_service_account_names": [account],
            "bound_service_account_namespaces": namespaces,
            "audience": audience,
            "token_policies": [name],
            "token_ttl": "1h",
        }
        self.api("POST", f"auth/{REVIEWING_MOUNT}/role/{name}", role)

    def delete_reviewed_role(self, name: str) -> None:
        """Removes such a role."""
        self.api("DELETE", f"auth/{REVIEWING_MOUNT}/role/{name}")

    def put_secret(self, path: str, data: dict[str, str]) -> None:
        """A new version of a secret in the engine `secret`."""
        planted.remember(f"secret/{path} in Vault", *data.values())
        self.api("POST", f"secret/data/{path}", {"data": data})

    def delete_secret(self, path: str) -> None:
        """Removes a secret with all its versions."""
        self.api("DELETE", f"secret/metadata/{path}")

    def make_issuing_role(self, name: str, ttl: str) -> None:
        """A role of the engine `pki`, whose certificates have leases."""
        if "pki/" not in self.api("GET", "sys/mounts")["data"]:
            self.api("POST", "sys/mounts/pki", {"type": "pki"})
            self.api("POST", "pki/root/generate/internal", {"common_name": "stories", "ttl": "24h"})
        role = {"allow_any_name": True, "ttl": ttl, "max_ttl": ttl, "generate_lease": True}
        self.api("POST", f"pki/roles/{name}", role | {"key_type": "ec", "key_bits": 256})

    def leases(self, prefix: str) -> list[str]:
        """The leases that live below a path."""
        try:
            keys: list[str] = self.api("LIST", f"sys/leases/lookup/{prefix}")["data"]["keys"]
        except vault.VaultError as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return []
            raise
        return keys

    def revoke_token(self, token: str) -> None:
        """Ends a token."""
        self.api("POST", "auth/token/revoke", {"token": token})

    def ca_pem(self) -> str:
        """The authority of Vault's certificate."""
        return self.server.ca_file.read_text()


SHARED = VaultServer()
# Most stories use the one that all share: its methods are functions of this module.
api = SHARED.api
prepare = SHARED.prepare
write_policy = SHARED.write_policy
delete_policy = SHARED.delete_policy
make_token = SHARED.make_token
make_app_role = SHARED.make_app_role
make_secret_id = SHARED.make_secret_id
wrap_secret_id = SHARED.wrap_secret_id
destroy_secret_id = SHARED.destroy_secret_id
logins_of = SHARED.logins_of
revoke_logins = SHARED.revoke_logins
delete_app_role = SHARED.delete_app_role
trust_cluster = SHARED.trust_cluster
make_service_account_role = SHARED.make_service_account_role
delete_service_account_role = SHARED.delete_service_account_role
review_tokens = SHARED.review_tokens
make_reviewed_role = SHARED.make_reviewed_role
delete_reviewed_role = SHARED.delete_reviewed_role
put_secret = SHARED.put_secret
delete_secret = SHARED.delete_secret
make_issuing_role = SHARED.make_issuing_role
leases = SHARED.leases
revoke_token = SHARED.revoke_token
ca_pem = SHARED.ca_pem
