"""`serve` against the same tool on bare rmcp and on the TypeScript SDK, in one run.

The servers have one core and a network namespace of their own; the load generator (wrk) and the platform, which
answers after 5 ms, have the other core. All servers are up all the time, and rounds take turns, so that a noisy minute
hits all of them. Namespaces have no names: they are gone when the last process in them is.
"""

import argparse
import hashlib
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benches.serving import (
    HEADERS,
    LIMITS,
    LOAD_CORE,
    PLATFORM_LIMITS,
    PLATFORM_PORT,
    SERVER_CORE,
    Keys,
    add_network,
    bare_rmcp,
    configure,
    leave_network,
    vault,
)
from benches.support import (
    CACHE,
    ROOT,
    child_setup,
    commit,
    cpu_seconds,
    end_in_order,
    machine,
    machine_busy,
    memory,
    product,
    run,
    say,
    spread,
    stop,
    table,
    wait_until_quiet,
    write_results,
)

PEERS = ROOT / "benches" / "peers"
# Of the first network that is added.
LOAD_ADDRESS, SERVER_ADDRESS = "198.18.64.1", "198.18.64.2"
UPSTREAM = f"http://{LOAD_ADDRESS}:{PLATFORM_PORT}"
CONNECTIONS = (1, 32, 128)
COLD_STARTS = 20
# Cores that others may use in a round; the cluster of the tests, idle, uses 0.15. A worse round is repeated.
DISTURBED = 0.25
ATTEMPTS = 3
# Sockets of closed connections that may be left from the run before; they go after a minute.
WAITING_SOCKETS = 1_000
CASES: dict[str, dict[str, Any]] = {
    "tools/list": {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}},
    "tools/call": {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "list_vault_secrets", "arguments": {"path": "secret/apps"}},
    },
}
KEYS = ["api", "billing", "checkout", "gateway", "ledger", "mail", "search", "web"]
SCRIPT = """
wrk.method = "POST"
wrk.body = %s
for name, value in pairs({%s}) do wrk.headers[name] = value end
done = function(summary, latency)
  local failed = summary.errors
  io.write(string.format("\\nRESULT %%d %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration, summary.bytes,
    failed.connect + failed.read + failed.write + failed.status + failed.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass
class Round:
    """What one run of the load generator saw."""

    calls: int
    rate: float
    p50: float
    p99: float
    cpu: float
    others: float
    opened: float


@dataclass
class Server:
    """A program under test."""

    name: str
    argv: list[str]
    port: int
    token: str = ""
    process: subprocess.Popen[bytes] | None = None
    drain: subprocess.Popen[bytes] | None = None
    idle: float = 0.0
    loaded: float = 0.0
    cold: list[float] = field(default_factory=list)
    rounds: dict[tuple[str, int], list[Round]] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        return {**HEADERS, **({"Authorization": f"Bearer {self.token}"} if self.token else {})}

    def start(self, net: int, errors: Path) -> float:
        """Starts it and gives the milliseconds until its first answer."""
        read, write = os.pipe()
        self.process = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors.open("ab"),
            preexec_fn=child_setup(SERVER_CORE, net, write),
        )
        began = int(os.read(read, 64))
        os.close(read)
        os.close(write)
        while True:
            try:
                ask(self, "tools/list")
                took = (time.monotonic_ns() - began) / 1e6
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic_ns() - began > 20e9:
                    raise SystemExit(f"{self.name} does not answer; it said:\n{errors.read_text()}") from None
                time.sleep(0.0005)
        # Its log is read, as a container runtime would, and thrown away.
        self.drain = subprocess.Popen(
            ["cat"], stdin=self.process.stdout, stdout=subprocess.DEVNULL, preexec_fn=child_setup(LOAD_CORE)
        )
        return took

    def end(self) -> None:
        """Kills it."""
        stop(*(process for process in (self.process, self.drain) if process))


def ask(server: Server, case: str) -> tuple[dict[str, Any], int]:
    """One call, checked to be a success; with the size of its body."""
    connection = http.client.HTTPConnection(SERVER_ADDRESS, server.port, timeout=10)
    try:
        connection.request("POST", "/mcp", json.dumps(CASES[case]), server.headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    result = json.loads(body).get("result", {}) if answer.status == 200 else {}
    if case == "tools/list":
        good = [tool["name"] for tool in result.get("tools", ())] == ["list_vault_secrets"]
    else:
        good = not result.get("isError") and result.get("structuredContent", {}).get("items") == KEYS
    if not good:
        raise SystemExit(f"{server.name} does not answer {case} well: {answer.status} {body[:500]!r}")
    return result, len(body)


def install_typescript() -> Path:
    """Installs the TypeScript SDK; gives its folder."""
    source = PEERS / "typescript"
    digest = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    modules = CACHE / f"npm-{digest[:12]}"
    if not modules.exists():
        say("installing the TypeScript SDK")
        made = Path(tempfile.mkdtemp(prefix="npm-new-", dir=CACHE))
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, made)
        run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=made)
        made.rename(modules)
    shutil.copy(source / "server.mjs", modules)
    return modules


def load(server: Server, case: str, connections: int, seconds: int, folder: Path, upstream: int) -> Round:
    """One run of the load generator."""
    assert server.process
    script = folder / "load.lua"
    headers = ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in server.headers.items())
    script.write_text(SCRIPT % (json.dumps(json.dumps(CASES[case])), headers))
    words = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    words += ["--timeout", "10s", "--script", str(script), f"http://{SERVER_ADDRESS}:{server.port}/mcp"]
    size = ask(server, case)[1]
    used = os.times()
    connected = opened(server)
    before = cpu_seconds(server.process.pid), cpu_seconds(upstream), machine_busy()
    output = subprocess.run(words, capture_output=True, text=True, check=True, preexec_fn=child_setup(LOAD_CORE)).stdout
    cpu, platform, busy = cpu_seconds(server.process.pid), cpu_seconds(upstream), machine_busy()
    generator = os.times().children_user + os.times().children_system - used.children_user - used.children_system
    ask(server, case)
    words = next(line for line in output.splitlines() if line.startswith("RESULT")).split()[1:]
    calls, duration, received, failed, p50, p99 = map(int, words)
    # Answers other than the one that was checked have another size.
    if failed or not size < received / calls < size + 1000:
        raise SystemExit(
            f"{server.name}, {case}: {failed} of {calls} calls failed, {received / calls:.0f} bytes each\n{output}"
        )
    others = busy - before[2] - (cpu - before[0]) - (platform - before[1]) - generator
    return Round(
        calls=calls,
        rate=calls / duration * 1e6,
        p50=p50 / 1e3,
        p99=p99 / 1e3,
        cpu=(cpu - before[0]) / calls * 1e3,
        others=others / (duration / 1e6),
        opened=(opened(server) - connected) / calls * 1e3,
    )


def waiting_sockets(server: Server) -> int:
    """Sockets in TIME_WAIT in the servers' network. Many of them make each new connection slow, whoever makes it."""
    assert server.process
    found = re.search(r" tw (\d+)", Path(f"/proc/{server.process.pid}/net/sockstat").read_text())
    return int(found[1]) if found else 0


