"""What connectors to each platform cost: the requests of their probes, calls, and memory, in a process each (`serve`)
and all five in one (`local`). Platforms are doubles on the same machine.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benches.platforms.subjects import SUBJECTS, Running, Subject, run_platforms
from benches.serving import (
    LIMITS,
    LOAD_CORE,
    PLATFORM_LIMITS,
    SERVER_CORE,
    Keys,
    Load,
    add_network,
    configure,
    leave_network,
    load_program,
    serve,
    start_load,
    tool_call,
)
from benches.support import (
    child_setup,
    commit,
    cpu_seconds,
    end_in_order,
    machine,
    memory,
    product,
    release_of,
    say,
    stop,
    table,
    wait_until_quiet,
    write_results,
)

CALLERS = 32
# Time in which a probe has ended, and another has not begun.
QUIET_SECONDS = 4.0
SETTLE_SECONDS = 3.0


@dataclass
class Probing:
    """What probes of one platform cost."""

    # Requests that came by the end of each probe, and when it was.
    seen: list[tuple[float, int]]

    @property
    def requests(self) -> float:
        """Requests of a probe. The first is left out: it may learn what later ones know."""
        return (self.seen[-1][1] - self.seen[0][1]) / (len(self.seen) - 1)

    @property
    def an_hour(self) -> float:
        """Requests in an hour."""
        return (self.seen[-1][1] - self.seen[0][1]) / (self.seen[-1][0] - self.seen[0][0]) * 3600


def manifests(subject: Subject) -> list[dict[str, Any]]:
    """A connector with the defaults, its source and its Secret."""
    name = subject.kind.lower()
    items = {field: field for field in subject.credentials}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": subject.credentials}
    group = "mcp-connectors.io/v1alpha1"
    source = {"hosts": ["127.0.0.1"], "secret": {"name": name, "items": items}}
    connector = {"platform": subject.platform("127.0.0.1"), "credentials": {"name": name}}
    return [
        secret,
        {"apiVersion": group, "kind": "CredentialSource", "metadata": {"name": name}, "spec": source},
        {"apiVersion": group, "kind": "McpConnector", "metadata": {"name": name}, "spec": connector},
    ]


def watch_probes(program: Path, folder: Path, running: list[Running], seconds: float) -> tuple[list[Probing], float]:
    """Lets all five probe as they do by default; gives what came to each, and the process's memory at the end."""
    folder.mkdir()
    documents = [document for subject in SUBJECTS for document in manifests(subject)]
    (folder / "all.yaml").write_text("".join(f"---\n{json.dumps(document)}\n" for document in documents))
    words = [program, "local", "--listen", "127.0.0.1:0", "-f", folder]
    probing = [Probing([]) for _ in running]
    changed = [(0.0, one.requests()) for one in running]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, preexec_fn=child_setup(SERVER_CORE))
    try:
        begun = time.monotonic()
        while (now := time.monotonic() - begun) < seconds:
            time.sleep(0.25)
            for index, (one, probe) in enumerate(zip(running, probing, strict=True)):
                count = one.requests()
                at, before = changed[index]
                if count != before:
                    changed[index] = (now, count)
                elif at and now - at >= QUIET_SECONDS and (not probe.seen or probe.seen[-1] != (at, count)):
                    probe.seen.append((at, count))
        held = memory(process.pid)
    finally:
        stop(process)
    for one, probe in zip(running, probing, strict=True):
        if len(probe.seen) < 2:
            raise SystemExit(f"{one.subject.name} was probed {len(probe.seen)} times in {seconds:.0f} s: wait longer")
    return probing, held


