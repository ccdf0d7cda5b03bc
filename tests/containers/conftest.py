"""An image, and a study of 12 runs made on the host and compared with what the image makes.

The image is the one that DASH_HPC_IMAGE names; ``containers/build cpu`` makes it. Slurm is whatever is on PATH.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# The tests of Slurm have the tools for it; test modules are not packages.
sys.path.insert(0, str(Path(__file__).parents[1] / "cluster"))

from cluster_tools import CLI, Cluster, command, idle_nodes


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Frequent checkpoints; no profile of the person who runs the tests; root may run Open MPI."""
    monkeypatch.setenv("DASH_HPC_CHECKPOINT_SECONDS", "1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("DASH_HPC_SLURM_PROFILE", raising=False)
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT", "1")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    monkeypatch.setenv("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")


@pytest.fixture(scope="session")
def image() -> Path:
    """The image under test."""
    if shutil.which("apptainer") is None:
        pytest.skip("apptainer is not on PATH")
    named = os.environ.get("DASH_HPC_IMAGE")
    if not named:
        pytest.skip("DASH_HPC_IMAGE is not set; containers/build cpu makes an image")
    return Path(named).resolve()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Slurm with at least two nodes that are up."""
    idle_nodes(2)
    found = Cluster()
    yield found
    found.close()


@pytest.fixture(scope="session")
def study(small_study: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of 12 runs as a file."""
    path = tmp_path_factory.mktemp("boxed") / "boxed.toml"
    path.write_text(small_study("boxed", epochs=60, every=20, seeds='"0..3"', lambda_ppi="[0.1, 0.5]"))
    return path


@pytest.fixture(scope="session")
def reference(study: Path) -> Path:
    """The study's output on the host, without any container."""
    folder = study.parent / "reference"
    command(*CLI, "run", study, "--output", folder)
    return folder
