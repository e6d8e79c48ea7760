"""The Kubernetes API over kept connections: what kubectl would be asked for, without a process for each question.

Objects are plain JSON. Kinds have the names that kubectl takes: plural, singular or short, with a group behind it where
that is wanted, several of them with commas between, or a category such as `all`.
"""

import atexit
import base64
import contextlib
import functools
import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from .machine import run

Manifest = dict[str, Any]

TIMEOUT_SECONDS = 60.0
KEPT_SECONDS = 300.0
# Everything that the API server serves in one answer, instead of one a group.
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# What this program makes a connection of. A kubeconfig that holds anything else is left to kubectl.
CLUSTER_FIELDS = {"server", "certificate-authority-data"}
USER_FIELDS = {"client-certificate-data", "client-key-data"}


class RefusedError(Exception):
    """The API server did not do what it was asked for; the text is what it said. The status is 0 if it said nothing."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Resource:
    """A kind of object, and where the API server has it."""

    group: str
    version: str
    kind: str
    plural: str
    is_namespaced: bool
    names: frozenset[str]

    @property
    def api_version(self) -> str:
        """As it stands in a manifest."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "") -> str:
        """The path of one object, or of all of them in a namespace, or everywhere if the namespace is empty."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{namespace}" if self.is_namespaced and namespace else ""
        return f"{root}{place}/{self.plural}" + (f"/{name}" if name else "")


class KubeApi:
    """The API server of a kubeconfig, which is asked as the kubeconfig's user."""

    def __init__(self) -> None:
        self._http = _connect()
        self._resources: list[Resource] = []

    def resources(self, names: str) -> list[Resource]:
        """The kinds that these names stand for."""
        return [one for name in names.split(",") for one in self._named(name)]

    def resource(self, name: str) -> Resource:
        """The kind of this name."""
        return self._named(name)[0]

    def resource_of(self, manifest: Manifest) -> Resource:
        """The kind of a manifest."""
        wanted = (manifest["apiVersion"], manifest["kind"])
        return self._matching(" ".join(wanted), lambda one: (one.api_version, one.kind) == wanted)[0]

    def _named(self, name: str) -> list[Resource]:
        return self._matching(name, lambda one: name in one.names)

    def _matching(self, name: str, fits: Callable[[Resource], bool]) -> list[Resource]:
        """The kinds that fit: of one that several groups or versions have, the first, as kubectl does it."""
        found = [one for one in self._resources if fits(one)]
        if not found:
            # A definition may have come meanwhile.
            self._resources = [*self._discover("/api"), *self._discover("/apis")]
            found = [one for one in self._resources if fits(one)]
        if not found:
            raise RefusedError(f"the API server has no kind of the name {name}")
        firsts: dict[str, Resource] = {}
        for one in found:
            firsts.setdefault(one.plural, one)
        return list(firsts.values())

    def _discover(self, path: str) -> Iterator[Resource]:
        for group in self.request("GET", path, headers={"Accept": DISCOVERY})["items"]:
            group_name = group["metadata"].get("name", "")
            for version in group["versions"]:
                for resource in version.get("resources", []):
                    kind, plural = resource["responseKind"]["kind"], resource["resource"]
                    words = [plural, resource["singularResource"], kind.lower(), *resource.get("shortNames", [])]
                    names = {*words, *(f"{word}.{group_name}" for word in words), *resource.get("categories", [])}
                    yield Resource(
                        group=group_name,
                        version=version["version"],
                        kind=kind,
                        plural=plural,
                        is_namespaced=resource["scope"] == "Namespaced",
                        names=frozenset(names),
                    )

    def request(
        self,
        method: str,
        path: str,
        body: Manifest | None = None,
        headers: dict[str, str] | None = None,
        **query: str,
    ) -> Manifest:
        """One request, and the object that answers it. Raises RefusedError with the API server's words."""
        content = None if body is None else json.dumps(body).encode()
        try:
            answer = self._http.request(method, path, params=query, content=content, headers=headers)
        except httpx2.TransportError as failure:
            raise RefusedError(f"the API server does not answer {method} {path}: {failure!r}") from failure
        if answer.is_error:
            raise RefusedError(_words(answer), answer.status_code)
        found: Manifest = answer.json()
        return found

    def changes(self, path: str, seconds: float, **query: str) -> Generator[Manifest, None, None]:
        """The events of a watch, for some seconds at most. Raises RefusedError if it breaks off."""
        query |= {"watch": "true", "timeoutSeconds": str(max(1, round(seconds)))}
        timeout = httpx2.Timeout(TIMEOUT_SECONDS, read=seconds + TIMEOUT_SECONDS)
        try:
            with self._http.stream("GET", path, params=query, timeout=timeout) as answer:
                if answer.is_error:
                    answer.read()
                    raise RefusedError(_words(answer), answer.status_code)
                yield from map(json.loads, answer.iter_lines())
        except httpx2.TransportError as failure:
            raise RefusedError(f"the API server broke off the watch of {path}: {failure!r}") from failure


def kube_api() -> KubeApi:
    """The API server of the environment's kubeconfig."""
    return _kube_api(os.environ.get("KUBECONFIG", ""))


@functools.cache
def _kube_api(_kubeconfig: str) -> KubeApi:
    return KubeApi()


def _words(answer: httpx2.Response) -> str:
    """What an error says. It is a Status, unless it comes from something before the API server."""
    try:
        return str(answer.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}: {answer.text[:1000]}"


def _connect() -> httpx2.Client:
    words = ("kubectl", "config", "view", "--raw", "--minify", "--flatten", "--output", "json")
    config = json.loads(run(*words))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    if cluster.keys() == CLUSTER_FIELDS and user.keys() == USER_FIELDS:
        base, transport = cluster["server"], httpx2.HTTPTransport(verify=_tls(cluster, user), limits=_limits())
    else:
        # Passwords, tokens, programs that log in, proxies: kubectl knows them all.
        base, transport = "http://localhost", httpx2.HTTPTransport(uds=_proxy(), limits=_limits())
    return httpx2.Client(base_url=base, transport=transport, timeout=TIMEOUT_SECONDS)


def _limits() -> httpx2.Limits:
    return httpx2.Limits(keepalive_expiry=KEPT_SECONDS)


def _tls(cluster: Manifest, user: Manifest) -> ssl.SSLContext:
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    # ssl takes them from files only.
    with tempfile.TemporaryDirectory(prefix="kube-api-") as folder:
        certificate, key = Path(folder) / "client.crt", Path(folder) / "client.key"
        certificate.write_bytes(base64.b64decode(user["client-certificate-data"]))
        key.write_bytes(base64.b64decode(user["client-key-data"]))
        context.load_cert_chain(certificate, key)
    return context


def _proxy() -> str:
    """The socket of a kubectl that passes requests on until this program ends. Nobody else can open it."""
    ends = contextlib.ExitStack()
    atexit.register(ends.close)
    socket = f"{ends.enter_context(tempfile.TemporaryDirectory(prefix='kube-api-'))}/socket"
    words = ("kubectl", "proxy", f"--unix-socket={socket}")
    process = ends.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
    ends.callback(process.terminate)
    assert process.stdout is not None
    if not process.stdout.readline():
        raise RefusedError("kubectl proxy ended before it listened")
    return socket
