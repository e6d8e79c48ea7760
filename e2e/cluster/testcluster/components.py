"""The node's components: their command lines, configuration files and health."""

import json
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from string import Template
from typing import TypeVar

from . import api, build, images, namespace, network, settings
from .layout import SOURCE, Layout
from .pki import FRONT_PROXY, kubeconfig_path
from .settings import NODE_ADDRESS

LOOPBACK = "127.0.0.1"
AUDIT_MEGABYTES = 4096
# Go collects garbage when the heap has grown by this many percent, 100 by default, and earlier near the
# limit, which no live heap comes near here. It takes a fifth of the API server's processor time otherwise.
COLLECTS_SELDOM = {"GOGC": "400", "GOMEMLIMIT": "1GiB"}

Part = TypeVar("Part")


@dataclass(frozen=True)
class Component:
    """A program of the node, and how to see that it works; None means it does."""

    name: str
    argv: tuple[str, ...]
    problem: Callable[[], str | None]
    environment: Mapping[str, str] = field(default_factory=lambda: COLLECTS_SELDOM)


def render(layout: Layout, path: Path, **values: object) -> str:
    """Fills in a configuration file or manifest; one may need values of its own."""
    return Template(path.read_text()).substitute(
        values,
        bridge=settings.BRIDGE,
        cgroup=settings.CGROUP,
        cluster_domain=settings.CLUSTER_DOMAIN,
        config=layout.config,
        coredns_image=coredns_image_name(),
        dns_address=settings.DNS_ADDRESS,
        max_pods=settings.MAX_PODS,
        node_address=NODE_ADDRESS,
        pause_image=settings.PAUSE_IMAGE,
        pki=layout.pki,
        pod_ranges=json.dumps(
            _families(
                [{"subnet": settings.POD_CIDR, "gateway": NODE_ADDRESS}],
                [{"subnet": settings.POD_CIDR_6, "gateway": settings.NODE_ADDRESS_6}],
            )
        ),
        routes=json.dumps(_families({"dst": "0.0.0.0/0"}, {"dst": "::/0"})),
    )


def _families(ipv4: Part, ipv6: Part) -> tuple[Part, ...]:
    """What the cluster has: IPv4 always, and first, because the first is a pod's main address."""
    return (ipv4, ipv6) if network.has_ipv6() else (ipv4,)


def _both(ipv4: str, ipv6: str) -> str:
    return ",".join(_families(ipv4, ipv6))


def write_configuration(layout: Layout) -> None:
    """Writes the files that the components read."""
    (layout.config / "cni").mkdir(parents=True)
    for name, target in (
        ("containerd.toml", "containerd.toml"),
        ("kubelet.yaml", "kubelet.yaml"),
        ("audit-policy.yaml", "audit-policy.yaml"),
        ("cni.conflist", "cni/10-pods.conflist"),
    ):
        (layout.config / target).write_text(render(layout, SOURCE / "config" / name))


def coredns_image_name() -> str:
    """The name of the image that CoreDNS runs from."""
    return f"{settings.IMAGE_PREFIX}/coredns:{build.COREDNS.version}"


def system_images(layout: Layout) -> tuple[images.Image, ...]:
    """The images that every cluster has; busybox is there for tests."""
    pause = build.program(layout, build.PAUSE)
    coredns = build.program(layout, build.COREDNS)
    return (
        images.Image(settings.PAUSE_IMAGE, (images.File("/pause", pause, 0o755),), ("/pause",)),
        images.Image(
            coredns_image_name(), (images.File("/coredns", coredns, 0o755),), ("/coredns",)
        ),
        images.Image(
            settings.BUSYBOX_IMAGE,
            (images.File("/bin/busybox", Path("/usr/bin/busybox"), 0o755),),
            ("/bin/busybox",),
            links={
                f"/bin/{name}": "busybox"
                for name in ("cat", "httpd", "ls", "nc", "nslookup", "sh", "sleep", "wget")
            },
        ),
    )


