"""Fixtures that run the program in this process, and small meshes as its input."""

import pytest
import trimesh
from typer.testing import CliRunner, Result

from sdfkit.cli import app
from tests.store_page import stores_compared_with_the_page


@pytest.fixture(scope="package", autouse=True)
def compare_stores_with_the_page():
    """Check that every store created by these tests, and by no others, agrees with sdfkit-store(5)."""
    with stores_compared_with_the_page():
        yield


@pytest.fixture
def sdfkit():
    """Run a command line; the result has exit_code, stdout and stderr. Binary output needs -o."""

    def run(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)

    return run


@pytest.fixture
def sphere(tmp_path):
    """A closed mesh file: an icosphere of 320 faces."""
    path = tmp_path / "sphere.ply"
    trimesh.creation.icosphere(subdivisions=2).export(path)
    return path
