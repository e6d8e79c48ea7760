"""What benchmarks of connectors share: networks, configurations as the operator and the kubelet mount them, `serve`
itself, and the load of `benches/load`.

Servers have one core, and each a network namespace of its own, as pods have; the callers and the platform have the
other core. Namespaces have no names: they are gone when the last process in them is.
"""

import base64
import http.client
import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benches.support import (
    CACHE,
    CLONE_NEWNET,
    LIBC,
    ROOT,
    TARGET,
    child_setup,
    release_of,
    run,
    say,
    stop,
    system_call,
)

SERVER_CORE, LOAD_CORE = 0, 1
PLATFORM_PORT = 8200
AUDIENCE = "http://mcp-bench.bench.svc:8080/mcp"
ISSUER = "https://kubernetes.default.svc"
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2025-06-18",
}
# What is measured is what a call costs with its guards, so none of them may refuse it.
LIMITS: dict[str, Any] = {
    "callTimeout": "30s",
    "maxConcurrentCalls": 256,
    "maxResultBytes": 262144,
    "calls": {"perMinute": 60_000_000, "burst": 1_000_000},
    "repeats": {"enabled": False, "window": "1m", "warnAfter": 2, "refuseAfter": 5},
}
PLATFORM_LIMITS: dict[str, Any] = {
    "maxConcurrentRequests": 10,
    "maxQueuedRequests": 20,
    "requestTimeout": "10s",
    "maxAttempts": 4,
    "breakerConsecutiveFailures": 7,
    "breakerFailurePercent": 50,
}


@dataclass(frozen=True)
class Network:
    """A namespace with one server in it."""

    descriptor: int
    # Where the server is, and where it finds the platform.
    server: str
    load: str


class Keys:
    """The cluster's key for tokens, as a test makes it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "key.pem"
        run(["openssl", "genrsa", "-out", self.file, "2048"])
        modulus = run(["openssl", "rsa", "-in", self.file, "-noout", "-modulus"]).strip().partition("=")[2]
        public = {"e": "AQAB", "n": encoded(bytes.fromhex(modulus))}
        self.jwk = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "bench", **public}

    def token(self) -> str:
        """A ServiceAccount's token."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": [AUDIENCE],
            "sub": "system:serviceaccount:bench:agent",
            "iat": now - 10,
            "nbf": now - 10,
            "exp": now + 4 * 3600,
            "kubernetes.io": {"namespace": "bench", "serviceaccount": {"name": "agent", "uid": "1"}},
        }
        header = {"alg": "RS256", "kid": "bench"}
        message = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
        signing = ["openssl", "dgst", "-sha256", "-sign", str(self.file)]
        signature = subprocess.run(signing, input=message.encode(), capture_output=True, check=True).stdout
        return f"{message}.{encoded(signature)}"


