"""Paths, progress, tools and addresses."""

import io
import re
import unittest
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
