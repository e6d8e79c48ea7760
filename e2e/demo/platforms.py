"""What the demo shows of each platform: what it brings into the cluster, the objects beside the sample, the calls that
an agent makes, and what to try afterwards."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import dev_vault
import yaml
from testcluster import argocd, doubles

from support import argocd_server, kube, vault_server
from support.connector import ca_config_map, secret
from support.kube import Manifest
from support.machine import ROOT

Call = tuple[str, dict[str, Any]]

CA = "demo-ca"
HOSTS: dict[str, str] = {name: doubles.host(name) for name in doubles.NAMES}
BREAK_A_DOUBLE = """Take {title} down and watch what happens; slow, rate-limited, unauthorized and html work, too:

  kubectl get mcpconnectors -n {{namespace}} --watch &
  e2e/cluster/cluster double fault {name} down
  e2e/cluster/cluster double fault {name} up"""


@dataclass(frozen=True)
class Elsewhere:
    """A platform that is not where its sample says."""

    host: str
    # What stands in the sample's `spec.platform` instead. A field that is None is left out.
    fields: Manifest


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
    elsewhere: Elsewhere | None = None
    # What has to be built for it, as `cluster build --for` calls it.
    programs: str = "cluster"

    def manifests(self) -> list[Manifest]:
        """The sample: a CredentialSource and a connector."""
        sample = ROOT / "config" / "samples" / f"{self.name}.yaml"
        source, connector = (dict(one) for one in yaml.safe_load_all(sample.read_text()))
        if self.elsewhere is not None:
            (kind, platform), *_ = connector["spec"]["platform"].items()
            changed = platform | self.elsewhere.fields | {"caBundle": {"configMap": {"name": CA, "key": "ca.crt"}}}
            kept = {name: value for name, value in changed.items() if value is not None}
            connector["spec"]["platform"] = {kind: kept}
            source["spec"]["hosts"] = [self.elsewhere.host]
        return [source, connector]


def prepare_vault(namespace: str) -> None:
    vault_server.prepare()


def vault_objects() -> list[Manifest]:
    return [secret(vault_server.make_token()), ca_config_map(vault_server.ca_pem())]


def prepare_argocd(namespace: str) -> None:
    """Argo CD, and the application `payments`, which drifts."""
    argocd.up(helm=False)
    application = argocd_server.Application("payments", namespace)
    application.commit(*argocd_server.workload("payments", "hello"), message="say hello")
    application.create()
    application.sync()
    kube.patch(namespace, "configmap", "payments-settings", {"data": {"greeting": "changed by hand"}})


def argocd_objects() -> list[Manifest]:
    return [argocd_server.credentials(), argocd_server.ca()]


def double_objects(name: str, **fields: str) -> Callable[[], list[Manifest]]:
    """The Secret with the credentials that a double accepts, and the ConfigMap with its CA."""
    given = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": fields}
    return lambda: [given, ca_config_map(doubles.ca_file().read_text(), CA)]


def prepare_double(name: doubles.Name) -> Callable[[str], None]:
    return lambda namespace: doubles.up(name)


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
        programs="vault",
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

  kubectl patch mcpconnector argocd -n {namespace} --type merge -p '{{"spec":{{"tools":{{"mutations":"Confirm"}},
    "access":{{"allow":[{{"namespace":"{namespace}","serviceAccount":"default","mutations":true}}]}}}}}}'""",
        programs="argocd",
    ),
    "jenkins": Shown(
        title="Jenkins",
        brings="a strict double of Jenkins, whose build 2 of team/web has failed",
        prepare=prepare_double("jenkins"),
        objects=double_objects("jenkins-bot", user="bot", api_token="planted-token"),
        name="jenkins",
        calls=(
            ("search_jenkins_jobs", {"status": "failed"}),
            ("get_jenkins_failure_report", {"job": "team/web"}),
            ("search_jenkins_build_log", {"job": "team/web", "build": 2, "pattern": "error"}),
        ),
        refused=("trigger_jenkins_build", {"job": "plain"}),
        afterwards=BREAK_A_DOUBLE.format(title="Jenkins", name="jenkins"),
        elsewhere=Elsewhere(HOSTS["jenkins"], {"url": f"https://{HOSTS['jenkins']}/jenkins"}),
    ),
    "circleci": Shown(
        title="CircleCI",
        brings="a strict double of CircleCI, where a run of gh/acme/web has failed",
        prepare=prepare_double("circleci"),
        objects=double_objects("circleci-bot", token="planted-token"),
        name="circleci",
        calls=(
            ("list_circleci_runs", {"project_slug": "gh/acme/web", "limit": 2}),
            ("get_circleci_failure_report", {"project_slug": "gh/acme/web", "branch": "main"}),
            ("get_circleci_flaky_tests", {"project_slug": "gh/acme/web"}),
        ),
        refused=("trigger_circleci_pipeline", {"project_slug": "gh/acme/web"}),
        afterwards=BREAK_A_DOUBLE.format(title="CircleCI", name="circleci"),
        elsewhere=Elsewhere(
            HOSTS["circleci"], {"url": f"https://{HOSTS['circleci']}", "downloadHosts": [doubles.FILES_HOST]}
        ),
    ),
    "cloudwatch": Shown(
        title="CloudWatch",
        brings="a strict double of CloudWatch, where the alarms cpu and site fire",
        prepare=prepare_double("cloudwatch"),
        objects=double_objects(
            "cloudwatch-reader", access_key_id="AKIAplanted00planted", secret_access_key="planted-secret-access-key"
        ),
        name="cloudwatch",
        calls=(
            ("list_cloudwatch_alarms", {"state": "ALARM"}),
            ("explain_cloudwatch_alarm", {"name": "site"}),
            ("filter_cloudwatch_log_events", {"group": "/app/web", "pattern": "oops"}),
        ),
        refused=("mute_cloudwatch_alarms", {"names": ["disk"], "minutes": 30, "reason": "deployment"}),
        afterwards=BREAK_A_DOUBLE.format(title="CloudWatch", name="cloudwatch"),
        # The double's role asks for no external id.
        elsewhere=Elsewhere(
            HOSTS["cloudwatch"], {"endpoint": f"https://{HOSTS['cloudwatch']}", "assumeRole": None}
        ),
    ),
}


def in_given_cluster(namespace: str) -> Shown:
    """What is shown in a cluster that was there before."""
    vault = dev_vault.host(namespace)
    return replace(
        PLATFORMS["vault"],
        brings=f"a Vault of the image {dev_vault.image()}, with a secret in it: secret/apps/web",
        prepare=dev_vault.prepare,
        objects=lambda: [
            secret(dev_vault.make_token(namespace)),
            ca_config_map(dev_vault.ca_pem(namespace), CA),
        ],
        elsewhere=Elsewhere(vault, {"url": f"https://{vault}:8200"}),
        afterwards="""Take Vault away and watch what happens; KUBECONFIG=... IMAGE=... make demo brings it back:

  kubectl get mcpconnectors -n {namespace} --watch &
  kubectl scale -n {namespace} deployment/vault --replicas=0""",
    )
