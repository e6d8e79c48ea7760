"""The operator's pod: what it is allowed, what the program expects of it, and who may reach it."""

import pytest
from rendering import NAMESPACE, VARIANTS, Manifest, container, environment, of_kind, only, pod_template, render

SAFE_VOLUMES = {"configMap", "downwardAPI", "emptyDir", "projected"}


@pytest.fixture(params=VARIANTS)
def manifests(request: pytest.FixtureRequest) -> list[Manifest]:
    return render(VARIANTS[request.param])


def test_pod_meets_the_restricted_profile(manifests: list[Manifest]) -> None:
    spec = pod_template(manifests)["spec"]
    pod, own = spec["securityContext"], container(manifests)["securityContext"]
    assert pod["runAsNonRoot"] is True
    assigned = "--cluster-assigns-user=true" in container(manifests)["args"]
    assert (pod.get("runAsUser"), pod.get("runAsGroup")) == ((None, None) if assigned else (65532, 65532))
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["allowPrivilegeEscalation"] is False
    assert own["privileged"] is False
    assert own["readOnlyRootFilesystem"] is True
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"} & set(spec)
    assert all("hostPort" not in port for port in container(manifests)["ports"])
    for volume in spec.get("volumes", []):
        assert set(volume) - {"name"} <= SAFE_VOLUMES


