"""Looks, before half an hour is lost, whether a run can succeed on this machine as it is."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from . import expect
from .run import ROOT

sys.path.append(str(ROOT / "e2e" / "cluster"))

from testcluster import build, lifecycle  # noqa: E402
from testcluster.errors import ClusterError  # noqa: E402
from testcluster.layout import Layout  # noqa: E402

GIGABYTE = 10**9
# What compiling and linking, or a cluster with four stories at once, take beside each other.
MEMORY_BYTES = 4 * GIGABYTE
CLUSTER_GOALS = {"test", "e2e", "demo"}
GOALS = CLUSTER_GOALS | {"check", "try"}
RUST_SITE = "from https://rustup.rs"


@dataclass(frozen=True)
class Problem:
    """Something that keeps a run from succeeding, or may, and what to do about it."""

    what: str
    do: str
    fatal: bool = True

    def __str__(self) -> str:
        return f"{self.what}. {self.do}"


@dataclass(frozen=True)
class Program:
    """A program that has to be there, the goals that need it, and how to get it."""

    name: str
    goals: frozenset[str]
    get: str
    # The oldest version that will do, and how to ask for the version.
    oldest: tuple[int, ...] = ()
    asked: tuple[str, ...] = ("--version",)


def _needed_by(*goals: str) -> frozenset[str]:
    return frozenset(goals)


def rust_version() -> tuple[int, ...]:
    """The oldest Rust that compiles this."""
    found = re.search(r'^rust-version = "([0-9.]+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    return tuple(map(int, found[1].split("."))) if found else ()


def programs() -> tuple[Program, ...]:
    """What a person has to install; everything else is fetched or built."""
    check = _needed_by("test", "check", "e2e")
    return (
        Program("cargo", frozenset(GOALS), RUST_SITE, rust_version()),
        Program("cc", frozenset(GOALS), "Debian: apt-get install gcc libc6-dev"),
        Program("go", frozenset(GOALS - {"try"}), "from https://go.dev/dl", build.OLDEST_GO, ("version",)),
        Program("flock", frozenset(GOALS), "Debian: apt-get install util-linux"),
        Program("git", check, "Debian: apt-get install git"),
        Program("jq", check, "Debian: apt-get install jq"),
        Program("node", check, "from https://nodejs.org", (20,)),
        Program("npm", check, "from https://nodejs.org"),
    )


def problems(goal: str, cleaned: bool = False) -> list[Problem]:
    """What stands in the way of a goal; `cleaned` if the run begins by taking an earlier cluster away."""
    if goal not in GOALS:
        return []
    found = [*missing_programs(goal), *missing_python()]
    if goal in CLUSTER_GOALS:
        found += unsuitable_machine()
        if not cleaned and os.geteuid() == 0:
            found += occupied_cluster()
    found += full_disks(needs(goal, kind()))
    found += little_memory(available_memory())
    return found


def missing_programs(goal: str, version: Callable[[Program], str | None] | None = None) -> list[Problem]:
    """Programs that aren't there, or too old."""
    found = []
    for program in programs():
        if goal not in program.goals:
            continue
        told = (version or _version)(program)
        numbers = re.search(r"\d+(\.\d+)+", told or "")
        if told is None:
            found.append(Problem(f"{program.name} is not installed", f"Get it: {program.get}"))
        elif program.oldest and numbers and tuple(map(int, numbers[0].split("."))) < program.oldest:
            wanted = ".".join(map(str, program.oldest))
            found.append(
                Problem(f"{program.name} is {numbers[0]}, and {wanted} or newer is needed", f"Get it: {program.get}")
            )
    return found


def _version(program: Program) -> str | None:
    """What a program says of itself, if its version matters."""
    if shutil.which(program.name) is None:
        return None
    if not program.oldest:
        return ""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    done = subprocess.run([program.name, *program.asked], env=environment, capture_output=True, text=True, check=False)
    # A proxy of rustup without a toolchain is there, and isn't.
    return done.stdout if done.returncode == 0 else None


def missing_python() -> list[Problem]:
    """Debian has virtual environments in a package of their own."""
    done = subprocess.run([sys.executable, "-c", "import ensurepip, venv"], capture_output=True, check=False)
    if done.returncode == 0:
        return []
    return [Problem("python3 can't make virtual environments", "Get it: Debian: apt-get install python3-venv")]


def unsuitable_machine(root: bool | None = None, debian: Path = Path("/etc/debian_version")) -> list[Problem]:
    """The cluster starts on Debian, by root."""
    found = []
    if not (os.geteuid() == 0 if root is None else root):
        found.append(
            Problem(
                "a Kubernetes cluster is started on this machine, which needs root",
                "Run it as root, in a virtual machine if you like; `make check` and `make try` need no root",
            )
        )
    if not debian.exists():
        found.append(
            Problem(
                "the Kubernetes cluster needs programs of Debian's packages, and this is another system",
                "Run it in a virtual machine or a privileged container with Debian; `make check` runs anywhere",
            )
        )
    return found


