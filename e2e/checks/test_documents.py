"""Every command in the documents can be judged without running it, and is: files and targets exist, flags parse, values
are in the chart's schema, tools take the arguments. What can't be judged stands in NOT_JUDGED, with the reason."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import yaml
from documents import DOCUMENTS, LANGUAGES, Command, Document, read
from rendering import CHART, CRD_CHART, ROOT, Manifest, kustomize, released, tool, tool_path

ALL = [read(path) for path in DOCUMENTS]
COMMANDS = [command for document in ALL for command in document.commands]
FILES = {document.name: document.files for document in ALL}
PLATFORM_PAGES = [document for document in ALL if document.name.startswith("docs/platforms/")]

# Programs that no check here knows, and why that is all right.
NOT_JUDGED = {
    "aws": "AWS' own; only its page uses it, for what any other way to make a user does too",
    "cd": "the shell's",
    "date": "tells the time",
    "eval": "the shell's",
    "grep": "looks for a text",
    "install": "copies a file",
    "sha256sum": "test_release.py runs it",
    "skopeo": "pushes to a registry, of which there is none here",
    "vault": "Vault's own; e2e/support/vault_server.py makes roles and policies like these over its API",
}
# What a reader has of their own.
READERS = {"connectors/": "a folder of manifests", "policy.json": "the block above the command"}
PROGRAMS = ROOT / "e2e" / "checks" / "programs"
PLACEHOLDER = re.compile(r"[A-Z_]+(/[A-Z_]+)*")


@cache
def programs() -> Path:
    return Path(subprocess.run(PROGRAMS, stdout=subprocess.PIPE, text=True, check=True).stdout.strip())


def assert_parses(program: str | Path, *words: str) -> str:
    """A program takes the words for a command: asked for help behind them, it has read them before it answers."""
    done = subprocess.run([program, *words, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_there(command: Command, name: str) -> None:
    """A file is in the repository, in the release, made before in the document, or the reader's."""
    known = FILES[command.document] | READERS.keys() | released("amd64")
    assert name in known or PLACEHOLDER.fullmatch(name) or (ROOT / name).exists(), f"there is no {name}"


def options(words: tuple[str, ...], *names: str) -> list[str]:
    """The values of an option that is written `-f x`, `--file x` or `--file=x`."""
    found = [words[at + 1] for at, word in enumerate(words[:-1]) if word in names]
    return found + [word.split("=", 1)[1] for word in words if "=" in word and word.split("=", 1)[0] in names]


def judge_make(command: Command) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    arguments = command.words[1:]
    assert {word for word in arguments if "=" not in word} <= targets
    for name in [*command.variables, *(word.split("=")[0] for word in arguments if "=" in word)]:
        scripts = (
            makefile + "".join(path.read_text() for path in ROOT.glob("e2e/*/run")) + (ROOT / "e2e/run").read_text()
        )
        assert name in scripts, f"nothing knows {name}"


def judge_cargo(command: Command) -> None:
    assert_parses("cargo", *command.words[1:])
    for name in options(command.words, "--bin"):
        assert (ROOT / "crates" / name / "src/main.rs").is_file(), f"there is no program {name}"
    manifests = "".join(path.read_text() for path in ROOT.glob("crates/**/Cargo.toml"))
    for name in options(command.words, "--package"):
        assert f'\nname = "{name}"\n' in manifests, f"there is no package {name}"


def judge_helm(command: Command) -> None:
    _, verb, *arguments = command.words
    assert_parses(tool_path("helm"), *command.words[1:])
    places = [word for word in arguments if word.startswith("charts/") or word.endswith(".tgz")]
    if verb not in {"install", "upgrade"}:
        assert verb == "uninstall" and not places
        return
    (place,) = places
    assert_there(command, place)
    chart = CRD_CHART if CRD_CHART.name in place else CHART
    schema = json.loads((chart / "values.schema.json").read_text())
    for setting in options(command.words, "--set"):
        part = schema
        for key in setting.split("=")[0].split("."):
            assert key in part["properties"], f"{chart.name} has no value {setting}"
            part = part["properties"][key]
    if verb == "install":
        words = [str(chart) if word == place else word for word in command.words[1:]]
        tool("helm", *words, "--dry-run=client")


def judge_kubectl(command: Command) -> None:
    if command.words[1:2] == ("mcp",):
        judge_plugin(command)
        return
    text = assert_parses(tool_path("kubectl"), *command.words[1:])
    # That of a command of which there is none below a known one.
    assert "Available Commands:" not in text or "apply" in command.words, "no such command"
    for name in options(command.words, "-f", "--filename", "--patch-file"):
        assert_there(command, name)
    for folder in options(command.words, "-k", "--kustomize"):
        assert kustomize(ROOT / folder)


def judge_plugin(command: Command) -> None:
    words = command.words[2:]
    assert_parses(programs() / "kubectl-mcp", *words)
    if words[:1] == ("call",):
        connector, name, *rest = words[1:]
        tools = tools_of(command.document, connector)
        assert name in tools, f"{connector} has no tool {name}"
        given = {word.split("=")[0] for word in rest if "=" in word and not word.startswith("-")}
        schema = tools[name]["inputSchema"]
        assert given <= set(schema.get("properties", {})), "no such argument"
        assert given >= set(schema.get("required", [])), "an argument is missing"


