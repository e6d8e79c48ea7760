"""The commands and manifests that the documents show."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from rendering import ROOT, Manifest

# CHANGELOG.md tells of commands that were, too.
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "benches/README.md", "charts/*/README.md", "docs/**/*.md", "e2e/*/README.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
# Between backquotes, what begins with one of these, or with a script, and goes on is a command.
INLINE = {"argocd", "cargo", "helm", "jq", "kubectl", "make", "mcp-connectors", "python3"}
LANGUAGES = {"console", "csv", "hcl", "json", "python", "sh", "text", "yaml"}
FENCE = re.compile(r"^ *```(?P<language>\S*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
SUBSTITUTION = re.compile(r"\$\(([^)]*)\)")
# What ends a command, and what leads its output into a file.
SEPARATORS = {"|", "&&", "||", ";"}
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")
ASSIGNMENT = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*)=")


@dataclass(frozen=True)
class Command:
    """One command of a document, without what is set before it and where its output goes."""

    document: str
    words: tuple[str, ...]
    variables: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.document}: {' '.join(self.words)}"


@dataclass
class Document:
    """What a document holds."""

    name: str
    commands: list[Command] = field(default_factory=list)
    """Files that its reader has then: blocks that begin with a file's name, and outputs of commands."""
    files: set[str] = field(default_factory=set)
    manifests: list[Manifest] = field(default_factory=list)
    """Rows of the tables that `kubectl get mcpconnectors` is shown to print, by the names in its head."""
    connectors: list[dict[str, str]] = field(default_factory=list)
    languages: set[str] = field(default_factory=set)
    """What it links to in the repository, without what follows `#`."""
    links: set[str] = field(default_factory=set)


def read(path: Path) -> Document:
    text = path.read_text()
    document = Document(str(path.relative_to(ROOT)), links=set(LINK.findall(text)))
    for fence in FENCE.finditer(text):
        take_block(document, fence["language"], fence["text"])
    for span in re.findall(r"`([^`\n]+)`", FENCE.sub("", text)):
        first, _, rest = span.partition(" ")
        if rest and (first in INLINE or first.startswith("e2e/")):
            take_commands(document, span)
    return document


def take_block(document: Document, language: str, text: str) -> None:
    document.languages.add(language)
    named = re.match(r" *# (?P<file>[\w.-]+\.\w+)\n", text)
    if named:
        document.files.add(named["file"])
    match language:
        case "sh":
            take_commands(document, text)
        case "console":
            lines = text.splitlines()
            for line in lines:
                if line.startswith("$ "):
                    take_commands(document, line.removeprefix("$ "))
            document.connectors += rows([line for line in lines if not line.startswith("$ ")])
        case "yaml":
            parts = list(yaml.safe_load_all(text))
            document.manifests += [part for part in parts if isinstance(part, dict) and "apiVersion" in part]


def rows(lines: list[str]) -> list[dict[str, str]]:
    if not lines or not lines[0].startswith("NAME "):
        return []
    head, *table = (line.split() for line in lines)
    return [dict(zip(head, row, strict=True)) for row in table]


def take_commands(document: Document, text: str) -> None:
    for line in text.replace("\\\n", " ").splitlines():
        for inner in SUBSTITUTION.findall(line):
            take_commands(document, inner)
        lexer = shlex.shlex(SUBSTITUTION.sub("SUBSTITUTED", line), posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        for words, output in simple_commands(list(lexer)):
            if output:
                document.files.add(output)
            variables = [word for word in words if ASSIGNMENT.match(word)] if ASSIGNMENT.match(words[0]) else []
            set_before = tuple(ASSIGNMENT.match(word)["name"] for word in variables)
            document.commands.append(Command(document.name, tuple(words[len(variables) :]), set_before))


def simple_commands(words: list[str]) -> Iterator[tuple[list[str], str | None]]:
    """The commands of a line, each with the file that it writes to."""
    command: list[str] = []
    output = None
    rest = iter([*words, ";"])
    for word in rest:
        if word in SEPARATORS:
            if command:
                yield command, output
            command, output = [], None
        elif word in {">", ">>"}:
            output = next(rest)
        else:
            command.append(word)
