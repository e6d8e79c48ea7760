"""The Debian packages that a cluster needs."""

import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from .commands import SYSTEM_PATH, run
from .errors import EXIT_PREREQUISITE, ClusterError
from .reporter import Reporter


@dataclass(frozen=True)
class Package:
    """A Debian package, and a file that shows that it is installed."""

    name: str
    witness: str


CLUSTER_PACKAGES = (
    Package("containerd", "containerd"),
    Package("runc", "runc"),
    Package("containernetworking-plugins", "/usr/lib/cni/bridge"),
    Package("iptables", "iptables"),
    Package("iproute2", "ip"),
    Package("busybox-static", "busybox"),
    Package("openssl", "openssl"),
    Package("util-linux", "nsenter"),
)
# Two runs of apt-get at once: the second would fail, and not wait.
LOCK = Path("/run/lock/mcp-connectors-packages")
IMAGE_PACKAGES = (Package("buildah", "buildah"),)


def installed(packages: tuple[Package, ...]) -> bool:
    """Whether nothing is missing."""
    return all(_installed(package) for package in packages)


def ensure(packages: tuple[Package, ...], reporter: Reporter) -> None:
    """Installs what is missing, or says why it cannot."""
    missing = [package.name for package in packages if not _installed(package)]
    if not missing:
        return
    names = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise ClusterError(
            f"missing programs of these Debian packages: {names}; "
            "this is not a Debian system, so install their equivalents",
            EXIT_PREREQUISITE,
        )
    if os.geteuid() != 0:
        raise ClusterError(
            f"missing Debian packages: {names}; run: sudo apt-get install {names}",
            EXIT_PREREQUISITE,
        )
    with reporter.step(f"installing Debian packages: {names}", expected=30):
        _install(missing)


def _installed(package: Package) -> bool:
    if package.witness.startswith("/"):
        return Path(package.witness).exists()
    return shutil.which(package.witness, path=SYSTEM_PATH) is not None


def _install(names: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run(["apt-get", "-q", "update"], env=environment)
        run(
            ["apt-get", "-q", "install", "--yes", "--no-install-recommends", *names],
            env=environment,
        )
