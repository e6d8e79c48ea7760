"""An Argo CD in the cluster, with Redis and a git server of its own.

It is Argo CD's own install.yaml, built from its Go module, less single sign-on and
notifications. Tests import this module: `up()`, `down()`, `commit()`, `api()`, `login()` and
`make_token()` work on the cluster of the environment.
"""

import base64
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from . import api as kubernetes
from . import build, components, images, lifecycle, packages, pki
from .commands import run
from .errors import ClusterError
from .layout import SOURCE, Layout
from .reporter import Reporter
from .settings import IMAGE_PREFIX

NAMESPACE = "argocd"
HOST_NAME = "argocd-server.argocd.svc"
PORT = 443
USER = 999
VERSION = build.ARGOCD.version.removeprefix("v")
IMAGE = f"{IMAGE_PREFIX}/argocd"
ACCOUNT = "mcp"
NAMES = (HOST_NAME, f"{HOST_NAME}.cluster.local", "argocd-server", "localhost")
TIMEOUT_SECONDS = 15.0
START_SECONDS = 180
# The names that Argo CD's one program goes by.
PROGRAMS = (
    "argocd",
    "argocd-application-controller",
    "argocd-applicationset-controller",
    "argocd-repo-server",
    "argocd-server",
)
COMMANDS = ("cat", "cp", "ln", "ls", "mkdir", "rm", "sh")
# Sync windows are in time zones.
ZONES = "/usr/share/zoneinfo.zip"
DEPLOYMENTS = (
    "argocd-redis",
    "argocd-repo-server",
    "argocd-server",
    "argocd-applicationset-controller",
    "git",
)
PACKAGES = (
    packages.Package("git", "git"),
    packages.Package("redis-server", "redis-server"),
)

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class ArgoCdError(ClusterError):
    """An answer of Argo CD that is an error; status and body are for tests to look at."""

    def __init__(self, request: str, status: int, body: dict[str, Any]) -> None:
        super().__init__(f"{request}: Argo CD answered {status}: {body.get('message', body)}")
        self.status = status
        self.body = body


def up(
    layout: Layout | None = None, reporter: Reporter | None = None, helm: bool = True
) -> None:
    """Deploys Argo CD and waits until it serves; does nothing to one that does already.

    helm: with Helm, which takes as long again to build, and is for applications that are charts.
    """
    layout, reporter = layout or Layout.from_environment(), reporter or Reporter()
    lifecycle.require_running(layout)
    packages.ensure(PACKAGES, reporter)
    build.ensure(layout, [build.ARGOCD, *([build.HELM] if helm else [])], reporter)
    with reporter.step(f"loading {IMAGE}:{VERSION}", expected=15):
        images.load(layout, _image(layout, helm))
    with reporter.step("deploying Argo CD", expected=60):
        _repositories(layout).mkdir(parents=True, exist_ok=True)
        _make_certificates(layout)
        kubernetes.apply(layout, _namespace(layout))
        # Its CRDs are larger than what a client-side apply can write down.
        kubernetes.kubectl(
            layout,
            "apply",
            "--server-side",
            "--force-conflicts",
            "-f",
            "-",
            stdin=_manifest(layout, helm),
        )
        kubernetes.apply(layout, _settings())
        for name in DEPLOYMENTS:
            _wait_for(layout, f"deployment/{name}")
        _wait_for(layout, "statefulset/argocd-application-controller")
        lifecycle.wait("Argo CD", START_SECONDS, lambda: _not_serving(layout))


def down(layout: Layout | None = None) -> None:
    """Removes Argo CD with its applications, repositories and certificates."""
    layout = layout or Layout.from_environment()
    if _exists(layout):
        # While the controller that serves their finalizers is still there.
        for kind in ("applicationsets.argoproj.io", "applications.argoproj.io"):
            words = ("delete", kind, "--all", "--namespace", NAMESPACE, "--timeout=60s")
            kubernetes.kubectl(layout, *words)
    kubernetes.kubectl(
        layout, "delete", "--ignore-not-found", "--wait", "-f", "-", stdin=_manifest(layout, helm=False)
    )
    kubernetes.kubectl(layout, "delete", f"namespace/{NAMESPACE}", "--ignore-not-found", "--wait")
    for folder in (_repositories(layout), _state(layout)):
        shutil.rmtree(folder, ignore_errors=True)


def repository_url(name: str) -> str:
    """The address of a repository for Argo CD."""
    return f"http://git.{NAMESPACE}.svc/cgi-bin/git/{name}.git"


