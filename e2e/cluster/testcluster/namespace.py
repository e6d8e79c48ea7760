"""The node's own process and mount namespace.

All components run in it, and so does everything that they start. Its first
process is a copy of the pause program in the state directory. When that process
ends, the kernel ends every other one and drops every mount, however the cluster
came to its end; and because the path of its program file is the cluster's own,
it is found again without trusting a recorded process id, which may have been
given to another process in the meantime.

Directories that components use whatever they are told (/run/containerd,
/var/lib/kubelet, ...) are replaced in the namespace by ones of the data directory.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import processes
from .commands import SYSTEM_PATH, run, tail
from .errors import ClusterError
from .layout import Layout

REPLACED = (
    "/run/mount",
    "/run/containerd",
    "/run/netns",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)
ENVIRONMENT = {"PATH": SYSTEM_PATH, "HOME": "/root", "LANG": "C.UTF-8"}
START_SECONDS = 10
STOP_SECONDS = 60

# Shared within the namespace, so that volumes can be passed on between pods and node.
SETUP = """
root=$1 init=$2
shift 2
for path; do mount --bind "$root$path" "$path"; done
mount --make-rshared /
exec "$init"
"""


def first_process(layout: Layout) -> int | None:
    """The process that keeps the namespace alive, if it is."""
    wanted = str(layout.init_program)
    return next((pid for pid in processes.pids() if processes.executable(pid) == wanted), None)


def other_states(layout: Layout) -> set[Path]:
    """The state directories of running clusters that were started with another one."""
    programs = {Path(processes.executable(pid)) for pid in processes.pids()}
    name = layout.init_program.name
    return {program.parent for program in programs if program.name == name} - {layout.state}


def members(layout: Layout) -> dict[int, list[str]]:
    """The command lines of all processes in the namespace."""
    first = first_process(layout)
    space = processes.pid_namespace(first) if first is not None else ""
    if not space:
        return {}
    inside = (pid for pid in processes.pids() if processes.pid_namespace(pid) == space)
    return {pid: processes.words(pid) for pid in inside}


def create(layout: Layout, pause: Path) -> None:
    """Starts the namespace; the directories to be replaced must exist on the host."""
    layout.logs.mkdir(parents=True, exist_ok=True)
    for path in REPLACED:
        Path(f"{layout.node_files}{path}").mkdir(parents=True, exist_ok=True)
    shutil.copy2(pause, layout.init_program)
    log = layout.logs / "namespace.log"
    argv = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc"]
    argv += ["--", "/bin/sh", "-ec", SETUP, "sh"]
    argv += [str(layout.node_files), str(layout.init_program), *REPLACED]
    with log.open("w") as output:
        starter = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=ENVIRONMENT,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while first_process(layout) is None:
        if starter.poll() is not None or time.monotonic() > deadline:
            raise ClusterError(f"the node's namespace did not start: {tail(log, 10)}")
        time.sleep(0.02)


def start(
    layout: Layout, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None
) -> None:
    """Starts a component in the namespace, where it outlives this program."""
    first = first_process(layout)
    if first is None:
        raise ClusterError(f"cannot start {name}: the node's namespace is gone")
    log = layout.logs / f"{name}.log"
    script = 'log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null &'
    enter = ("nsenter", "--target", str(first), "--mount", "--pid", "--")
    run((*enter, "/bin/sh", "-c", script, "sh", log, *argv), env=ENVIRONMENT | dict(environment or {}))


def destroy(layout: Layout) -> bool:
    """Ends everything in the namespace; tells whether there was anything."""
    first = first_process(layout)
    if first is None:
        return False
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + STOP_SECONDS
    # The kernel lets the first process end only after all the others.
    while processes.alive(first):
        if time.monotonic() > deadline:
            raise ClusterError(f"the node's processes did not end within {STOP_SECONDS}s")
        time.sleep(0.02)
    return True
