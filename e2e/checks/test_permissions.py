"""What the operator and its users may do, compared with the list that is written down here."""

import pytest
from rendering import NAMESPACE, ROOT, VARIANTS, Manifest, kustomize, of_kind, only, render, render_crds

READ = {"get", "list", "watch"}
WRITE = READ | {"create", "patch"}

# Everything the operator may do. Whoever adds a line here says in the pull request why it is needed.
OPERATOR = {
    ("mcp-connectors.io", "credentialsources"): READ,
    ("mcp-connectors.io", "mcpconnectors"): READ,
    ("mcp-connectors.io", "credentialsources/status"): {"patch"},
    ("mcp-connectors.io", "mcpconnectors/status"): {"patch"},
    ("mcp-connectors.io", "mcpconnectors/finalizers"): {"update"},
    ("", "configmaps"): WRITE,
    ("", "serviceaccounts"): WRITE,
    ("", "services"): WRITE,
    ("", "pods"): READ,
    ("apps", "deployments"): WRITE,
    ("apps", "replicasets"): READ,
    ("networking.k8s.io", "networkpolicies"): WRITE,
    ("policy", "poddisruptionbudgets"): WRITE | {"delete"},
    ("events.k8s.io", "events"): {"create", "patch"},
}

# Everything it may do in its own namespace beside that.
OWN = {("coordination.k8s.io", "leases"): {"get", "create", "update"}, ("", "serviceaccounts/token"): {"create"}}

VIEW = {
    ("mcp-connectors.io", "credentialsources"): READ,
    ("mcp-connectors.io", "mcpconnectors"): READ,
    ("mcp-connectors.io", "credentialsources/status"): {"get"},
    ("mcp-connectors.io", "mcpconnectors/status"): {"get"},
    ("mcp-connectors.io", "mcpconnectors/scale"): {"get"},
}

EVERY_VERB = READ | {"create", "delete", "deletecollection", "patch", "update"}
EDIT = {
    ("mcp-connectors.io", "credentialsources"): EVERY_VERB,
    ("mcp-connectors.io", "mcpconnectors"): EVERY_VERB,
    ("mcp-connectors.io", "mcpconnectors/scale"): {"get", "patch", "update"},
}

CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "Namespace"}


def granted(role: Manifest) -> dict[tuple[str, str], set[str]]:
    """The role's rules by group and resource."""
    found: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        fields = set(rule) - {"resourceNames"} if "serviceaccounts/token" in rule["resources"] else set(rule)
        assert fields == {"apiGroups", "resources", "verbs"}, f"a rule with other fields: {rule}"
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def tokens(role: Manifest) -> list[list[str]]:
    """The ServiceAccounts of which a role lets somebody make tokens, of each rule that does; of anybody if empty."""
    return [
        rule.get("resourceNames", []) for rule in role["rules"] if "serviceaccounts/token" in rule.get("resources", [])
    ]


def every_role() -> list[Manifest]:
    sources = [render(values) for values in VARIANTS.values()] + [render_crds(), kustomize(ROOT / "config/default")]
    return [role for source in sources for role in of_kind(source, "Role", "ClusterRole")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_operator_may_do_what_is_listed_and_nothing_else(variant: str) -> None:
    manifests = render(VARIANTS[variant])
    role, own = of_kind(manifests, "Role", "ClusterRole")
    if own["metadata"]["name"] != f"{role['metadata']['name']}-lease":
        role, own = own, role
    assert granted(role) == OPERATOR
    assert granted(own) == OWN
    assert (own["kind"], own["metadata"]["namespace"]) == ("Role", NAMESPACE)
    account = only(manifests, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    assert tokens(own) == [[account]], "tokens of nobody but itself"


def test_no_role_holds_a_wildcard_a_secret_or_a_way_to_more_rights() -> None:
    for role in every_role():
        name = role["metadata"]["name"]
        for (group, resource), verbs in granted(role).items():
            assert "*" not in {group, resource, *verbs}, f"{name} has a wildcard"
            assert resource.split("/")[0] not in {"secrets", "roles", "rolebindings", "clusterroles"}, name
            assert resource not in {"pods/exec", "pods/attach", "nodes/proxy"}, name
            assert not verbs & {"escalate", "bind", "impersonate"}, name
        assert all(len(names) == 1 for names in tokens(role)), f"{name} gives tokens of anybody"


@pytest.mark.parametrize("variant", VARIANTS)
def test_binding_joins_the_role_to_the_operators_service_account(variant: str) -> None:
    manifests = render(VARIANTS[variant])
    roles = {role["metadata"]["name"]: role for role in of_kind(manifests, "Role", "ClusterRole")}
    bindings = {binding["metadata"]["name"]: binding for binding in of_kind(manifests, "RoleBinding", "ClusterRoleBinding")}
    account = only(manifests, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"]
    assert roles.keys() == bindings.keys()
    for name, role in roles.items():
        binding = bindings[name]
        assert binding["kind"] == role["kind"] + "Binding"
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (role["kind"], name)
        assert binding["metadata"].get("namespace") == role["metadata"].get("namespace")
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}]


@pytest.mark.parametrize("variant", [name for name, values in VARIANTS.items() if values.get("watchNamespace")])
def test_with_a_watched_namespace_nothing_is_cluster_wide(variant: str) -> None:
    manifests = render(VARIANTS[variant])
    assert not of_kind(manifests, *CLUSTER_SCOPED)
    namespaces = {role["metadata"]["namespace"] for role in of_kind(manifests, "Role")}
    assert namespaces == {NAMESPACE, VARIANTS[variant]["watchNamespace"]}


def test_people_who_may_view_see_and_people_who_may_edit_write() -> None:
    roles = {role["metadata"]["name"]: role for role in of_kind(render_crds(), "ClusterRole")}
    assert set(roles) == {"mcp-connectors-view", "mcp-connectors-edit"}
    assert granted(roles["mcp-connectors-view"]) == VIEW
    assert granted(roles["mcp-connectors-edit"]) == EDIT
    assert aggregated(roles["mcp-connectors-view"]) == {"view", "edit", "admin"}
    assert aggregated(roles["mcp-connectors-edit"]) == {"edit", "admin"}
    assert not of_kind(render_crds({"aggregateRoles": False}), "ClusterRole")


def aggregated(role: Manifest) -> set[str]:
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    return {label.removeprefix(prefix) for label in role["metadata"]["labels"] if label.startswith(prefix)}
