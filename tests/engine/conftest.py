"""A model for the engine's tests, made once a test process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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