def measure_calls(
    program: Path, folder: Path, keys: Keys, one: Running, load: Load, seconds: float, number: int
) -> list[str]:
    """A row of figures of one platform's connector, in a process of its own."""
    subject = one.subject
    with ExitStack() as stack:
        network = add_network(stack, number)
        limits = {**LIMITS, "platform": {**PLATFORM_LIMITS, "maxConcurrentRequests": CALLERS}}
        configure(folder, subject.platform(network.load), subject.credentials, keys, ("*",), limits=limits)
        call = tool_call(subject.tool, subject.arguments)
        server = serve(stack, program, subject.name, folder, network, keys.token(), call)
        time.sleep(SETTLE_SECONDS)
        idle = memory(server.process.pid)
        load.calls(server, call, 1, CALLERS)
        cpu, came = cpu_seconds(server.process.pid), one.requests()
        report = load.calls(server, call, seconds, CALLERS)
        cpu, came = cpu_seconds(server.process.pid) - cpu, one.requests() - came
        if set(report["outcomes"]) != {"answered"}:
            raise SystemExit(f"{subject.name}: not every call was answered: {report['outcomes']}")
        times, took = report["outcomes"]["answered"], report["seconds"]
        highest = memory(server.process.pid, "VmHWM")
    say(f"{subject.name}: {times['count'] / took:,.0f} calls/s")
    return [
        subject.name,
        f"`{subject.tool}`",
        f"{came / times['count']:.1f}",
        f"{times['count'] / took:,.0f}",
        f"{times['p50_ms']:.2f}",
        f"{times['p99_ms']:.2f}",
        f"{cpu / times['count'] * 1e3:.3f}",
        f"{cpu / took:.0%}",
        f"{idle:.1f}",
        f"{highest:.1f}",
    ]


def main() -> None:
    """Builds, measures, reports."""
    parser = argparse.ArgumentParser(prog="python3 -m benches.platforms", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="of calls to each platform")
    parser.add_argument("--probes", type=float, default=160, help="seconds for which probes are watched")
    parser.add_argument("--binary", type=Path, help="measure this program instead of the release build")
    parser.add_argument("--load", type=Path, help="with this program of benches/load instead of a release build")
    parser.add_argument("--double", type=Path, help="with this program of e2e/doubles instead of a release build")
    parser.add_argument("--wait", type=float, default=600, help="seconds to wait for a quiet machine at most")
    parser.add_argument("--no-results", action="store_true", help="print, and leave RESULTS.md as it is")
    arguments = parser.parse_args()
    end_in_order()
    if os.geteuid() != 0 or (os.cpu_count() or 1) < 2:
        raise SystemExit("network namespaces need root, and the measurement two cores")
    binary, program = product(arguments.binary), load_program(arguments.load)
    all_in_one = machine_program(arguments.binary)
    double = release_of("platform-doubles", "platform-double", arguments.double)
    quiet = wait_until_quiet(arguments.wait)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mcp-bench-")))
        leave_network()
        os.sched_setaffinity(0, {LOAD_CORE})
        running = run_platforms(stack, double, program)
        keys = Keys(folder)
        load = start_load(stack, program)
        rows = [
            measure_calls(binary, folder / one.subject.kind, keys, one, load, arguments.seconds, number)
            for number, one in enumerate(running)
        ]
        say(f"probes, for {arguments.probes:.0f} s")
        probing, held = watch_probes(all_in_one, folder / "local", running, arguments.probes)
    head = ["platform", "tool", "requests a call", "calls/s", "p50 ms", "p99 ms", "CPU ms a call", "core used"]
    head += ["resident idle MB", "highest under load MB"]
    probes = [
        [one.subject.name, len(probe.seen) - 1, f"{probe.requests:.1f}", f"{probe.an_hour:.0f}"]
        for one, probe in zip(running, probing, strict=True)
    ]
    text = "\n".join(
        [
            f"- `python3 -m benches.platforms --seconds {arguments.seconds:g} --probes {arguments.probes:g}`, "
            f"commit {commit(arguments.binary)}, {time.strftime('%Y-%m-%d')}",
            f"- {machine()}",
            f"- Noise: {quiet}.",
            f"- Connectors on one core; {CALLERS} callers (closed loop) and the platforms on the other, which answer "
            "at once: where less than the whole core is used, the double is the limit, and not the connector. Vault "
            "and Argo CD are answers without work, the others are the strict doubles of the tests.",
            "",
            table(head, rows),
            "",
            f"All five in one process (`local`), with the defaults, after {arguments.probes:.0f} s of probes: resident "
            f"{held:.1f} MB.",
            "",
            table(["platform", "probes watched", "requests a probe", "requests an hour"], probes),
        ]
    )
    if arguments.no_results:
        print(text)
    else:
        write_results("platforms", text)


if __name__ == "__main__":
    main()
