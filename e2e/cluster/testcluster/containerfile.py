"""Builds an image from a Containerfile with buildah, as an OCI archive.

Everything stays in a temporary directory of the cache: no registry, no system-wide
storage and no policy file is used. Files get the time zero, so the same input gives
the same layers.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from . import images, packages
from .commands import run
from .errors import EXIT_PREREQUISITE, ClusterError
from .layout import Layout
from .reporter import Reporter

# Images are built here and go nowhere else: there is nobody's signature to check.
POLICY = {"default": [{"type": "insecureAcceptAnything"}]}
# buildah remembers what it has seen of registries; it cannot be told where.
BLOB_CACHE = Path("/var/lib/containers")


@dataclass(frozen=True)
class Request:
    """What to build from what."""

    containerfile: Path
    context: Path
    name: str
    output: Path
    architecture: str | None = None
    """As OCI writes it, such as arm64; this machine's if it is None.

    Nothing of the image runs while it is built.
    """


def build(layout: Layout, reporter: Reporter, request: Request) -> None:
    """Builds the image and writes it to the output file."""
    _check(request)
    packages.ensure(packages.IMAGE_PACKAGES, reporter)
    work = layout.cache / "images"
    work.mkdir(parents=True, exist_ok=True)
    existed = BLOB_CACHE.exists()
    with (
        reporter.step(f"building {request.name}"),
        tempfile.TemporaryDirectory(dir=work) as folder,
    ):
        try:
            _build(Path(folder), request)
        finally:
            if not existed:
                shutil.rmtree(BLOB_CACHE, ignore_errors=True)


def _check(request: Request) -> None:
    for path, kind, found in (
        (request.containerfile, "file", request.containerfile.is_file()),
        (request.context, "directory", request.context.is_dir()),
        (request.output.absolute().parent, "directory", request.output.absolute().parent.is_dir()),
    ):
        if not found:
            raise ClusterError(f"{path} is not a {kind}", EXIT_PREREQUISITE)


def _build(folder: Path, request: Request) -> None:
    name = images.full_name(request.name)
    policy = folder / "policy.json"
    policy.write_text(json.dumps(POLICY))
    unfinished = folder / "image.tar"
    storage = (
        *("--root", folder / "root"),
        *("--runroot", folder / "run"),
        *("--storage-driver", "vfs"),
    )
    trust = ("--signature-policy", policy)
    how: tuple[str, ...] = ("--isolation", "chroot", "--timestamp", "0", "--pull-never")
    if request.architecture:
        how = (*how, "--arch", request.architecture)
    what = ("--file", request.containerfile, "--tag", name, request.context)
    run(("buildah", *storage, "build", *trust, *how, *what))
    run(("buildah", *storage, "push", *trust, name, f"oci-archive:{unfinished}:{name}"))
    shutil.move(unfinished, request.output)
