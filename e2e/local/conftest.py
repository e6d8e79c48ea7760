"""What the tests begin with: a double of Jenkins, and manifests of a connector to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local import program


@pytest.fixture(scope="session")
def jenkins() -> Iterator[str]:
    """The URL of a double of Jenkins."""
    with program.jenkins() as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path, jenkins: str) -> Path:
    """A folder with the manifests of one connector and its Secret."""
    (tmp_path / "connector.yaml").write_text(program.manifests(jenkins))
    (tmp_path / "secret.yaml").write_text(program.secret())
    return tmp_path
