"""Running the MCP inspector's command line, as a person would who debugs a connector."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import npm

SCRIPT = "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
SERVER = "connector"
# Exit statuses.
OK, UNAUTHORIZED, TOOL_FAILED = 0, 3, 5


@dataclass(frozen=True)
class Told:
    """How it ended, and what it wrote."""

    status: int
    output: str
    errors: str

    @property
    def result(self) -> dict[str, Any]:
        """The server's result."""
        found: dict[str, Any] = json.loads(self.output)["result"]
        return found


@dataclass(frozen=True)
class Inspector:
    """The inspector with a file of servers, in a folder of its own."""

    folder: Path

    @classmethod
    def made(cls, folder: Path, url: str, token: str | None) -> "Inspector":
        """Writes the file. It is the one that agents' programs read too."""
        headers = {} if token is None else {"headers": {"Authorization": f"Bearer {token}"}}
        server = {"type": "http", "url": url} | headers
        (folder / "mcp.json").write_text(json.dumps({"mcpServers": {SERVER: server}}))
        return cls(folder)

    def run(self, era: str, method: str, *options: str) -> Told:
        """Calls a method in an era of the protocol."""
        server = ("--config", str(self.folder / "mcp.json"), "--server", SERVER, "--protocol-era", era)
        # Without a stored login it would wait for a browser.
        how = ("--format", "json", "--stored-auth-only")
        words = (*npm.program("inspector", SCRIPT), "--cli", *server, *how, "--method", method, *options)
        # It keeps files in its home, and logins in the machine's keychain if there is one.
        environment = {"HOME": str(self.folder), "MCP_INSPECTOR_SECRET_STORE": "memory"}
        done = subprocess.run(
            words, env=environment, stdin=subprocess.DEVNULL, timeout=60, text=True, capture_output=True, check=False
        )
        return Told(done.returncode, done.stdout, done.stderr)
