"""Packages from npm in the versions of a lock file, installed into the user's cache.

To move to a new version: change `package.json`, and run in its folder, with npm's setting
`omit-lockfile-registry-resolved=true`: `npm install --package-lock-only`.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from .machine import run


def installed(source: Path) -> Path:
    """Where the packages of the lock file in a folder are, once for each lock file."""
    lock = (source / "package-lock.json").read_bytes()
    caches = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = caches / "mcp-connectors" / f"npm-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not folder.exists():
        _install(source, folder)
    return folder


def _install(source: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix="npm-new-", dir=folder.parent))
    try:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, made)
        run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=made, timeout=600)
        # Whole or not at all; where another run was quicker, its folder is as good.
        if not folder.exists():
            made.rename(folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