def encoded(data: bytes) -> str:
    """Base64 as tokens have it."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def vault(address: str, port: int = PLATFORM_PORT) -> dict[str, Any]:
    """`spec.platform` of a Vault that speaks HTTP."""
    return {"vault": {"url": f"http://{address}:{port}", "insecureHttp": True}}


def configure(
    folder: Path,
    platform: dict[str, Any],
    credentials: dict[str, str],
    keys: Keys | None = None,
    allow: tuple[str, ...] = ("list_vault_secrets",),
    **changes: Any,
) -> None:
    """Writes what the operator and the kubelet would mount. Without keys, everyone may call without a token."""
    (folder / "config").mkdir(parents=True)
    config = {
        "connector": {"namespace": "bench", "name": "bench", "uid": "11111111-2222-3333-4444-555555555555"},
        "platform": platform,
        "tools": {"mutations": "ReadOnly", "allow": list(allow), "deny": [], "prefix": ""},
        "access": {
            "anonymous": keys is None,
            "allow": [{"namespace": "bench", "serviceAccount": "*", "tools": ["*"], "mutations": True}],
            "audiences": [AUDIENCE],
        },
        "hosts": ["mcp-bench"],
        "operator": {"namespace": "system", "serviceAccount": "operator"},
        "probe": {"interval": "30s", "timeout": "10s", "failureThreshold": 2},
        "limits": LIMITS,
        **changes,
    }
    (folder / "config" / "config.json").write_text(json.dumps(config, indent=2))
    known = {"issuer": ISSUER, "keys": [keys.jwk] if keys else []}
    (folder / "config" / "token-keys.json").write_text(json.dumps(known))
    mount(folder / "credentials", credentials, 0)


def mount(folder: Path, fields: dict[str, str], generation: int) -> None:
    """Makes these the files of a directory, all at once, as the kubelet does."""
    folder.mkdir(exist_ok=True)
    target = folder / f"..generation_{generation}"
    target.mkdir()
    for name, value in fields.items():
        (target / name).write_text(value)
    link = folder / "..data"
    old = link.resolve() if link.is_symlink() else None
    new = folder / "..data_tmp"
    new.symlink_to(target.name)
    new.rename(link)
    for name in fields:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    if old is not None:
        for file in old.iterdir():
            file.unlink()
        old.rmdir()


def load_program(given: Path | None) -> Path:
    """The program of `benches/load`, a release build, or the one that is given."""
    return release_of("bench-load", "bench-load", given)


def bare_rmcp() -> Path:
    """Builds the peers on bare rmcp; gives the folder of their programs."""
    say("building bare rmcp, about 2 minutes when nothing is built yet")
    target = CACHE / "bench-target"
    words = ["cargo", "build", "--locked", "--quiet", "--release", "--target", TARGET, "--target-dir", str(target)]
    flags = {"RUSTFLAGS": "-C target-feature=+crt-static"}
    subprocess.run(words, cwd=ROOT / "benches" / "peers" / "rmcp", env={**os.environ, **flags}, check=True)
    return target / TARGET / "release"


def leave_network() -> None:
    """Moves this process to a network of its own."""
    system_call(LIBC.unshare(CLONE_NEWNET), "unshare")
    run(["ip", "link", "set", "lo", "up"])


def add_network(stack: ExitStack, number: int = 0) -> Network:
    """Makes a network for a server beside that of this process."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], preexec_fn=child_setup())
    stack.callback(stop, holder)
    own = os.readlink("/proc/self/ns/net")
    while os.readlink(f"/proc/{holder.pid}/ns/net") == own:
        time.sleep(0.01)
    descriptor = os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY)
    stack.callback(os.close, descriptor)
    network = Network(descriptor, f"198.18.{64 + number}.2", f"198.18.{64 + number}.1")
    ours, theirs = f"load{number}", f"serve{number}"
    run(["ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", str(holder.pid)])
    inside = ["nsenter", "--net", "--target", str(holder.pid)]
    for prefix, link, address in (([], ours, network.load), (inside, theirs, network.server)):
        run([*prefix, "ip", "address", "add", f"{address}/24", "dev", link])
        run([*prefix, "ip", "link", "set", link, "up"])
        run([*prefix, "ip", "link", "set", "lo", "up"])
    return network


@dataclass
class Server:
    """A program that serves a connector, or what stands beside it."""

    name: str
    process: subprocess.Popen[bytes]
    host: str
    port: int
    headers: dict[str, str]
    path: str = "/mcp"

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """What a request comes to. An OSError if nobody listens, or it is not served."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request("POST", self.path, json.dumps(message), self.headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise ConnectionError(f"{self.name} answers {answer.status}: {body[:500]!r}")
        return dict(json.loads(body).get("result", {}))

    def endpoint(self) -> dict[str, Any]:
        """The same for the load program."""
        return {"address": f"{self.host}:{self.port}", "path": self.path, "headers": self.headers}


def tool_call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The message that calls a tool."""
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}


def folder_call(folder: str) -> dict[str, Any]:
    """The message that lists a folder of the load program's platform, whose name says how it answers."""
    return tool_call("list_vault_secrets", {"path": f"secret/{folder}"})


