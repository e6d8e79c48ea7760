"""The Secrets Store CSI driver on the node, with a store that is a folder.

The driver is the real one. What it needs beside it, the kubelet's registrar and a provider, is a
program of `tools/secrets-store`. Both run beside the kubelet, so there is no image. Tests import
this module: `up()`, `put()` and `down()` work on the cluster of the environment.
"""

import os
import shutil
import signal
from pathlib import Path

from . import api as kubernetes
from . import build, lifecycle, namespace
from .layout import Layout
from .reporter import Reporter
from .settings import NODE_NAME

DRIVER = "secrets-store.csi.k8s.io"
# The provider's name in a SecretProviderClass; the parameter `folder` names a folder of the store.
PROVIDER = "folder"
PROGRAMS = ("secrets-store-csi-driver", "secrets-store")
KUBELET = "/var/lib/kubelet"
DRIVER_SOCKET = f"{KUBELET}/plugins/secrets-store/csi.sock"
REGISTRAR_SOCKET = f"{KUBELET}/plugins_registry/{DRIVER}-reg.sock"
PROVIDERS = f"{KUBELET}/secrets-store-providers"
# The driver looks again when the kubelet asks it to, which is every `syncFrequency` here.
ROTATION_SECONDS = 2
START_SECONDS = 60


def up(layout: Layout | None = None, reporter: Reporter | None = None) -> None:
    """Starts the driver and waits until the kubelet knows it."""
    layout, reporter = layout or Layout.from_environment(), reporter or Reporter()
    lifecycle.require_running(layout)
    build.ensure(layout, [build.SECRETS_STORE], reporter)
    with reporter.step("starting the Secrets Store CSI driver", expected=10):
        for manifest in _manifests(layout):
            kubernetes.kubectl(layout, "apply", "--server-side", "--filename", str(manifest))
        _end(layout)
        for path in (DRIVER_SOCKET, REGISTRAR_SOCKET, f"{PROVIDERS}/{PROVIDER}.sock"):
            _on_node(layout, path).parent.mkdir(parents=True, exist_ok=True)
        _store(layout).mkdir(mode=0o700, exist_ok=True)
        driver = (
            f"--endpoint=unix:/{DRIVER_SOCKET}",
            f"--nodeid={NODE_NAME}",
            f"--kubeconfig={layout.kubeconfig}",
            f"--provider-volume={PROVIDERS}",
            f"--additional-provider-volume-paths={PROVIDERS}",
            "--metrics-addr=0",
            "--enable-secret-rotation",
            f"--rotation-poll-interval={ROTATION_SECONDS}s",
        )
        beside = (
            f"--driver={DRIVER_SOCKET}",
            f"--registrar={REGISTRAR_SOCKET}",
            f"--provider={PROVIDERS}/{PROVIDER}.sock",
            f"--store={_store(layout)}",
        )
        for name, words in zip(PROGRAMS, (driver, beside), strict=True):
            program = build.program(layout, build.SECRETS_STORE, name)
            namespace.start(layout, name, (str(program), *words))
        lifecycle.wait(DRIVER, START_SECONDS, lambda: _not_registered(layout))


def put(name: str, files: dict[str, str], layout: Layout | None = None) -> None:
    """Puts files into a folder of the store, in place of what is there."""
    folder = _store(layout or Layout.from_environment()) / name
    folder.mkdir(mode=0o700, exist_ok=True)
    for file, content in files.items():
        # Whoever reads it meanwhile reads one or the other.
        new = folder.with_name(f".{name}.{file}")
        new.write_text(content)
        new.rename(folder / file)
    for left in folder.iterdir():
        if left.name not in files:
            left.unlink()


def down(layout: Layout | None = None) -> None:
    """Ends the driver and empties the store; the pods that it mounts for must be gone."""
    layout = layout or Layout.from_environment()
    for manifest in _manifests(layout):
        kubernetes.kubectl(
            layout, "delete", "--ignore-not-found", "--wait", "--filename", str(manifest)
        )
    _end(layout)
    shutil.rmtree(_store(layout), ignore_errors=True)


def _manifests(layout: Layout) -> list[Path]:
    folder = build.folder(layout, build.SECRETS_STORE)
    return [folder / Path(file).name for file in build.SECRETS_STORE.files]


def _store(layout: Layout) -> Path:
    return layout.state / "secrets-store"


def _on_node(layout: Layout, path: str) -> Path:
    """Where a file of the node's components is for us."""
    return Path(f"{layout.node_files}{path}")


def _end(layout: Layout) -> None:
    # The kubelet forgets a driver when its registrar's socket goes.
    _on_node(layout, REGISTRAR_SOCKET).unlink(missing_ok=True)
    programs = {str(build.program(layout, build.SECRETS_STORE, name)) for name in PROGRAMS}
    for pid, words in namespace.members(layout).items():
        if words and words[0] in programs:
            os.kill(pid, signal.SIGTERM)


def _not_registered(layout: Layout) -> str | None:
    found = kubernetes.get(layout, f"/apis/storage.k8s.io/v1/csinodes/{NODE_NAME}")
    names = {driver["name"] for driver in found["spec"].get("drivers") or ()}
    return None if DRIVER in names else "the kubelet doesn't know it yet"
