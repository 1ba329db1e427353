"""Models for the engine's tests, made once a test process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cdk_stable_diffusion.runtime_image.engine.diffusion import Diffusion

# Before torch is imported: threads that wait for each other cost more than they bring here.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["SD_ENGINE_THREADS"] = "1"


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a pipeline with random weights."""
    from cdk_stable_diffusion.runtime_image.engine.libraries import import_libraries

    import_libraries()
    from tests.engine.random_model import make_random_model

    directory = tmp_path_factory.mktemp("random-model")
    make_random_model(directory)
    return directory


@pytest.fixture(scope="session")
def xl_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a pipeline of the XL kind with random weights."""
    from tests.engine.random_model import make_random_xl_model

    directory = tmp_path_factory.mktemp("random-xl-model")
    make_random_xl_model(directory)
    return directory


@pytest.fixture(scope="module")
def diffusion(random_model: Path) -> Diffusion:
    """Load the random model once."""
    return _loaded(random_model)


@pytest.fixture(scope="module")
def xl(xl_model: Path) -> Diffusion:
    """Load the random model of the XL kind once."""
    return _loaded(xl_model)


def _loaded(model: Path) -> Diffusion:
    from cdk_stable_diffusion.runtime_image.engine.diffusion import Diffusion

    diffusion = Diffusion()
    diffusion.load(model)
    return diffusion
