"""Paths, progress, tools and addresses."""

import io
import json
import os
import re
import tempfile
import unittest
import unittest.mock
from collections.abc import Callable
from pathlib import Path

from testcluster import build, network, reporter
from testcluster.errors import EXIT_PREREQUISITE, ClusterError
from testcluster.layout import DEFAULT_DATA, DEFAULT_STATE, STATE_VARIABLE, Layout


class LayoutTest(unittest.TestCase):
    """Where files are kept."""

    def test_defaults(self) -> None:
        layout = Layout.from_environment({})
        self.assertEqual((layout.state, layout.data), (DEFAULT_STATE, DEFAULT_DATA))

    def test_chosen_directories(self) -> None:
        layout = Layout.from_environment({STATE_VARIABLE: "/a/b", "XDG_CACHE_HOME": "/c"})
        self.assertEqual(layout.data, Path("/a/b/data"))
        self.assertEqual(layout.cache, Path("/c/mcp-connectors"))

    def test_unusable_directories(self) -> None:
        for path in ("relative", "/" + "long" * 20):
            with self.subTest(path), self.assertRaises(ClusterError) as raised:
                Layout.from_environment({STATE_VARIABLE: path})
            self.assertEqual(raised.exception.exit_code, EXIT_PREREQUISITE)


class ToolTest(unittest.TestCase):
    """The pinned tools."""

    def test_selection_by_tool_and_by_program(self) -> None:
        self.assertEqual(build.select(["kubectl", "etcd"]), (build.ETCD, build.KUBERNETES))

    def test_unknown_names_are_refused(self) -> None:
        with self.assertRaisesRegex(ClusterError, "unknown tool: docker"):
            build.select(["docker"])

    def test_keys_name_tool_and_version(self) -> None:
        for tool in build.ALL_TOOLS:
            with self.subTest(tool.name):
                prefix = re.escape(f"{tool.name}-{tool.version}-")
                self.assertRegex(tool.key, f"^{prefix}[0-9a-f]{{12}}$")

    def test_versions_are_those_of_the_modules(self) -> None:
        for tool in build.ALL_TOOLS:
            if tool is not build.PAUSE:
                with self.subTest(tool.name):
                    self.assertIn(f" {tool.version}\n", (tool.module / "go.mod").read_text())

    def test_modules_of_what_a_demo_builds_agree(self) -> None:
        """So that Go, and of the same version, compiles once what they are made of."""

        def read(tool: build.Tool) -> tuple[str, dict[str, str]]:
            text = (tool.module / "go.mod").read_text()
            go = re.search(r"^go (\S+)$", text, re.MULTILINE)
            replaced = dict(re.findall(r"^\t(\S+) => \S+ (v\S+)$", text, re.MULTILINE))
            required = re.findall(r"^(?:require |\t)(\S+) (v\S+)(?: // indirect)?$", text, re.MULTILINE)
            versions = {module: replaced.get(module, version) for module, version in required}
            return go[1] if go else "", versions

        go, kubernetes = read(build.KUBERNETES)
        for tool, fewest in ((build.PAUSE, 0), (build.ETCD, 40), (build.COREDNS, 40), (build.ARGOCD, 100)):
            with self.subTest(tool.name):
                own, versions = read(tool)
                both = kubernetes.keys() & versions.keys()
                self.assertGreaterEqual(len(both), fewest)
                self.assertEqual(own, go)
                self.assertEqual({m: versions[m] for m in both}, {m: kubernetes[m] for m in both})


class CacheTest(unittest.TestCase):
    """What is kept in the cache, and built again when it is broken."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.layout = Layout.from_environment({"XDG_CACHE_HOME": folder.name})
        self.there = build.folder(self.layout, build.PAUSE)
        go = Path(folder.name) / "go"
        # Of `go env GOVERSION` and `go build ... -o FOLDER/ PACKAGE`.
        go.write_text(
            "#!/bin/bash\n[[ $1 == build ]] || exec echo go1.99\n"
            'while [[ $1 != -o ]]; do shift; done\necho program >"$2/pause"\n'
        )
        go.chmod(0o755)
        path = f"{folder.name}:{os.environ['PATH']}"
        patch = unittest.mock.patch.dict(os.environ, {"PATH": path})
        patch.start()
        self.addCleanup(patch.stop)

    def ensure(self) -> str:
        stream = io.StringIO()
        build.ensure(self.layout, [build.PAUSE], reporter.Reporter(stream))
        return stream.getvalue()

    def test_what_is_built_is_not_built_again(self) -> None:
        self.assertIn("building pause", self.ensure())
        self.assertEqual(self.ensure(), "")
        self.assertEqual([path.name for path in self.there.iterdir()], ["pause"])

    def test_what_is_broken_is_said_and_built_again(self) -> None:
        breaks: dict[str, Callable[[Path], object]] = {
            "truncated": lambda program: os.truncate(program, 3),
            "empty": lambda program: program.write_bytes(b""),
            "gone": lambda program: program.unlink(),
            "sizes": lambda program: build.sizes_file(self.layout, build.PAUSE).write_text("{"),
        }
        for name, harm in breaks.items():
            with self.subTest(name):
                self.ensure()
                harm(self.there / "pause")
                told = self.ensure()
                self.assertIn(f"{self.there} is broken", told)
                self.assertIn("building pause", told)
                self.assertEqual((self.there / "pause").read_text(), "program\n")

    def test_one_of_before_sizes_were_written_down_is_kept(self) -> None:
        self.ensure()
        build.sizes_file(self.layout, build.PAUSE).unlink()
        self.assertEqual(self.ensure(), "")
        os.truncate(self.there / "pause", 3)
        self.assertIn("is broken", self.ensure())


class ReporterTest(unittest.TestCase):
    """Progress lines."""

    def test_durations(self) -> None:
        for seconds, expected in ((0.04, "0.0s"), (9.4, "9.4s"), (59.6, "1m00s"), (125, "2m05s")):
            self.assertEqual(reporter.duration(seconds), expected)

    def test_a_step_tells_its_begin_and_its_end(self) -> None:
        stream = io.StringIO()
        with reporter.Reporter(stream).step("baking", expected=90, later=30):
            pass
        first, last = stream.getvalue().splitlines()
        self.assertIn("baking, about 1m30s; about 2m00s left in all", first)
        self.assertIn("baking: done in 0.0s", last)

    def test_a_run_of_make_is_told_of_a_step(self) -> None:
        with tempfile.TemporaryDirectory() as run:
            environment = {"STEPS_RUN": run, "STEPS_STEP": "breakfast"}
            with (
                unittest.mock.patch.dict(os.environ, environment),
                reporter.Reporter(io.StringIO()).step("baking"),
            ):
                pass
            told = json.loads((Path(run) / "parts.jsonl").read_text())
        self.assertEqual((told["step"], told["title"]), ("breakfast", "baking"))

    def test_a_failed_step_is_not_called_done(self) -> None:
        stream = io.StringIO()
        with self.assertRaises(ValueError), reporter.Reporter(stream).step("baking"):
            raise ValueError
        self.assertIn("baking: stopped after", stream.getvalue())


class AddressTest(unittest.TestCase):
    """How the kernel writes the addresses of sockets."""

    def test_decoding(self) -> None:
        for written, address in (
            ("0100007F", "127.0.0.1"),
            ("00000000", "0.0.0.0"),
            ("00000000000000000000000000000000", "::"),
            ("0000000000000000FFFF00000100007F", "127.0.0.1"),
        ):
            self.assertEqual(network._decode(written), address)


if __name__ == "__main__":
    unittest.main()
