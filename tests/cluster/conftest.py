"""Studies, and whatever Slurm and image there are: the tests make neither and know nothing of how they were made.

Slurm is the one on PATH; the image is the one that DASH_HPC_IMAGE names, which ``containers/build cpu`` makes.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Test modules are not packages, so that their helper is found by path.
sys.path.insert(0, str(Path(__file__).parent))

from cluster_tools import CLI, Cluster, command, idle_nodes

#: A strategy whose model is computed, beside those that train.
COMPUTED = '[[strategy]]\nname = "evidence"\n'


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Frequent checkpoints; no profile of the person who runs the tests; root may run Open MPI."""
    monkeypatch.setenv("DASH_HPC_CHECKPOINT_SECONDS", "1")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("DASH_HPC_SLURM_PROFILE", raising=False)
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT", "1")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    monkeypatch.setenv("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Slurm with at least two nodes that are up."""
    idle_nodes(2)
    found = Cluster()
    yield found
    found.close()


@pytest.fixture(scope="session")
def study(small_study: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of 32 runs as a file."""
    path = tmp_path_factory.mktemp("study") / "cluster.toml"
    text = small_study("cluster", epochs=60, every=20, seeds='"0..7"', lambda_ppi="[0.1, 0.5]")
    path.write_text(text + COMPUTED)
    return path


@pytest.fixture(scope="session")
def reference(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study's output by the local engine, undisturbed."""
    folder = tmp_path_factory.mktemp("reference") / "out"
    command(*CLI, "run", study, "--output", folder)
    return folder


@pytest.fixture(scope="session")
def small(small_study: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six runs of the study of some seconds each, for jobs that are disturbed before they are done."""
    path = tmp_path_factory.mktemp("study") / "small.toml"
    path.write_text(small_study("cluster", epochs=5000, every=20, seeds='"0..1"', lambda_ppi="[0.1, 0.5]"))
    return path


@pytest.fixture(scope="session")
def small_reference(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study's output by the local engine, undisturbed."""
    folder = tmp_path_factory.mktemp("reference") / "small"
    command(*CLI, "run", small, "--output", folder)
    return folder


@pytest.fixture(scope="session")
def image() -> Path:
    """The image under test."""
    if shutil.which("apptainer") is None:
        pytest.skip("apptainer is not on PATH")
    named = os.environ.get("DASH_HPC_IMAGE")
    if not named:
        pytest.skip("DASH_HPC_IMAGE is not set; containers/build cpu makes an image")
    return Path(named).resolve()


@pytest.fixture(scope="session")
def boxed(small_study: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of 16 runs, for an image, as a file in a folder of its own."""
    path = tmp_path_factory.mktemp("boxed") / "boxed.toml"
    path.write_text(small_study("boxed", epochs=60, every=20, seeds='"0..3"', lambda_ppi="[0.1, 0.5]") + COMPUTED)
    return path


@pytest.fixture(scope="session")
def boxed_reference(boxed: Path) -> Path:
    """Its output on the host, without any container."""
    folder = boxed.parent / "reference"
    command(*CLI, "run", boxed, "--output", folder)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An output folder."""
    return tmp_path / "out"
