"""What a cluster changes on the machine: written down first, put back later."""

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import accounting, cgroups, firewall, namespace, network
from .commands import run
from .errors import ClusterError
from .layout import DEFAULT_DATA, DEFAULT_STATE, Layout
from .settings import CHAIN_PREFIX

SYSCTL = Path("/proc/sys")
FORWARDING = "net/ipv4/ip_forward"
FORWARDING_6 = "net/ipv6/conf/all/forwarding"
# What forwarding sets of every interface.
SET_BY_FORWARDING = (
    "net/ipv4/conf/*/forwarding",
    "net/ipv4/conf/*/accept_redirects",
    "net/ipv6/conf/*/forwarding",
)
# Whether an interface takes its routes from routers: 1 if it does unless it forwards, 2 if it does.
ROUTES_OF_ROUTERS = "net/ipv6/conf/*/accept_ra"
# The bridge's module may be missing; then there is nothing that filters bridged packets.
REQUIRED = {FORWARDING: "1", "net/bridge/bridge-nf-call-iptables": "1"}
REQUIRED_6 = {FORWARDING_6: "1", "net/bridge/bridge-nf-call-ip6tables": "1"}
# Every pod needs a few; the kernel's default of 128 is soon used up.
AT_LEAST = {"fs/inotify/max_user_instances": 1024}
# The kubelet sets these as it likes.
CHANGED_BY_KUBELET = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)


@dataclass
class HostRecord:
    """The machine as it was before the cluster."""

    sysctls: dict[str, str] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    created_directories: list[str] = field(default_factory=list)


def prepare(layout: Layout) -> None:
    """Writes down what is there, then makes the machine ready for a node."""
    record = HostRecord(
        sysctls=_read_sysctls(),
        chains={family: sorted(found) for family, found in firewall.chains().items()},
        created_directories=_missing_directories(),
    )
    layout.host_record.write_text(json.dumps(asdict(record), indent=1) + "\n")
    for directory in record.created_directories:
        Path(directory).mkdir(exist_ok=True)
    _set_sysctls()
    cgroups.create()
    network.create_bridge()
    firewall.add_own_rules()


def restore(layout: Layout) -> None:
    """Puts the machine back; the node's processes must have ended."""
    _require_own(layout)
    record = _load(layout)
    network.remove_bridge()
    firewall.remove({family: set(kept) for family, kept in record.chains.items()})
    accounting.remove_counters()
    cgroups.remove()
    _write_sysctls(record.sysctls)
    _unmount_below(layout.data, layout.state)
    for directory in (layout.data, layout.state):
        if directory.exists():
            shutil.rmtree(directory)
        if directory in (DEFAULT_DATA, DEFAULT_STATE):
            _remove_if_empty(directory.parent)
    for name in reversed(record.created_directories):
        _remove_if_empty(Path(name))


def remains(layout: Layout) -> bool:
    """Whether anything of a cluster is left on the machine."""
    return (
        layout.state.exists()
        or layout.data.exists()
        or network.bridge_exists()
        or cgroups.exists()
        or _has_own_chains(firewall.chains())
    )


def conflicts() -> list[str]:
    """What of others stands in the way; asked for when nothing of ours is left."""
    found = network.conflicts()
    kubernetes = {
        chain
        for chains in firewall.chains().values()
        for chain in chains
        if chain.partition("/")[2].startswith(firewall.KUBERNETES_PREFIX)
    }
    if kubernetes:
        found.append("there are packet filter chains of another Kubernetes node (KUBE-...)")
    return found


def _require_own(layout: Layout) -> None:
    """Never removes a directory that somebody chose by mistake."""
    state = layout.state
    if state.exists() and not layout.owner_record.exists() and any(state.iterdir()):
        raise ClusterError(f"{state} holds something that is no cluster; choose another one")


def _has_own_chains(chains: dict[str, set[str]]) -> bool:
    return any(f"/{CHAIN_PREFIX}-" in chain for found in chains.values() for chain in found)


def _load(layout: Layout) -> HostRecord:
    try:
        return HostRecord(**json.loads(layout.host_record.read_text()))
    except FileNotFoundError:
        return HostRecord()
    except (ValueError, TypeError) as error:
        raise ClusterError(f"{layout.host_record} cannot be read: {error}") from error


def _read_sysctls() -> dict[str, str]:
    """In the order to put them back: forwarding sets some of every interface."""
    dependent = sorted(name for pattern in SET_BY_FORWARDING for name in _sysctls(pattern))
    names = [
        *(FORWARDING, FORWARDING_6),
        *dependent,
        *_sysctls(ROUTES_OF_ROUTERS),
        *REQUIRED,
        *REQUIRED_6,
        *AT_LEAST,
        *CHANGED_BY_KUBELET,
    ]
    return {
        name: (SYSCTL / name).read_text().strip()
        for name in dict.fromkeys(names)
        if (SYSCTL / name).exists()
    }


def _sysctls(pattern: str) -> list[str]:
    return sorted(str(path.relative_to(SYSCTL)) for path in SYSCTL.glob(pattern))


def _set_sysctls() -> None:
    wanted = {}
    if network.has_ipv6():
        # First of all: a machine that begins to forward forgets the routes of its routers.
        taking = [n for n in _sysctls(ROUTES_OF_ROUTERS) if (SYSCTL / n).read_text().strip() == "1"]
        wanted = dict.fromkeys(taking, "2") | REQUIRED_6
    wanted |= REQUIRED
    for name, least in AT_LEAST.items():
        if int((SYSCTL / name).read_text()) < least:
            wanted[name] = str(least)
    _write_sysctls(wanted)


def _write_sysctls(values: dict[str, str]) -> None:
    for name, value in values.items():
        path = SYSCTL / name
        if path.exists() and path.read_text().strip() != value:
            path.write_text(value)


def _missing_directories() -> list[str]:
    """The mount points that the namespace needs and the host lacks, with their parents."""
    missing: dict[str, None] = {}
    for name in namespace.REPLACED:
        path = Path(name)
        for directory in (*reversed(path.parents), path):
            if not directory.exists():
                missing[str(directory)] = None
    return list(missing)


def _unmount_below(*directories: Path) -> None:
    """A mount in the namespace goes with it; this is for ones made by hand."""
    roots = tuple(f"{directory}/" for directory in directories)
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    for point in reversed([line.split()[4] for line in lines]):
        if point.startswith(roots):
            run(["umount", "--lazy", point])


def _remove_if_empty(directory: Path) -> None:
    # It may have gone already, or be in use by others by now.
    with suppress(OSError):
        directory.rmdir()
