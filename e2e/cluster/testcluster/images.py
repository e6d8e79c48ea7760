"""Container images: writes small ones, and brings any into the cluster.

An image here is one layer of a few files, written as an OCI archive. The same
input always gives the same bytes: times are zero and the order is fixed.
"""

import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from .commands import failure, run
from .errors import ClusterError
from .layout import Layout

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
# containerd names an imported image after this annotation of its index.
NAME_ANNOTATION = "io.containerd.image.name"
INDEX_FILE = "index.json"
DOCKER_FILE = "manifest.json"
NAMESPACE = "k8s.io"
IMPORT_SECONDS = 30
PIECE = 1 << 20
REFERENCE = re.compile(r"[a-z0-9]+([._/:-]+[A-Za-z0-9]+)*")


@dataclass(frozen=True)
class File:
    """A file of an image, owned by root; its content is bytes or a file of the host."""

    path: str
    content: bytes | Path
    mode: int = 0o644


@dataclass(frozen=True)
class Image:
    """What an image holds and how it starts."""

    name: str
    files: tuple[File, ...]
    entrypoint: tuple[str, ...]
    user: str = "65532:65532"
    workdir: str = "/"
    env: tuple[str, ...] = ()
    links: dict[str, str] = field(default_factory=dict)

    def config(self, layer_digest: str) -> dict[str, Any]:
        return {
            "architecture": _architecture(),
            "os": "linux",
            "config": {
                "User": self.user,
                "Entrypoint": list(self.entrypoint),
                "Env": ["PATH=/usr/bin:/bin", *self.env],
                "WorkingDir": self.workdir,
            },
            "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
        }