def commit(
    name: str,
    files: Mapping[str, str | None],
    message: str = "change",
    layout: Layout | None = None,
) -> str:
    """Writes files into a repository, which is made if there is none; None removes one.

    Gives the revision.
    """
    layout = layout or Layout.from_environment()
    bare = _repositories(layout) / f"{name}.git"
    if not bare.exists():
        _git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    with tempfile.TemporaryDirectory() as folder:
        _git("clone", "--quiet", str(bare), folder)
        for path, content in files.items():
            file = Path(folder) / path
            if content is None:
                file.unlink()
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(content)
        _git("-C", folder, "add", "--all")
        _git("-C", folder, "commit", "--quiet", "--allow-empty", "--message", message)
        _git("-C", folder, "push", "--quiet", "origin", "HEAD:main")
        return _git("-C", folder, "rev-parse", "HEAD").strip()


def api(
    method: Method,
    path: str,
    body: dict[str, Any] | None = None,
    token: str | None = None,
    layout: Layout | None = None,
) -> dict[str, Any]:
    """Calls Argo CD's API (`path` is what follows /api/) from the host.

    Without a token it does so as Argo CD's administrator.
    """
    layout = layout or Layout.from_environment()
    connection = _Connection(service_address(layout), ca_file(layout))
    bearer = login("admin", admin_password(layout), layout) if token is None else token
    headers = {"Content-Type": "application/json"}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    try:
        connection.request(
            method, f"/api/{path}", json.dumps(body) if body is not None else None, headers
        )
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    try:
        decoded: dict[str, Any] = json.loads(text) if text else {}
    except ValueError:
        decoded = {"message": text.decode(errors="replace")}
    if answer.status >= http.client.BAD_REQUEST:
        raise ArgoCdError(f"{method} {path}", answer.status, decoded)
    return decoded


def login(user: str, password: str, layout: Layout | None = None) -> str:
    """Logs in by name and password, and gives the session's token."""
    body = {"username": user, "password": password}
    token: str = api("POST", "v1/session", body, token="", layout=layout)["token"]
    return token


def make_token(seconds: int = 0, layout: Layout | None = None) -> str:
    """A token of the connector's account; one that doesn't end if no time is given."""
    body = {"name": ACCOUNT, "expiresIn": seconds}
    token: str = api("POST", f"v1/account/{ACCOUNT}/token", body, layout=layout)["token"]
    return token


def set_password(password: str, layout: Layout | None = None) -> None:
    """Gives the connector's account a password."""
    body = {"name": ACCOUNT, "currentPassword": admin_password(layout), "newPassword": password}
    api("PUT", "v1/account/password", body, layout=layout)


def admin_password(layout: Layout | None = None) -> str:
    """The administrator's first password."""
    layout = layout or Layout.from_environment()
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets/argocd-initial-admin-secret"
    encoded: str = kubernetes.get(layout, path)["data"]["password"]
    return base64.b64decode(encoded).decode()


def service_address(layout: Layout | None = None) -> str:
    """The Service's cluster address, which the host reaches too."""
    layout = layout or Layout.from_environment()
    service = kubernetes.get(layout, f"/api/v1/namespaces/{NAMESPACE}/services/argocd-server")
    address: str = service["spec"]["clusterIP"]
    return address


def ca_file(layout: Layout | None = None) -> Path:
    """The certificate of the authority that the server's own certificate is from."""
    return _state(layout or Layout.from_environment()) / "ca.crt"


def closure(*programs: str) -> tuple[images.File, ...]:
    """Programs of the host, and the libraries that they load."""
    files: dict[str, images.File] = {}
    for program in programs:
        # Debian names some programs by links.
        files[program] = images.File(program, Path(program).resolve(), 0o755)
        answer = subprocess.run(
            ["ldd", program], capture_output=True, text=True, check=False
        ).stdout
        for line in answer.splitlines():
            found = [word for word in line.split() if word.startswith("/")]
            if found:
                files[found[0]] = images.File(found[0], Path(found[0]).resolve(), 0o755)
    return tuple(files.values())


def _image(layout: Layout, helm: bool) -> images.Image:
    """One image for all: Argo CD, Helm, git, Redis, time zones, and busybox for what shells out."""
    program = build.program(layout, build.ARGOCD, "cmd")
    core = Path(run(["git", "--exec-path"]).strip())
    helpers = [str(core / name) for name in ("git-remote-http", "git-http-backend")]
    users = f"root:x:0:0::/:/bin/sh\nargocd:x:{USER}:{USER}::/home/argocd:/bin/sh\n"
    links = {f"/usr/local/bin/{name}": "/usr/local/bin/argocd-program" for name in PROGRAMS}
    links |= {f"/bin/{name}": "/bin/busybox" for name in COMMANDS}
    links[str(core / "git-remote-https")] = "git-remote-http"
    links[str(core / "git")] = "/usr/bin/git"
    return images.Image(
        f"{IMAGE}:{VERSION}",
        (
            images.File("/usr/local/bin/argocd-program", program, 0o755),
            images.File(
                "/usr/local/bin/git-verify-wrapper.sh",
                build.program(layout, build.ARGOCD, "git-verify-wrapper.sh"),
                0o755,
            ),
            *(
                [images.File("/usr/local/bin/helm", build.program(layout, build.HELM), 0o755)]
                if helm
                else []
            ),
            images.File("/bin/busybox", Path("/bin/busybox").resolve(), 0o755),
            images.File("/etc/passwd", users.encode()),
            images.File("/etc/ssl/certs/.keep", b""),
            images.File(
                ZONES, Path(run(["go", "env", "GOROOT"]).strip()) / "lib/time/zoneinfo.zip"
            ),
            *closure("/usr/bin/git", *helpers, "/usr/bin/redis-server"),
        ),
        # Its manifests give whole command lines as arguments, for a script of the real image.
        ("/bin/busybox", "env"),
        user=f"{USER}:{USER}",
        workdir="/home/argocd",
        env=(
            "PATH=/usr/local/bin:/usr/bin:/bin",
            "HOME=/tmp",
            "ARGOCD_GPG_ENABLED=false",
            f"ZONEINFO={ZONES}",
            # Each of its programs collects garbage seldom, as the cluster's own do.
            "GOGC=400",
            "GOMEMLIMIT=512MiB",
        ),
        links=links,
    )