def test_connectors_network_policies_find_the_operator(manifests: list[Manifest]) -> None:
    labels = pod_template(manifests)["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "mcp-connectors"
    assert labels["app.kubernetes.io/component"] == "operator"


def test_selectors_select_the_operators_pod_only(manifests: list[Manifest]) -> None:
    labels = pod_template(manifests)["metadata"]["labels"].items()
    selectors = [only(manifests, "Deployment")["spec"]["selector"]["matchLabels"]]
    selectors += [service["spec"]["selector"] for service in of_kind(manifests, "Service")]
    selectors += [policy["spec"]["podSelector"]["matchLabels"] for policy in of_kind(manifests, "NetworkPolicy")]
    for selector in selectors:
        assert selector.items() <= labels
        assert {"app.kubernetes.io/instance", "app.kubernetes.io/component"} <= selector.keys()


def test_a_second_operator_stands_by_elsewhere(manifests: list[Manifest]) -> None:
    spec = only(manifests, "Deployment")["spec"]
    assert spec["replicas"] == 2
    (spread,) = pod_template(manifests)["spec"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["labelSelector"]["matchLabels"] == spec["selector"]["matchLabels"]


def test_pod_has_what_the_program_expects(manifests: list[Manifest]) -> None:
    spec, own = pod_template(manifests)["spec"], container(manifests)
    assert own["args"][0] == "operator"
    fields = {entry["name"]: entry["valueFrom"]["fieldRef"]["fieldPath"] for entry in own["env"] if "valueFrom" in entry}
    assert fields == {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "POD_SERVICE_ACCOUNT": "spec.serviceAccountName",
    }
    assert environment(manifests)["MCP_CONNECTORS_CONNECTOR_IMAGE"]
    assert own["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "http"}
    assert own["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    assert own["ports"] == [{"name": "http", "containerPort": 8080}]
    assert "memory" in own["resources"]["limits"]
    assert spec["automountServiceAccountToken"] is True
    assert spec["terminationGracePeriodSeconds"] == 30
    assert "volumeMounts" not in own
    assert "volumes" not in spec


def test_values_become_settings() -> None:
    manifests = render(VARIANTS["everything"])
    assert container(manifests)["args"][1:] == [
        "--connector-image-pull-policy=Never",
        "--cluster-domain=corp.example.com",
        "--poll-interval=30s",
        "--rollout-max-concurrent=3",
        "--rollout-max-failures=20%",
        "--rollout-ready-timeout=10m",
        "--cluster-assigns-user=true",
        "--allow-workload-annotations=example.com/*",
        "--allow-workload-labels=",
        "--allow-workload-priority-classes=tenant-*",
        "--allow-workload-tolerations=dedicated,example.com/gpu",
        "--log-level=info,kube=debug",
        "--log-format=text",
    ]
    settings = environment(manifests)
    assert settings["WATCH_NAMESPACE"] == "ci-agents"
    assert settings["MONITORING_NAMESPACE"] == "monitoring"
    assert pod_template(manifests)["spec"]["serviceAccountName"] == "connectors-operator"


def test_ignored_namespaces_become_one_setting() -> None:
    assert environment(render({"ignoreNamespaces": ["team-a", "team-b"]}))["IGNORE_NAMESPACES"] == "team-a,team-b"


def test_allowed_proxies_become_one_setting() -> None:
    settings = environment(render({"allowedProxies": ["proxy.example.com:3128", "[2001:db8::1]"]}))
    assert settings["MCP_CONNECTORS_ALLOWED_PROXIES"] == "proxy.example.com:3128,[2001:db8::1]"


def test_empty_values_become_no_settings() -> None:
    assert set(environment(render({}))) == {"MCP_CONNECTORS_CONNECTOR_IMAGE"}


def test_nothing_reaches_the_operator_but_monitoring() -> None:
    assert only(render({}), "NetworkPolicy")["spec"]["ingress"] == []
    policy = only(render({"monitoringNamespace": "monitoring"}), "NetworkPolicy")["spec"]
    source = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert policy["ingress"] == [{"from": [source], "ports": [{"port": 8080, "protocol": "TCP"}]}]


@pytest.mark.parametrize(
    ("watched", "namespaces"),
    [("", {}), ("ci-agents", {"matchLabels": {"kubernetes.io/metadata.name": "ci-agents"}})],
)
def test_operator_reaches_dns_the_api_server_and_connectors(watched: str, namespaces: Manifest) -> None:
    policy = only(render({"watchNamespace": watched}), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    dns, api_server, connectors = policy["egress"]
    assert {entry["port"] for entry in dns["ports"]} == {53, 5353}
    assert {entry["port"] for entry in api_server["ports"]} == {443, 6443}
    assert {entry["port"] for entry in connectors["ports"]} == {8080, 8081}
    (destination,) = connectors["to"]
    assert destination["namespaceSelector"] == namespaces
    assert destination["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "mcp-connector"


DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "connector_image", "expected", "expected_connector"),
    [
        ({}, {}, "mcp-connectors:0.1.0", "mcp-connectors:0.1.0"),
        ({"tag": "dev"}, {}, "mcp-connectors:dev", "mcp-connectors:dev"),
        ({"tag": "dev", "digest": DIGEST}, {}, f"mcp-connectors@{DIGEST}", f"mcp-connectors@{DIGEST}"),
        ({"digest": DIGEST}, {"repository": "mirror/mcp"}, f"mcp-connectors@{DIGEST}", f"mirror/mcp@{DIGEST}"),
        ({"digest": DIGEST}, {"tag": "dev"}, f"mcp-connectors@{DIGEST}", "mcp-connectors:dev"),
        ({}, {"digest": DIGEST}, "mcp-connectors:0.1.0", f"mcp-connectors@{DIGEST}"),
    ],
)
def test_images(image: Manifest, connector_image: Manifest, expected: str, expected_connector: str) -> None:
    manifests = render({"image": image, "connectorImage": connector_image})
    assert container(manifests)["image"] == expected
    assert environment(manifests)["MCP_CONNECTORS_CONNECTOR_IMAGE"] == expected_connector


@pytest.mark.parametrize(
    ("release", "name"),
    [("mcp-connectors", "mcp-connectors"), ("tools", "tools-mcp-connectors"), ("my-mcp-connectors", "my-mcp-connectors")],
)
def test_names_follow_the_release(release: str, name: str) -> None:
    manifests = render({}, release=release)
    assert {manifest["metadata"]["name"] for manifest in manifests} == {name, f"{name}-lease"}
    assert only(manifests, "Deployment")["metadata"]["namespace"] == NAMESPACE
