"""Builds the cluster's programs from the pinned Go modules, once per machine.

Every tool has a module of its own in `tools/`, with its go.mod and go.sum. The
binaries live in the user's cache, in a folder named after the tool, its version
and everything that decides what it becomes.

ARGOCD_VERSION and VAULT_VERSION, such as v3.6.1, take another version than the one in
`tools/`: it is built from the module as it was published, which pins what it is made of
itself, and Go compares all of it with its public record of checksums.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .commands import run, tail
from .errors import EXIT_PREREQUISITE, ClusterError
from .layout import SOURCE, Layout
from .reporter import Reporter

FAILURE_LINES = 40
# Older ones do not know how to fetch the Go version that a module asks for.
OLDEST_GO = (1, 21)


@dataclass(frozen=True)
class Tool:
    """A tools module and the programs that come out of it."""

    name: str
    version: str
    packages: tuple[str, ...]
    seconds: float
    tags: str = ""
    values: tuple[str, ...] = ()
    binaries: tuple[str, ...] = ()
    # Programs that are another one under a name of their own: the name, and the program.
    names: Mapping[str, str] = field(default_factory=dict)
    # Files of the module that are kept beside the programs.
    files: tuple[str, ...] = ()
    # The module to build, of this version and as it was published; empty for the one in `tools/`.
    published: str = ""

    @property
    def module(self) -> Path:
        return SOURCE / "tools" / self.name

    @property
    def programs(self) -> tuple[str, ...]:
        return (*(self.binaries or (self.name,)), *self.names)

    @property
    def flags(self) -> tuple[str, ...]:
        """The build's flags; all of them are written out, so that no setting adds to them."""
        link = " ".join(["-s", "-w", *(f"-X {value}" for value in self.values)])
        return (
            # What a debugger needs is a fifth of the compiler's work, and is not linked in.
            "-gcflags=all=-dwarf=false",
            "-mod=mod" if self.published else "-mod=readonly",
            "-buildvcs=false",
            "-trimpath",
            f"-tags={self.tags}",
            f"-ldflags={link}",
        )

    @property
    def key(self) -> str:
        """The name of the tool's folder in the cache."""
        digest = hashlib.sha256("\n".join(self.flags + self.packages).encode())
        pinned = sorted(self.module.rglob("*.go")) + sorted(self.module.rglob("go.*"))
        for source in () if self.published else pinned:
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
        return f"{self.name}-{self.version}-{digest.hexdigest()[:12]}"


# Go's compiler spends a third of its time collecting garbage that its end would give back: etcd takes 57 s of the processor
# instead of 84. The bound is for each of its processes, of which one runs on each core.
COMPILER = {"GOGC": "off", "GOMEMLIMIT": "2GiB"}
# A module that asks for a newer Go is built with that one, which comes from where modules come from.
SETTINGS = {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "", "GOTOOLCHAIN": "auto"}

KUBERNETES_VERSION = "v1.37.2"
KUBERNETES_SERVERS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
)

KUBERNETES = Tool(
    name="kubernetes",
    version=KUBERNETES_VERSION,
    packages=(".", "k8s.io/kubernetes/cmd/kubectl"),
    seconds=360,
    values=(
        f"k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}",
        "k8s.io/component-base/version.gitMajor=1",
        "k8s.io/component-base/version.gitMinor=37",
        f"k8s.io/client-go/pkg/version.gitVersion={KUBERNETES_VERSION}",
    ),
    binaries=("kubernetes", "kubectl"),
    names=dict.fromkeys(KUBERNETES_SERVERS, "kubernetes"),
)
ETCD = Tool("etcd", "v3.7.0", (".",), seconds=45)
COREDNS = Tool("coredns", "v1.14.7", (".",), seconds=30)
PAUSE = Tool("pause", "1", (".",), seconds=5)


def _in_version(version: str, variable: str, tool: Callable[[str, bool], Tool]) -> Tool:
    """The tool in this version, which is the one in `tools/`, or in the one that the variable names.

    tool: makes it of its version, and of whether it is built from what was published.
    """
    wanted = "v" + (os.environ.get(variable) or version).removeprefix("v")
    return tool(wanted, wanted != version)


def _vault(version: str, published: bool) -> Tool:
    module = "github.com/hashicorp/vault"
    return Tool(
        name="vault",
        version=version,
        packages=(module,),
        seconds=300,
        tags="minimal",
        published=module if published else "",
    )


