"""Where the program keeps its files."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import EXIT_PREREQUISITE, ClusterError

STATE_VARIABLE = "MCP_CONNECTORS_CLUSTER_DIR"
DEFAULT_STATE = Path("/run/mcp-connectors/cluster")
# /run is often a small memory file system: what grows lives on the disk.
DEFAULT_DATA = Path("/var/lib/mcp-connectors/cluster")
# The name of a Unix socket has at most 107 characters; containerd's is the longest.
LONGEST_STATE_PATH = 60

SOURCE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Layout:
    """The paths of one cluster, and of the cache that all checkouts share."""

    checkout: Path
    state: Path
    data: Path
    cache: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Layout":
        """Paths for this checkout, as the environment asks for."""
        chosen = environment.get(STATE_VARIABLE)
        state = Path(chosen) if chosen else DEFAULT_STATE
        if not state.is_absolute() or len(str(state)) > LONGEST_STATE_PATH:
            raise ClusterError(
                f"{STATE_VARIABLE} must be an absolute path of at most "
                f"{LONGEST_STATE_PATH} characters, not {str(state)!r}",
                EXIT_PREREQUISITE,
            )
        home = environment.get("XDG_CACHE_HOME")
        cache = Path(home) if home else Path.home() / ".cache"
        return cls(
            checkout=SOURCE.parent.parent,
            state=state,
            data=state / "data" if chosen else DEFAULT_DATA,
            cache=cache / "mcp-connectors",
        )

    @property
    def program(self) -> Path:
        """The program's entry point, for messages that say what to run."""
        return self.checkout / "e2e" / "cluster" / "cluster"

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def owner_record(self) -> Path:
        return self.state / "cluster.json"

    @property
    def host_record(self) -> Path:
        return self.state / "host.json"

    @property
    def init_program(self) -> Path:
        """The first process of the node's namespace; its path identifies the cluster."""
        return self.state / "mcp-connectors-node-init"

    @property
    def logs(self) -> Path:
        return self.data / "log"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.log"

    @property
    def node_files(self) -> Path:
        """What the node's components see in place of the host's own directories."""
        return self.data / "node"

    @property
    def containerd_socket(self) -> Path:
        return Path(f"{self.node_files}/run/containerd/containerd.sock")
