"""Shows a connector on this machine: its manifests, its conditions, and what an agent gets of two tools."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from local import program
from local.program import PROGRAM, local

SHOWN = 600


@contextmanager
def sample(folder: Path) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """Writes the manifests into a folder; the connector's name, and the tools to call."""
    address = os.environ.get("VAULT_ADDR")
    if address:
        token = os.environ.get("VAULT_TOKEN") or sys.exit("error: VAULT_ADDR is set; set VAULT_TOKEN, too, or unset it")
        (folder / "vault.yaml").write_text(vault(address))
        keys = folder / "credentials" / "vault-reader"
        keys.mkdir(parents=True)
        (keys / "token").touch(mode=0o600)
        (keys / "token").write_text(token)
        yield "default/vault", [("get_vault_health", {}), ("check_vault_connector", {})]
        return
    with program.jenkins() as url:
        (folder / "jenkins.yaml").write_text(program.manifests(url) + program.secret())
        yield "ci/jenkins", [("search_jenkins_jobs", {}), ("check_jenkins_connector", {})]


def vault(address: str) -> str:
    """A connector to the Vault of VAULT_ADDR."""
    insecure = "\n      insecureHttp: true" if address.startswith("http://") else ""
    return f"""\
apiVersion: mcp-connectors.io/v1alpha1
kind: CredentialSource
metadata: {{name: vault-reader}}
spec:
  hosts: ["{urlsplit(address).netloc}"]
  secret: {{name: vault-reader, items: {{token: token}}}}
---
apiVersion: mcp-connectors.io/v1alpha1
kind: McpConnector
metadata: {{name: vault}}
spec:
  platform:
    vault:
      url: {address}{insecure}
  credentials: {{name: vault-reader}}
"""


async def call(url: str, tools: list[tuple[str, dict[str, Any]]]) -> None:
    """Calls tools as an agent does."""
    async with Client(streamable_http_client(url), read_timeout_seconds=30) as client:
        offered = (await client.list_tools()).tools
        print(f"\n$ an agent at {url} is offered {len(offered)} tools, and calls two of them")
        for name, arguments in tools:
            result = await client.call_tool(name, arguments)
            if result.is_error:
                sys.exit(f"error: {name} failed: {result.content}")
            text = json.dumps(result.structured_content, indent=2)
            print(f"\n$ {name}\n{text[:SHOWN]}{' …' if len(text) > SHOWN else ''}")


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with sample(folder) as (connector, tools):
            keys = folder / "credentials"
            words = ("-f", folder, *(("--credentials-dir", keys) if keys.exists() else ()))
            print(f"$ mcp-connectors local --check -f {folder}")
            checked = subprocess.run([PROGRAM, "local", "--check", "-f", folder], text=True, check=False)
            if checked.returncode != 0:
                sys.exit("error: the sample is refused")
            print(f"\n$ mcp-connectors local -f {folder}")
            with local(*words) as running:
                running.wait_for(rf"^{connector}: Ready=True")
                url = running.wait_for(rf"^{connector}: serving at (\S+)").group(1)
                print(running.told())
                asyncio.run(call(url, tools))
    print("\nIn a terminal, the same is a table that is drawn anew: docs/local.md")


if __name__ == "__main__":
    main()
