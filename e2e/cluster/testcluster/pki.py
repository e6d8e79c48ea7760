"""Keys and certificates, made with the openssl program."""

import base64
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .commands import run
from .layout import Layout
from .settings import (
    API_PORT,
    API_SERVICE_ADDRESS,
    CLUSTER_DOMAIN,
    NODE_ADDRESS,
    NODE_NAME,
)

DAYS = "3650"
# The program's own defaults would mark every certificate as an authority.
CONFIG = "[req]\ndistinguished_name=name\n[name]\n"
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


@dataclass(frozen=True)
class Identity:
    """A holder of a certificate: who it is, and under which names it answers."""

    name: str
    common_name: str
    organisation: str = ""
    names: tuple[str, ...] = ()
    kubeconfig: bool = False


FRONT_PROXY = "front-proxy-client"
LOCAL = ("DNS:localhost", "IP:127.0.0.1")
API_NAMES = (
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
    f"DNS:kubernetes.default.svc.{CLUSTER_DOMAIN}",
    f"IP:{NODE_ADDRESS}",
    f"IP:{API_SERVICE_ADDRESS}",
)

IDENTITIES = (
    Identity("etcd", "etcd", names=LOCAL),
    Identity("etcd-client", "kube-apiserver-etcd-client"),
    Identity("apiserver", "kube-apiserver", names=API_NAMES),
    Identity("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
    Identity("admin", "kubernetes-admin", "system:masters", kubeconfig=True),
    Identity("controller-manager", "system:kube-controller-manager", names=LOCAL, kubeconfig=True),
    Identity("scheduler", "system:kube-scheduler", names=LOCAL, kubeconfig=True),
    Identity(
        "kubelet",
        f"system:node:{NODE_NAME}",
        "system:nodes",
        (f"DNS:{NODE_NAME}", f"IP:{NODE_ADDRESS}"),
        kubeconfig=True,
    ),
    Identity("proxy", "system:kube-proxy", "system:node-proxier", kubeconfig=True),
)


def create_all(layout: Layout) -> None:
    """Makes the cluster's authority and every certificate and kubeconfig."""
    layout.pki.mkdir(mode=0o700)
    authority(layout.pki, "mcp-connectors-e2e")
    for identity in IDENTITIES:
        issue(layout.pki, identity)
        if identity.kubeconfig:
            write_kubeconfig(layout, identity.name, kubeconfig_path(layout, identity.name))
    # The API server's way to extension servers has an authority of its own.
    front = layout.pki / "front-proxy"
    front.mkdir()
    authority(front, "mcp-connectors-e2e-front-proxy")
    issue(front, Identity("client", FRONT_PROXY))
    # Service account tokens are signed with RSA, as clusters in use do it.
    signer = layout.pki / "service-accounts.key"
    run(["openssl", "genrsa", "-out", signer, "2048"])
    run(["openssl", "rsa", "-in", signer, "-pubout", "-out", signer.with_suffix(".pub")])


def kubeconfig_path(layout: Layout, name: str) -> Path:
    """Where a component's kubeconfig is."""
    return layout.pki / f"{name}.kubeconfig"


def authority(folder: Path, common_name: str) -> None:
    """Makes a certificate authority: ca.crt and ca.key."""
    _request(
        folder,
        Identity("ca", common_name),
        ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"),
        (),
    )


def issue(folder: Path, identity: Identity) -> None:
    """Makes a certificate that the folder's authority signs."""
    extensions = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        "extendedKeyUsage=serverAuth,clientAuth",
        "authorityKeyIdentifier=keyid",
    ]
    if identity.names:
        extensions.append(f"subjectAltName={','.join(identity.names)}")
    signer = ("-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key"))
    _request(folder, identity, extensions, signer)


def write_kubeconfig(layout: Layout, identity: str, target: Path) -> None:
    """Writes a kubeconfig with everything in it, so that it can be copied anywhere."""
    name = "mcp-connectors-e2e"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {
                    "server": f"https://{NODE_ADDRESS}:{API_PORT}",
                    "certificate-authority-data": _encoded(layout.pki / "ca.crt"),
                },
            }
        ],
        "users": [
            {
                "name": identity,
                "user": {
                    "client-certificate-data": _encoded(layout.pki / f"{identity}.crt"),
                    "client-key-data": _encoded(layout.pki / f"{identity}.key"),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": identity}}],
        "current-context": name,
    }
    target.touch(mode=0o600)
    target.write_text(json.dumps(config, indent=1) + "\n")


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _request(
    folder: Path, identity: Identity, extensions: Sequence[str], signer: Sequence[str]
) -> None:
    organisation = f"/O={identity.organisation}" if identity.organisation else ""
    added = [word for extension in extensions for word in ("-addext", extension)]
    with tempfile.NamedTemporaryFile("w", suffix=".cnf") as config:
        config.write(CONFIG)
        config.flush()
        run(
            (
                *("openssl", "req", "-x509", "-config", config.name),
                *(*NEW_KEY, "-days", DAYS),
                *("-subj", f"{organisation}/CN={identity.common_name}"),
                *signer,
                *(*added, "-addext", "subjectKeyIdentifier=hash"),
                *("-keyout", folder / f"{identity.name}.key"),
                *("-out", folder / f"{identity.name}.crt"),
            )
        )