def start(
    stack: ExitStack,
    name: str,
    words: list[str | Path],
    network: Network,
    port: int,
    errors: Path,
    token: str | None = None,
    first: dict[str, Any] | None = None,
    path: str = "/mcp",
) -> Server:
    """Starts a server on its core, and waits until it answers a first call well."""
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors.open("ab"),
        preexec_fn=child_setup(SERVER_CORE, network.descriptor),
    )
    stack.callback(stop, process)
    # Its log is read, as a container runtime would, and thrown away.
    drain = subprocess.Popen(
        ["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL, preexec_fn=child_setup(LOAD_CORE)
    )
    stack.callback(stop, drain)
    headers = {**HEADERS, **({"Authorization": f"Bearer {token}"} if token else {})}
    server = Server(name, process, network.server, port, headers, path)

    def answers() -> bool:
        if process.poll() is not None:
            raise SystemExit(f"{name} has ended; it said:\n{errors.read_text()}")
        result = server.ask(first or folder_call("after-5"))
        return not result.get("isError")

    until(f"{name} answers well", answers)
    return server


def serve(
    stack: ExitStack,
    binary: Path,
    name: str,
    folder: Path,
    network: Network,
    token: str | None = None,
    first: dict[str, Any] | None = None,
) -> Server:
    """`serve` with what lies in a folder."""
    words: list[str | Path] = [binary, "serve", "--config-directory", folder / "config"]
    words += ["--credentials-directory", folder / "credentials"]
    return start(stack, name, words, network, 8080, folder / "errors", token, first)


def until(what: str, look: Callable[[], bool], seconds: float = 30) -> None:
    """Waits for something that has to happen soon."""
    end = time.monotonic() + seconds
    why = ""
    while True:
        try:
            if look():
                return
        except OSError as error:
            why = f": {error}"
        if time.monotonic() > end:
            raise SystemExit(f"after {seconds:.0f} s it is still not so: {what}{why}")
        time.sleep(0.01)


@dataclass
class Load:
    """The load program, and the platform that it runs."""

    program: Path
    platform: subprocess.Popen[bytes]
    port: int

    def calls(
        self,
        server: Server,
        message: dict[str, Any],
        seconds: float,
        callers: int,
        rate: float | None = None,
        addresses: bool = False,
    ) -> dict[str, Any]:
        """Calls, all the time or so many times a second, and gives what was seen."""
        return self.told("calls", self.plan(server, message, seconds, callers, rate, addresses))

    @staticmethod
    def plan(
        server: Server,
        message: dict[str, Any],
        seconds: float,
        callers: int,
        rate: float | None = None,
        addresses: bool = False,
    ) -> dict[str, Any]:
        """What is to be called."""
        plan = {"endpoint": server.endpoint(), "body": json.dumps(message), "callers": callers, "rate": rate}
        return {**plan, "seconds": seconds, "addresses": addresses}

    def told(self, part: str, plan: dict[str, Any]) -> Any:
        """Runs a part of the program to its end."""
        return self.outcome(self.begun(plan, part))

    @staticmethod
    def outcome(process: subprocess.Popen[bytes]) -> Any:
        """What a part that was started tells when it ends."""
        output, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{process.args} failed")
        return json.loads(output)

    def begun(self, plan: dict[str, Any], *part: str, core: int = LOAD_CORE) -> subprocess.Popen[bytes]:
        """Starts a part of the program."""
        words = [self.program, *part]
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(plan).encode())
            file.seek(0)
            return subprocess.Popen(words, stdin=file, stdout=subprocess.PIPE, preexec_fn=child_setup(core))

    def seen(self) -> dict[str, Any]:
        """What came to the platform."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/bench/state", timeout=10) as answer:
            return dict(json.load(answer))

    def accept(self, token: str) -> None:
        """Has the platform refuse every other token from now on; none, if it is empty."""
        url = f"http://127.0.0.1:{self.port}/bench/token"
        urllib.request.urlopen(urllib.request.Request(url, token.encode(), method="PUT"), timeout=10).close()


def start_load(stack: ExitStack, program: Path, port: int = PLATFORM_PORT) -> Load:
    """Starts the platform of the load program, in the network of this process."""
    words = [program, "platform", f"0.0.0.0:{port}"]
    platform = subprocess.Popen(words, preexec_fn=child_setup(LOAD_CORE))
    stack.callback(stop, platform)
    load = Load(program, platform, port)
    until("the platform answers", lambda: "requests" in load.seen())
    return load