def given_cluster() -> bool:
    """Whether the demo is to be shown in a cluster that KUBECONFIG names."""
    return os.environ.get("KUBECONFIG") not in (None, "", str(Layout.from_environment().kubeconfig))


def occupied_cluster() -> list[Problem]:
    """A cluster that runs already, and that can't be used."""
    try:
        obstacle = lifecycle.obstacle(Layout.from_environment())
    except ClusterError as error:
        obstacle = str(error)
    return [] if obstacle is None else [Problem("the test cluster can't be started", obstacle)]


def kind() -> str:
    """Whether the cluster's programs were built before."""
    layout = Layout.from_environment()
    built = all(build.is_built(layout, tool) for tool in build.CLUSTER_TOOLS)
    return "cached" if built else "fresh"


@dataclass(frozen=True)
class Need:
    """Room that a run takes somewhere, and how to get it."""

    path: Path
    bytes: int
    free: str


def needs(goal: str, kind: str) -> list[Need]:
    """What a run writes, as measured; less of what an earlier one has written."""
    fresh = kind == "fresh"
    home = Path.home()
    built = (ROOT / "target").exists()
    small = goal in {"demo", "try"}
    found = [
        Need(ROOT, (2 if built else 3 if small else 10) * GIGABYTE, "`make clean` removes what was built here"),
        Need(expect.cache(), (4 if fresh else 1) * GIGABYTE, f"older versions in {expect.cache()}/bin can go"),
    ]
    if fresh and goal != "try":
        found.append(
            Need(
                Path(os.environ.get("GOCACHE") or home / ".cache" / "go-build"),
                9 * GIGABYTE,
                "`go clean -cache` removes what Go can compile again",
            )
        )
        modules = Path(os.environ.get("GOMODCACHE") or home / "go")
        found.append(Need(modules, 7 * GIGABYTE, "`go clean -modcache` removes what Go can fetch again"))
    if goal in CLUSTER_GOALS:
        found.append(Need(Layout.from_environment().data, 3 * GIGABYTE, "`make cluster-down` removes a cluster's data"))
    return found


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def full_disks(
    wanted: Iterable[Need],
    device: Callable[[Path], int] = lambda path: path.stat().st_dev,
    free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
) -> list[Problem]:
    """Disks with less room than a run takes; what lies on the same disk is added up."""
    disks: dict[int, list[Need]] = {}
    for need in wanted:
        disks.setdefault(device(_existing(need.path)), []).append(need)
    found = []
    for group in disks.values():
        total, left = sum(need.bytes for need in group), free(_existing(group[0].path))
        if left < total:
            places = ", ".join(f"{need.bytes / GIGABYTE:.0f} GB in {need.path}" for need in group)
            found.append(
                Problem(
                    f"the disk has {left / GIGABYTE:.1f} GB left and a run takes about {total / GIGABYTE:.0f} GB there "
                    f"({places}): {(total - left) / GIGABYTE:.1f} GB are missing",
                    f"To free some: {'; '.join(need.free for need in group)}. ANYWAY=1 runs all the same",
                    fatal=not anyway(),
                )
            )
    return found


def anyway() -> bool:
    """Whether estimates of what a run needs are to be ignored."""
    return os.environ.get("ANYWAY", "0") not in {"", "0"}


def available_memory(
    meminfo: Path = Path("/proc/meminfo"), limit: Path = Path("/sys/fs/cgroup/memory.max")
) -> int | None:
    """What programs may take: of the machine, and of a container."""
    try:
        kilobytes = dict(re.findall(r"^(\w+): +(\d+) kB$", meminfo.read_text(), re.MULTILINE))
    except FileNotFoundError:
        return None
    available = (int(kilobytes["MemAvailable"]) + int(kilobytes["SwapFree"])) * 1024
    allowed = limit.read_text().strip() if limit.exists() else "max"
    return available if allowed == "max" else min(available, int(allowed))


def little_memory(available: int | None) -> list[Problem]:
    """Less memory than a run takes."""
    if available is None or available >= MEMORY_BYTES:
        return []
    return [
        Problem(
            f"{available / GIGABYTE:.1f} GB of memory are available and a run takes {MEMORY_BYTES / GIGABYTE:.0f} GB",
            "End other programs, or give the machine more memory or swap. ANYWAY=1 runs all the same",
            fatal=not anyway(),
        )
    ]
