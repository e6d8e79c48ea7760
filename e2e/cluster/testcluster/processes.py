"""Looking at processes through /proc."""

from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def pids() -> Iterator[int]:
    """Every process of the machine."""
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def executable(pid: int) -> str:
    """The program file of a process; empty if the process is gone."""
    try:
        return str((PROC / str(pid) / "exe").readlink()).removesuffix(" (deleted)")
    except OSError:
        return ""


def pid_namespace(pid: int) -> str:
    """The identity of a process's process namespace; empty if the process is gone."""
    try:
        return str((PROC / str(pid) / "ns" / "pid").readlink())
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether a process has not ended; one that waits to be collected has."""
    try:
        status = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def words(pid: int) -> list[str]:
    """The command line of a process; empty if the process is gone."""
    try:
        content = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return content.decode(errors="replace").split("\0")[:-1]


def listening(inodes: set[str]) -> dict[str, int]:
    """Which process holds each of the given sockets."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    holders: dict[str, int] = {}
    for pid in pids():
        try:
            targets = [str(link.readlink()) for link in (PROC / str(pid) / "fd").iterdir()]
        except OSError:
            continue
        holders |= {wanted[target]: pid for target in targets if target in wanted}
    return holders
