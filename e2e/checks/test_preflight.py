"""What is looked at before a run begins: each thing that would make it fail later is said at once, with what to do."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from rendering import ROOT
from steps import preflight
from steps.preflight import GIGABYTE, Need, Problem, Program

TOOL = ROOT / "e2e" / "checks" / "tool"


def said(problems: list[Problem]) -> str:
    return "\n".join(map(str, problems))


def test_all_missing_programs_are_named_at_once_with_how_to_get_them() -> None:
    found = said(preflight.missing_programs("test", lambda program: None))
    for name, get in (("cargo", "rustup.rs"), ("go", "go.dev"), ("npm", "nodejs.org"), ("jq", "apt-get install jq")):
        assert f"{name} is not installed" in found
        assert get in found


def test_a_goal_needs_only_its_own_programs() -> None:
    missing = [problem.what.split()[0] for problem in preflight.missing_programs("try", lambda program: None)]
    assert missing == ["cargo", "cc", "flock"]


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ("go version go1.20.3 linux/amd64", "go is 1.20.3, and 1.21 or newer is needed"),
        ("go version go1.21 linux/amd64", ""),
        ("go version go1.26.1 linux/amd64", ""),
    ],
)
def test_an_old_program_is_refused(told: str, problem: str) -> None:
    def version(program: Program) -> str:
        return told if program.name == "go" else "999.0.0"

    found = preflight.missing_programs("test", version)
    assert (problem in said(found)) if problem else found == []


def test_this_machine_has_what_the_checks_need() -> None:
    assert preflight.missing_programs("check") == []
    assert preflight.missing_python() == []


def test_the_cluster_needs_root_and_debian(tmp_path: Path) -> None:
    found = said(preflight.unsuitable_machine(root=False, debian=tmp_path / "missing"))
    assert "needs root" in found
    assert "Debian" in found
    assert preflight.unsuitable_machine(root=True, debian=tmp_path) == []


def test_a_full_disk_is_noticed_and_what_lies_on_it_is_added_up() -> None:
    wanted = [
        Need(Path("/a/b"), 10 * GIGABYTE, "`make clean`"),
        Need(Path("/c"), 4 * GIGABYTE, "`go clean -cache`"),
        Need(Path("/"), 3 * GIGABYTE, "`make cluster-down`"),
    ]
    [problem] = preflight.full_disks(wanted, device=lambda path: 1, free=lambda path: 16 * GIGABYTE)
    assert "16.0 GB left and a run takes about 17 GB there" in problem.what
    assert "10 GB in /a/b, 4 GB in /c, 3 GB in /" in problem.what
    assert "1.0 GB are missing" in problem.what
    assert all(need.free in problem.do for need in wanted)
    assert problem.fatal
    assert preflight.full_disks(wanted, device=lambda path: 1, free=lambda path: 17 * GIGABYTE) == []


def test_each_disk_counts_for_itself(tmp_path: Path) -> None:
    wanted = [Need(tmp_path, 10 * GIGABYTE, ""), Need(Path("/"), 10 * GIGABYTE, "")]
    devices: Callable[[Path], int] = lambda path: 1 if path == tmp_path else 2  # noqa: E731
    found = preflight.full_disks(wanted, device=devices, free=lambda path: (5 if path == tmp_path else 15) * GIGABYTE)
    assert len(found) == 1
    assert "5.0 GB are missing" in found[0].what


def test_estimates_can_be_overruled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYWAY", "1")
    assert not preflight.little_memory(1)[0].fatal
    assert not preflight.full_disks([Need(Path("/"), 1, "")], free=lambda path: 0)[0].fatal


def test_a_fresh_machine_needs_more_room_than_one_with_caches() -> None:
    def total(kind: str) -> int:
        return sum(need.bytes for need in preflight.needs("test", kind))

    assert total("fresh") > total("cached") > 0


@pytest.mark.parametrize(("limit", "available"), [("max", 3 * GIGABYTE), ("1000000000", GIGABYTE)])
def test_little_memory_is_noticed(tmp_path: Path, limit: str, available: int) -> None:
    meminfo, cgroup = tmp_path / "meminfo", tmp_path / "memory.max"
    meminfo.write_text(f"MemTotal: 9 kB\nMemAvailable:  {2 * GIGABYTE // 1024} kB\nSwapFree: {GIGABYTE // 1024} kB\n")
    cgroup.write_text(limit + "\n")
    found = preflight.available_memory(meminfo, cgroup)
    assert found is not None
    assert abs(found - available) < 2048
    assert f"{available / GIGABYTE:.1f} GB of memory" in said(preflight.little_memory(found))
    assert preflight.little_memory(4 * GIGABYTE) == []


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}")
    path.chmod(0o755)
    return path


def tool(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Runs e2e/checks/tool with a cache of its own and the programs in a folder."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder), "PATH": f"{folder / 'programs'}:{os.environ['PATH']}"}
    environment.pop("STEPS_RUN", None)
    return subprocess.run([TOOL, *words], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("breaks", [lambda path: path.write_bytes(b"\x7fELF"), lambda path: path.chmod(0o644)])
def test_a_broken_program_of_cargo_is_made_anew(tmp_path: Path, breaks: Callable[[Path], None]) -> None:
    # Of `cargo install NAME ... --root FOLDER ...`.
    script(
        tmp_path / "programs" / "cargo",
        'while [[ $1 != --root ]]; do shift; done\nmkdir -p "$2/bin"\n'
        'printf "#!/bin/bash\\necho works\\n" >"$2/bin/cargo-deny"\nchmod +x "$2/bin/cargo-deny"\n',
    )
    first = tool(tmp_path, "cargo-deny", "--help")
    assert "building cargo-deny" in first.stderr
    second = tool(tmp_path, "cargo-deny", "--help")
    assert (second.stdout, second.stderr) == ("works\n", "")
    breaks(Path(tool(tmp_path, "cargo-deny").stdout.strip()))
    third = tool(tmp_path, "cargo-deny", "--help")
    assert third.stdout == "works\n"
    assert "is broken" in third.stderr and "building cargo-deny" in third.stderr


def test_an_environment_whose_python_is_gone_is_made_anew(tmp_path: Path) -> None:
    system = os.path.realpath("/proc/self/exe")
    script(
        tmp_path / "programs" / "python3",
        f'if [[ $1 != -m ]]; then exec {system} "$@"; fi\nmkdir -p "$3/bin"\n'
        'printf "#!/bin/bash\\n[[ \\$1 != -m ]] && echo works\\ntrue\\n" >"$3/real"\nchmod +x "$3/real"\n'
        'ln -s "$3/real" "$3/bin/python"\n',
    )
    assert "installing the Python packages" in tool(tmp_path, "python", "x").stderr
    assert tool(tmp_path, "python", "x").stderr == ""
    Path(tool(tmp_path, "python").stdout.strip()).resolve().unlink()
    again = tool(tmp_path, "python", "x")
    assert again.stdout == "works\n"
    assert "installing the Python packages" in again.stderr
