"""The plugin `kubectl mcp`, as a person uses it."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import Deployed

from support import kube
from support.machine import ROOT, cluster_environment, run
from support.operator import MAIN, Operator


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PATH on which kubectl finds the plugin."""
    programs = run(ROOT / "e2e" / "checks" / "programs", timeout=1800).strip()
    folder: Path = tmp_path_factory.mktemp("bin")
    (folder / "kubectl-mcp").symlink_to(Path(programs) / "kubectl-mcp")
    yield f"{folder}:{cluster_environment()['PATH']}"


def mcp(path: str, *words: str, status: int | None = 0) -> str:
    """Runs `kubectl mcp`, and returns what it prints.

    status: what it ends with; none where that depends on what other stories do.
    """
    argv, env = ["kubectl", "mcp", *words], os.environ | {"PATH": path}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert status in (done.returncode, None), done.stdout + done.stderr
    return done.stdout


def test_status_is_a_table_a_tree_and_a_document(running: Deployed, path: str) -> None:
    where = ("-n", running.connector.namespace)
    line = next(line for line in mcp(path, "status", *where).splitlines() if line.startswith("vault"))
    assert line.split()[:3] == ["vault", "True", "Ready"]
    tree = mcp(path, "status", "vault", *where)
    pod = running.connector.pods()[0]["metadata"]["name"]
    parts = ("McpConnector", "CredentialSource vault-reader", "Deployment mcp-vault", f"Pod {pod}: ready", "Platform vault")
    for part in parts:
        assert part in tree
    assert "\x1b" not in tree
    assert "\x1b[" in mcp(path, "status", "vault", "--color", "always", *where)
    assert json.loads(mcp(path, "status", "-o", "json", *where))[0]["name"] == "vault"
    assert yaml.safe_load(mcp(path, "status", "vault", "-o", "yaml", *where))["mark"] == "good"


def test_tools_are_listed_and_called_as_a_service_account(running: Deployed, path: str) -> None:
    where = ("-n", running.connector.namespace)
    assert "get_vault_health" in mcp(path, "tools", "vault", *where)
    answer = json.loads(mcp(path, "call", "vault", "get_vault_health", "-o", "json", *where))
    assert answer["structuredContent"]["sealed"] is False
    mcp(path, "call", "vault", "get_vault_nothing", *where, status=1)
    refused = mcp(path, "tools", "vault", "--service-account", "kube-system/default", *where, status=1)
    assert refused == ""


def test_logs_and_configuration(running: Deployed, path: str) -> None:
    where = ("-n", running.connector.namespace)
    assert "server_ready" in mcp(path, "logs", "vault", "--tail", "1000", *where)
    pod = yaml.safe_load(mcp(path, "config", "vault", *where))
    source = pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    assert source["audience"] == running.connector.status()["audience"]
    assert "mcpServers" in mcp(path, "config", "vault", "--client", "cursor", *where)
    # It is a part of a pod, to which its owner adds a name and an image.
    pod["spec"]["containers"][0]["image"] = "agent:1"
    whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent"}} | pod
    words = ("--namespace", "default", "apply", "--dry-run=server", "--filename", "-")
    assert "created" in kube.kubectl(*words, stdin=yaml.safe_dump(whole))


def test_completions_are_a_script_that_the_shell_takes(path: str) -> None:
    script = mcp(path, "completion", "bash")
    taken = run("bash", "-c", "source /dev/stdin && complete -p kubectl-mcp", stdin=script)
    (function,) = re.findall(r"-F (\S+)", taken)
    offered = f"COMP_WORDS=(kubectl-mcp st) COMP_CWORD=1; {function} kubectl-mcp st kubectl-mcp; echo ${{COMPREPLY[@]}}"
    assert run("bash", "-c", f"source /dev/stdin; {offered}", stdin=script).split() == ["status"]


def test_the_doctor_names_operators_that_look_after_the_same(running: Deployed, path: str) -> None:
    (operator,) = kube.items(MAIN.namespace, "deployments", kube.OPERATOR_SELECTOR)
    namespace = running.connector.namespace
    # It never runs, because the namespace lacks its ServiceAccount: what matters is what it would look after.
    rival = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": operator["spec"]}
    kube.apply(namespace, rival | {"metadata": {"name": "rival", "labels": operator["metadata"]["labels"]}})
    try:
        findings = json.loads(mcp(path, "doctor", "-o", "json", status=1))
        (told,) = [finding for finding in findings if finding["what"].startswith("operators ")]
        assert told["verdict"] == "wrong"
        assert f"{namespace}/rival" in told["what"]
        assert "both look after all namespaces" in told["text"]
    finally:
        kube.delete(namespace, "deployment", "rival")


# It judges all that is in the cluster.
@pytest.mark.alone
def test_the_doctor_finds_nothing_wrong(running: Deployed, path: str) -> None:
    findings = json.loads(mcp(path, "doctor", "-o", "json"))
    ours = [finding for finding in findings if not finding["what"].startswith("connector ")]
    assert {finding["verdict"] for finding in ours} == {"well"}, ours
    assert f"leader of {MAIN.namespace}/mcp-connectors" in {finding["what"] for finding in ours}


def test_the_doctor_finds_a_missing_leader(own_operator: Operator, path: str) -> None:
    operator, leader = (f"{what}{own_operator.namespace}/mcp-connectors" for what in ("operator ", "leader of "))

    def judged(status: int | None) -> dict[str, str]:
        """What it finds of this operator."""
        findings = json.loads(mcp(path, "doctor", "-o", "json", status=status))
        return {one["what"]: one["verdict"] for one in findings if own_operator.namespace in one["what"]}

    # Beside the one that leaves its namespace out, it is nobody's rival.
    assert judged(status=None) == {operator: "well", leader: "well"}
    own_operator.stop()
    try:
        assert judged(status=1) == {operator: "wrong", leader: "wrong"}
    finally:
        own_operator.start()
