"""Bringing the cluster up, taking it down, and telling how it is."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import (
    api,
    build,
    components,
    host,
    images,
    namespace,
    packages,
    pki,
)
from .commands import tail
from .errors import EXIT_OTHER_OWNER, EXIT_PREREQUISITE, ClusterError
from .layout import SOURCE, STATE_VARIABLE, Layout
from .reporter import Reporter

# A name in the kernel instead of a lock file: it goes with the process that holds it.
LOCK_NAME = "\0mcp-connectors-e2e-cluster"
START_SECONDS = {"kube-apiserver": 60, "node": 60, "coredns": 90}
DEFAULT_START_SECONDS = 30
# After an outage of the API server the kubelet's own connections take up to a minute and a half.
RECOVERY_SECONDS = 240
LOG_LINES = 15


def up(layout: Layout, reporter: Reporter, keep: bool = False) -> None:
    """Makes sure that a healthy cluster of this checkout runs.

    One that stays broken is replaced, or an error if it is to be kept.
    """
    _require_root()
    packages.ensure(packages.CLUSTER_PACKAGES, reporter)
    with _lock(reporter):
        _require_no_other(layout)
        if _reuse(layout, reporter, keep):
            return
        build.ensure(layout, build.CLUSTER_TOOLS, reporter)
        if host.remains(layout):
            with reporter.step("cleaning up what an earlier cluster left"):
                _remove(layout)
        _require_free_host()
        with reporter.step("starting the cluster", expected=12):
            _start(layout, reporter)


def down(layout: Layout, reporter: Reporter, force: bool) -> None:
    """Ends the cluster and takes away everything that it left on the machine."""
    _require_root()
    with _lock(reporter):
        _require_no_other(layout)
        if not host.remains(layout) and namespace.first_process(layout) is None:
            reporter.say("there is no cluster")
            return
        running = namespace.first_process(layout) is not None
        if running and not force and not _is_ours(layout):
            raise ClusterError(_other_owner(layout), EXIT_OTHER_OWNER)
        with reporter.step("taking the cluster down", expected=5):
            _remove(layout)


def status(layout: Layout, reporter: Reporter) -> bool:
    """Says what runs, and whether all of it works."""
    _require_root()
    members = namespace.members(layout)
    if not members:
        left = " (but something of an earlier one is left)" if host.remains(layout) else ""
        reporter.say(f"no cluster is up{left}")
        return False
    record = _read_record(layout)
    reporter.say(f"cluster of {record.get('owner', 'an unknown checkout')}")
    found = components.problems(layout)
    started = {words[0]: pid for pid, words in members.items() if words}
    for component in components.all_components(layout):
        pid = started.get(component.argv[0])
        where = f"process {pid}" if pid else "not running"
        reporter.say(f"  {component.name}: {where}, {found.get(component.name, 'works')}")
    for part in ("node", "coredns"):
        reporter.say(f"  {part}: {found.get(part, 'works')}")
    return not found


def obstacle(layout: Layout) -> str | None:
    """Why `up` would refuse, as far as can be told without changing anything."""
    try:
        _require_root()
        _require_no_other(layout)
        if namespace.first_process(layout) is not None:
            _require_usable(layout)
        elif packages.installed(packages.CLUSTER_PACKAGES) and not host.remains(layout):
            _require_free_host()
    except ClusterError as error:
        return str(error)
    return None


def require_running(layout: Layout) -> None:
    """Refuses to go on without a cluster."""
    _require_root()
    if namespace.first_process(layout) is None:
        raise ClusterError(f"no cluster is up; run: {layout.program} up")


def wait(
    what: str, seconds: float, problem: Callable[[], str | None], interval: float = 0.1
) -> None:
    """Waits until there is no problem any more."""
    deadline = time.monotonic() + seconds
    while (found := components.check(problem)) is not None:
        if time.monotonic() > deadline:
            raise ClusterError(f"{what} did not get ready within {seconds:g}s: {found}")
        time.sleep(interval)


def _require_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "this needs root: a cluster has namespaces, links and packet filter rules",
            EXIT_PREREQUISITE,
        )


def _require_no_other(layout: Layout) -> None:
    """There is one network for a cluster, however many state directories there are."""
    for state in sorted(namespace.other_states(layout)):
        raise ClusterError(
            f"a cluster with the state directory {state} is running; "
            f"set {STATE_VARIABLE}={state} to use it or to take it down",
            EXIT_OTHER_OWNER,
        )


def _require_usable(layout: Layout) -> None:
    """A running cluster is this checkout's, in the same versions."""
    if not _is_ours(layout):
        raise ClusterError(_other_owner(layout), EXIT_OTHER_OWNER)
    if _read_record(layout).get("versions") != _versions():
        raise ClusterError(
            "the running cluster has other versions than this checkout; "
            f"run `{layout.program} down` first, which loses what is in it"
        )


def _require_free_host() -> None:
    conflicts = host.conflicts()
    if conflicts:
        reasons = "\n".join(f"  - {conflict}" for conflict in conflicts)
        raise ClusterError(f"the machine is not free for a cluster:\n{reasons}")