def judge_program(command: Command) -> None:
    words = command.words[1:]
    assert_parses(programs() / "mcp-connectors", *words)
    for name in options(words, "-f"):
        assert_there(command, name)


def judge_argocd(command: Command) -> None:
    text = assert_parses(tool_path("argocd"), *command.words[1:])
    assert "Available Commands:" not in text, "no such command"


def judge_python(command: Command) -> None:
    (module,) = options(command.words, "-m")
    path = ROOT / module.replace(".", "/")
    is_ours = path.is_dir() or path.with_suffix(".py").exists()
    assert is_ours or module in sys.stdlib_module_names, f"there is no {module}"


def judge_jq(command: Command) -> None:
    for name in [*options(command.words, "-f"), command.words[-1]]:
        assert_there(command, name)


def judge_script(command: Command) -> None:
    if command.words[0] == "e2e/cluster/cluster":
        assert_parses(ROOT / command.words[0], *command.words[1:])
        return
    if command.words[0] == "e2e/checks/cargo":
        judge_cargo(command)
        return
    assert (ROOT / command.words[0]).stat().st_mode & 0o100, "it can't be run"
    if command.words[:4] == ("e2e/checks/tool", "python", "-m", "pytest"):
        assert_there(command, command.words[4])
        return
    assert set(command.words[1:]) <= {"NAME"}


JUDGES: dict[str, Callable[[Command], None]] = {
    "argocd": judge_argocd,
    "cargo": judge_cargo,
    "helm": judge_helm,
    "jq": judge_jq,
    "kubectl": judge_kubectl,
    "make": judge_make,
    "mcp-connectors": judge_program,
    "python3": judge_python,
}


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_command(command: Command) -> None:
    program = command.words[0]
    if program.startswith("e2e/"):
        judge_script(command)
    elif program not in NOT_JUDGED:
        assert program in JUDGES, f"nothing judges {program}: write it, or say in NOT_JUDGED why not"
        JUDGES[program](command)


def test_no_excuse_is_left_over() -> None:
    used = {command.words[0] for command in COMMANDS}
    assert NOT_JUDGED.keys() <= used
    words = {word for command in COMMANDS for word in command.words}
    assert all(any(name in word for word in words) for name in READERS)


@pytest.mark.parametrize("document", ALL, ids=lambda document: document.name)
def test_every_block_says_what_it_is(document: Document) -> None:
    assert document.languages <= LANGUAGES


@pytest.mark.parametrize("document", ALL, ids=lambda document: document.name)
def test_links_lead_somewhere(document: Document) -> None:
    folder = (ROOT / document.name).parent
    assert [link for link in document.links if not (folder / link).exists()] == []


@pytest.mark.parametrize("document", [one for one in ALL if one.manifests], ids=lambda document: document.name)
def test_manifests_would_be_accepted(document: Document, tmp_path: Path) -> None:
    assert {manifest["apiVersion"] for manifest in document.manifests} == {"mcp-connectors.io/v1alpha1"}
    file = tmp_path / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(document.manifests))
    check = (programs() / "mcp-connectors", "local", "--check", "-f", file)
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@cache
def tools_of(document: str, connector: str) -> dict[str, Manifest]:
    """What a connector offers by its manifest in a document, or in the README where the document has none."""
    by_name = {one.name: one.manifests for one in ALL}
    manifests = by_name[document] or by_name["README.md"]
    namespace = manifests[0]["metadata"].get("namespace", "default")
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "documents", "version": "1"}}
    messages = [
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list"},
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump_all(manifests, file)
        file.flush()
        words = (programs() / "mcp-connectors", "local", "--stdio", "--connector", f"{namespace}/{connector}")
        with subprocess.Popen(
            [*words, "-f", file.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as server:
            for message in messages:
                server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
            server.stdin.flush()
            # It ends when its input does, so that must stay open until the answer is there.
            answers = map(json.loads, server.stdout)
            listing = next(answer for answer in answers if answer.get("id") == 2)
            server.stdin.close()
    return {found["name"]: found for found in listing["result"]["tools"]}


def test_tables_show_as_many_tools_as_there_are() -> None:
    shown = [(document.name, row) for document in ALL for row in document.connectors]
    assert len(shown) > len(PLATFORM_PAGES)
    for document, row in shown:
        assert int(row["TOOLS"]) == len(tools_of(document, row["NAME"])), document


def test_every_platform_has_a_page() -> None:
    # Those of other sources of credentials are named after the platform and the source.
    paths = [path for path in ROOT.glob("config/samples/*.yaml") if "-" not in path.stem]
    samples = {path.stem: list(yaml.safe_load_all(path.read_text())) for path in paths}
    assert {f"platforms/{name}.md" for name in samples} <= next(
        one.links for one in ALL if one.name == "docs/platforms.md"
    )
    pages = {Path(document.name).stem: document.manifests for document in PLATFORM_PAGES}
    assert pages.keys() == samples.keys()
    for name, manifests in pages.items():
        (platform,) = (set(one["spec"]["platform"]) for one in manifests if one["kind"] == "McpConnector")
        (of_sample,) = (set(one["spec"]["platform"]) for one in samples[name] if one["kind"] == "McpConnector")
        assert platform == of_sample