def opened(server: Server) -> int:
    """Connections that were opened from the servers' network so far."""
    assert server.process
    names, values = re.findall(r"^Tcp: (.*)$", Path(f"/proc/{server.process.pid}/net/snmp").read_text(), re.MULTILINE)
    return int(dict(zip(names.split(), values.split(), strict=True))["ActiveOpens"])


def measure(server: Server, case: str, connections: int, seconds: int, folder: Path, upstream: int) -> Round:
    """A run that others did not disturb, or the one that they disturbed least."""
    while waiting_sockets(server) > WAITING_SOCKETS:
        time.sleep(1)
    tried: list[Round] = []
    while len(tried) < ATTEMPTS and not (tried and tried[-1].others < DISTURBED):
        tried.append(load(server, case, connections, seconds, folder, upstream))
    return min(tried, key=lambda one: one.others)


def median(server: Server, case: str, connections: int, name: str) -> float:
    """The median over the rounds."""
    return statistics.median(getattr(one, name) for one in server.rounds[case, connections])


def report(servers: list[Server], quiet: str, arguments: argparse.Namespace) -> str:
    """The section of the results."""
    ours = servers[0]
    rows = []
    for case in CASES:
        for connections in CONNECTIONS:
            for server in servers:
                rates = [one.rate for one in server.rounds[case, connections]]
                ratio = median(ours, case, connections, "rate") / median(server, case, connections, "rate")
                cpu = median(server, case, connections, "cpu")
                dearer = median(ours, case, connections, "cpu") / cpu
                rows.append(
                    [
                        case,
                        connections,
                        server.name,
                        f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})",
                        f"{median(server, case, connections, 'p50'):.2f}",
                        f"{median(server, case, connections, 'p99'):.2f}",
                        f"{cpu:.3f}",
                        f"{median(server, case, connections, 'opened'):.0f}",
                        "" if server is ours else f"{ratio:.2f}",
                        "" if server is ours else f"{dearer:.2f}",
                    ]
                )
    head = ["case", "connections", "server", "calls/s (of rounds)", "p50 ms", "p99 ms", "CPU s per 1,000 calls"]
    head += ["connections opened to the platform per 1,000 calls"]
    speed = table([*head, "ours ÷ it, calls/s", "ours ÷ it, CPU"], rows)
    sizes = table(
        ["server", "resident idle MB", "highest under load MB", "cold start to first answer ms"],
        [[server.name, f"{server.idle:.1f}", f"{server.loaded:.1f}", spread(server.cold, "")] for server in servers],
    )
    others = [one.others for server in servers for rounds in server.rounds.values() for one in rounds]
    versions = f"{run(['rustc', '--version']).strip()}; rmcp 3.9.0; @modelcontextprotocol/sdk 1.32.2 on Node "
    wrk = run(["dpkg-query", "--show", "--showformat", "${Package} ${Version}", "wrk"])
    versions += f"{run(['node', '--version']).strip()}; {wrk}"
    return "\n".join(
        [
            f"- `python3 -m benches.serve --rounds {arguments.rounds} --seconds {arguments.seconds}`, "
            f"commit {commit(arguments.binary)}, {time.strftime('%Y-%m-%d')}",
            f"- {machine()}; {versions}",
            f"- Server on one core; wrk (closed loop) and the platform on the other. Medians of {arguments.rounds} "
            f"rounds of {arguments.seconds} s. Every server offers the one tool; the platform answers after 5 ms.",
            f"- Noise: {quiet}; others used {statistics.median(others):.2f} cores in the median round, "
            f"{max(others):.2f} in the worst. Rounds with more than {DISTURBED} are repeated, up to {ATTEMPTS} times.",
            "",
            speed,
            "",
            sizes,
        ]
    )