@contextmanager
def _lock(reporter: Reporter) -> Iterator[None]:
    """Lets one `up` or `down` of the whole machine work at a time."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
        if not _try_lock(lock):
            with reporter.step("waiting for another up or down on this machine"):
                while not _try_lock(lock):
                    time.sleep(0.2)
        yield


def _try_lock(lock: socket.socket) -> bool:
    try:
        lock.bind(LOCK_NAME)
    except OSError:
        return False
    return True


def _versions() -> list[str]:
    return sorted(tool.key for tool in build.CLUSTER_TOOLS)


def _read_record(layout: Layout) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(layout.owner_record.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return record


def _is_ours(layout: Layout) -> bool:
    return _read_record(layout).get("owner") == str(layout.checkout)


def _other_owner(layout: Layout) -> str:
    owner = _read_record(layout).get("owner", "an unknown checkout")
    there = Path(owner) / layout.program.relative_to(layout.checkout)
    return (
        f"the cluster of {owner} is running; using it would disturb it. "
        f"Run `{there} down` there, or `{layout.program} down --force` here, "
        f"or set KUBECONFIG={layout.kubeconfig} to share it"
    )


def _reuse(layout: Layout, reporter: Reporter, keep: bool) -> bool:
    """Whether a running cluster is just what is asked for; others are an error."""
    if namespace.first_process(layout) is None:
        return False
    _require_usable(layout)
    found = components.problems(layout) if layout.kubeconfig.exists() else {"start": "unfinished"}
    if found and layout.kubeconfig.exists():
        found = _recover(layout, reporter, found)
    if found and keep:
        raise ClusterError(f"the running cluster does not work: {_join(found)}")
    if found:
        reporter.say(f"the running cluster does not work ({_join(found)}); starting a new one")
        return False
    reporter.say("the cluster is up already")
    return True


def _recover(layout: Layout, reporter: Reporter, found: dict[str, str]) -> dict[str, str]:
    """Starts what has ended again, with its data, and gives the rest some time."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    with reporter.step(f"mending the running cluster ({_join(found)})", expected=10):
        while found and time.monotonic() < deadline:
            # Each time: what has been started ends again if what it needs is not there soon enough.
            for component in _missing(layout):
                components.start(layout, component)
            # Long enough for a new process to have become its program.
            time.sleep(2)
            found = components.problems(layout)
    return found


def _missing(layout: Layout) -> list[components.Component]:
    started = {words[0] for words in namespace.members(layout).values() if words}
    return [
        component
        for component in components.all_components(layout)
        if component.argv[0] not in started
    ]


def _join(problems: dict[str, str]) -> str:
    return "; ".join(f"{name}: {problem}" for name, problem in problems.items())


def _remove(layout: Layout) -> None:
    namespace.destroy(layout)
    host.restore(layout)


def _start(layout: Layout, reporter: Reporter) -> None:
    layout.state.mkdir(parents=True)
    layout.data.mkdir(parents=True)
    # The record comes first: whatever happens from here on can be cleaned up.
    record = {"owner": str(layout.checkout), "versions": _versions()}
    layout.owner_record.write_text(json.dumps(record, indent=1) + "\n")
    with reporter.step("preparing the machine and the certificates"):
        host.prepare(layout)
        pki.create_all(layout)
        components.write_configuration(layout)
        namespace.create(layout, build.program(layout, build.PAUSE))
    _start_control_plane(layout, reporter)
    _start_node(layout, reporter)
    # Its existence tells that the start was completed.
    pki.write_kubeconfig(layout, "admin", layout.kubeconfig)
    with reporter.step("starting CoreDNS", expected=3):
        api.apply(layout, components.render(layout, SOURCE / "config" / "coredns.yaml"))
        _wait_for(layout, "coredns", lambda: components.dns_problem(layout))


def _start_control_plane(layout: Layout, reporter: Reporter) -> None:
    with reporter.step("starting etcd, containerd and the API server", 6, later=5):
        first = [components.etcd(layout), components.containerd(layout)]
        _start_all(layout, first)
        server = components.apiserver(layout)
        components.start(layout, server)
        # The images go in while the API server is starting.
        for image in components.system_images(layout):
            images.load(layout, image)
        _wait_for(layout, server.name, server.problem)


def _start_node(layout: Layout, reporter: Reporter) -> None:
    with reporter.step("starting the controllers and the node", 2, later=3):
        _start_all(
            layout,
            [
                components.controller_manager(layout),
                components.scheduler(layout),
                components.kubelet(layout),
                components.proxy(layout),
            ],
        )
        _wait_for(layout, "node", lambda: components.node_problem(layout))


def _start_all(layout: Layout, group: Sequence[components.Component]) -> None:
    for component in group:
        components.start(layout, component)
    for component in group:
        _wait_for(layout, component.name, component.problem)


def _wait_for(layout: Layout, name: str, problem: Callable[[], str | None]) -> None:
    try:
        wait(name, START_SECONDS.get(name, DEFAULT_START_SECONDS), problem)
    except ClusterError as error:
        log = layout.logs / f"{name}.log"
        shown = f"\nthe last lines of {log}:\n{tail(log, LOG_LINES)}" if log.exists() else ""
        raise ClusterError(f"{error}{shown}\nall logs are in {layout.logs}") from error
