"""A connector to a real Argo CD: its tools on an application that drifts, degrades and is rolled back, and what it tells
while Argo CD is down."""

import json
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import new_namespace
from testcluster import argocd

from support import argocd_server, kube
from support.agent import agent_of, error_of
from support.argocd_server import Application
from support.connector import LIMITS, OUTAGE_SECONDS, Connector, changed_by_agents
from support.waiting import eventually

# What deletes or changes an application's policy must also be allowed by name.
EVERYTHING = {"mutations": "Confirm", "allow": ["*", "set_argocd_auto_sync", "delete_argocd_app"]}
SETTINGS = {"kind": "ConfigMap", "name": "web-settings"}


@pytest.fixture(scope="module")
def web(argocd_up: str) -> Iterator[Application]:
    """An application that is deployed and well."""
    namespace = new_namespace("argocd-web")
    with argocd_server.running(f"web-{secrets.token_hex(2)}", namespace) as application:
        yield application
    kube.delete_namespace(namespace)


@pytest.fixture(scope="module")
def connector(shared_namespace: str, argocd_up: str) -> Connector:
    """A connector that may do everything that its account may."""
    return argocd_server.deploy_in(
        shared_namespace,
        tools=EVERYTHING,
        access=changed_by_agents(shared_namespace),
        limits=LIMITS | {"callTimeout": "60s"},
    )


def answer(connector: Connector, tool: str, **arguments: Any) -> dict[str, Any]:
    return agent_of(connector).answer(tool, **arguments)


def do(connector: Connector, tool: str, **arguments: Any) -> dict[str, Any]:
    """Asks what a tool would do, and has it done by the plan that it answers; asked again, it is not done again."""
    planned = answer(connector, tool, **arguments)
    confirmed = arguments | {"confirm": True, "plan": planned["plan"], "idempotency_key": secrets.token_hex(8)}
    done = answer(connector, tool, **confirmed)
    assert done["applied"] is True
    again = answer(connector, tool, **confirmed)
    assert (again["replayed"], again["result"]) == (True, done["result"])
    result: dict[str, Any] = done["result"]
    return result


def test_every_reading_tool_answers(connector: Connector, web: Application) -> None:
    app, revision = {"app": web.name}, web.history()[-1]["revision"]
    agent = agent_of(connector)

    listed = agent.answer("list_argocd_apps", name_contains="web-", health_status="Healthy")
    (summary,) = [item for item in listed["items"] if item["name"] == web.name]
    assert (summary["sync_status"], summary["health_status"]) == ("Synced", "Healthy")
    assert summary["destination_namespace"] == web.namespace
    assert agent.answer("list_argocd_apps", name_contains="nobody-has-this")["hints"]

    # As people write and paste it.
    page = f"https://argocd.example.com/root/applications/{argocd.NAMESPACE}/{web.name}?view=tree&resource="
    for written in (f"{argocd.NAMESPACE}/{web.name}", page):
        assert agent.answer("get_argocd_app_status", app=written)["name"] == web.name
    assert web.name in [item["name"] for item in agent.answer("list_argocd_apps", cluster="in-cluster")["items"]]

    state = agent.answer("get_argocd_app_status", **app, include_resources=True)
    assert (state["sync"]["status"], state["sync"]["revision"]) == ("Synced", revision)
    assert {resource["kind"] for resource in state["resources"]} == {"ConfigMap", "Deployment"}
    resources = agent.answer("get_argocd_app_resources", **app, kind="Deployment")
    assert [resource["name"] for resource in resources["items"]] == ["web"]

    nodes = agent.answer("get_argocd_resource_tree", **app)["nodes"]
    assert {"Deployment", "ReplicaSet", "Pod"} <= {node["kind"] for node in nodes}
    pod = next(node["name"] for node in nodes if node["kind"] == "Pod")
    for words in ({"pod": pod}, {"kind": "Deployment", "name": "web"}):
        lines = agent.answer("get_argocd_logs", **app, **words)["lines"]
        assert [(line["pod"], line["text"]) for line in lines] == [(pod, "one")]
    for empty in ({"pod": pod, "filter": "nobody writes this"}, {"pod": "nobody-has-this"}):
        logs = agent.answer("get_argocd_logs", **app, **empty)
        assert (logs["lines"], bool(logs["hints"])) == ([], True)

    assert agent.answer("get_argocd_diff", **app)["resources"] == []
    manifests = agent.answer("get_argocd_manifests", **app, kind="ConfigMap")["manifests"]
    assert [manifest["data"] for manifest in manifests] == [{"greeting": "one"}]
    assert agent.answer("get_argocd_events", **app)["events"]
    (deployment,) = agent.answer("list_argocd_app_history", **app)["items"]
    assert (deployment["revision"], deployment["id"]) == (revision, web.history()[-1]["id"])
    made = agent.answer("get_argocd_revision_metadata", **app, revision=revision)
    assert (made["of"], made["message"], made["author"]) == ("git", "first", "e2e <e2e@example.com>")
    assert agent.answer("get_argocd_sync_windows", **app)["can_sync"] is True

    assert "default" in [project["name"] for project in agent.answer("list_argocd_projects")["items"]]
    assert agent.answer("get_argocd_project", name="default")["source_repos"] == ["*"]
    (cluster,) = agent.answer("list_argocd_clusters")["items"]
    assert cluster["server"] == "https://kubernetes.default.svc"

    actions = agent.answer(
        "list_argocd_resource_actions", **app, resource={"group": "apps", "kind": "Deployment", "name": "web"}
    )["actions"]
    assert "restart" in [action["name"] for action in actions]
    waited = agent.answer("wait_argocd_app", **app, **{"for": "health"}, timeout_seconds=5)
    assert waited["finished"] is True
    refreshed = agent.answer("refresh_argocd_app", **app, hard=True)
    assert (refreshed["refreshed"], refreshed["sync"]["status"]) == (True, "Synced")


