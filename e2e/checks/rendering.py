"""What the charts and the kustomize manifests make, as data."""

import json
import os
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "mcp-connectors"
CRD_CHART = ROOT / "charts" / "mcp-connectors-crds"

VERSION = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
RELEASE = "mcp-connectors"
NAMESPACE = "mcp-connectors-system"
IMAGE = {"image": {"repository": "mcp-connectors"}}

Manifest = dict[str, Any]

# libyaml, where Python has it: a tenth of the time.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# These programs end before it would pay to collect what they no longer need.
SHORT_LIVED = os.environ | {"GOGC": "off"}

# Sets of values that together touch every template and every branch in it.
VARIANTS: dict[str, Manifest] = {
    "default": {},
    "namespaced": {"watchNamespace": "ci-agents"},
    "all but two": {"ignoreNamespaces": ["team-a", "team-b"], "podMonitor": {"enabled": True}},
    "monitored": {"monitoringNamespace": "monitoring"},
    "namespaced and monitored": {"watchNamespace": "ci-agents", "monitoringNamespace": "monitoring"},
    "pod monitors": {
        "monitoringNamespace": "monitoring",
        "podMonitor": {"enabled": True, "interval": "1m", "labels": {"release": "prometheus"}},
    },
    "monitoring": {
        "monitoring": {
            "rules": {"enabled": True, "labels": {"release": "prometheus"}},
            "dashboards": {"enabled": True},
        },
        "telemetry": {"otlpEndpoint": "http://collector.observability.svc:4318"},
    },
    "no network policy": {"networkPolicy": {"enabled": False}},
    "existing service account": {"serviceAccount": {"create": False, "name": "robot"}},
    "everything": {
        "image": {"digest": "sha256:" + "a" * 64, "pullPolicy": "Always"},
        "connectorImage": {"repository": "mirror.example.com:5000/mcp", "tag": "0.1.0-fips", "pullPolicy": "Never"},
        "imagePullSecrets": [{"name": "pull"}],
        "watchNamespace": "ci-agents",
        "allowedProxies": ["proxy.example.com:3128"],
        "monitoringNamespace": "monitoring",
        "clusterDomain": "corp.example.com",
        "pollInterval": "30s",
        "rollout": {"maxConcurrent": 3, "maxFailures": "20%", "readyTimeout": "10m"},
        "clusterAssignsUser": True,
        "allowWorkload": {
            "annotations": ["example.com/*"],
            "labels": [],
            "priorityClasses": ["tenant-*"],
            "tolerations": ["dedicated", "example.com/gpu"],
        },
        "logLevel": "info,kube=debug",
        "logFormat": "text",
        "fullnameOverride": "connectors",
        "serviceAccount": {"name": "connectors-operator", "annotations": {"example.com/team": "platform"}},
        "resources": {"limits": {"cpu": 1, "memory": "256Mi"}},
        "podLabels": {"example.com/team": "platform"},
        "podAnnotations": {"example.com/scrape": "true"},
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "infra", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "infra", "operator": "Exists"}]}]
                }
            }
        },
        "networkPolicy": {"apiServerPorts": [8443]},
        "podMonitor": {"enabled": True},
        "monitoring": {"rules": {"enabled": True}, "dashboards": {"enabled": True}},
        "telemetry": {"otlpEndpoint": "https://otlp.example.com/base"},
    },
}


def released(architecture: str) -> set[str]:
    """The files that `make release` writes."""
    return {
        "SHA256SUMS",
        "install.yaml",
        "release.json",
        f"kubectl-mcp-{VERSION}-linux-{architecture}",
        f"mcp-connectors-{VERSION}-linux-{architecture}",
        f"mcp-connectors-{VERSION}-linux-{architecture}.oci.tar",
        f"mcp-connectors-image-{VERSION}.cdx.json",
        f"mcp-connectors-{VERSION}.cdx.json",
        f"kubectl-mcp-{VERSION}.cdx.json",
        f"mcp-connectors-{VERSION}.tgz",
        f"mcp-connectors-crds-{VERSION}.tgz",
    }


class RenderError(Exception):
    """Helm or kubectl refused; the text is what it said."""


def tool(name: str, *arguments: str | Path, stdin: str = "") -> str:
    done = subprocess.run(
        [tool_path(name), *map(str, arguments)],
        env=SHORT_LIVED,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RenderError(done.stderr or done.stdout)
    return done.stdout


@cache
def tool_path(name: str) -> str:
    done = subprocess.run([ROOT / "e2e/checks/tool", name], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def merged(base: Manifest, over: Manifest) -> Manifest:
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def render_text(
    chart: Path,
    values: Manifest,
    *,
    release: str = RELEASE,
    namespace: str = NAMESPACE,
    arguments: tuple[str, ...] = (),
) -> str:
    return _template(chart, json.dumps(values), release, namespace, arguments)


@cache
def _template(chart: Path, values: str, release: str, namespace: str, arguments: tuple[str, ...]) -> str:
    """Many tests look at the same: nothing changes a chart while they run."""
    return tool("helm", "template", release, chart, "--namespace", namespace, "--values", "-", *arguments, stdin=values)


def render(values: Manifest, *, release: str = RELEASE, namespace: str = NAMESPACE) -> list[Manifest]:
    """The operator's chart, with an image unless the values name another."""
    return parse(render_text(CHART, merged(IMAGE, values), release=release, namespace=namespace))


def render_crds(values: Manifest | None = None) -> list[Manifest]:
    return parse(render_text(CRD_CHART, values or {}))


def kustomize(folder: Path) -> list[Manifest]:
    return parse(_kustomize(folder))


@cache
def _kustomize(folder: Path) -> str:
    return tool("kubectl", "kustomize", folder)


def parse(text: str) -> list[Manifest]:
    return [document for document in yaml.load_all(text, LOADER) if document]


def load(text: str) -> Any:
    """The one document of a text."""
    return yaml.load(text, LOADER)


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def only(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = of_kind(manifests, kind)
    return found


def pod_template(manifests: list[Manifest]) -> Manifest:
    return only(manifests, "Deployment")["spec"]["template"]


def container(manifests: list[Manifest]) -> Manifest:
    (found,) = pod_template(manifests)["spec"]["containers"]
    return found


def environment(manifests: list[Manifest]) -> dict[str, str]:
    """The variables that have a value of their own."""
    return {entry["name"]: entry["value"] for entry in container(manifests)["env"] if "value" in entry}