def full_name(name: str) -> str:
    """A reference as the container runtime writes it, with its registry and tag."""
    if not REFERENCE.fullmatch(name) or "@" in name:
        raise ClusterError(f"{name!r} is no image name; write it as registry/name:tag")
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def write_archive(image: Image, target: IO[bytes]) -> None:
    """Writes an image as an OCI archive."""
    with tempfile.TemporaryFile() as layer, tarfile.open(fileobj=target, mode="w|") as archive:
        _write_layer(image, layer)
        layer_blob = _add_blob(archive, layer, LAYER_TYPE)
        config_blob = _add_json(archive, image.config(layer_blob["digest"]), CONFIG_TYPE)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config_blob,
            "layers": [layer_blob],
        }
        manifest_blob = _add_json(archive, manifest, MANIFEST_TYPE)
        annotations = {NAME_ANNOTATION: full_name(image.name)}
        index = {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [{**manifest_blob, "annotations": annotations}],
        }
        _add_file(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        _add_file(archive, INDEX_FILE, _json(index))


def load(layout: Layout, image: Image) -> None:
    """Writes an image straight into the cluster's containerd."""
    with _importing(layout) as sink:
        write_archive(image, sink)
    _wait_until_known(layout, full_name(image.name))


def load_archive(layout: Layout, path: Path, name: str) -> str:
    """Imports an OCI or docker archive of one image under the given name."""
    reference = full_name(name)
    try:
        with tarfile.open(path) as archive, _importing(layout) as sink:
            _copy_renamed(archive, sink, reference)
    except (FileNotFoundError, IsADirectoryError, tarfile.ReadError) as error:
        raise ClusterError(f"{path} is not an image archive: {error}") from error
    _wait_until_known(layout, reference)
    return reference


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _entry(path: str, mode: int, kind: bytes, size: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.type, entry.size = mode, kind, size
    return entry


def _write_layer(image: Image, target: IO[bytes]) -> None:
    files = {file.path.strip("/"): file for file in image.files}
    links = {path.strip("/"): goal for path, goal in image.links.items()}
    parents = {
        str(parent)
        for path in (*files, *links, f"{image.workdir}/_".strip("/"))
        for parent in PurePosixPath(path).parents
    } - {"."}
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as layer:
        for path in sorted(parents):
            layer.addfile(_entry(path, 0o755, tarfile.DIRTYPE))
        for path, file in sorted(files.items()):
            with _content(file.content) as (source, size):
                layer.addfile(_entry(path, file.mode, tarfile.REGTYPE, size), source)
        for path, goal in sorted(links.items()):
            link = _entry(path, 0o777, tarfile.SYMTYPE)
            link.linkname = goal
            layer.addfile(link)


@contextmanager
def _content(content: bytes | Path) -> Iterator[tuple[IO[bytes], int]]:
    if isinstance(content, bytes):
        yield io.BytesIO(content), len(content)
        return
    with content.open("rb") as file:
        yield file, os.fstat(file.fileno()).st_size


def _add_file(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    archive.addfile(_entry(name, 0o644, tarfile.REGTYPE, len(content)), io.BytesIO(content))


def _add_json(archive: tarfile.TarFile, value: Any, media_type: str) -> dict[str, Any]:
    return _add_blob(archive, io.BytesIO(_json(value)), media_type)


def _add_blob(archive: tarfile.TarFile, blob: IO[bytes], media_type: str) -> dict[str, Any]:
    hasher = hashlib.sha256()
    blob.seek(0)
    while piece := blob.read(PIECE):
        hasher.update(piece)
    digest, size = hasher.hexdigest(), blob.tell()
    blob.seek(0)
    path = f"blobs/sha256/{digest}"
    archive.addfile(_entry(path, 0o644, tarfile.REGTYPE, size), blob)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def _copy_renamed(archive: tarfile.TarFile, target: IO[bytes], reference: str) -> None:
    """Copies an archive, with the image's name in it replaced.

    An archive can hold a docker and an OCI description of the same image; the OCI
    one is kept, because that is the one that containerd reads.
    """
    names = {PurePosixPath(member.name).as_posix() for member in archive}
    described_by = INDEX_FILE if INDEX_FILE in names else DOCKER_FILE
    if described_by not in names:
        raise ClusterError(f"the archive has neither {INDEX_FILE} nor {DOCKER_FILE}")
    with tarfile.open(fileobj=target, mode="w|") as copy:
        for member in archive:
            name = PurePosixPath(member.name).as_posix()
            source = archive.extractfile(member) if member.isreg() else None
            if name == described_by and source is not None:
                _add_file(copy, name, _renamed(name, source.read(), reference))
            elif name not in (INDEX_FILE, DOCKER_FILE):
                copy.addfile(member, source)


def _renamed(described_by: str, content: bytes, reference: str) -> bytes:
    description = json.loads(content)
    images = description["manifests"] if described_by == INDEX_FILE else description
    if len(images) != 1:
        raise ClusterError(f"the archive must hold one image, not {len(images)}")
    if described_by == INDEX_FILE:
        images[0]["annotations"] = {NAME_ANNOTATION: reference}
    else:
        images[0]["RepoTags"] = [reference]
    return _json(description)


def _ctr(layout: Layout, *words: str) -> list[str]:
    return ["ctr", "--address", str(layout.containerd_socket), "--namespace", NAMESPACE, *words]


@contextmanager
def _importing(layout: Layout) -> Iterator[IO[bytes]]:
    """A stream into `ctr images import`."""
    argv = _ctr(layout, "images", "import", "-")
    with tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=output
        ) as importer:
            assert importer.stdin is not None
            try:
                with importer.stdin:
                    yield importer.stdin
            except BrokenPipeError:
                # The importer has ended; what it said tells more than the broken pipe.
                pass
        if importer.returncode != 0:
            output.seek(0)
            raise ClusterError(failure(argv, importer.returncode, output.read()))


def _wait_until_known(layout: Layout, reference: str) -> None:
    """Waits until the kubelet's side of containerd has taken note of an image.

    A pod that starts before that fails and is tried again only much later.
    """
    deadline = time.monotonic() + IMPORT_SECONDS
    listing = _ctr(layout, "images", "list", f"name=={reference}")
    while "io.cri-containerd.image=managed" not in run(listing):
        if time.monotonic() > deadline:
            raise ClusterError(f"containerd did not take note of {reference}")
        time.sleep(0.1)