def test_application_sets_are_shown(connector: Connector, web: Application) -> None:
    name = f"set-{secrets.token_hex(2)}"
    definition = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "ApplicationSet",
        "metadata": {"name": name, "namespace": argocd.NAMESPACE},
        "spec": {
            "goTemplate": True,
            "generators": [{"list": {"elements": [{"stage": "test"}, {"stage": "live"}]}}],
            "template": {
                "metadata": {"name": name + "-{{ .stage }}"},
                "spec": {
                    "project": "default",
                    "source": argocd_server.in_git(web.repository, argocd_server.PATH),
                    "destination": {"server": "https://kubernetes.default.svc", "namespace": web.namespace},
                },
            },
        },
    }
    kube.apply(argocd.NAMESPACE, definition)
    try:
        both = {f"{name}-live", f"{name}-test"}
        eventually(
            "the set has made its applications",
            lambda: (
                both
                <= {
                    item["name"]
                    for item in answer(connector, "list_argocd_apps", name_contains=name, cache=False)["items"]
                }
            ),
            OUTAGE_SECONDS,
        )
        shown = answer(connector, "get_argocd_appset", name=name)
        # Argo CD names them in the set's status minutes later.
        assert {made["name"] for made in shown["made"]} == both or shown["hints"]
        assert shown["generators"] == ["list"]
        assert name in [item["name"] for item in answer(connector, "list_argocd_appsets")["items"]]
        # Argo CD wants the right to make a set of whoever asks what it would make.
        refused = error_of(agent_of(connector).call("preview_argocd_appset", name=name))
        assert (refused["code"], "applicationsets, create" in refused["remedy"]) == ("permission_denied", True)
        with argocd_server.granted("applicationsets, create"):
            would = eventually(
                "Argo CD knows the new right",
                lambda: not (found := agent_of(connector).call("preview_argocd_appset", name=name)).is_error and found,
                30,
            )
        assert {planned["name"] for planned in would.structured_content["applications"]} == both
    finally:
        kube.kubectl("--namespace", argocd.NAMESPACE, "delete", "applicationset", name, timeout=120)


BAD_CALLS = [
    ("get_argocd_app_status", {"app": "nobody-has-this"}, "not_found"),
    ("get_argocd_app_status", {"app": "a/../b"}, "invalid_argument"),
    ("get_argocd_app_status", {"app": "nobody/has-this"}, "not_found"),
    ("get_argocd_project", {"name": "default/detailed"}, "invalid_argument"),
    ("list_argocd_apps", {"selector": "team=shop AND tier=web"}, "invalid_argument"),
    ("get_argocd_revision_metadata", {"app": "$web", "revision": "release/1.2"}, "invalid_argument"),
    ("get_argocd_revision_metadata", {"app": "$web", "revision": "abcdef1", "source_index": 3}, "invalid_argument"),
    ("list_argocd_apps", {"health_status": "Fine"}, "invalid_argument"),
    ("list_argocd_apps", {"projekt": "default"}, "invalid_argument"),
    ("list_argocd_apps", {"limit": 100000}, "invalid_argument"),
    ("get_argocd_project", {"name": "nobody-has-this"}, "not_found"),
    ("get_argocd_appset", {"name": "nobody-has-this"}, "not_found"),
    ("get_argocd_logs", {"app": "$web"}, "invalid_argument"),
    ("get_argocd_manifests", {"app": "$web", "revision": "no-such-branch"}, "invalid_argument"),
    ("rollback_argocd_app", {"app": "$web", "history_id": 4711}, "invalid_argument"),
    ("terminate_argocd_operation", {"app": "$web"}, "conflict"),
    ("delete_argocd_app", {"app": "$web", "confirm_name": "other"}, "invalid_argument"),
]