class _Connection(http.client.HTTPSConnection):
    """Connects to an address, but expects and asks for the Service's name."""

    def __init__(self, address: str, authority: Path) -> None:
        self._tls = ssl.create_default_context(cafile=authority)
        super().__init__(HOST_NAME, PORT, timeout=TIMEOUT_SECONDS, context=self._tls)
        self._address = address

    def connect(self) -> None:
        plain = socket.create_connection((self._address, PORT), TIMEOUT_SECONDS)
        self.sock = self._tls.wrap_socket(plain, server_hostname=HOST_NAME)


def _not_serving(layout: Layout) -> str | None:
    api("GET", "v1/account", layout=layout)
    return None


def _exists(layout: Layout) -> bool:
    return bool(
        kubernetes.kubectl(layout, "get", "crd", "applications.argoproj.io", "--ignore-not-found")
    )


def _wait_for(layout: Layout, name: str) -> None:
    kubernetes.kubectl(
        layout, "--namespace", NAMESPACE, "rollout", "status", name, f"--timeout={START_SECONDS}s"
    )


def _manifest(layout: Layout, helm: bool) -> str:
    """Argo CD's own manifest, with what the kustomization changes, and the git server."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(build.program(layout, build.ARGOCD, "install.yaml"), folder)
        kustomization = components.render(
            layout,
            SOURCE / "argocd.kustomization.yaml",
            image_name=IMAGE,
            image_tag=VERSION,
            with_helm=str(helm).lower(),
        )
        (folder / "kustomization.yaml").write_text(kustomization)
        installed = kubernetes.kubectl(layout, "kustomize", str(folder))
    server = components.render(
        layout,
        SOURCE / "argocd.git.yaml",
        image=f"{IMAGE}:{VERSION}",
        repositories=_repositories(layout),
    )
    return f"{installed}---\n{server}"


def _namespace(layout: Layout) -> str:
    """The namespace, and the server's certificate in it."""
    certificate = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "argocd-server-tls", "namespace": NAMESPACE},
        "type": "kubernetes.io/tls",
        "stringData": {
            "tls.crt": (_state(layout) / "server.crt").read_text(),
            "tls.key": (_state(layout) / "server.key").read_text(),
        },
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [namespace, certificate]})


def _settings() -> str:
    """What the connector's account may do: read everything, sync applications, delete nothing."""
    rules = [
        f"p, {ACCOUNT}, {resource}, {action}, */*, allow"
        for resource, actions in {
            "applications": ("get", "sync", "action/*", "override"),
            "applicationsets": ("get",),
            "logs": ("get",),
        }.items()
        for action in actions
    ]
    rules += [
        f"p, {ACCOUNT}, {resource}, get, *, allow"
        for resource in ("projects", "clusters", "repositories")
    ]
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "argocd-rbac-cm",
                "namespace": NAMESPACE,
                "labels": {
                    "app.kubernetes.io/name": "argocd-rbac-cm",
                    "app.kubernetes.io/part-of": "argocd",
                },
            },
            "data": {"policy.csv": "\n".join(rules)},
        }
    )


def _make_certificates(layout: Layout) -> None:
    folder = _state(layout)
    if (folder / "server.crt").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    names = (*(f"DNS:{name}" for name in NAMES), "IP:127.0.0.1")
    pki.authority(folder, "mcp-connectors-e2e-argocd")
    pki.issue(folder, pki.Identity("server", HOST_NAME, names=names))


def _git(*words: str) -> str:
    identity = {"GIT_AUTHOR_NAME": "e2e", "GIT_AUTHOR_EMAIL": "e2e@example.com"}
    identity |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in identity.items()}
    return run(["git", *words], env={**os.environ, **identity})


def _state(layout: Layout) -> Path:
    return layout.state / "argocd"


def _repositories(layout: Layout) -> Path:
    return layout.data / "git"
