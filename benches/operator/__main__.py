"""The operator against a control plane without nodes: etcd, API server and controller manager, and no pod ever starts.

Measures a burst of connectors until all their objects exist, what is written for it and afterwards, memory, a restart,
what it costs that each connector has a CredentialSource of its own, and how the Lease passes on. Everything is read from
the API server's audit log. The control plane runs in a network namespace of its own, which is gone when the last process
in it is, so that nothing meets a cluster on this machine.
"""

import argparse
import base64
import http.client
import itertools
import json
import os
import random
import re
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from benches.support import (
    CLONE_NEWNET,
    LIBC,
    ROOT,
    child_setup,
    commit,
    cpu_seconds,
    end_in_order,
    machine,
    memory,
    percentile,
    product,
    run,
    say,
    spread,
    stop,
    system_call,
    table,
    wait_until_quiet,
    write_results,
)

sys.path.insert(0, str(ROOT / "e2e" / "cluster"))
from testcluster import build, pki  # noqa: E402
from testcluster.layout import Layout  # noqa: E402

ADDRESS = "198.18.64.1"
GROUP = "/apis/mcp-connectors.io/v1alpha1/namespaces/bench"
OPERATOR = "bench-operator"
OWNED = {"deployments", "services", "configmaps", "serviceaccounts", "networkpolicies", "poddisruptionbudgets"}
PATHS = {"deployments": "apps/v1", "networkpolicies": "networking.k8s.io/v1", "poddisruptionbudgets": "policy/v1"}
PROGRAMS = ("operator-0", "kube-apiserver", "etcd", "kube-controller-manager")
WRITES = {"create", "update", "patch", "delete", "deletecollection"}
ASIDE = {"leases", "events"}
POLICY = f"""
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
  - level: Metadata
    users: [{OPERATOR}, bench-admin]
    verbs: [create, update, patch, delete, deletecollection]
  - level: None
"""


@dataclass(frozen=True)
class Write:
    """A request that changes something."""

    user: str
    verb: str
    resource: str
    name: str
    code: int
    at: float


