"""``simulate`` and ``doctor``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dash_hpc import TimeCourse, __version__
from dash_hpc.cli import app

SMALL = ("--genes", "20", "--regulators", "5", "--edges", "30", "--trajectories", "3", "--test-trajectories", "2")


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_simulate_writes_files_that_read_back(tmp_path: Path) -> None:
    result = call("simulate", tmp_path / "net", *SMALL, "--times", "0, 1.5, 4")
    assert result.exit_code == 0, result.stderr
    course = TimeCourse.read_csv(tmp_path / "net" / "expression_train.csv", tmp_path / "net" / "gene_names.csv")
    assert course.n_genes == 20
    assert [trajectory.times.tolist() for trajectory in course.trajectories] == [[0.0, 1.5, 4.0]] * 3


def test_simulate_repeats_itself_and_follows_its_seed(tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert call("simulate", tmp_path / name, *SMALL, "--seed", seed).exit_code == 0
    a, b, c = ((tmp_path / name / "expression_train.csv").read_bytes() for name in "abc")
    assert a == b != c


def test_simulate_does_not_replace_files_unless_asked(tmp_path: Path) -> None:
    words = ("simulate", tmp_path, *SMALL)
    assert json.loads(call(*words, "--json").stdout)["edges"] == 30
    again = call(*words)
    assert again.exit_code == 2
    assert "exists" in again.stderr
    assert call(*words, "--overwrite").exit_code == 0


def test_doctor_names_versions_and_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASH_HPC_DATA", raising=False)
    result = call("doctor", "--json", "--folder", tmp_path)
    facts = json.loads(result.stdout)
    assert result.exit_code == (1 if facts["problems"] else 0)
    assert facts["dash-hpc"] == __version__
    for name in ("python", "torch", "numpy", "h5py", "native module", "cores", "MPI launcher", "free space"):
        assert facts[name] is not None, name
    assert "HDF5" in facts["h5py"]
    shown = call("doctor", "--folder", tmp_path).stdout
    assert all(name in shown for name in facts if name != "problems")


def test_doctor_finds_what_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASH_HPC_DATA", str(tmp_path / "gone"))
    result = call("doctor", "--folder", tmp_path / "nowhere")
    assert result.exit_code == 1
    assert f"problem: DASH_HPC_DATA = {tmp_path / 'gone'}: no such folder" in result.stdout
    assert f"problem: {tmp_path / 'nowhere'}: " in result.stdout