VAULT = _in_version("v1.21.0", "VAULT_VERSION", _vault)
# The minimal Vault lacks this auth method; the version is that of the whole one.
VAULT_KUBERNETES = Tool(
    name="vault-plugin-auth-kubernetes",
    version="v0.23.0",
    packages=(
        "github.com/hashicorp/vault-plugin-auth-kubernetes/cmd/vault-plugin-auth-kubernetes",
    ),
    seconds=120,
)
HELM = Tool(
    "helm",
    "v4.3.1",
    ("helm.sh/helm/v4/cmd/helm",),
    seconds=105,
    values=("helm.sh/helm/v4/internal/version.version=v4.3.1",),
)


def _argocd(version: str, published: bool) -> Tool:
    module = f"github.com/argoproj/argo-cd/{version.split('.')[0]}"
    return Tool(
        name="argocd",
        version=version,
        packages=(f"{module}/cmd",),
        seconds=330,
        values=(f"{module}/common.version={version.removeprefix('v')}",),
        binaries=("cmd",),
        # Versions since 3.6 run the script for every commit.
        files=("manifests/install.yaml", "hack/git-verify-wrapper.sh"),
        published=module if published else "",
    )


ARGOCD = _in_version("v3.6.1", "ARGOCD_VERSION", _argocd)
KSTATUS = Tool("kstatus", "v1.2.2", (".",), seconds=30)
# With what a driver needs beside it on a node; see the tool's main.go.
SECRETS_STORE = Tool(
    name="secrets-store",
    version="v1.6.0",
    packages=("sigs.k8s.io/secrets-store-csi-driver/cmd/secrets-store-csi-driver", "."),
    seconds=90,
    values=("sigs.k8s.io/secrets-store-csi-driver/pkg/version.BuildVersion=v1.6.0",),
    binaries=("secrets-store-csi-driver", "secrets-store"),
    files=(
        "deploy/secrets-store.csi.x-k8s.io_secretproviderclasses.yaml",
        "deploy/secrets-store.csi.x-k8s.io_secretproviderclasspodstatuses.yaml",
        "deploy/csidriver.yaml",
    ),
)

CLUSTER_TOOLS = (PAUSE, ETCD, COREDNS, KUBERNETES)
GROUPS: dict[str, tuple[Tool, ...]] = {
    "cluster": CLUSTER_TOOLS,
    "argocd": (*CLUSTER_TOOLS, ARGOCD),
    "vault": (*CLUSTER_TOOLS, VAULT, VAULT_KUBERNETES),
    "test": (*CLUSTER_TOOLS, VAULT, VAULT_KUBERNETES, HELM, ARGOCD, KSTATUS, SECRETS_STORE),
}
ALL_TOOLS = GROUPS["test"]


def select(names: Sequence[str]) -> tuple[Tool, ...]:
    """The tools that are called or contain one of the names."""
    known = {name for tool in ALL_TOOLS for name in (tool.name, *tool.programs)}
    unknown = sorted(set(names) - known)
    if unknown:
        raise ClusterError(
            f"unknown tool: {', '.join(unknown)}; known are {', '.join(sorted(known))}",
            EXIT_PREREQUISITE,
        )
    return tuple(tool for tool in ALL_TOOLS if {tool.name, *tool.programs} & set(names))


def folder(layout: Layout, tool: Tool) -> Path:
    """Where the tool's binaries are, built or not."""
    return layout.cache / "bin" / tool.key


def sizes_file(layout: Layout, tool: Tool) -> Path:
    """Where it stands how large each of the tool's files was when it was built.

    Not among them: Vault takes whatever lies beside a plugin for one, too.
    """
    return layout.cache / "sizes" / f"{tool.key}.json"


def is_built(layout: Layout, tool: Tool) -> bool:
    """Whether the cache has the tool, with every file as large as it was built."""
    there = folder(layout, tool)
    try:
        sizes: dict[str, int] = json.loads(sizes_file(layout, tool).read_text())
    except FileNotFoundError:
        # One of before sizes were written down.
        return all(_size(there / name) > 0 for name in tool.programs)
    except ValueError:
        return False
    return all(_size(there / name) == size for name, size in sizes.items())


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _write_sizes(layout: Layout, tool: Tool, there: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in there.iterdir()}
    file = sizes_file(layout, tool)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(sizes, indent=1) + "\n")