@dataclass
class Plane:
    """A control plane and what is known of it."""

    folder: Path
    stack: ExitStack
    kubernetes: Path
    writes: list[Write]
    offset: int = 0
    programs: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def kubeconfig(self, name: str, common_name: str, organisation: str = "system:masters") -> Path:
        """A kubeconfig for a new identity."""
        pki.issue(self.folder, pki.Identity(name, common_name, organisation, pki.LOCAL))

        def data(file: str) -> str:
            return base64.b64encode((self.folder / file).read_bytes()).decode()

        user = {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")}
        cluster = {"server": f"https://{ADDRESS}:6443", "certificate-authority-data": data("ca.crt")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bench", "cluster": cluster}],
            "users": [{"name": "bench", "user": user}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
            "current-context": "bench",
        }
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def spawn(self, name: str, argv: list[str], environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Starts a program that ends with us."""
        log = (self.folder / f"{name}.log").open("ab")
        env = {**os.environ, **(environment or {})}
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, preexec_fn=child_setup()
        )
        self.stack.callback(stop, process)
        self.programs[name] = process
        return process

    def cpu(self) -> dict[str, float]:
        """CPU seconds that each program that still runs has used."""
        return {name: cpu_seconds(process.pid) for name, process in self.programs.items() if process.poll() is None}

    def connection(self) -> http.client.HTTPSConnection:
        """A connection as the administrator."""
        context = ssl.create_default_context(cafile=self.folder / "ca.crt")
        context.load_cert_chain(self.folder / "admin.crt", self.folder / "admin.key")
        return http.client.HTTPSConnection(ADDRESS, 6443, context=context, timeout=30)

    def send(self, connection: http.client.HTTPSConnection, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One request to the API server."""
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"the API server answered {answer.status} to {method} {path}: {content[:500]!r}")
        found: dict[str, Any] = json.loads(content)
        return found

    def read_audit(self) -> list[Write]:
        """Reads on in the audit log, and gives all writes."""
        with (self.folder / "audit.log").open("rb") as log:
            log.seek(self.offset)
            data = log.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            event = json.loads(line)
            thing = event.get("objectRef", {})
            if event["verb"] in WRITES and event["stage"] == "ResponseComplete":
                resource = "/".join(filter(None, (thing.get("resource"), thing.get("subresource"))))
                at = datetime.fromisoformat(event["stageTimestamp"]).timestamp()
                code = event["responseStatus"]["code"]
                user = event["user"]["username"]
                self.writes.append(Write(user, event["verb"], resource, thing.get("name", ""), code, at))
        return self.writes

    def by_operator(self, since: float = 0, until: float = float("inf")) -> list[Write]:
        """The operator's writes in a time, Leases and Events aside."""
        self.read_audit()
        return [
            write
            for write in self.writes
            if write.user == OPERATOR and since <= write.at < until and write.resource not in ASIDE
        ]


def wait(what: str, condition: Callable[[], bool], seconds: float = 60, pause: float = 0.05) -> None:
    """Waits for a condition; not being able to ask is no."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (OSError, http.client.HTTPException):
            pass
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not come about in {seconds:.0f} s")
        time.sleep(pause)


def page(port: int, path: str) -> str:
    """A page of an operator."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read().decode() if answer.status == 200 else ""
    finally:
        connection.close()


def start_plane(stack: ExitStack) -> Plane:
    """Starts a control plane in a new network namespace and installs the CRDs."""
    layout = Layout.from_environment()
    system_call(LIBC.unshare(CLONE_NEWNET), "unshare")
    run(["ip", "link", "set", "lo", "up"])
    run(["ip", "address", "add", f"{ADDRESS}/32", "dev", "lo"])
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mcp-bench-")))
    kubernetes = build.folder(layout, build.KUBERNETES)
    plane = Plane(folder, stack, kubernetes, [])
    pki.authority(folder, "bench")
    pki.issue(folder, pki.Identity("apiserver", "kube-apiserver", names=(*pki.LOCAL, f"IP:{ADDRESS}")))
    run(["openssl", "genrsa", "-out", folder / "sa.key", "2048"])
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "audit.log").touch()
    admin = plane.kubeconfig("admin", "bench-admin")
    etcd = "http://127.0.0.1:2379"
    plane.spawn(
        "etcd",
        [
            str(build.folder(layout, build.ETCD) / "etcd"),
            f"--data-dir={folder}/etcd",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ],
    )
    plane.spawn(
        "kube-apiserver",
        [
            str(kubernetes / "kube-apiserver"),
            f"--bind-address={ADDRESS}",
            f"--advertise-address={ADDRESS}",
            "--secure-port=6443",
            f"--tls-cert-file={folder}/apiserver.crt",
            f"--tls-private-key-file={folder}/apiserver.key",
            f"--client-ca-file={folder}/ca.crt",
            f"--etcd-servers={etcd}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder}/sa.key",
            f"--service-account-signing-key-file={folder}/sa.key",
            "--authorization-mode=RBAC",
            f"--audit-policy-file={folder}/policy.yaml",
            f"--audit-log-path={folder}/audit.log",
            "--audit-log-mode=blocking",
            "--audit-log-maxsize=4096",
        ],
    )

    def ready() -> bool:
        connection = plane.connection()
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200

    wait("the API server", ready)
    manager = plane.kubeconfig("manager", "system:kube-controller-manager")
    plane.spawn(
        "kube-controller-manager",
        [
            str(kubernetes / "kube-controller-manager"),
            f"--kubeconfig={manager}",
            "--leader-elect=false",
            f"--root-ca-file={folder}/ca.crt",
            f"--service-account-private-key-file={folder}/sa.key",
            "--use-service-account-credentials=false",
            # As in the test cluster: with the default of 20 a second its own part would take minutes.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ],
    )
    environment = {**os.environ, "KUBECONFIG": str(admin), "HOME": str(folder)}
    kubectl = str(kubernetes / "kubectl")
    crds = (f"--filename={ROOT}/crds/{kind}.yaml" for kind in ("credentialsources", "mcpconnectors"))
    run([kubectl, "apply", "--server-side", *crds], env=environment)
    run([kubectl, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"], env=environment)
    for name in ("bench", "bench-system"):
        run([kubectl, "create", "namespace", name], env=environment)
    plane.kubeconfig("operator", OPERATOR)
    (folder / "token").write_text("bench")
    return plane


def start_operator(plane: Plane, binary: Path, name: str, port: int) -> subprocess.Popen[bytes]:
    """Starts a replica of the operator."""
    words = [str(binary), "operator", "--connector-image=bench.invalid/mcp-connectors:bench", f"--instance={name}"]
    words += ["--operator-namespace=bench-system", "--operator-service-account=operator"]
    words += [f"--address=127.0.0.1:{port}", f"--token-file={plane.folder}/token"]
    return plane.spawn(name, words, {"KUBECONFIG": str(plane.folder / "operator.kubeconfig")})


def holder(plane: Plane, connection: http.client.HTTPSConnection) -> str:
    """Who holds the Lease; empty if nobody does."""
    leases = plane.send(connection, "GET", "/apis/coordination.k8s.io/v1/namespaces/bench-system/leases")
    return next((lease["spec"].get("holderIdentity") or "" for lease in leases["items"]), "")


def reconciled(port: int) -> int:
    """Connectors that were reconciled with success since the replica started."""
    found = re.search(
        r'reconcile_total\{(?=[^}]*controller="mcpconnector")(?=[^}]*result="success")[^}]*\} (\d+)',
        page(port, "/metrics"),
    )
    return int(found[1]) if found else 0


def apply_burst(plane: Plane, count: int, per_source: int) -> None:
    """Creates the sources, then all connectors at once over eight connections."""
    connection = plane.connection()
    sources = -(-count // per_source)
    for number in range(sources):
        source = {
            "apiVersion": "mcp-connectors.io/v1alpha1",
            "kind": "CredentialSource",
            "metadata": {"name": f"source-{number}"},
            "spec": {"hosts": ["vault.example.com"], "secret": {"name": "vault", "items": {"token": "token"}}},
        }
        plane.send(connection, "POST", f"{GROUP}/credentialsources", source)
    time.sleep(2)

    def create(part: range) -> None:
        own = plane.connection()
        for number in part:
            connector = {
                "apiVersion": "mcp-connectors.io/v1alpha1",
                "kind": "McpConnector",
                "metadata": {"name": f"c{number:04}"},
                "spec": {
                    "platform": {"vault": {"url": "https://vault.example.com:8200"}},
                    "credentials": {"name": f"source-{number // per_source}"},
                },
            }
            plane.send(own, "POST", f"{GROUP}/mcpconnectors", connector)

    threads = [threading.Thread(target=create, args=(range(first, count, 8),)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@dataclass
class Burst:
    """What a burst came to."""

    count: int
    sources: int
    seconds: list[float]
    overall: float
    applied: float
    settled: float
    writes: list[Write]
    events: int
    base_memory: float
    settled_memory: float
    peak_memory: float
    cpu: dict[str, float]
    owned: set[str]


def measure_burst(plane: Plane, process: subprocess.Popen[bytes], count: int, per_source: int) -> Burst:
    """Applies connectors and follows them until nothing is written any more."""
    time.sleep(5)
    base, used = memory(process.pid), plane.cpu()
    since = time.time()
    apply_burst(plane, count, per_source)
    existing: dict[str, dict[str, float]] = {}

    def is_settled() -> bool:
        existing.clear()
        writes = plane.by_operator(since)
        for write in writes:
            if write.resource in OWNED and write.code in (200, 201):
                existing.setdefault(write.name, {}).setdefault(write.resource, write.at)
        last = max((write.at for write in writes), default=since)
        wanted = {resource for found in existing.values() for resource in found}
        complete = sum(1 for found in existing.values() if set(found) == wanted)
        return complete == count and time.time() - last > 10

    wait(f"the end of the burst of {count}", is_settled, 400, 1)
    owned = {resource for found in existing.values() for resource in found}
    connection = plane.connection()
    for resource in owned:
        path = f"/apis/{PATHS[resource]}" if resource in PATHS else "/api/v1"
        listed = plane.send(connection, "GET", f"{path}/namespaces/bench/{resource}")["items"]
        here = sum(1 for thing in listed if thing["metadata"]["name"].startswith("mcp-c"))
        if here != count:
            raise SystemExit(f"there are {here} {resource} and not {count}")
    created = {
        write.name: write.at
        for write in plane.read_audit()
        if write.resource == "mcpconnectors" and write.verb == "create" and write.user == "bench-admin"
    }
    if len(created) != count:
        raise SystemExit(f"the audit log names {len(created)} connectors and not {count}")
    first, done = min(created.values()), {name: max(found.values()) for name, found in existing.items()}
    writes = plane.by_operator(since)
    events = [
        write for write in plane.writes if write.user == OPERATOR and write.at >= since and write.resource == "events"
    ]
    return Burst(
        count,
        -(-count // per_source),
        [done[f"mcp-{name}"] - at for name, at in created.items()],
        max(done.values()) - first,
        max(created.values()) - first,
        max(write.at for write in writes) - first,
        writes,
        len(events),
        base,
        memory(process.pid),
        memory(process.pid, "VmHWM"),
        {name: now - used[name] for name, now in plane.cpu().items()},
        owned,
    )


def measure_saying(plane: Plane, count: int) -> tuple[float, list[Write]]:
    """Waits until it is said of every connector that its pods can't start; gives the seconds and the writes for it."""
    since = began = time.time()
    connection = plane.connection()

    def is_said() -> bool:
        listed = plane.send(connection, "GET", f"{GROUP}/mcpconnectors")["items"]
        ready = [
            condition["status"]
            for connector in listed
            for condition in connector.get("status", {}).get("conditions", [])
            if condition["type"] == "Ready"
        ]
        return len(ready) == count and set(ready) == {"False"}

    wait("the word that no pod can start", is_said, 400, 2)
    said = time.time() - began

    def is_quiet() -> bool:
        return time.time() - max((write.at for write in plane.by_operator(since)), default=since) > 10

    wait("the end of the writes", is_quiet, 120, 1)
    return said, plane.by_operator(since)


def counted(writes: list[Write]) -> str:
    """How many writes of each kind."""
    kinds = Counter(f"{write.verb} {write.resource}" for write in writes)
    return ", ".join(f"{number} {kind}" for kind, number in kinds.items()) or "none"


def measure_leases(plane: Plane, binary: Path, samples: int) -> dict[str, list[float]]:
    """Ends the leader of two, again and again, and gives the seconds until the other holds the Lease."""
    connection = plane.connection()
    ports = {"lease-a": 8081, "lease-b": 8082}
    processes = {name: start_operator(plane, binary, name, port) for name, port in ports.items()}
    wait("a leader", lambda: holder(plane, connection) in ports, 40)
    taken: dict[str, list[float]] = {}
    for kind in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(samples):
            # At any point of the renewals' interval.
            time.sleep(random.uniform(3, 7))
            old = holder(plane, connection)
            processes[old].send_signal(kind)
            began = time.monotonic()
            wait("another leader", lambda old=old: holder(plane, connection) not in (old, ""), 60, 0.02)
            taken.setdefault(kind.name, []).append(time.monotonic() - began)
            processes[old].wait()
            processes[old] = start_operator(plane, binary, old, ports[old])
        say(f"Lease after {kind.name}: {spread(taken[kind.name], 's')}")
    stop(*processes.values())
    return taken


def per_connector(burst: Burst) -> str:
    """Writes by verb and resource, for each connector."""
    counts = Counter((write.verb, write.resource) for write in burst.writes)
    failed = Counter((write.verb, write.resource) for write in burst.writes if write.code >= 400)
    rows = [
        [f"{verb} {resource}", f"{count / burst.count:.2f}", failed[verb, resource]]
        for (verb, resource), count in counts.most_common()
    ]
    rows.append(["**together**", f"**{len(burst.writes) / burst.count:.2f}**", sum(failed.values())])
    rows.append(["Events, aside", f"{burst.events / burst.count:.2f}", ""])
    head = [f"writes of {burst.count} connectors, {burst.sources} sources", "per connector", "refused"]
    return table(head, rows)


def cost_of_sources(bursts: list[Burst]) -> list[str]:
    """What more sources cost than fewer, where bursts differ in nothing else."""
    found = []
    for one, other in itertools.pairwise(sorted(bursts, key=lambda burst: (burst.count, burst.sources))):
        more = other.sources - one.sources
        if one.count != other.count or not more:
            continue
        kibibytes = (other.settled_memory - one.settled_memory) * 1024 / more
        writes = (len(other.writes) - len(one.writes)) / more
        used = other.cpu.get("operator-0", 0) - one.cpu.get("operator-0", 0)
        found.append(
            f"{more} more CredentialSources for {one.count} connectors: {kibibytes:+.1f} KiB resident and {writes:+.2f} "
            f"writes each, {used:+.1f} CPU s of the operator, the last object {other.overall - one.overall:+.1f} s later."
        )
    return found


def main() -> None:
    """Builds, starts, measures, reports."""
    parser = argparse.ArgumentParser(prog="python3 -m benches.operator", description=__doc__)
    parser.add_argument("--counts", type=int, nargs="*", default=[200, 1000], help="connectors of each burst")
    parser.add_argument(
        "--per-source",
        type=int,
        nargs="+",
        default=[0, 1],
        help="connectors of one CredentialSource; 0 is all. Those after the first are for the largest burst",
    )
    parser.add_argument("--rest", type=int, default=60, help="seconds for which writes at rest are counted")
    parser.add_argument("--lease-samples", type=int, default=10)
    parser.add_argument("--binary", type=Path, help="measure this program instead of the release build")
    parser.add_argument("--wait", type=float, default=600, help="seconds to wait for a quiet machine at most")
    parser.add_argument("--no-results", action="store_true", help="print, and leave RESULTS.md as it is")
    arguments = parser.parse_args()
    end_in_order()
    if os.geteuid() != 0:
        raise SystemExit("network namespaces need root")
    run([str(ROOT / "e2e" / "cluster" / "cluster"), "build", "--only", "etcd", "kubernetes"])
    binary = product(arguments.binary)
    quiet = wait_until_quiet(arguments.wait)
    bursts: list[Burst] = []
    lines: list[str] = []
    first, *others = arguments.per_source
    wanted = [(count, first) for count in arguments.counts]
    wanted += [(max(arguments.counts), per_source) for per_source in others if arguments.counts]
    for count, per_source in wanted:
        with ExitStack() as stack:
            say(f"starting a control plane for {count} connectors, {per_source or 'all'} of one CredentialSource")
            plane = start_plane(stack)
            process = start_operator(plane, binary, "operator-0", 8080)
            wait("the operator", lambda: page(8080, "/readyz") == "ok\n", 40)
            burst = measure_burst(plane, process, count, per_source or count)
            bursts.append(burst)
            lines.append(f"- {count} connectors of {burst.sources} CredentialSources:")
            say(
                f"{count} connectors: all objects after {burst.overall:.1f} s, "
                f"p99 {percentile(burst.seconds, 0.99):.1f} s"
            )
            say("waiting until it is said that no pod can start")
            said, saying = measure_saying(plane, count)
            lines.append(
                f"  - Of those whose pods can't start: the Deployments' progress deadline (120 s) passed, and all "
                f"of them said so {said:.0f} s after the burst's last write, with {counted(saying)}. Rest and restart are "
                "measured after that."
            )
            say(lines[-1])
            say(f"counting writes for {arguments.rest} s")
            since, used = time.time(), cpu_seconds(process.pid)
            time.sleep(arguments.rest)
            resting = plane.by_operator(since)
            cores = (cpu_seconds(process.pid) - used) / arguments.rest
            lines.append(
                f"  - At rest for {arguments.rest} s: "
                f"{len(resting) / arguments.rest:.2f} writes a second ({counted(resting)}), {cores:.3f} cores used by "
                f"the operator, resident {memory(process.pid):.1f} MB."
            )
            say(lines[-1])
            process.terminate()
            process.wait()
            time.sleep(1)
            since, began = time.time(), time.monotonic()
            process = start_operator(plane, binary, "operator-1", 8080)
            wait("the first pass", lambda count=count: reconciled(8080) >= count, 120, 0.02)
            took = time.monotonic() - began
            time.sleep(20)
            lines.append(
                f"  - Restart after a clean stop: {took:.2f} s to the first full pass (as many reconciles as "
                f"there are connectors), {len(plane.by_operator(since))} writes in it and the 20 s after "
                f"({counted(plane.by_operator(since))}); resident {memory(process.pid):.1f} MB."
            )
            say(lines[-1])
            stop(process)
    if bursts:
        publish("operator", report(bursts, lines, quiet, arguments), arguments.no_results)
    if arguments.lease_samples:
        with ExitStack() as stack:
            say("passing the Lease on")
            leases = measure_leases(start_plane(stack), binary, arguments.lease_samples)
        text = "\n".join(
            [
                f"- {machine()}; commit {commit(arguments.binary)}, {time.strftime('%Y-%m-%d')}",
                "- Seconds from the signal until the other of two replicas holds the Lease.",
                *(
                    f"- {name} to the leader: {spread(taken, 's')}. Each: {', '.join(f'{one:.1f}' for one in taken)}"
                    for name, taken in leases.items()
                ),
            ]
        )
        publish("operator: Lease", text, arguments.no_results)


def publish(name: str, text: str, only_print: bool) -> None:
    """Prints a section, and writes it unless it is only to be printed."""
    if only_print:
        print(text)
    else:
        write_results(name, text)


def report(bursts: list[Burst], lines: list[str], quiet: str, arguments: argparse.Namespace) -> str:
    """The section of the results."""
    rows = [
        [
            burst.count,
            burst.sources,
            f"{burst.applied:.1f}",
            f"{burst.overall:.1f}",
            f"{statistics.median(burst.seconds):.2f}",
            f"{percentile(burst.seconds, 0.99):.2f}",
            f"{max(burst.seconds):.2f}",
            f"{burst.settled:.1f}",
            f"{len(burst.writes) / burst.count:.2f}",
            f"{burst.base_memory:.1f} / {burst.settled_memory:.1f} / {burst.peak_memory:.1f}",
            " / ".join(f"{burst.cpu.get(name, 0):.0f}" for name in PROGRAMS),
        ]
        for burst in bursts
    ]
    head = ["connectors", "sources", "applied in s", "all objects after s", "p50 s", "p99 s", "max s", "last write after s"]
    head += ["writes each", "resident MB before / settled / highest"]
    head += ["CPU s of operator / API server / etcd / controller manager"]
    return "\n".join(
        [
            f"- `python3 -m benches.operator --counts {' '.join(map(str, arguments.counts))} --per-source "
            f"{' '.join(map(str, arguments.per_source))}`, commit {commit(arguments.binary)}, {time.strftime('%Y-%m-%d')}",
            f"- {machine()}; Kubernetes {build.KUBERNETES_VERSION}, etcd {build.ETCD.version}; operator, control plane "
            "and this program share the cores.",
            "- p50, p99 and max: from a connector's creation until "
            f"the last of its objects exists ({', '.join(sorted(bursts[-1].owned))}).",
            *(f"- {line}" for line in cost_of_sources(bursts)),
            f"- Noise: {quiet}.",
            "",
            table(head, rows),
            "",
            *(per_connector(burst) + "\n" for burst in bursts),
            *lines,
        ]
    )


if __name__ == "__main__":
    main()