def etcd(layout: Layout) -> Component:
    """The API server's storage; only the API server may talk to it."""
    client = f"https://{LOOPBACK}:{settings.ETCD_PORT}"
    peer = f"http://{LOOPBACK}:{settings.ETCD_PEER_PORT}"
    argv = (
        str(build.program(layout, build.ETCD)),
        f"--data-dir={layout.data}/etcd",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--cert-file={layout.pki}/etcd.crt",
        f"--key-file={layout.pki}/etcd.key",
        "--client-cert-auth",
        f"--trusted-ca-file={layout.pki}/ca.crt",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        # Nobody needs this cluster's data after a power cut.
        "--unsafe-no-fsync",
        "--log-level=warn",
    )
    return Component(
        "etcd",
        argv,
        lambda: _page(LOOPBACK, settings.ETCD_PORT, "/health", api.tls(layout, "etcd-client")),
    )


def apiserver(layout: Layout) -> Component:
    """The API server; it listens on the bridge only, where pods and host reach it."""
    pki = layout.pki
    argv = (
        str(build.program(layout, build.KUBERNETES, "kube-apiserver")),
        f"--bind-address={NODE_ADDRESS}",
        f"--advertise-address={NODE_ADDRESS}",
        f"--secure-port={settings.API_PORT}",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--etcd-servers=https://{LOOPBACK}:{settings.ETCD_PORT}",
        f"--etcd-cafile={pki}/ca.crt",
        f"--etcd-certfile={pki}/etcd-client.crt",
        f"--etcd-keyfile={pki}/etcd-client.key",
        f"--service-cluster-ip-range={_both(settings.SERVICE_CIDR, settings.SERVICE_CIDR_6)}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki}/front-proxy/ca.crt",
        f"--requestheader-allowed-names={FRONT_PROXY}",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki}/front-proxy/client.crt",
        f"--proxy-client-key-file={pki}/front-proxy/client.key",
        f"--audit-policy-file={layout.config}/audit-policy.yaml",
        f"--audit-log-path={layout.audit_log}",
        # A rotated file would be missing from a test's count.
        f"--audit-log-maxsize={AUDIT_MEGABYTES}",
    )
    return Component(
        "kube-apiserver",
        argv,
        lambda: _page(NODE_ADDRESS, settings.API_PORT, "/readyz", api.tls(layout, "admin")),
    )


