"""The runner of Rust's tests, on programs that are no tests."""

import json
import os
import signal
from pathlib import Path

import pytest
from rendering import ROOT
from steps import unit_tests
from steps.unit_tests import Program, run_all


def program(tmp_path: Path, name: str, script: str) -> Program:
    return Program(name, ("bash", "-c", script), tmp_path, {"GIVEN": "to the test"})


def test_the_output_of_each_is_whole_and_one_behind_the_other(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = "touch {0}; until [[ -e {1} ]]; do sleep 0.05; done; echo begin {0}; echo $GIVEN $PWD >&2; echo end {0}"
    both = [program(tmp_path, one, script.format(one, other)) for one, other in ("ab", "ba")]
    # Each waits for the other.
    assert run_all(both, tmp_path / "times.json") == 0
    said = capfd.readouterr().out
    for name in "ab":
        assert f"begin {name}\nto the test {tmp_path}\nend {name}\n" in said
    assert json.loads((tmp_path / "times.json").read_text()).keys() == {"a", "b"}


def test_what_took_longest_begins_first(tmp_path: Path) -> None:
    times = tmp_path / "times.json"
    times.write_text(json.dumps({"short": 1.0, "long": 9.0}))
    programs = [program(tmp_path, name, f"date +%s%N > {name}; sleep 0.2") for name in ("short", "middle", "long")]
    assert run_all(programs, times) == 0
    began = {name: int((tmp_path / name).read_text()) for name in ("short", "middle", "long")}
    assert max(began["middle"], began["long"]) < began["short"], "one that nobody knows may be the longest"


def test_after_a_failure_the_others_run_and_it_is_told_at_the_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    programs = [
        program(tmp_path, "bad", "echo test x ... FAILED; exit 101"),
        program(tmp_path, "beside", "touch beside"),
        program(tmp_path, "later", "touch later"),
    ]
    assert run_all(programs, tmp_path / "times.json") == 1
    said = capfd.readouterr()
    assert "test x ... FAILED" in said.out
    assert "tests failed in\n  bad (exit status 101): bash -c echo" in said.err
    assert (tmp_path / "beside").exists() and (tmp_path / "later").exists()
    assert not (tmp_path / "times.json").exists()


@pytest.mark.parametrize(("path", "status"), [("missing", 127), ("no-program", 127)])
def test_one_that_cannot_start_is_a_failure(
    tmp_path: Path, path: str, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no-program").write_text("not a program")
    (tmp_path / "no-program").chmod(0o755)
    assert run_all([Program("one", (str(tmp_path / path),), tmp_path, {})], tmp_path / "times.json") == 1
    said = capfd.readouterr()
    assert f"{path} can't be started" in said.out
    assert f"one (exit status {status})" in said.err


def test_one_that_a_signal_ends_is_a_failure(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_all([program(tmp_path, "one", "echo half; kill -ABRT $$")], tmp_path / "times.json") == 1
    said = capfd.readouterr()
    assert "half" in said.out
    assert f"one (exit status {-signal.SIGABRT})" in said.err


def artifact(name: str, kind: str, executable: str | None, test: bool = True) -> str:
    return json.dumps(
        {
            "reason": "compiler-artifact",
            "manifest_path": str(ROOT / "crates" / "agent" / "Cargo.toml"),
            "target": {"name": name, "kind": [kind]},
            "profile": {"test": test},
            "executable": executable,
        }
    )


def test_test_programs_are_those_that_cargo_would_run() -> None:
    messages = [
        artifact("agent", "lib", None, test=False),
        artifact("main", "bin", "/target/main", test=False),
        artifact("agent", "lib", "/target/agent-1"),
        artifact("all", "test", "/target/all-1"),
        json.dumps({"reason": "build-finished", "success": True}),
    ]
    first, second = unit_tests.test_programs("\n".join(messages), ["--ignored", "vault_real"])
    assert first.name == "crates/agent: agent (lib) --ignored vault_real"
    assert second.name == "crates/agent: all (test) --ignored vault_real"
    assert first.words == ("/target/agent-1", *unit_tests.TIMED, "--ignored", "vault_real")
    assert first.folder == ROOT / "crates" / "agent"
    assert first.environment["RUSTC_BOOTSTRAP"] == "1" and "RUSTC_BOOTSTRAP" not in os.environ


@pytest.mark.parametrize(
    ("arguments", "with_documentation"), [(["--workspace"], True), (["--test", "all"], False), (["--lib"], False)]
)
def test_tests_in_documentation_are_run_where_cargo_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], with_documentation: bool
) -> None:
    cargo = tmp_path / "cargo"
    cargo.write_text(f"#!/bin/sh\ncat <<'END'\n{artifact('agent', 'lib', '/target/agent-1')}\nEND\n")
    cargo.chmod(0o755)
    monkeypatch.setattr(unit_tests, "CARGO", cargo)
    ran: list[Program] = []
    monkeypatch.setattr(unit_tests, "run_all", lambda programs, _: ran.extend(programs) or 0)
    assert unit_tests.main([*arguments, "--", "name"]) == 0
    of_documentation = [one.words for one in ran if "--doc" in one.words]
    assert of_documentation == ([(str(cargo), "test", *arguments, "--doc", "--", "name")] if with_documentation else [])


def test_what_does_not_compile_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cargo = tmp_path / "cargo"
    cargo.write_text("#!/bin/sh\nexit 101\n")
    cargo.chmod(0o755)
    monkeypatch.setattr(unit_tests, "CARGO", cargo)
    assert unit_tests.main(["--workspace"]) == 101
