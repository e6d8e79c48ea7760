"""Keeps what a run tells in places that forget: logs of pods that go, and every state of objects.

Logs are kept by hard links to the kubelet's files, which stay when it removes its own. Objects are followed as a watch
tells them, so that an annotation or an Event that is there for a moment is kept, too. Of the API server's audit log it
is what was written meanwhile.
"""

import contextlib
import glob
import http.client
import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from testcluster import api, argocd, doubles, vault
from testcluster.layout import Layout
from testcluster.settings import API_PORT, NODE_ADDRESS

# Each container's log is there for as long as its pod, which is longer than this.
LOOK_SECONDS = 0.5
# An API server that is stopped, or has no such kind yet, is asked again.
PAUSE_SECONDS = 2
WATCH_SECONDS = 600
# Pods of the operator and of connectors have names that begin so; no others have.
POD_PREFIX = "mcp-"
OBJECTS = {
    "events": "/api/v1/events",
    "configmaps": "/api/v1/configmaps",
    "pods": "/api/v1/pods",
    "deployments": "/apis/apps/v1/deployments",
    "mcpconnectors": "/apis/mcp-connectors.io/v1alpha1/mcpconnectors",
    "credentialsources": "/apis/mcp-connectors.io/v1alpha1/credentialsources",
}
# The platforms, which know their own secrets; besides Vault, of which there may be several.
LEFT_OUT = {doubles.NAMESPACE, argocd.NAMESPACE}


class Recording:
    """What is kept while a run goes on."""

    def __init__(self, layout: Layout, told: Path) -> None:
        self.logs = layout.data / "kept-logs"
        self._layout, self._told = layout, told
        self._audited = 0
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._keep_logs, daemon=True)]
        self._threads += [threading.Thread(target=self._follow, args=kind, daemon=True) for kind in OBJECTS.items()]

    def begin(self) -> None:
        """Begins, with nothing kept."""
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir()
        self._audited = self._layout.audit_log.stat().st_size
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Ends. What was kept stays until the next run, or the end of the cluster."""
        self._ended.set()
        # The others wait for objects that may never come; what they have is in their files.
        self._threads[0].join()
        with self._layout.audit_log.open("rb") as log, (self._told / "audit-log").open("wb") as kept:
            log.seek(self._audited)
            shutil.copyfileobj(log, kept)

    def _keep_logs(self) -> None:
        written = Path(f"{self._layout.node_files}/var/log/pods")
        while True:
            # Once more after the end.
            last = self._ended.wait(LOOK_SECONDS)
            link_logs(written, self.logs)
            if last:
                return

    def _follow(self, kind: str, path: str) -> None:
        with (self._told / kind).open("ab", buffering=0) as file:
            while not self._ended.is_set():
                # Broken off when the API server stops, which stories have it do. It tells all objects anew then.
                with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                    self._watch(path, file.write)
                self._ended.wait(PAUSE_SECONDS)

    def _watch(self, path: str, write: Callable[[bytes], int | None]) -> None:
        context = api.tls(self._layout, "admin")
        connection = http.client.HTTPSConnection(NODE_ADDRESS, API_PORT, timeout=WATCH_SECONDS + 60, context=context)
        with contextlib.closing(connection):
            connection.request("GET", f"{path}?watch=1&timeoutSeconds={WATCH_SECONDS}")
            answer = connection.getresponse()
            while answer.status == http.client.OK and (line := answer.readline()):
                namespace = json.loads(line)["object"].get("metadata", {}).get("namespace", "")
                if not (namespace in LEFT_OUT or vault.lives_in(namespace)):
                    write(line)


def link_logs(written: Path, kept: Path) -> None:
    """Keeps the logs of the operator's and the connectors' pods: each file once, whatever it is called later."""
    # Not Path.glob(), which ends with an error when the folder of a pod goes meanwhile.
    for log in map(Path, glob.iglob(f"{written}/*_{POD_PREFIX}*/*/*")):
        # It may go, or be compressed, while it is looked at.
        with contextlib.suppress(FileNotFoundError):
            target = kept / f"{log.parent.parent.name}_{log.parent.name}_{log.stat().st_ino}"
            if log.suffix != ".gz" and not target.exists():
                os.link(log, target)
