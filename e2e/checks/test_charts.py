"""The charts as such: they render with every combination of values, refuse wrong ones, and say what is true."""

import itertools
import json
import re

import pytest
from rendering import (
    CHART,
    CRD_CHART,
    IMAGE,
    ROOT,
    VARIANTS,
    VERSION,
    Manifest,
    RenderError,
    environment,
    load,
    merged,
    of_kind,
    only,
    parse,
    render,
    render_crds,
    render_text,
    tool,
)


@pytest.mark.parametrize("chart", [CHART, CRD_CHART], ids=lambda chart: chart.name)
def test_lint(chart) -> None:
    values = IMAGE if chart == CHART else {}
    tool("helm", "lint", "--strict", "--values", "-", chart, stdin=json.dumps(values))


def test_versions_are_in_lockstep() -> None:
    for chart in (CHART, CRD_CHART):
        metadata = load((chart / "Chart.yaml").read_text())
        assert (metadata["version"], metadata["appVersion"]) == (VERSION, VERSION), chart.name
    kustomization = load((ROOT / "config/default/kustomization.yaml").read_text())
    assert [image["newTag"] for image in kustomization["images"]] == [VERSION]
    assert kustomization["labels"][0]["pairs"] == {"app.kubernetes.io/version": VERSION}
    assert f'org.opencontainers.image.version="{VERSION}"' in (ROOT / "Containerfile").read_text()


SWITCHES = {
    "watchNamespace": ("", "ci-agents"),
    "monitoringNamespace": ("", "monitoring"),
    "networkPolicy": ({"enabled": True}, {"enabled": False}),
    "podMonitor": ({"enabled": False}, {"enabled": True}),
    "serviceAccount": ({"create": True}, {"create": False, "name": "robot"}),
}


def test_every_combination_of_switches_renders() -> None:
    for choice in itertools.product(*SWITCHES.values()):
        values = dict(zip(SWITCHES, choice, strict=True))
        manifests = render(values)
        assert_sound(manifests)
        kinds = [manifest["kind"] for manifest in manifests]
        assert kinds.count("NetworkPolicy") == values["networkPolicy"]["enabled"]
        assert kinds.count("PodMonitor") == 2 * values["podMonitor"]["enabled"]
        assert kinds.count("ServiceAccount") == values["serviceAccount"]["create"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_renders(variant: str) -> None:
    assert_sound(render(VARIANTS[variant]))


def test_long_release_names_make_valid_names() -> None:
    assert_sound(render({"podMonitor": {"enabled": True}}, release="r" * 53))


@pytest.mark.parametrize(
    ("release", "namespace"),
    [("mcp-connectors", "operators-b"), ("other", "operators-a")],
    ids=["by namespace", "by name"],
)
def test_two_releases_of_two_namespaces_stand_side_by_side(release: str, namespace: str) -> None:
    everything = {
        "monitoringNamespace": "monitoring",
        "podMonitor": {"enabled": True},
        "monitoring": {"rules": {"enabled": True}, "dashboards": {"enabled": True}},
    }
    first = render({**everything, "watchNamespace": "team-a"}, release="mcp-connectors", namespace="operators-a")
    second = render({**everything, "watchNamespace": "team-b"}, release=release, namespace=namespace)
    assert not identities(first) & identities(second)
    assert not of_kind(first + second, "ClusterRole", "ClusterRoleBinding")
    for manifests, own, foreign in ((first, "team-a", "team-b"), (second, "team-b", "team-a")):
        assert environment(manifests)["WATCH_NAMESPACE"] == own
        assert foreign not in json.dumps(manifests)
    selectors = [only(manifests, "Deployment")["spec"]["selector"]["matchLabels"] for manifests in (first, second)]
    assert selectors[0] != selectors[1] or namespace != "operators-a"


def test_a_release_of_one_namespace_stands_beside_one_of_all_others() -> None:
    one = render({"watchNamespace": "team-a"}, namespace="operators-a")
    others = render({"ignoreNamespaces": ["team-a"], "podMonitor": {"enabled": True}})
    assert not identities(one) & identities(others)
    assert environment(others)["IGNORE_NAMESPACES"] == "team-a"
    assert of_kind(others, "ClusterRole") and not of_kind(one, "ClusterRole")
    # Neither asks, nor scrapes, what is the other's.
    destination = only(others, "NetworkPolicy")["spec"]["egress"][-1]["to"][0]["namespaceSelector"]
    expression = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["team-a"]}
    assert destination == {"matchExpressions": [expression]}
    (scraped,) = [one for one in of_kind(others, "PodMonitor") if "namespaceSelector" in one["spec"]]
    drop = {"sourceLabels": ["__meta_kubernetes_namespace"], "regex": "team-a", "action": "drop"}
    assert drop in scraped["spec"]["podMetricsEndpoints"][0]["relabelings"]


