"""What both benchmarks share: progress, the machine's noise, processes and the file of results."""

import ctypes
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benches" / "RESULTS.md"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mcp-connectors"
TARGET = "x86_64-unknown-linux-gnu"
TICKS = os.sysconf("SC_CLK_TCK")
NOISY_PROGRAMS = {"cargo", "rustc", "pytest", "cc1", "go", "compile", "link", "npm"}
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
HEADER = """# Results

Written by `make bench`, which replaces a section when it has measured it anew; see `README.md` for what is measured.
"""


def say(text: str) -> None:
    """One line of progress."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def run(argv: Sequence[str | Path], **options: object) -> str:
    """Runs a program to its end and gives what it prints."""
    done = subprocess.run(argv, check=False, text=True, capture_output=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(map(str, argv))}\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def system_call(outcome: int, name: str) -> None:
    """Raises what a system call said."""
    if outcome != 0:
        raise OSError(ctypes.get_errno(), name)


def product(given: Path | None) -> Path:
    """The image's program, built as for a release, or the one that is given."""
    return release_of("mcp-connectors-image", "mcp-connectors-image", given)


def machine_program(given: Path | None) -> Path:
    """The program with `local`, built as for a release, or the one that is given."""
    return release_of("mcp-connectors", "mcp-connectors", given)


def release_of(package: str, name: str, given: Path | None) -> Path:
    """A program of a package, built as for the image, or the one that is given."""
    if given:
        return given.resolve()
    say(f"building {name} for release, about 10 minutes when nothing is built yet")
    words = ["e2e/image/compile", package, name]
    built = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    # A copy, because somebody may build while it is measured.
    copy = CACHE / "bench" / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.unlink(missing_ok=True)
    return Path(shutil.copy2(built, copy))


def child_setup(core: int | None = None, net: int | None = None, note: int | None = None) -> Callable[[], None]:
    """What a child does before it becomes its program: end with us, its core, its network; says when it starts."""

    def setup() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if core is not None:
            os.sched_setaffinity(0, {core})
        if net is not None:
            system_call(LIBC.setns(net, CLONE_NEWNET), "setns")
        if note is not None:
            os.write(note, str(time.monotonic_ns()).encode())

    return setup


def stop(*processes: subprocess.Popen[bytes]) -> None:
    """Kills processes and waits until they are gone."""
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int, field: str = "VmRSS") -> float:
    """Megabytes that a process holds now, or has held at most (`VmHWM`)."""
    line = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(line[1]) * 1024 / 1e6 if line else 0.0


def machine_busy() -> float:
    """CPU seconds that the machine has used, whoever used them."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:8]) - fields[3] - fields[4]) / TICKS


def stolen() -> float:
    """CPU seconds that a hypervisor gave to others while programs of this machine wanted to run."""
    return int(Path("/proc/stat").read_text().splitlines()[0].split()[8]) / TICKS


def noise() -> tuple[float, set[str]]:
    """The share of the machine that is in use, over two seconds, and programs that are known to disturb."""
    before = machine_busy()
    time.sleep(2)
    share = (machine_busy() - before) / 2 / (os.cpu_count() or 1)
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            # Also `python -m pytest`.
            found.update(Path(word).name for word in words[:3])
    return share, found & NOISY_PROGRAMS


def wait_until_quiet(seconds: float) -> str:
    """Waits for a quiet machine, at most for a time, and says how quiet it got."""
    deadline = time.monotonic() + seconds
    while True:
        share, programs = noise()
        if share < 0.25 and not programs:
            return f"quiet before the start ({share:.0%} of the machine in use by others)"
        if time.monotonic() >= deadline:
            by = ", ".join(sorted(programs)) or "unknown"
            return f"NOISY: {share:.0%} of the machine in use by others before the start ({by})"
        say(f"waiting for a quiet machine: {share:.0%} in use, {', '.join(sorted(programs)) or 'no compiler'}")
        time.sleep(15)


def end_in_order() -> None:
    """Lets SIGTERM unwind, so that folders and processes are cleaned up."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def machine() -> str:
    """The machine, in a line."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    total = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    gigabytes = int(total[1]) / 1e6 if total else 0
    return f"{os.cpu_count()} × {cpu[1] if cpu else 'unknown CPU'}, {gigabytes:.0f} GB, Linux {os.uname().release}"


def commit(given: Path | None) -> str:
    """The commit that is measured, and whether the sources differ from it."""
    if given:
        return "unknown (--binary)"
    changed = run(["git", "status", "--porcelain", "crates", "Cargo.toml", "Cargo.lock"], cwd=ROOT)
    return run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT).strip() + (" with changes" if changed else "")


def percentile(values: Iterable[float], share: float) -> float:
    """The value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def spread(values: Sequence[float], unit: str) -> str:
    """Median and extremes."""
    return f"{statistics.median(values):.2f} {unit} ({min(values):.2f} to {max(values):.2f})"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def write_results(name: str, text: str) -> None:
    """Replaces one section of the results."""
    old = RESULTS.read_text() if RESULTS.exists() else HEADER
    sections = dict(part.split("\n", 1) for part in re.split(r"^## ", old, flags=re.MULTILINE)[1:])
    sections[name] = f"\n{text}\n"
    body = "".join(f"\n## {title}\n\n{content.strip()}\n" for title, content in sections.items())
    RESULTS.write_text(HEADER + body)
    print(text)
