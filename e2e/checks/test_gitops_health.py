"""What GitOps tools say of our kinds in every state that the operator can write: Argo CD by our scripts, run by its own
command, and Flux and Helm by kstatus."""

import subprocess
from pathlib import Path

import pytest
from rendering import ROOT, load, tool, tool_path

FOLDER = ROOT / "config/argocd/resource_customizations/mcp-connectors.io"
CONFIG_MAP = ROOT / "config/argocd/argocd-cm.yaml"
KINDS = ("McpConnector", "CredentialSource")
# States that each kind has test data for, at least.
STATES = 10


def cases(kind: str) -> list[tuple[str, str, str]]:
    """File, status and message, as Argo CD's own tests have them."""
    tests = load((FOLDER / kind / "health_test.yaml").read_text())["tests"]
    return [(test["inputPath"], test["healthStatus"]["status"], test["healthStatus"]["message"]) for test in tests]


CASES = [(kind, *case) for kind in KINDS for case in cases(kind)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_state_is_judged(kind: str) -> None:
    files = {str(path.relative_to(FOLDER / kind)) for path in (FOLDER / kind / "testdata").glob("*.yaml")}
    assert {file for file, _, _ in cases(kind)} == files
    assert len(files) >= STATES
    assert {status for _, status, _ in cases(kind)} >= {"Healthy", "Progressing", "Degraded"}


@pytest.mark.parametrize(("kind", "file", "status", "message"), CASES)
def test_argocd_says(kind: str, file: str, status: str, message: str) -> None:
    words = ("admin", "settings", "resource-overrides", "health", FOLDER / kind / file)
    text = tool("argocd", *words, "--argocd-cm-path", CONFIG_MAP)
    said = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    assert (said["STATUS"], said.get("MESSAGE")) == (status, message)


@pytest.mark.parametrize("kind", KINDS)
def test_kstatus_says(kind: str) -> None:
    files = sorted((FOLDER / kind / "testdata").glob("*.yaml"))
    done = subprocess.run([tool_path("kstatus"), *files], capture_output=True, text=True, check=True)
    # A message may go over several lines.
    lines = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") >= 2]
    said = {Path(file).stem: status for file, status, *_ in lines}
    assert said == load((FOLDER / kind / "kstatus.yaml").read_text())


@pytest.mark.parametrize(("kind", "file", "status", "message"), CASES)
def test_who_waits_for_ready_waits_for_what_argocd_calls_healthy(
    kind: str, file: str, status: str, message: str
) -> None:
    """`kubectl wait --for=condition=Ready` is met by a condition that is True and of no older generation."""
    one = load((FOLDER / kind / file).read_text())
    conditions = one.get("status", {}).get("conditions", [])
    ready = [found for found in conditions if found["type"] == "Ready"]
    newest = one["metadata"]["generation"]
    is_met = any(found["status"] == "True" and found["observedGeneration"] >= newest for found in ready)
    assert is_met == (status == "Healthy")
