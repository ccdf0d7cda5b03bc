"""A wheel holds what an installed program needs: all modules, and the files beside them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Without native modules setup.py asks nothing of what builds them; an environment for tests need not have it.
BUILD = """
import sys
from types import ModuleType
for name in ("ninja", "pybind11"):
    try:
        __import__(name)
    except ImportError:
        sys.modules[name] = ModuleType(name)
sys.argv = ["setup.py", "-q", "bdist_wheel", "-d", "dist"]
exec(compile(open("setup.py").read(), "setup.py", "exec"), {"__name__": "__main__", "__file__": "setup.py"})
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of a wheel without native modules, built from a copy of the sources."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("dash_hpc", "slurm"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    environment = {**os.environ, "DASH_HPC_NATIVE": "0"}
    built = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD], cwd=tree, env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr[-2000:]
    (wheel,) = tree.glob("dist/*.whl")
    place = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    return place


def test_every_file_of_the_package_is_in_it(installed: Path) -> None:
    wanted = {
        path.relative_to(ROOT): path
        for path in (ROOT / "dash_hpc").rglob("*")
        if path.is_file() and path.suffix not in (".so", ".pyc")
    }
    wanted |= {Path("dash_hpc", "slurm", path.name): path for path in (ROOT / "slurm").iterdir()}
    assert {name.suffix for name in wanted} > {".py", ".toml", ".j2", ".sbatch"}
    for name, path in wanted.items():
        assert (installed / name).read_bytes() == path.read_bytes(), name
    (entry,) = installed.glob("*.dist-info/entry_points.txt")
    assert "dash-hpc = dash_hpc.cli:main" in entry.read_text(encoding="utf-8")


def test_examples_and_scripts_come_from_it(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed), "DASH_HPC_SLURM_PROFILE": ""}

    def call(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "dash_hpc", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    examples = sorted((ROOT / "examples").glob("*.toml"))
    for example in examples:
        call("init", example.name, "--example", example.stem)
        assert (tmp_path / example.name).read_bytes() == example.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [example.name for example in examples]
    assert {"hema_b.toml", "quick.toml", "sim350.toml", "benchmark_sim350.toml"} <= {path.name for path in examples}
    assert "#SBATCH --job-name=quick" in call("submit", "quick.toml", "--dry-run")
