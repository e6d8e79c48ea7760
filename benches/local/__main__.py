"""`local`: how long a check takes, how long it takes from the start of the program until every connector answers, and
what memory that needs. The connectors' platform is an address where nobody listens: their own start is measured.
"""

import argparse
import http.client
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benches.support import (
    child_setup,
    commit,
    machine,
    machine_program,
    memory,
    run,
    say,
    stop,
    table,
    wait_until_quiet,
    write_results,
)

COUNTS = (1, 20, 100)
STARTS = 10
CHECKS = 20

MANIFEST = """\
---
apiVersion: mcp-connectors.io/v1alpha1
kind: McpConnector
metadata: {{name: vault-{index}}}
spec:
  platform: {{vault: {{url: "http://127.0.0.1:9", insecureHttp: true}}}}
  credentials: {{name: vault}}
"""
SHARED = """\
apiVersion: mcp-connectors.io/v1alpha1
kind: CredentialSource
metadata: {name: vault}
spec: {hosts: [127.0.0.1], secret: {name: vault}}
---
apiVersion: v1
kind: Secret
metadata: {name: vault}
stringData: {token: planted}
"""


def check_seconds(program: Path, folder: Path) -> list[float]:
    """Times of checks."""
    times = []
    for _ in range(CHECKS):
        begun = time.monotonic()
        run([program, "local", "--check", "-f", folder])
        times.append(time.monotonic() - begun)
    return times


def start(program: Path, folder: Path, count: int) -> tuple[float, float]:
    """Seconds until all connectors answer a ping, and megabytes that the process then holds."""
    begun = time.monotonic()
    words = [program, "local", "--listen", "127.0.0.1:0", "-f", folder]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, preexec_fn=child_setup())
    try:
        urls: set[tuple[str, int, str]] = set()
        assert process.stdout is not None
        while len(urls) < count:
            line = process.stdout.readline().decode()
            if found := re.search(r"serving at http://([^:]+):(\d+)(/\S+)", line):
                urls.add((found[1], int(found[2]), found[3]))
        for host, port, path in urls:
            connection = http.client.HTTPConnection(host, port, timeout=10)
            headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
            connection.request("POST", path, '{"jsonrpc":"2.0","id":1,"method":"ping"}', headers)
            if connection.getresponse().status != 200:
                raise SystemExit(f"{path} does not answer")
            connection.close()
        return time.monotonic() - begun, memory(process.pid)
    finally:
        stop(process)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, help="the program to measure, instead of building it")
    parser.add_argument("--wait", type=int, default=300, help="seconds to wait for a quiet machine")
    parser.add_argument("--no-results", action="store_true", help="leave RESULTS.md alone")
    arguments = parser.parse_args()
    program = machine_program(arguments.binary)
    noise = wait_until_quiet(arguments.wait)
    with tempfile.TemporaryDirectory() as temporary:
        rows = []
        for count in COUNTS:
            folder = Path(temporary) / str(count)
            folder.mkdir()
            manifests = [SHARED, *(MANIFEST.format(index=index) for index in range(count))]
            (folder / "all.yaml").write_text("".join(manifests))
            say(f"{count} connectors")
            starts = [start(program, folder, count) for _ in range(STARTS)]
            checks = check_seconds(program, folder)
            rows.append(
                [
                    str(count),
                    f"{statistics.median(checks) * 1000:.0f}",
                    f"{statistics.median(seconds for seconds, _ in starts) * 1000:.0f}",
                    f"{statistics.median(held for _, held in starts):.1f}",
                ]
            )
    head = ["connectors", "check ms", "all answer after ms", "resident MB"]
    about = f"- `python3 -m benches.local`, commit {commit(arguments.binary)}\n- {machine()}\n- Noise: {noise}\n\n"
    text = about + table(head, rows)
    print(text)
    if not arguments.no_results:
        write_results("local", text)


if __name__ == "__main__":
    main()
