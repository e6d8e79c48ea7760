"""Who wrote what to the Kubernetes API, from the API server's own audit log."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from testcluster.layout import Layout

from .kube import Manifest
from .operator import MAIN

WRITES = {"create", "update", "patch", "delete", "deletecollection"}
# Telling what happened and who leads is no work on objects.
NOT_COUNTED = {"events", "leases"}


@dataclass
class AuditLog:
    """The audit log from a moment on."""

    path: Path
    offset: int

    @classmethod
    def from_now(cls) -> "AuditLog":
        """What is written from now on."""
        path = Layout.from_environment().audit_log
        return cls(path, path.stat().st_size)

    def writes(self, namespace: str | None = None, user: str = MAIN.user, address: str | None = None) -> list[str]:
        """Writes of a user, Events and Leases aside; only those from one address, if one is given."""
        return [
            f"{entry['verb']} {entry['objectRef']['resource']}{_subresource(entry)} "
            f"{entry['objectRef'].get('namespace', '')}/{entry['objectRef'].get('name', '')} "
            f"-> {entry.get('responseStatus', {}).get('code')} at {entry['stageTimestamp']}"
            for entry in self._writes(user)
            if (namespace is None or entry["objectRef"].get("namespace") == namespace)
            and (address is None or address in entry["sourceIPs"])
        ]

    def statuses(self, namespace: str, resource: str, name: str, user: str) -> list[Manifest]:
        """What a user wrote as the status of an object of ours, in order."""
        of_it = {"resource": resource, "namespace": namespace, "name": name, "subresource": "status"}
        return [
            entry["requestObject"]["status"]
            for entry in self._writes(user)
            if of_it.items() <= entry["objectRef"].items()
        ]

    def verbs(self, user: str = MAIN.user) -> Counter[str]:
        """What a user did, by verb and resource."""
        return Counter(
            f"{entry['verb']} {entry['objectRef']['resource']}{_subresource(entry)}"
            for entry in self._entries()
            if entry["user"]["username"] == user and "objectRef" in entry
        )

    def _writes(self, user: str) -> Iterator[dict]:  # type: ignore[type-arg]
        for entry in self._entries():
            is_write = entry["verb"] in WRITES and entry["user"]["username"] == user
            # A token that is asked for is written nowhere.
            is_token = entry["objectRef"].get("subresource") == "token" if is_write else False
            if is_write and not is_token and entry["objectRef"]["resource"] not in NOT_COUNTED:
                yield entry

    def _entries(self) -> Iterator[dict]:  # type: ignore[type-arg]
        # Rotated meanwhile, it begins anew.
        offset = self.offset if self.path.stat().st_size >= self.offset else 0
        with self.path.open("rb") as log:
            log.seek(offset)
            for line in log:
                if line.endswith(b"\n"):
                    yield json.loads(line)


def _subresource(entry: dict) -> str:  # type: ignore[type-arg]
    name = entry["objectRef"].get("subresource")
    return f"/{name}" if name else ""
