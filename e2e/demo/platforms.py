"""What the demo shows of each platform: what it brings into the cluster, the objects beside the sample, the calls that
an agent makes, and what to try afterwards."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from testcluster import argocd

from support import argocd_server, kube, vault_server
from support.connector import ca_config_map, secret
from support.kube import Manifest

Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Shown:
    """A platform that is shown."""

    title: str
    # What is in the cluster for it, in words.
    brings: str
    prepare: Callable[[str], None]
    # What the sample needs beside it.
    objects: Callable[[], list[Manifest]]
    # Name of the sample and of its connector.
    name: str
    calls: tuple[Call, ...]
    # A call that the connector refuses, to show how.
    refused: Call
    afterwards: str


def prepare_vault(namespace: str) -> None:
    vault_server.prepare()


def vault_objects() -> list[Manifest]:
    return [secret(vault_server.make_token()), ca_config_map(vault_server.ca_pem())]


def prepare_argocd(namespace: str) -> None:
    """Argo CD, and the application `payments`, which drifts."""
    argocd.up()
    application = argocd_server.Application("payments", namespace)
    application.commit(*argocd_server.workload("payments", "hello"), message="say hello")
    application.create()
    application.sync()
    kube.patch(namespace, "configmap", "payments-settings", {"data": {"greeting": "changed by hand"}})


def argocd_objects() -> list[Manifest]:
    return [argocd_server.credentials(), argocd_server.ca()]


PLATFORMS = {
    "vault": Shown(
        title="Vault",
        brings="a Vault, with a secret in it: secret/apps/web",
        prepare=prepare_vault,
        objects=vault_objects,
        name="vault",
        calls=(
            ("get_vault_health", {}),
            ("list_vault_secrets", {"path": "secret/apps"}),
            ("read_vault_secret", {"path": "secret/apps/web"}),
        ),
        refused=("read_vault_secret", {"path": "secret/apps/web", "key": "password"}),
        afterwards="""Seal Vault and watch what happens, then unseal it:

  kubectl get mcpconnectors -n {namespace} --watch &
  e2e/cluster/cluster vault seal
  e2e/cluster/cluster vault unseal""",
    ),
    "argocd": Shown(
        title="Argo CD",
        brings="an Argo CD with a git repository, and the application payments, which somebody has changed by hand",
        prepare=prepare_argocd,
        objects=argocd_objects,
        name="argocd",
        calls=(
            ("refresh_argocd_app", {"app": "payments"}),
            ("get_argocd_diff", {"app": "payments"}),
            ("get_argocd_logs", {"app": "payments", "kind": "Deployment", "name": "payments"}),
        ),
        refused=("sync_argocd_app", {"app": "payments"}),
        afterwards="""Let the connector sync, and see what it would do before it does it:

  kubectl patch mcpconnector argocd -n {namespace} --type merge \\
    -p '{{"spec":{{"tools":{{"mutations":"Confirm"}}}}}}'""",
    ),
}
