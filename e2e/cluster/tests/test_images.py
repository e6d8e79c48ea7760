"""The image writer: names, contents, and that equal input gives equal bytes."""

import io
import json
import tarfile
import unittest

from testcluster import images
from testcluster.errors import ClusterError

IMAGE = images.Image(
    "mcp-connectors.local/thing:1",
    (images.File("/usr/bin/thing", b"program", 0o755),),
    ("/usr/bin/thing",),
    workdir="/home",
    links={"/bin/other": "../usr/bin/thing"},
)


def archive_of(image: images.Image) -> bytes:
    """The bytes of an image's archive."""
    target = io.BytesIO()
    images.write_archive(image, target)
    return target.getvalue()


def read_blob(archive: tarfile.TarFile, digest: str) -> bytes:
    """One blob of an archive."""
    file = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
    assert file is not None
    return file.read()


class NameTest(unittest.TestCase):
    """`full_name` completes references as the container runtime does."""

    def test_names(self) -> None:
        for name, expected in (
            ("thing", "docker.io/library/thing:latest"),
            ("team/thing:1", "docker.io/team/thing:1"),
            ("localhost/thing:1", "localhost/thing:1"),
            ("registry:5000/thing", "registry:5000/thing:latest"),
            ("mcp-connectors.local/thing:1.2", "mcp-connectors.local/thing:1.2"),
        ):
            with self.subTest(name):
                self.assertEqual(images.full_name(name), expected)

    def test_bad_names(self) -> None:
        for name in ("", "Thing", "a b", "a@sha256:0", "a/", "-a"):
            with self.subTest(name), self.assertRaises(ClusterError):
                images.full_name(name)


class ArchiveTest(unittest.TestCase):
    """`write_archive` writes an OCI archive."""

    def test_equal_input_gives_equal_bytes(self) -> None:
        self.assertEqual(archive_of(IMAGE), archive_of(IMAGE))

    def test_contents(self) -> None:
        with tarfile.open(fileobj=io.BytesIO(archive_of(IMAGE))) as archive:
            index = json.load(archive.extractfile("index.json") or io.BytesIO())
            described = index["manifests"][0]
            manifest = json.loads(read_blob(archive, described["digest"]))
            config = json.loads(read_blob(archive, manifest["config"]["digest"]))
            layer = read_blob(archive, manifest["layers"][0]["digest"])
        self.assertEqual(described["annotations"], {images.NAME_ANNOTATION: IMAGE.name})
        self.assertEqual(manifest["layers"][0]["size"], len(layer))
        self.assertEqual(config["rootfs"]["diff_ids"], [manifest["layers"][0]["digest"]])
        self.assertEqual(config["config"]["User"], "65532:65532")
        with tarfile.open(fileobj=io.BytesIO(layer)) as files:
            self.assertEqual(
                files.getnames(), ["bin", "home", "usr", "usr/bin", "usr/bin/thing", "bin/other"]
            )
            self.assertEqual(files.getmember("usr/bin/thing").mode, 0o755)


class RenameTest(unittest.TestCase):
    """An archive gets the asked-for name, whatever it was called."""

    def test_oci(self) -> None:
        source, target = io.BytesIO(archive_of(IMAGE)), io.BytesIO()
        with tarfile.open(fileobj=source) as archive:
            images._copy_renamed(archive, target, "example.test/new:2")
        target.seek(0)
        with tarfile.open(fileobj=target) as archive:
            index = json.load(archive.extractfile("index.json") or io.BytesIO())
        self.assertEqual(
            index["manifests"][0]["annotations"], {images.NAME_ANNOTATION: "example.test/new:2"}
        )

    def test_docker(self) -> None:
        renamed = images._renamed(images.DOCKER_FILE, b'[{"RepoTags": null}]', "a.test/b:1")
        self.assertEqual(json.loads(renamed), [{"RepoTags": ["a.test/b:1"]}])

    def test_more_than_one_image(self) -> None:
        with self.assertRaisesRegex(ClusterError, "one image, not 2"):
            images._renamed(images.DOCKER_FILE, b"[{}, {}]", "a.test/b:1")


if __name__ == "__main__":
    unittest.main()