@pytest.mark.parametrize(("tool", "arguments", "code"), BAD_CALLS, ids=lambda value: str(value)[:60])
def test_a_bad_call_says_what_is_wrong(
    connector: Connector, web: Application, tool: str, arguments: dict[str, Any], code: str
) -> None:
    arguments = {name: web.name if value == "$web" else value for name, value in arguments.items()}
    error = error_of(agent_of(connector).call(tool, **arguments))
    assert error["code"] == code, error
    assert error["message"] and "planted" not in str(error)


def test_drift_is_seen_and_synced_once(connector: Connector, web: Application) -> None:
    kube.patch(web.namespace, "configmap", "web-settings", {"data": {"greeting": "changed by hand"}})
    # Argo CD compares with what its own watch of the cluster has brought it, which is late where the machine is busy.
    eventually(
        "Argo CD has seen the change",
        lambda: answer(connector, "refresh_argocd_app", app=web.name)["sync"]["status"] == "OutOfSync",
    )
    (changed,) = answer(connector, "get_argocd_diff", app=web.name)["resources"]
    assert (changed["kind"], changed["name"]) == ("ConfigMap", "web-settings")
    (path,) = changed["paths"]
    assert path["path"].endswith("greeting")
    assert (json.loads(path["now"]), json.loads(path["then"])) == ("changed by hand", "one")

    deployments = len(web.history())
    # Without confirm it tells, and does nothing.
    planned = answer(connector, "sync_argocd_app", app=web.name, wait_seconds=20)
    assert planned["would"] and planned["plan"]
    tried = do(connector, "sync_argocd_app", app=web.name, dry_run=True)
    assert tried["dry_run"] is True
    assert kube.get(web.namespace, "configmap", "web-settings")["data"]["greeting"] == "changed by hand"
    assert len(web.history()) == deployments

    done = do(connector, "sync_argocd_app", app=web.name, resources=[SETTINGS], wait_seconds=20)
    assert (done["triggered"], done["finished"]) == (True, True)
    assert [(result["kind"], result["status"]) for result in done["results"]] == [("ConfigMap", "Synced")]
    # What is told of it is of after the sync, or told as older.
    assert done.get("outdated") or done["reconciled_at"] >= done["operation"]["finished_at"]
    assert kube.get(web.namespace, "configmap", "web-settings")["data"]["greeting"] == "one"
    web.wait_for("Synced", "Healthy")


def test_a_bad_deployment_is_explained_and_rolled_back(connector: Connector, web: Application) -> None:
    good = web.history()[-1]
    web.commit(*argocd_server.workload("web", "I can't find my database", fails=True), message="second")
    answer(connector, "refresh_argocd_app", app=web.name)
    done = do(connector, "sync_argocd_app", app=web.name, wait_seconds=20)
    assert done["finished"] is True
    # Kubernetes takes its time to say so.
    web.wait_for("Synced", "Degraded")
    waited = answer(connector, "wait_argocd_app", app=web.name, **{"for": "health"}, timeout_seconds=5)
    assert (waited["finished"], waited["health"]["status"]) == (False, "Degraded"), waited

    nodes = answer(connector, "get_argocd_resource_tree", app=web.name, unhealthy_only=True)["nodes"]
    assert "Deployment" in {node["kind"] for node in nodes}
    pod = next(node["name"] for node in nodes if node["kind"] == "Pod")
    lines = answer(connector, "get_argocd_logs", app=web.name, pod=pod)["lines"]
    assert "I can't find my database" in [line["text"] for line in lines]
    events = answer(connector, "get_argocd_events", app=web.name, resource={"kind": "Pod", "name": pod})["events"]
    assert "BackOff" in {event["reason"] for event in events}

    newest = answer(connector, "list_argocd_app_history", app=web.name)["items"][0]
    assert newest["revision"] != good["revision"]
    wrong = error_of(
        agent_of(connector).call(
            "rollback_argocd_app", app=web.name, history_id=good["id"], expected_revision=newest["revision"]
        )
    )
    assert wrong["code"] in ("conflict", "invalid_argument")
    back = do(
        connector,
        "rollback_argocd_app",
        app=web.name,
        history_id=good["id"],
        expected_revision=good["revision"],
        wait_seconds=20,
    )
    assert (back["triggered"], back["finished"]) == (True, True)
    web.wait_for("OutOfSync", "Healthy")
    # Git is mended, too.
    web.commit(*argocd_server.workload("web", "one"), message="third")
    answer(connector, "refresh_argocd_app", app=web.name)
    do(connector, "sync_argocd_app", app=web.name, wait_seconds=20)
    web.wait_for("Synced", "Healthy")


