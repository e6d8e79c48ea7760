"""Upgrades the operator under many connectors, and goes back: nobody loses a call or a condition, no connector is not
Ready out of its turn, and all of them run the image of the version at the end, in pods that were replaced once."""

import argparse
import secrets
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml
from support import install, kube, vault_server
from support.agent import Endpoint, calling_all_the_time
from support.connector import Connector, ca_config_map, connector, secret, source
from support.install import Image
from support.machine import ROOT
from support.waiting import eventually

REPOSITORY = "mcp-connectors.local/mcp-connectors"
DEPLOYMENT = "spec.template.spec.containers.[name=operator]"
# A tenth of the connectors has its turn at a time, and a turn is half a minute on a small machine.
TURN_SECONDS = 60
TURNS = 12
# Are there only while they are true.
PASSING = {"Reconciling", "Stalled"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="before", type=Path, required=True, help="a checkout of the version before")
    parser.add_argument("--by", choices=("helm", "manifests"), required=True)
    parser.add_argument("--connectors", type=int, required=True)
    arguments = parser.parse_args()
    bring = bring_by_helm if arguments.by == "helm" else bring_by_manifests
    old, new = Image(REPOSITORY, "upgrade-from"), Image(REPOSITORY, "upgrade-to")

    vault_server.prepare()
    bring(arguments.before, old)
    namespace = f"upgrade-{secrets.token_hex(2)}"
    kube.create_namespace(namespace)
    try:
        connectors = deploy(namespace, arguments.connectors)
        uids = {one.name: one.object()["metadata"]["uid"] for one in connectors}
        for checkout, image in ((ROOT, new), (arguments.before, old)):
            move(partial(bring, checkout, image), connectors, image)
            assert {one.name: one.object()["metadata"]["uid"] for one in connectors} == uids
    finally:
        kube.kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")


def deploy(namespace: str, count: int) -> list[Connector]:
    kube.apply(namespace, secret(vault_server.make_token()), ca_config_map(vault_server.ca_pem()), source())
    names = [f"vault-{number:03}" for number in range(count)]
    # Only what a version before knows.
    kube.apply(namespace, *(connector(name, telemetry={}) for name in names))
    connectors = [Connector(namespace, name) for name in names]
    eventually(f"{count} are Ready", lambda: not not_ready(namespace), timeout=900, interval=5)
    return connectors


def has(one: kube.Manifest, type_: str) -> bool:
    conditions = one.get("status", {}).get("conditions", [])
    return any((found["type"], found["status"]) == (type_, "True") for found in conditions)


def why_not_ready(one: kube.Manifest) -> str:
    conditions = one.get("status", {}).get("conditions", [])
    return next((f"{found['reason']}: {found['message']}" for found in conditions if found["type"] == "Ready"), "")


def not_ready(namespace: str) -> list[kube.Manifest]:
    return [one for one in kube.items(namespace, "mcpconnectors") if not has(one, "Ready")]


def conditions(namespace: str) -> set[tuple[str, str]]:
    """Each connector with each type of condition that it has."""
    found = kube.items(namespace, "mcpconnectors")
    have = {(one["metadata"]["name"], each["type"]) for one in found for each in one["status"]["conditions"]}
    return {(name, type_) for name, type_ in have if type_ not in PASSING}


def revisions(namespace: str) -> dict[str, int]:
    """How many templates each connector's Deployment has had."""
    found = kube.items(namespace, "deployments")
    key = "deployment.kubernetes.io/revision"
    return {one["metadata"]["name"]: int(one["metadata"]["annotations"][key]) for one in found}


def images(namespace: str) -> dict[str, str]:
    """The image that each connector's Deployment has."""
    found = kube.items(namespace, "deployments")
    return {one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]["image"] for one in found}


def move(bring: Callable[[], None], connectors: list[Connector], image: Image) -> None:
    """Brings a version, and waits until every connector runs it; calls one of them all the time."""
    called = connectors[-1]
    namespace, endpoint, token = called.namespace, Endpoint.of(called), called.token()
    unready: dict[str, str] = {}
    lost: set[tuple[str, str]] = set()
    had, replaced = conditions(namespace), revisions(namespace)

    def is_everywhere() -> bool:
        missing = not_ready(namespace)
        lost.update(had - conditions(namespace))
        # Who has its turn says so.
        unready.update(
            {one["metadata"]["name"]: why_not_ready(one) for one in missing if not has(one, "Reconciling")}
        )
        return not missing and set(images(namespace).values()) == {str(image)}

    with calling_all_the_time(endpoint, token, "list_vault_secrets", keep_alive=False, path="secret/apps") as traffic:
        bring()
        eventually(f"all run {image}", is_everywhere, timeout=TURNS * TURN_SECONDS, interval=2)
    assert not unready, f"not Ready without having their turn: {unready}"
    assert not lost, f"conditions that were not there for a while: {sorted(lost)}"
    assert revisions(namespace) == {name: revision + 1 for name, revision in replaced.items()}
    pods = [pod for one in connectors for pod, restarts in one.pod_identities().items() if restarts]
    assert not pods, f"restarted in place: {pods}"
    assert traffic.calls > 0
    assert traffic.failures == []


def bring_by_helm(checkout: Path, image: Image) -> None:
    install.install_charts(image, charts=checkout / "charts")


def bring_by_manifests(checkout: Path, image: Image) -> None:
    """Applies config/default with the image."""
    with tempfile.TemporaryDirectory(dir=checkout) as folder:
        overlay = {
            "resources": ["../config/default"],
            "images": [{"name": "mcp-connectors", "newName": image.repository, "newTag": image.tag}],
            "replacements": [
                {
                    "source": {"kind": "Deployment", "name": "mcp-connectors", "fieldPath": f"{DEPLOYMENT}.image"},
                    "targets": [
                        {
                            "select": {"kind": "Deployment", "name": "mcp-connectors"},
                            "fieldPaths": [f"{DEPLOYMENT}.env.[name=MCP_CONNECTORS_CONNECTOR_IMAGE].value"],
                        }
                    ],
                }
            ],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        kube.kubectl("apply", "--server-side", "--force-conflicts", "--kustomize", folder)
    install.wait_for_operator()


if __name__ == "__main__":
    main()