def program(layout: Layout, tool: Tool, name: str = "") -> Path:
    """The path of one built program."""
    path = folder(layout, tool) / (name or tool.name)
    if not path.exists():
        raise ClusterError(
            f"{path.name} {tool.version} is not built; run: "
            f"{layout.program} build --only {tool.name}"
        )
    return path


def ensure(layout: Layout, tools: Sequence[Tool], reporter: Reporter) -> None:
    """Builds what the cache does not have."""
    missing = [tool for tool in tools if not is_built(layout, tool)]
    for tool in tools:
        there = folder(layout, tool)
        if tool in missing and there.is_dir():
            reporter.say(f"{there} is broken: not all files are as they were built; building again")
        elif tool not in missing and not sizes_file(layout, tool).exists():
            _write_sizes(layout, tool, there)
    if not missing:
        return
    _require_go()
    for position, tool in enumerate(missing):
        later = sum(other.seconds for other in missing[position + 1 :])
        with _lock(layout, tool, reporter):
            if not is_built(layout, tool):
                title = f"building {tool.name} {tool.version} ({position + 1} of {len(missing)})"
                with reporter.step(title, tool.seconds, later):
                    _build(layout, tool)


def _require_go() -> None:
    if shutil.which("go") is None:
        raise ClusterError("the go program is not in PATH; install Go", EXIT_PREREQUISITE)
    answer = run(["go", "env", "GOVERSION"], env={**os.environ, "GOTOOLCHAIN": "local"}).strip()
    found = re.match(r"go(\d+)\.(\d+)", answer)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_GO:
        wanted = ".".join(map(str, OLDEST_GO))
        raise ClusterError(f"Go {wanted} or newer is needed, not {answer}", EXIT_PREREQUISITE)


@contextmanager
def _lock(layout: Layout, tool: Tool, reporter: Reporter) -> Iterator[None]:
    """Keeps two builds from making the same thing at once."""
    locks = layout.cache / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / f"{tool.name}.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            with reporter.step(f"waiting for another build of {tool.name} (process {holder})"):
                fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _build(layout: Layout, tool: Tool) -> None:
    """Builds into a folder of another name first: a killed build leaves no half tool."""
    final = folder(layout, tool)
    final.parent.mkdir(parents=True, exist_ok=True)
    unfinished = final.with_name(f".{tool.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    log = layout.cache / "logs" / f"{tool.key}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    argv = ["go", "build", *tool.flags, "-o", f"{unfinished}/", *tool.packages]
    environment = {**os.environ, **COMPILER, **SETTINGS}
    source = _published(layout, tool, environment) if tool.published else tool.module
    with log.open("w") as output:
        done = subprocess.run(
            argv,
            cwd=source,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise ClusterError(
            f"building {tool.name} failed; the last lines of {log}:\n{tail(log, FAILURE_LINES)}"
        )
    for file in tool.files:
        shutil.copy(_module_folder(tool, source, environment) / file, unfinished)
    for name, program in tool.names.items():
        (unfinished / name).symlink_to(program)
    if tool.published:
        shutil.rmtree(source)
    _write_sizes(layout, tool, unfinished)
    # A broken one.
    shutil.rmtree(final, ignore_errors=True)
    unfinished.rename(final)


def _published(layout: Layout, tool: Tool, environment: dict[str, str]) -> Path:
    """Makes a copy of the tool's module as it was published, to build in."""
    words = ["go", "mod", "download", "-json", f"{tool.published}@{tool.version}"]
    module = json.loads(run(words, env=environment))
    source = layout.cache / "sources" / tool.key
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(module["Dir"], source)
    # Go keeps what it downloads read-only.
    for path in (source, *source.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    edit = ["go", "-C", str(source), "mod", "edit"]
    replaced = json.loads(run([*edit, "-json"], env=environment)).get("Replace") or []
    # What lies beside it in its repository is published as modules of their own, in the versions that it requires.
    beside = [one["Old"]["Path"] for one in replaced if one["New"]["Path"].startswith("./")]
    if beside:
        run([*edit, *(f"-dropreplace={path}" for path in beside)], env=environment)
    return source


def _module_folder(tool: Tool, source: Path, environment: dict[str, str]) -> Path:
    """Where Go keeps the sources of the module that the tool's first package is of."""
    mode = "-mod=mod" if tool.published else "-mod=readonly"
    words = ["go", "-C", str(source), "list", mode, "-f", "{{.Module.Dir}}", tool.packages[0]]
    return Path(run(words, env=environment).strip())
