"""Credentials that stories plant, and the search for them in everything that a run tells.

What is remembered lies in a file, because stories are told by several processes. Outside a run nothing is: the demo
uses the same functions, with credentials that are somebody's own.
"""

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

# The folder of a run; set for it, and inherited by its workers.
VARIABLE = "MCP_CONNECTORS_PLANTED"
# Shorter ones are found by chance.
SHORTEST = 8
# Fields of Secrets that say who somebody is, or that everybody may see.
PUBLIC = {"user", "username", "role_id", "ca.crt", "tls.crt", "tls_certificate"}
# What no story has made, but a connector gets: tokens of Vault, and those of ServiceAccounts.
TOKENS = {
    "a token of Vault": r"hvs\.[A-Za-z0-9_-]{20,}",
    "a signed token": r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
}
# The one tool whose answer may hold a secret: the value of a key that the manifest allows.
READS_SECRETS = "read_vault_secret"


@dataclass(frozen=True)
class Finding:
    """A credential where it may not be."""

    credential: str
    place: Path
    line: int

    def __str__(self) -> str:
        return f"{self.credential} is in {self.place}, line {self.line}"


def begin(folder: Path) -> None:
    """Begins a run, with nothing remembered."""
    told(folder).mkdir(parents=True)
    register(folder).touch(mode=0o600)
    os.environ[VARIABLE] = str(folder)


def register(folder: Path) -> Path:
    """The file with the credentials of a run: one JSON object a line."""
    return folder / "credentials"


def told(folder: Path) -> Path:
    """Where that is collected which may hold no credential."""
    return folder / "told"


def remember(name: str, *values: str) -> None:
    """Remembers credentials, under a name by which a person finds the story that planted them."""
    if VARIABLE not in os.environ:
        return
    # The lines of a key are apart in some places and together in others.
    lines = [line.strip() for value in values if "BEGIN CERTIFICATE" not in value for line in value.splitlines()]
    kept = [line for line in lines if len(line) >= SHORTEST and not line.startswith("-----")]
    text = "".join(json.dumps({"name": name, "value": line}) + "\n" for line in kept)
    with register(Path(os.environ[VARIABLE])).open("a") as file:
        file.write(text)


def remember_secrets(manifests: Iterable[dict[str, Any]]) -> None:
    """Remembers what those of the manifests hold that are Secrets."""
    for manifest in manifests:
        if manifest.get("kind") != "Secret":
            continue
        name = manifest.get("metadata", {}).get("name", "")
        decoded = {
            key: base64.b64decode(value).decode(errors="replace") for key, value in manifest.get("data", {}).items()
        }
        for key, value in (decoded | manifest.get("stringData", {})).items():
            if key not in PUBLIC and isinstance(value, str):
                remember(f"{key} of the Secret {name}", value)


def tell(place: str, text: str) -> None:
    """Keeps something that may hold no credential, for the search at the end."""
    if VARIABLE in os.environ:
        with (told(Path(os.environ[VARIABLE])) / f"{place}-{os.getpid()}").open("a") as file:
            file.write(text.rstrip("\n") + "\n")


def tell_answer(tool: str, arguments: dict[str, Any], answer: str, failed: bool) -> None:
    """Keeps a tool's answer, unless it may hold a secret."""
    if failed or tool != READS_SECRETS or "key" not in arguments:
        tell("answers", f"{tool}: {answer}")


def remembered(folder: Path) -> dict[str, str]:
    """The credentials of a run, each with its name."""
    entries = map(json.loads, register(folder).read_text().splitlines())
    return {entry["value"]: entry["name"] for entry in entries}


def forms(value: str) -> set[str]:
    """How a text can stand in another one: as it is, escaped in JSON or a URL, in hex, in Base64 from any byte on."""
    data = value.encode()
    found = {value, json.dumps(value)[1:-1], quote(value, safe=""), quote_plus(value), data.hex(), data.hex().upper()}
    for skipped in range(3):
        # Three bytes are four characters; what stands before and behind changes those at the edges.
        inner = data[skipped:]
        whole = inner[: len(inner) // 3 * 3]
        found |= {base64.b64encode(whole).decode(), base64.urlsafe_b64encode(whole).decode()}
    return {form for form in found if len(form) >= SHORTEST}


def search(credentials: dict[str, str], *places: Path) -> Iterator[Finding]:
    """Looks for credentials in files and folders. Of each, the first line in each file is told."""
    names = {form: name for value, name in credentials.items() for form in forms(value)}
    yield from _first_of_each((names[found], place, line) for found, place, line in _grep("-F", names, places))


def search_tokens(*places: Path) -> Iterator[Finding]:
    """Looks for what has the shape of a token that a connector gets."""
    for name, shape in TOKENS.items():
        yield from _first_of_each((name, place, line) for _, place, line in _grep("-E", [shape], places))


def _first_of_each(found: Iterable[tuple[str, Path, int]]) -> Iterator[Finding]:
    seen = set()
    for name, place, line in found:
        if (name, place) not in seen:
            seen.add((name, place))
            yield Finding(name, place, line)


def _grep(kind: str, patterns: Iterable[str], places: Iterable[Path]) -> Iterator[tuple[str, Path, int]]:
    # Thousands of texts in hundreds of megabytes: grep looks for all of them in one go.
    with tempfile.NamedTemporaryFile("w", prefix="planted-") as file:
        file.write("".join(f"{pattern}\n" for pattern in patterns))
        file.flush()
        words = ["grep", kind, "-r", "-a", "-o", "-n", "-H", "-Z", f"--file={file.name}", "--"]
        environment = {**os.environ, "LC_ALL": "C"}
        argv = [*words, *(str(place) for place in places)]
        done = subprocess.run(argv, env=environment, capture_output=True, check=False)
    # 1 means that nothing was found.
    if done.returncode not in (0, 1):
        raise OSError(f"grep ended with {done.returncode}: {done.stderr.decode(errors='replace')[:1000]}")
    for line in done.stdout.split(b"\n")[:-1]:
        place, _, rest = line.partition(b"\0")
        number, _, found = rest.partition(b":")
        yield found.decode(), Path(place.decode()), int(number)