def main() -> None:
    """Builds, starts, measures, reports."""
    parser = argparse.ArgumentParser(prog="python3 -m benches.serve", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=6, help="of each round")
    parser.add_argument("--binary", type=Path, help="measure this program instead of the release build")
    parser.add_argument("--wait", type=float, default=600, help="seconds to wait for a quiet machine at most")
    parser.add_argument("--no-results", action="store_true", help="print, and leave RESULTS.md as it is")
    arguments = parser.parse_args()
    end_in_order()
    if os.geteuid() != 0 or (os.cpu_count() or 1) < 2:
        raise SystemExit("network namespaces need root, and the measurement two cores")
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed (Debian package wrk)")
    binary, rust, node = product(arguments.binary), bare_rmcp(), install_typescript()
    quiet = wait_until_quiet(arguments.wait)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mcp-bench-")))
        keys = Keys(folder)
        # The load counts whatever is answered, so no call may be refused for want of a place on the way to the platform.
        limits = {**LIMITS, "platform": {**PLATFORM_LIMITS, "maxConcurrentRequests": max(CONNECTIONS)}}
        configure(folder, vault(LOAD_ADDRESS), {"token": "bench"}, keys, limits=limits)
        token = keys.token()
        leave_network()
        net = add_network(stack).descriptor
        words = [str(rust / "upstream"), f"{LOAD_ADDRESS}:{PLATFORM_PORT}"]
        upstream = subprocess.Popen(words, preexec_fn=child_setup(LOAD_CORE))
        stack.callback(stop, upstream)
        os.sched_setaffinity(0, {LOAD_CORE})
        ours = [str(binary), "serve", "--config-directory", f"{folder}/config"]
        ours += ["--credentials-directory", f"{folder}/credentials"]
        typescript = ["node", str(node / "server.mjs"), SERVER_ADDRESS, "9002", UPSTREAM]
        servers = [
            Server("mcp-connectors serve", ours, 8080, token),
            Server("bare rmcp", [str(rust / "bare-rmcp"), f"{SERVER_ADDRESS}:9001", UPSTREAM], 9001),
            Server("TypeScript SDK", typescript, 9002),
        ]
        for server in servers:
            say(f"{server.name}: cold starts")
            for _ in range(COLD_STARTS):
                server.cold.append(server.start(net, folder / "errors"))
                server.end()
        for server in servers:
            server.start(net, folder / "errors")
            stack.callback(server.end)
            for case in CASES:
                ask(server, case)
        time.sleep(3)
        for server in servers:
            assert server.process
            server.idle = memory(server.process.pid)
        for number in range(arguments.rounds):
            for case in CASES:
                for connections in CONNECTIONS:
                    for server in servers:
                        if number == 0:
                            load(server, case, connections, 2, folder, upstream.pid)
                        one = measure(server, case, connections, arguments.seconds, folder, upstream.pid)
                        server.rounds.setdefault((case, connections), []).append(one)
                        say(
                            f"round {number + 1} {case} {connections:3} {server.name}: {one.rate:,.0f} calls/s, p50 "
                            f"{one.p50:.2f} ms, p99 {one.p99:.2f} ms, {one.cpu:.3f} CPU s per 1,000; "
                            f"others {one.others:.2f} cores"
                        )
        for server in servers:
            assert server.process
            server.loaded = memory(server.process.pid, "VmHWM")
        text = report(servers, quiet, arguments)
    if arguments.no_results:
        print(text)
    else:
        write_results("serve", text)


if __name__ == "__main__":
    main()
