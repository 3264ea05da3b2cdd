"""All tests check the array shapes in the signatures of sdfkit's functions at each call."""

import logging
import os
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
from jaxtyping import install_import_hook

import sdfkit
from tests.properties import register_profiles

register_profiles()

CHECKED_PACKAGES = ("geometry", "images", "models", "training", "evaluation", "analysis")
# Compiled kernels cannot be wrapped, so they live in modules of their own, named *_kernels.
CHECKED = [
    module.name
    for module in pkgutil.walk_packages(sdfkit.__path__, "sdfkit.")
    if not module.ispkg
    and module.name.split(".")[1] in CHECKED_PACKAGES
    and not module.name.endswith("_kernels")
]
install_import_hook(CHECKED, "beartype.beartype")

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="take what comes as what is expected")


@pytest.fixture(autouse=True)
def levels_of_logs() -> Iterator[None]:
    """Restore the levels that the program sets in this process, such as those of --quiet, for the tests that follow."""
    loggers = [logging.getLogger(name) for name in (None, "sdfkit", "asyncio")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, np.ndarray], np.ndarray]:
    """Return the expected array from tests/golden; with --rewrite-golden, store the computed array and return it."""

    def golden(name: str, array: np.ndarray) -> np.ndarray:
        path = GOLDEN / f"{name}.npy"
        if request.config.getoption("--rewrite-golden"):
            np.save(path, array)
        expected: np.ndarray = np.load(path)
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
        return expected

    return golden
