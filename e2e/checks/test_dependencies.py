"""Compiled dependencies that are kept for the next fresh clone: which, whole, and with their times."""

import importlib.util
import os
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from rendering import ROOT

HASH = "0123456789abcdef"
DEBUG = "x86_64-unknown-linux-gnu/debug"
OF_THE_REGISTRY = (
    f"{DEBUG}/deps/libserde_json-{HASH}.rlib",
    f"{DEBUG}/deps/libserde_json-{HASH}.rmeta",
    f"{DEBUG}/deps/serde_json-{HASH}.d",
    f"{DEBUG}/build/aws-lc-sys-{HASH}/out/lib.a",
    f"{DEBUG}/.fingerprint/serde_json-{HASH}/lib-serde_json",
    f"debug/deps/libserde_derive-{HASH}.so",
    f"{DEBUG}/deps/liblibc-{HASH}.rlib",
    f"{DEBUG}/deps/libc-{HASH}.d",
    f"{DEBUG}/build/libc-{HASH}/output",
    f"{DEBUG}/.fingerprint/libc-{HASH}/lib-libc",
)
OWN = (
    f"{DEBUG}/deps/libmcp_connectors-{HASH}.rlib",
    f"{DEBUG}/deps/integration-{HASH}",
    f"{DEBUG}/.fingerprint/mcp-connectors-{HASH}/lib-mcp_connectors",
    f"{DEBUG}/incremental/mcp_connectors-{HASH}/dep-graph.bin",
    f"{DEBUG}/mcp-connectors",
)
AT = 1_700_000_000_123_456_789


@pytest.fixture
def dependencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, with a cache of its own."""
    loader = SourceFileLoader("dependencies", str(ROOT / "e2e" / "checks" / "dependencies"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    # What a dataclass looks its module up by.
    monkeypatch.setitem(__import__("sys").modules, loader.name, module)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader.exec_module(module)
    monkeypatch.setattr(module, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(module, "KEPT", tmp_path / "cache" / "dependencies")
    return module


def compiled(target: Path, *paths: str) -> None:
    for path in paths:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(path)
        os.utime(target / path, ns=(AT, AT))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_a_clone_compiled_of_the_registry_is_there_in_the_next_with_its_times(
    dependencies: ModuleType, tmp_path: Path
) -> None:
    kept, first, second = dependencies.KEPT / "key", tmp_path / "first", tmp_path / "second"
    compiled(first, *OF_THE_REGISTRY, *OWN)
    dependencies.keep(kept, first)
    dependencies.restore(kept, second)
    assert files(second) == {*OF_THE_REGISTRY, dependencies.MARK}
    assert {(second / path).stat().st_mtime_ns for path in OF_THE_REGISTRY} == {AT}
    # What is compiled later is added.
    later = f"{DEBUG}/deps/libserde-{HASH}.rmeta"
    compiled(second, later)
    dependencies.keep(kept, second)
    dependencies.restore(kept, tmp_path / "third")
    assert later in files(tmp_path / "third")


def test_what_is_compiled_anew_takes_the_place_of_what_is_kept(dependencies: ModuleType, tmp_path: Path) -> None:
    kept, first, second = dependencies.KEPT / "key", tmp_path / "first", tmp_path / "second"
    compiled(first, *OF_THE_REGISTRY)
    dependencies.keep(kept, first)
    anew = OF_THE_REGISTRY[:3]
    for path in anew:
        os.utime(first / path, ns=(AT + 1, AT + 1))
    dependencies.keep(kept, first)
    dependencies.restore(kept, second)
    times = {path: (second / path).stat().st_mtime_ns for path in OF_THE_REGISTRY}
    assert times == {path: AT + (path in anew) for path in OF_THE_REGISTRY}


def test_what_is_cut_off_is_said_and_not_used(
    dependencies: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, first, second = dependencies.KEPT / "key", tmp_path / "first", tmp_path / "second"
    compiled(first, *OF_THE_REGISTRY)
    dependencies.keep(kept, first)
    (kept / OF_THE_REGISTRY[0]).write_text("half")
    dependencies.restore(kept, second)
    assert "is damaged: the dependencies are compiled anew" in capsys.readouterr().err
    assert files(second) == {dependencies.MARK}
    dependencies.keep(kept, first)
    dependencies.restore(kept, tmp_path / "third")
    assert {*OF_THE_REGISTRY} < files(tmp_path / "third")


def test_the_oldest_go(dependencies: ModuleType, tmp_path: Path) -> None:
    compiled(tmp_path / "target", *OF_THE_REGISTRY)
    for number in range(dependencies.LIMIT + 1):
        dependencies.keep(dependencies.KEPT / str(number), tmp_path / "target")
        os.utime(dependencies.KEPT / str(number), (number, number))
    assert {folder.name for folder in dependencies.KEPT.iterdir()} == {str(number + 1) for number in range(dependencies.LIMIT)}
