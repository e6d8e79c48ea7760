"""What `make release` gives away, made of programs that are no programs: everything but compiling. `make release-check`
compares two builds of the whole."""

import json
import os
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest
from rendering import (
    CHART,
    CRD_CHART,
    ROOT,
    VERSION,
    Manifest,
    container,
    environment,
    kustomize,
    parse,
    released,
    render_crds,
    render_text,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="images are built as root")

REPOSITORY = "registry.example.com/team/mcp-connectors"
PROGRAMS = ("mcp-connectors-image", "mcp-connectors", "kubectl-mcp")
TARGET = "x86_64-unknown-linux-gnu"


def checkout(folder: Path, mask: int) -> Path:
    """A clone with what is in the work tree now, and with other modes and times than there."""
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", ROOT, folder], check=True)
    listing = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = subprocess.run(listing, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    for name in names.split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
            (folder / name).chmod((ROOT / name).stat().st_mode & ~mask)
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    programs = folder / "build/programs"
    programs.mkdir(parents=True)
    for name in PROGRAMS:
        (programs / name).write_text(script(name))
    return folder


def script(name: str) -> str:
    """What stands for a program."""
    return f"#!/bin/sh\necho {name}\n"


def build(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = ("e2e/release/build", "--programs", folder / "build/programs", "--architecture", "amd64", *options)
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkout(tmp_path_factory.mktemp("a"), 0o022)


@pytest.fixture(scope="module")
def release(first: Path) -> Path:
    """The folder of a release whose image has a registry."""
    done = build(first, "--allow-dirty", "--image", REPOSITORY)
    assert done.returncode == 0, done.stderr
    return first / "build/release"


@pytest.fixture(scope="module")
def arm64(first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a release for another architecture, whose image has no registry."""
    folder = tmp_path_factory.mktemp("b") / "arm64"
    done = build(first, "--allow-dirty", "--architecture", "arm64", "--output", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def test_another_folder_makes_the_same_bytes(release: Path, tmp_path: Path) -> None:
    second = checkout(tmp_path / "with another, longer name", 0o077)
    done = build(second, "--allow-dirty", "--image", REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert (second / "build/release/SHA256SUMS").read_text() == (release / "SHA256SUMS").read_text()


def test_checksums_are_those_of_all_files(release: Path) -> None:
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=release, check=True)
    listed = {line.split("  ")[1] for line in (release / "SHA256SUMS").read_text().splitlines()}
    assert listed | {"SHA256SUMS"} == {path.name for path in release.iterdir()} == released("amd64")


def test_each_program_is_given_away_where_it_belongs(release: Path, tmp_path: Path) -> None:
    with tarfile.open(release / f"mcp-connectors-{VERSION}-linux-amd64.oci.tar") as archive:
        manifest = json.load(archive.extractfile(blob(json.load(archive.extractfile("index.json"))["manifests"][0])))
        for number, layer in enumerate(manifest["layers"]):
            (tmp_path / str(number)).write_bytes(archive.extractfile(blob(layer)).read())
    files = {}
    for layer in tmp_path.iterdir():
        with tarfile.open(layer) as contents:
            files |= {one.name: contents.extractfile(one).read() for one in contents if one.isfile()}
    programs = {path.name: path.read_text() for path in release.glob("*-linux-amd64")}
    assert files["mcp-connectors"].decode() == script("mcp-connectors-image")
    assert programs == {f"{name}-{VERSION}-linux-amd64": script(name) for name in ("mcp-connectors", "kubectl-mcp")}


def test_what_is_in_no_commit_is_not_released_by_accident(first: Path) -> None:
    (first / "Cargo.toml").write_text((first / "Cargo.toml").read_text() + "# changed\n")
    done = build(first)
    assert done.returncode == 1
    assert "changes that are in no commit" in done.stderr
    assert "Cargo.toml" in done.stderr


def test_a_folder_with_other_things_is_left_alone(first: Path, tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("mine")
    done = build(first, "--allow-dirty", "--output", str(tmp_path))
    assert done.returncode == 1
    assert "is no release" in done.stderr
    assert (tmp_path / "letter").read_text() == "mine"


def by_identity(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(manifest["kind"], manifest["metadata"]["name"]): manifest for manifest in manifests}


def test_install_yaml_is_config_default_with_the_images_digest(release: Path) -> None:
    text = (release / "install.yaml").read_text()
    made_from = json.loads((release / "release.json").read_text())
    manifests = parse(text)
    image = f"{REPOSITORY}@{made_from['image']['digest']}"
    assert container(manifests)["image"] == image
    assert environment(manifests)["MCP_CONNECTORS_CONNECTOR_IMAGE"] == image
    expected = json.dumps(kustomize(ROOT / "config/default")).replace(f"mcp-connectors:{VERSION}", image)
    assert by_identity(manifests) == by_identity(json.loads(expected))


def test_without_a_registry_the_manifest_names_the_archive_as_a_node_imports_it(arm64: Path) -> None:
    image = container(parse((arm64 / "install.yaml").read_text()))["image"]
    with tarfile.open(arm64 / f"mcp-connectors-{VERSION}-linux-arm64.oci.tar") as archive:
        index = json.load(archive.extractfile("index.json"))
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == image


def test_image_archive_holds_what_its_digests_say(release: Path) -> None:
    made_from = json.loads((release / "release.json").read_text())
    with tarfile.open(release / f"mcp-connectors-{VERSION}-linux-amd64.oci.tar") as archive:
        blobs = {member.name for member in archive}
        index, manifest = (json.load(archive.extractfile(name)) for name in ("index.json", blob(made_from["image"])))
        config = json.load(archive.extractfile(blob(manifest["config"])))
    assert [entry["digest"] for entry in index["manifests"]] == [made_from["image"]["digest"]]
    assert {blob(layer) for layer in manifest["layers"]} < blobs
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert config["config"]["Entrypoint"] == ["/mcp-connectors"]
    assert config["config"]["User"] == "65532:65532"


def test_a_release_for_arm64_says_so(arm64: Path) -> None:
    assert {path.name for path in arm64.iterdir()} == released("arm64")
    made_from = json.loads((arm64 / "release.json").read_text())
    with tarfile.open(arm64 / f"mcp-connectors-{VERSION}-linux-arm64.oci.tar") as archive:
        manifest = json.load(archive.extractfile(blob(made_from["image"])))
        config = json.load(archive.extractfile(blob(manifest["config"])))
    assert (config["architecture"], made_from["architecture"]) == ("arm64", "arm64")


def blob(descriptor: Manifest) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


def test_packed_charts_render_what_the_sources_render(release: Path) -> None:
    values = {"image": {"repository": REPOSITORY}, "podMonitor": {"enabled": True}}
    packed = render_text(release / f"mcp-connectors-{VERSION}.tgz", values)
    assert packed == render_text(CHART, values)
    packed = render_text(release / f"mcp-connectors-crds-{VERSION}.tgz", {})
    assert packed == render_text(CRD_CHART, {})
    assert parse(packed) == render_crds()


@pytest.mark.parametrize("program", PROGRAMS)
def test_bill_of_materials_has_every_dependency_with_its_licence(release: Path, program: str) -> None:
    bill = json.loads((release / f"{program}-{VERSION}.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    words = ("cargo", "tree", "--locked", "--package", program, "--edges", "normal,build", "--target", TARGET)
    text = subprocess.run(
        [*words, "--prefix", "none", "--format", "{p}"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    tree = {tuple(line.split()[:2]) for line in text.splitlines() if line}
    listed = {(component["name"], f"v{component['version']}") for component in bill["components"]}
    # cargo's metadata, which the tool reads, unites the features of the tests with those of the programs.
    assert listed >= tree - {(program, f"v{VERSION}")}
    manifest = tomllib.loads((ROOT / "crates" / program / "Cargo.toml").read_text())
    of_tests = manifest.get("dev-dependencies", {}).keys() - manifest["dependencies"].keys()
    assert not of_tests & {name for name, _ in listed} - {name for name, _ in tree}
    for component in bill["components"]:
        assert component["licenses"], component["name"]
        # The registry's checksum, which our own crates don't have.
        is_own = component["name"].startswith("mcp-connectors-")
        assert is_own or component["hashes"][0]["alg"] == "SHA-256", component["name"]


def test_nothing_names_the_folder_that_it_was_made_in(first: Path, release: Path) -> None:
    for path in release.iterdir():
        for folder in (first, ROOT, Path.home()):
            assert str(folder).encode() not in path.read_bytes(), path.name
