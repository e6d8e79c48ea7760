"""The actions that Argo CD offers on our kinds, run by its own command as its own tests run them: on states that the
operator writes, with the time of the action taken out."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rendering import ROOT, SHORT_LIVED, load, tool, tool_path

FOLDER = ROOT / "config/argocd/resource_customizations/mcp-connectors.io"
CONFIG_MAP = ROOT / "config/argocd/argocd-cm.yaml"
KINDS = ("McpConnector", "CredentialSource")
STATES = 9
WORDS = ("admin", "settings", "resource-overrides")
# Prints what the action made instead of the difference.
SHOW_RESULT = "sh -c 'cat \"$2\"' show"
TIME = re.compile(r"^(\s+mcp-connectors\.io/[a-z-]+-at: )\"?(2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\"?$", re.MULTILINE)


def cases(kind: str) -> dict[str, list[dict[str, Any]]]:
    """What Argo CD's own tests would read."""
    found: dict[str, list[dict[str, Any]]] = load((FOLDER / kind / "actions/action_test.yaml").read_text())
    return found


def path(kind: str, name: str) -> Path:
    """A file that a test names."""
    return FOLDER / kind / "actions" / name


ACTIONS = [(kind, test) for kind in KINDS for test in cases(kind)["actionTests"]]
DISCOVERIES = [(kind, test) for kind in KINDS for test in cases(kind)["discoveryTests"]]


@pytest.mark.parametrize("kind", KINDS)
def test_every_action_and_every_state_has_a_test(kind: str) -> None:
    scripts = {script.parent.name for script in (FOLDER / kind / "actions").glob("*/action.lua")}
    assert {test["action"] for test in cases(kind)["actionTests"]} == scripts
    states = {state.resolve() for state in (FOLDER / kind / "testdata").glob("*.yaml")}
    assert {path(kind, test["inputPath"]).resolve() for test in cases(kind)["discoveryTests"]} == states
    assert len(states) > STATES


@pytest.mark.parametrize(("kind", "test"), DISCOVERIES)
def test_argocd_offers(kind: str, test: dict[str, Any]) -> None:
    text = tool("argocd", *WORDS, "list-actions", path(kind, test["inputPath"]), "--argocd-cm-path", CONFIG_MAP)
    lines = text.splitlines()
    assert lines[0].split() == ["NAME", "DISABLED"]
    said = {name: disabled == "true" for name, disabled in (line.split() for line in lines[1:])}
    assert said == {wanted["name"]: wanted.get("disabled", False) for wanted in test["result"]}


@pytest.mark.parametrize(("kind", "test"), ACTIONS)
def test_argocd_does(kind: str, test: dict[str, Any]) -> None:
    action, given = test["action"], path(kind, test["inputPath"])
    done = subprocess.run(
        [tool_path("argocd"), *WORDS, "run-action", given, action, "--argocd-cm-path", CONFIG_MAP],
        env=SHORT_LIVED | {"KUBECTL_EXTERNAL_DIFF": SHOW_RESULT},
        capture_output=True,
        text=True,
        check=True,
    )
    head, result = done.stdout.split("\n\n", 1)
    assert head == "Following fields have been changed:"
    result = TIME.sub(r'\1"0001-01-01T00:00:00Z"', result)
    wanted = load(path(kind, test["expectedOutputPath"]).read_text())
    assert load(result) == wanted
    assert wanted != load(given.read_text())