def identities(manifests: list[Manifest]) -> set[tuple[str, str | None, str]]:
    return {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in manifests}


def assert_sound(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        metadata = manifest["metadata"]
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", metadata["name"]), metadata["name"]
        assert ("namespace" in metadata) != manifest["kind"].startswith("Cluster"), manifest["kind"]
        assert not holds_null(manifest), f"{manifest['kind']} has a key without a value"
    assert len(identities(manifests)) == len(manifests)


def holds_null(value: object) -> bool:
    match value:
        case dict():
            return any(map(holds_null, value.values()))
        case list():
            return any(map(holds_null, value))
        case _:
            return value is None


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"watchNamespaces": ["a"]}, "watchNamespaces"),
        ({"replicas": 0}, "replicas"),
        ({"image": {"repo": "x"}}, "repo"),
        ({"image": {"repository": "registry/name@sha256:1"}}, "image/repository"),
        ({"image": {"digest": "latest"}}, "image/digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "image/pullPolicy"),
        ({"watchNamespace": "Not A Name"}, "watchNamespace"),
        ({"ignoreNamespaces": "team-a"}, "ignoreNamespaces"),
        ({"ignoreNamespaces": [""]}, "ignoreNamespaces/0"),
        ({"ignoreNamespaces": ["a=b"]}, "ignoreNamespaces/0"),
        ({"ignoreNamespaces": ["a" * 64]}, "ignoreNamespaces/0"),
        ({"ignoreNamespaces": ["team-a", "team-a"]}, "ignoreNamespaces"),
        ({"watchNamespace": "team-a", "ignoreNamespaces": ["team-b"]}, "can't be set together"),
        ({"allowedProxies": "proxy.example.com"}, "allowedProxies"),
        ({"allowedProxies": [""]}, "allowedProxies/0"),
        ({"allowedProxies": ["http://proxy.example.com:3128"]}, "allowedProxies/0"),
        ({"allowedProxies": ["proxy,other"]}, "allowedProxies/0"),
        ({"monitoringNamespace": ["monitoring"]}, "monitoringNamespace"),
        ({"pollInterval": "15"}, "pollInterval"),
        ({"pollInterval": 15}, "pollInterval"),
        ({"pollInterval": "500ms"}, "pollInterval"),
        ({"pollInterval": "301s"}, "pollInterval"),
        ({"rollout": {"maxConcurrent": 0}}, "rollout/maxConcurrent"),
        ({"rollout": {"maxFailures": "101%"}}, "rollout/maxFailures"),
        ({"rollout": {"readyTimeout": "9s"}}, "rollout/readyTimeout"),
        ({"allowWorkload": {"annotations": "*"}}, "allowWorkload/annotations"),
        ({"allowWorkload": {"labels": ["a,b"]}}, "allowWorkload/labels/0"),
        ({"allowWorkload": {"labels": [""]}}, "allowWorkload/labels/0"),
        ({"allowWorkload": {"priorityClassNames": []}}, "allowWorkload"),
        ({"logLevel": "loud"}, "logLevel"),
        ({"logLevel": "info,kube=loud"}, "logLevel"),
        ({"logFormat": "xml"}, "logFormat"),
        ({"fullnameOverride": "1st"}, "fullnameOverride"),
        ({"podLabels": {"app.kubernetes.io/name": "mine"}}, "podLabels"),
        ({"podAnnotations": {"a": 1}}, "podAnnotations"),
        ({"networkPolicy": {"apiServerPorts": []}}, "apiServerPorts"),
        ({"networkPolicy": {"apiServerPorts": [70000]}}, "apiServerPorts"),
        ({"imagePullSecrets": ["pull"]}, "imagePullSecrets"),
        ({"serviceAccount": {"create": "no"}}, "serviceAccount/create"),
        ({"serviceAccount": {"create": False}}, "serviceAccount.name is required"),
        ({"resources": {"memory": "1Gi"}}, "memory"),
        ({"podMonitor": {"enabled": "yes"}}, "podMonitor/enabled"),
        ({"monitoring": {"rules": {"enable": True}}}, "enable"),
        ({"telemetry": {"otlpEndpoint": "collector:4317"}}, "telemetry/otlpEndpoint"),
        ({"telemetry": {"otlpEndpoint": "http://user:password@collector"}}, "telemetry/otlpEndpoint"),
    ],
    ids=json.dumps,
)
def test_wrong_values_are_refused(values: Manifest, complaint: str) -> None:
    with pytest.raises(RenderError) as refusal:
        render(values)
    assert complaint in str(refusal.value)


def test_the_image_has_to_be_named() -> None:
    with pytest.raises(RenderError, match="image.repository is required"):
        render_text(CHART, {})


def test_charts_can_be_dependencies_of_another() -> None:
    render({"global": {"any": "thing"}})
    render_crds({"global": {"any": "thing"}})


