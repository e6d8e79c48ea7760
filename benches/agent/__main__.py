"""`agent`: the memory of the sidecar that fetches credentials from a real Vault, by TLS, with its certificate's authority and
with the public ones, once it has settled.
"""

import argparse
import contextlib
import http.client
import json
import os
import socket
import ssl
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benches.support import (
    CACHE,
    child_setup,
    commit,
    cpu_seconds,
    end_in_order,
    machine,
    memory,
    product,
    say,
    stop,
    table,
    wait_until_quiet,
    write_results,
)

ROOT_TOKEN = "planted-root"
RUNS = 3
# Time in which it has logged in, fetched and looked again a few times.
SETTLE = 25
REFRESH = "2s"
FIELDS = {"VmRSS": "resident MB", "RssAnon": "anonymous MB", "RssFile": "pages of the program's file MB"}


def own_address() -> str:
    """An address of this machine that is not loopback, because an agent never calls one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.254", 9))
        return str(probe.getsockname()[0])


def vault_program() -> Path:
    """Vault's binary."""
    given = os.environ.get("VAULT_BIN")
    found = [Path(given)] if given else sorted(CACHE.glob("bin/vault-*/vault"))
    if not found:
        raise SystemExit("there is no Vault: run `e2e/cluster/cluster build --only vault`, or set VAULT_BIN")
    return found[-1]


class Vault:
    """A Vault in dev mode with TLS, a role and a secret."""

    def __init__(self, folder: Path) -> None:
        self.host, self.port = own_address(), 18200
        self.url = f"https://{self.host}:{self.port}"
        words = [vault_program(), "server", "-dev", "-dev-no-store-token", "-dev-tls", f"-dev-tls-cert-dir={folder}"]
        words += [f"-dev-tls-san={self.host}", f"-dev-listen-address={self.host}:{self.port}"]
        words.append(f"-dev-root-token-id={ROOT_TOKEN}")
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(words, stdout=quiet, stderr=quiet, preexec_fn=child_setup())
        self.ca = folder / "vault-ca.pem"
        deadline = time.monotonic() + 60
        while not self._is_up():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit("Vault does not start")
            time.sleep(0.2)

    def _is_up(self) -> bool:
        try:
            return bool(self.call("GET", "sys/internal/ui/mounts/secret"))
        except (OSError, http.client.HTTPException, RuntimeError):
            return False

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Asks Vault as its administrator."""
        context = ssl.create_default_context(cafile=str(self.ca))
        connection = http.client.HTTPSConnection(self.host, self.port, timeout=10, context=context)
        with contextlib.closing(connection):
            text = None if body is None else json.dumps(body)
            connection.request(method, f"/v1/{path}", text, {"X-Vault-Token": ROOT_TOKEN})
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {text}")
            return json.loads(text or "{}")

    def app_role(self) -> tuple[str, str]:
        """A role id and a secret id."""
        self.call("POST", "sys/auth/approle", {"type": "approle"})
        self.call("POST", "secret/data/team/ci", {"data": {"token": "planted"}})
        rules = 'path "secret/data/team/*" { capabilities = ["read"] }'
        self.call("PUT", "sys/policies/acl/ci", {"policy": rules})
        self.call("POST", "auth/approle/role/ci", {"token_policies": ["ci"]})
        role = self.call("GET", "auth/approle/role/ci/role-id")["data"]["role_id"]
        return role, self.call("POST", "auth/approle/role/ci/secret-id", {})["data"]["secret_id"]


@contextlib.contextmanager
def running_agent(program: Path, config: dict[str, Any], secret_id: str) -> Iterator[tuple[int, Path]]:
    """Its process, and the file of its state."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary) / name for name in ("config", "identity", "credentials")]
        for folder in folders:
            folder.mkdir()
        (folders[0] / "config.json").write_text(json.dumps({"agent": config}))
        (folders[1] / "secret_id").write_text(secret_id)
        words: list[str | Path] = [program, "agent", "--config-directory", folders[0]]
        words += ["--identity-directory", folders[1], "--credentials-directory", folders[2]]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(words, stdout=quiet, stderr=quiet, preexec_fn=child_setup())
        try:
            yield process.pid, folders[2] / "..supply.json"
        finally:
            stop(process)


def measure(program: Path, config: dict[str, Any], secret_id: str, state: str) -> list[float]:
    """Figures of one agent that has settled in a state."""
    with running_agent(program, config, secret_id) as (pid, file):
        time.sleep(SETTLE)
        told = json.loads(file.read_text())
        if told["state"] != state:
            raise SystemExit(f"the agent is {told['state']}, and not {state}: {told['message']}")
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        return [*(memory(pid, field) for field in FIELDS), threads, cpu_seconds(pid) / SETTLE * 1000]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, help="the program to measure, instead of building it")
    parser.add_argument("--wait", type=int, default=300, help="seconds to wait for a quiet machine")
    parser.add_argument("--no-results", action="store_true", help="leave RESULTS.md alone")
    arguments = parser.parse_args()
    end_in_order()
    program = product(arguments.binary)
    noise = wait_until_quiet(arguments.wait)
    with tempfile.TemporaryDirectory() as temporary:
        vault = Vault(Path(temporary))
        try:
            role_id, secret_id = vault.app_role()
            secret = {"origin": {"kv2": {"mount": "secret", "path": "team/ci"}}, "fields": {"token": "token"}}
            plain = {
                "address": vault.url,
                "login": {"appRole": {"mount": "approle", "roleId": role_id}},
                "secrets": [secret],
                "refreshInterval": REFRESH,
            }
            rows = []
            for name, config, state in (
                ("a CA bundle; logged in", plain | {"caPem": vault.ca.read_text()}, "Serving"),
                ("the public authorities; Vault's certificate is refused", plain, "Failing"),
            ):
                say(name)
                figures = [measure(program, config, secret_id, state) for _ in range(RUNS)]
                rows.append([name, *(f"{statistics.median(column):.1f}" for column in zip(*figures, strict=True))])
        finally:
            stop(vault.process)
    head = ["Vault's certificate is verified with", *FIELDS.values(), "threads", "CPU ms a second"]
    size = program.stat().st_size / 1e6
    about = (
        f"- `python3 -m benches.agent`, commit {commit(arguments.binary)}; a program of {size:.0f} MB, medians of {RUNS} runs\n"
        f"- {machine()}\n- Noise: {noise}\n"
        f"- AppRole, TLS, one KV secret looked at every {REFRESH}; `/proc/<pid>/status` {SETTLE} s after the start.\n"
        "- Only the anonymous part (and the memory-backed volume, at most 1 MiB) presses on the container's limit of 32 MiB:\n"
        "  pages of the program's file belong to the page cache, which the kernel takes back before it kills anything. They\n"
        "  are charged to whoever reads them first, and `serve` runs the same file.\n\n"
    )
    text = about + table(head, rows)
    print(text)
    if not arguments.no_results:
        write_results("agent", text)


if __name__ == "__main__":
    main()