def controller_manager(layout: Layout) -> Component:
    """The built-in controllers."""
    pki = layout.pki
    kubeconfig = kubeconfig_path(layout, "controller-manager")
    argv = (
        str(build.program(layout, build.KUBERNETES, "kube-controller-manager")),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={LOOPBACK}",
        f"--tls-cert-file={pki}/controller-manager.crt",
        f"--tls-private-key-file={pki}/controller-manager.key",
        "--leader-elect=false",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        "--use-service-account-credentials=true",
        # With the default limits its own start takes five seconds.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    )
    return Component(
        "kube-controller-manager",
        argv,
        lambda: _page(LOOPBACK, settings.CONTROLLER_MANAGER_PORT, "/healthz", api.tls(layout)),
    )


def scheduler(layout: Layout) -> Component:
    """The scheduler."""
    kubeconfig = kubeconfig_path(layout, "scheduler")
    argv = (
        str(build.program(layout, build.KUBERNETES, "kube-scheduler")),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={LOOPBACK}",
        f"--tls-cert-file={layout.pki}/scheduler.crt",
        f"--tls-private-key-file={layout.pki}/scheduler.key",
        "--leader-elect=false",
    )
    return Component(
        "kube-scheduler",
        argv,
        lambda: _page(LOOPBACK, settings.SCHEDULER_PORT, "/healthz", api.tls(layout)),
    )


def containerd(layout: Layout) -> Component:
    """The container runtime, from the Debian package."""
    argv = ("/usr/bin/containerd", "--config", f"{layout.config}/containerd.toml")
    # Each pod has a process that inherits its environment: what one may grow by counts a hundred times.
    return Component("containerd", argv, lambda: _socket(layout.containerd_socket), {})


def kubelet(layout: Layout) -> Component:
    """The node's agent."""
    argv = (
        str(build.program(layout, build.KUBERNETES, "kubelet")),
        f"--config={layout.config}/kubelet.yaml",
        f"--kubeconfig={kubeconfig_path(layout, 'kubelet')}",
        f"--hostname-override={settings.NODE_NAME}",
        f"--node-ip={_both(NODE_ADDRESS, settings.NODE_ADDRESS_6)}",
    )
    return Component(
        "kubelet", argv, lambda: _page(LOOPBACK, settings.KUBELET_HEALTH_PORT, "/healthz")
    )


def proxy(layout: Layout) -> Component:
    """What makes Services reachable."""
    argv = (
        str(build.program(layout, build.KUBERNETES, "kube-proxy")),
        f"--kubeconfig={kubeconfig_path(layout, 'proxy')}",
        f"--hostname-override={settings.NODE_NAME}",
        f"--healthz-bind-address={LOOPBACK}:{settings.PROXY_HEALTH_PORT}",
        f"--metrics-bind-address={LOOPBACK}:{settings.PROXY_METRICS_PORT}",
        "--proxy-mode=iptables",
        f"--cluster-cidr={_both(settings.POD_CIDR, settings.POD_CIDR_6)}",
        f"--nodeport-addresses={_both(f'{NODE_ADDRESS}/32', f'{settings.NODE_ADDRESS_6}/128')}",
        # Without these the proxy changes settings of the kernel that are not put back.
        "--iptables-localhost-nodeports=false",
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    )
    return Component(
        "kube-proxy", argv, lambda: _page(LOOPBACK, settings.PROXY_HEALTH_PORT, "/healthz")
    )


def all_components(layout: Layout) -> tuple[Component, ...]:
    """In the order to start them."""
    return (
        etcd(layout),
        containerd(layout),
        apiserver(layout),
        controller_manager(layout),
        scheduler(layout),
        kubelet(layout),
        proxy(layout),
    )


def start(layout: Layout, component: Component) -> None:
    """Starts a component in the node's namespace."""
    namespace.start(layout, component.name, component.argv, component.environment)


def problems(layout: Layout) -> dict[str, str]:
    """What does not work, by component or part of the cluster; empty if all is well."""
    checks: dict[str, Callable[[], str | None]] = {
        component.name: component.problem for component in all_components(layout)
    }
    checks["node"] = lambda: node_problem(layout)
    checks["coredns"] = lambda: dns_problem(layout)
    with ThreadPoolExecutor(max_workers=len(checks)) as pool:
        answers = dict(zip(checks, pool.map(check, checks.values()), strict=True))
    return {name: problem for name, problem in answers.items() if problem}


def check(question: Callable[[], str | None]) -> str | None:
    """Asks for a problem; not being able to ask is one."""
    try:
        return question()
    except (OSError, ssl.SSLError) as error:
        return f"does not answer ({error})"
    # Whatever else happens in a check is an answer too: it must not end the program.
    except Exception as error:
        return str(error)


def node_problem(layout: Layout) -> str | None:
    """Whether the node is ready for pods."""
    node = api.get(layout, f"/api/v1/nodes/{settings.NODE_NAME}")
    ready = {
        condition["type"]: condition for condition in node["status"].get("conditions", ())
    }.get("Ready", {})
    return None if ready.get("status") == "True" else ready.get("message", "not ready yet")


def dns_problem(layout: Layout) -> str | None:
    """Whether names can be resolved in the cluster."""
    path = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"
    ready = api.get(layout, path)["status"].get("readyReplicas", 0)
    return None if ready else "no pod is ready"


def _page(address: str, port: int, path: str, context: ssl.SSLContext | None = None) -> str | None:
    status, body = api.fetch(address, port, path, context)
    return (
        None
        if status == HTTPStatus.OK
        else f"answers {status}: {body[:200].decode(errors='replace')}"
    )


def _socket(path: Path) -> str | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(str(path))
    return None