def test_a_sync_window_that_forbids_is_told_with_its_end(connector: Connector, web: Application) -> None:
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    # Its schedule counts in its zone, which is nine hours ahead all year.
    schedules = {offset: f"0 {(hour + timedelta(hours=offset + 9)).hour} * * *" for offset in (-1, 3)}
    window = {"duration": "3h", "timeZone": "Asia/Tokyo"}
    closed = (
        ({"kind": "deny", "schedule": schedules[-1]}, "open until", hour + timedelta(hours=2)),
        ({"kind": "allow", "schedule": schedules[3]}, "opens at", hour + timedelta(hours=3)),
    )
    for more, words, when in closed:
        told = f"{words} {when:%Y-%m-%dT%H:%M:%SZ}"
        with argocd_server.sync_window(web, **window, **more):
            eventually(
                f"Argo CD does not permit it and the connector says why: {told}",
                lambda told=told: told in answer(connector, "get_argocd_sync_windows", app=web.name).get("why_not", ""),
                explain=lambda: str(answer(connector, "get_argocd_sync_windows", app=web.name)),
            )
            deployments = len(web.history())
            error = error_of(agent_of(connector).call("sync_argocd_app", app=web.name))
            assert (error["code"], told in str(error["platform_words"])) == ("conflict", True), error
            assert len(web.history()) == deployments
    eventually(
        "it is permitted again",
        lambda: answer(connector, "get_argocd_sync_windows", app=web.name)["can_sync"] is True,
    )


def test_an_action_is_run(connector: Connector, web: Application) -> None:
    before = kube.get(web.namespace, "deployment", "web")["spec"]["template"]["metadata"].get("annotations", {})
    resource = {"group": "apps", "kind": "Deployment", "name": "web"}
    do(connector, "run_argocd_resource_action", app=web.name, resource=resource, action="restart")
    after = kube.get(web.namespace, "deployment", "web")["spec"]["template"]["metadata"]["annotations"]
    assert after != before
    assert "kubectl.kubernetes.io/restartedAt" in after
    web.wait_for("Synced", "Healthy")


@pytest.mark.usefixtures("alone_at_argocd")
def test_what_the_account_may_not_do_is_told_with_the_right_that_it_needs(
    connector: Connector, web: Application
) -> None:
    planned = answer(connector, "set_argocd_auto_sync", app=web.name, enabled=True)
    refused = error_of(
        agent_of(connector).call("set_argocd_auto_sync", app=web.name, enabled=True, confirm=True, plan=planned["plan"])
    )
    assert refused["code"] == "permission_denied"
    assert "applications, update" in refused["remedy"]
    assert "syncPolicy" not in web.object()["spec"]

    with argocd_server.granted("applications, update", "applications, delete"):
        eventually(
            "Argo CD knows the new right",
            lambda: (
                not agent_of(connector)
                .call("set_argocd_auto_sync", app=web.name, enabled=True, confirm=True, plan=planned["plan"])
                .is_error
            ),
            30,
        )
        assert "automated" in web.object()["spec"]["syncPolicy"]
        # While Git decides, nothing is rolled back.
        refused = error_of(
            agent_of(connector).call("rollback_argocd_app", app=web.name, history_id=web.history()[0]["id"])
        )
        assert refused["code"] == "conflict"
        assert "auto-sync" in refused["message"]
        do(connector, "set_argocd_auto_sync", app=web.name, enabled=False)
        assert "automated" not in web.object()["spec"].get("syncPolicy", {})

        other = Application(f"gone-{secrets.token_hex(2)}", web.namespace)
        other.commit(*argocd_server.workload("other", "two"))
        other.create()
        other.sync()
        do(connector, "delete_argocd_app", app=other.name, confirm_name=other.name, cascade=True)
        eventually(
            "the application and what it ran are gone",
            lambda: (
                kube.find(argocd.NAMESPACE, "applications.argoproj.io", other.name) is None
                and kube.find(web.namespace, "deployment", "other") is None
            ),
        )


@pytest.mark.usefixtures("alone_at_argocd")
def test_argocd_is_down_and_comes_back(connector: Connector, web: Application) -> None:
    scale = ("--namespace", argocd.NAMESPACE, "scale", "deployment/argocd-server")
    kube.kubectl(*scale, "--replicas=0")
    try:
        connector.wait_for("PlatformHealthy", "False", timeout=OUTAGE_SECONDS)
        assert connector.condition("PlatformHealthy")["reason"] in ("Unreachable", "Timeout")
        error = error_of(agent_of(connector).call("get_argocd_app_status", app=web.name))
        assert error["code"] in ("platform_unavailable", "deadline_exceeded")
        # What is known of the credentials does not change with an outage.
        assert connector.condition("CredentialsAccepted")["status"] != "False"
    finally:
        kube.kubectl(*scale, "--replicas=1")
    connector.wait_ready(180)
    assert answer(connector, "get_argocd_app_status", app=web.name)["health"]["status"] == "Healthy"