@pytest.mark.parametrize("chart", [CHART, CRD_CHART], ids=lambda chart: chart.name)
def test_schema_and_defaults_name_the_same_values(chart) -> None:
    schema = json.loads((chart / "values.schema.json").read_text())
    described = {name for name, *_ in schema_leaves(schema, ())}
    defaults = set(default_leaves(load((chart / "values.yaml").read_text()), described, ()))
    assert described - {("global",)} == defaults


def test_readme_lists_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    defaults = load((CHART / "values.yaml").read_text())
    rows = ["| Value | Default | Meaning |", "|---|---|---|"]
    for path, description in schema_leaves(schema, ()):
        if path != ("global",):
            value = defaults
            for key in path:
                value = value[key]
            rows.append(f"| `{'.'.join(path)}` | `{json.dumps(value)}` | {description} |")
    table = "\n".join(rows)
    assert table in (CHART / "README.md").read_text(), f"the table in {CHART.name}/README.md must be:\n{table}"


def schema_leaves(schema: Manifest, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
    leaves = []
    for key, entry in schema["properties"].items():
        assert entry["description"].endswith("."), f"{key} has no description"
        if "properties" in entry:
            assert entry["additionalProperties"] is False, key
            leaves += schema_leaves(entry, (*path, key))
        else:
            leaves.append(((*path, key), entry["description"]))
    return leaves


def default_leaves(value: Manifest, known: set[tuple[str, ...]], path: tuple[str, ...]) -> list[tuple[str, ...]]:
    if path in known or not isinstance(value, dict):
        return [path]
    return [leaf for key, entry in value.items() for leaf in default_leaves(entry, known, (*path, key))]


# Functions of the rules, and the first minor version whose API server takes them in a new definition: one after that
# which brought them, so that a way back stays open (k8s.io/apiserver/pkg/cel/environment/base.go).
FUNCTIONS = {"cidr": 31, "isCIDR": 31, "ip": 31, "isIP": 31, "format.named": 32, "semver": 34, "isSemver": 34}
# Native sidecars, which bring credentials from Vault.
LEAST = 29


def rules_of(part: object) -> list[str]:
    match part:
        case dict():
            own = [rule["rule"] for rule in part.get("x-kubernetes-validations", [])]
            return own + [rule for value in part.values() for rule in rules_of(value)]
        case list():
            return [rule for value in part for rule in rules_of(value)]
        case _:
            return []


def test_charts_and_documents_name_the_kubernetes_that_the_rules_need() -> None:
    definitions = of_kind(render_crds(), "CustomResourceDefinition")
    rules = "\n".join(rules_of(definitions))
    assert "isURL(" in rules
    minor = max([LEAST, *(since for name, since in FUNCTIONS.items() if re.search(rf"(?<![\w.]){name}\(", rules))])
    for chart in (CHART, CRD_CHART):
        assert load((chart / "Chart.yaml").read_text())["kubeVersion"] == f">=1.{minor}.0-0"
    for document in ("README.md", "docs/install.md"):
        assert re.findall(r"Kubernetes (1\.\d+)", (ROOT / document).read_text()) == [f"1.{minor}"], document


def test_crd_chart_holds_the_definitions_as_they_are() -> None:
    expected = {}
    for file in (ROOT / "crds").glob("*.yaml"):
        (definition,) = parse(file.read_text())
        if definition["kind"] == "CustomResourceDefinition":
            expected[definition["metadata"]["name"]] = definition["spec"]
    rendered = of_kind(render_crds(), "CustomResourceDefinition")
    assert {definition["metadata"]["name"]: definition["spec"] for definition in rendered} == expected
    assert set(expected) == {"credentialsources.mcp-connectors.io", "mcpconnectors.mcp-connectors.io"}


def test_removing_the_crd_chart_keeps_the_definitions() -> None:
    for definition in of_kind(render_crds({"annotations": {"example.com/a": "b"}}), "CustomResourceDefinition"):
        assert definition["metadata"]["annotations"] == {
            "helm.sh/resource-policy": "keep",
            "argocd.argoproj.io/sync-options": "Prune=false,ServerSideApply=true",
            "example.com/a": "b",
        }


def test_notes_say_what_is_left_out() -> None:
    values = merged(IMAGE, {"ignoreNamespaces": ["team-a", "team-b"]})
    text = tool("helm", "install", "x", CHART, "--dry-run=client", "--values", "-", stdin=json.dumps(values))
    assert "runs connectors of all namespaces but team-a, team-b." in text


def test_notes_say_what_is_missing() -> None:
    values = merged(IMAGE, {"podMonitor": {"enabled": True}})
    text = tool("helm", "install", "x", CHART, "--dry-run=client", "--values", "-", stdin=json.dumps(values))
    assert "mcp-connectors-crds" in text
    assert "the network policies let no scrape through" in text
