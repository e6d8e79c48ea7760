"""The control group that all pods are in.

The kubelet and runc make theirs below it, so that they are told from foreign
ones and can be removed as a whole. Both versions of control groups are served.
"""

import time
from pathlib import Path

from .errors import ClusterError
from .settings import CGROUP

MOUNT = Path("/sys/fs/cgroup")
REMOVE_SECONDS = 10
# The kernel refuses processes in a cpuset group where one of these is empty.
CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")


def _hierarchies() -> list[Path]:
    if (MOUNT / "cgroup.controllers").exists():
        return [MOUNT]
    return sorted(path for path in MOUNT.iterdir() if path.is_dir() and not path.is_symlink())


def create() -> None:
    """Makes the group in every hierarchy."""
    for hierarchy in _hierarchies():
        group = hierarchy / CGROUP
        group.mkdir(exist_ok=True)
        for name in CPUSET_FILES:
            if (group / name).exists() and (hierarchy / name).exists():
                (group / name).write_text((hierarchy / name).read_text())
    _delegate_unified()


def exists() -> bool:
    """Whether the group is there in any hierarchy."""
    return any((hierarchy / CGROUP).exists() for hierarchy in _hierarchies())


def remove() -> None:
    """Removes the group and all below it; its processes must have ended."""
    deadline = time.monotonic() + REMOVE_SECONDS
    for hierarchy in _hierarchies():
        while (hierarchy / CGROUP).exists() and not _remove_tree(hierarchy / CGROUP):
            if time.monotonic() > deadline:
                raise ClusterError(f"the control group {hierarchy / CGROUP} is still in use")
            time.sleep(0.05)


def _delegate_unified() -> None:
    """With version 2, a group's controllers have to be passed on by its parent."""
    available = MOUNT / "cgroup.controllers"
    if not available.exists():
        return
    wanted = [f"+{name}" for name in available.read_text().split()]
    for group in (MOUNT, MOUNT / CGROUP):
        (group / "cgroup.subtree_control").write_text(" ".join(wanted))


def _remove_tree(group: Path) -> bool:
    """Tries once, from the inside out: the files of a group cannot be removed."""
    below = sorted(group.rglob("*/"), key=lambda path: len(path.parts), reverse=True)
    try:
        for path in (*below, group):
            if path.is_dir():
                path.rmdir()
    except OSError:
        return False
    return True
