"""A snapshot that no test looks at is found."""

import subprocess
from pathlib import Path

from rendering import ROOT

CHECK = ROOT / "e2e" / "checks" / "stray-snapshots"


def check(folder: Path, *looked_at: str) -> subprocess.CompletedProcess[str]:
    references = folder / "references"
    references.write_text("".join(f"{folder}/{path}\n" for path in looked_at))
    return subprocess.run([CHECK, references, folder], capture_output=True, text=True, check=False)


def test_each_snapshot_is_one_that_a_test_looked_at(tmp_path: Path) -> None:
    snapshots = tmp_path / "crates" / "one" / "src" / "snapshots"
    compiled = tmp_path / "target"
    for folder in (snapshots, compiled):
        folder.mkdir(parents=True)
    for path in (snapshots / "used.snap", snapshots / "stray.snap", compiled / "of another checkout.snap"):
        path.touch()
    # As insta writes it, more than once for one that two tests look at.
    used = "crates/one/src/tests/../snapshots/used.snap"
    done = check(tmp_path, used, used)
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [str(snapshots / "stray.snap")]
    (snapshots / "stray.snap").unlink()
    assert check(tmp_path, used, used).returncode == 0


def test_where_nothing_was_looked_at_all_are_stray(tmp_path: Path) -> None:
    (tmp_path / "one.snap").touch()
    assert check(tmp_path).returncode == 1
