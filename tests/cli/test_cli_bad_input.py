"""Every kind of bad input that a user can give, from the command line: exit code 2 and one line with the place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dash_hpc.cli import app

STUDY = """\
[data]
kind = "files"
train = "data/expression_train.csv"
genes = "data/gene_names.csv"
prior = "data/edge_prior_matrix.csv"
[model]
hidden = 4
[training]
epochs = 2
[schedule]
first_epoch = 1
[[strategy]]
name = "dash"
lambda_ppi = 0.05
lambda_motif = 0.01
"""


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], prog_name="dash-hpc")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    words = ["--genes", 8, "--regulators", 3, "--edges", 10, "--trajectories", 4, "--test-trajectories", 0]
    assert call("simulate", folder / "data", *map(str, words)).exit_code == 0
    (folder / "study.toml").write_text(STUDY)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "study"))


def _replace_line(file: Path, number: int, text: str) -> None:
    lines = file.read_text().splitlines()
    lines[number - 1] = text
    file.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("file", "number", "text", "parts"),
    [
        ("data/expression_train.csv", 5, "0.1,0.2", ["expression_train.csv:5: 2 cells", "G004", "pad"]),
        ("data/expression_train.csv", 1, "8;4;;", ["expression_train.csv:1: the first line must be"]),
        ("data/expression_train.csv", 7, "0.1,0.2,high,0.4,0.5", ["expression_train.csv:7: cell 3 is 'high'", "G006"]),
        ("data/expression_train.csv", 10, "0,2,2,7,9", ["expression_train.csv:10", "repeats", "must increase"]),
        ("data/expression_train.csv", 10, "0,3,2,7,9", ["expression_train.csv:10", "comes after", "must increase"]),
        ("data/gene_names.csv", 4, "G001", ["gene_names.csv:4: gene G001 is already named in line 2"]),
        ("data/edge_prior_matrix.csv", 3, "0,0", ["edge_prior_matrix.csv:3"]),
        ("study.toml", 7, "hiden = 4", ["study.toml:7: unknown key model.hiden; did you mean hidden?"]),
        ("study.toml", 14, "lambda_ppi = 1.5", ["study.toml:14: strategy[0].lambda_ppi = 1.5 must be between 0 and 1"]),
        ("study.toml", 14, "lambda_ppi = -0.1", ["study.toml:14: strategy[0].lambda_ppi = -0.1 must be between 0"]),
        ("study.toml", 3, 'train = "no.csv"', ["no.csv: file not found; correct data.train"]),
        ("study.toml", 13, 'name = "DASH"', ["study.toml:13", '"DASH" is unknown; did you mean dash?']),
        ("study.toml", 9, "epochs = ", ["study.toml:9: not valid TOML"]),
    ],
)
@pytest.mark.parametrize("more", [["--dry-run"], []], ids=["dry-run", "run"])
def test_one_line_with_the_place(
    folder: Path, file: str, number: int, text: str, parts: list[str], more: list[str]
) -> None:
    _replace_line(folder / file, number, text)
    result = call("run", folder / "study.toml", "--output", folder / "out", *more)
    assert result.exit_code == 2
    assert result.stderr.startswith("dash-hpc: error: ")
    assert result.stderr.count("\n") == 1
    for part in parts:
        assert part in result.stderr
    assert not (folder / "out").exists()


def test_a_prior_of_other_genes_names_them(folder: Path) -> None:
    (folder / "data/edge_prior_matrix.csv").write_text("regulator,target\nTP53,MDM2\n")
    result = call("run", folder / "study.toml", "--dry-run")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    for part in ("edge_prior_matrix.csv", "TP53", "MDM2", "G001"):
        assert part in result.stderr


def test_a_prior_of_the_wrong_shape_says_both_shapes(folder: Path) -> None:
    (folder / "data/edge_prior_matrix.csv").write_text("0,1,0,0\n1,0,0,0\n0,0,0,0\n0,0,0,0\n")
    result = call("run", folder / "study.toml", "--dry-run")
    assert result.exit_code == 2
    assert "[8, 8]" in result.stderr
    assert "[4, 4]" in result.stderr


def test_a_sweep_of_a_thousand_million_runs_is_refused_at_once(folder: Path) -> None:
    result = call("run", folder / "study.toml", "--set", "sweep.seeds=0..999999999")
    assert result.exit_code == 2
    assert result.stderr == (
        "dash-hpc: error: --set sweep.seeds: the study asks for 1,000,000,000 runs = 1,000,000,000 seeds × (dash: 1); "
        "at most 1,000,000 are allowed, so shorten the lists or split the study\n"
    )


def test_foreign_files_are_told_and_left_alone(folder: Path) -> None:
    out = folder / "out"
    assert call("run", folder / "study.toml", "--output", out, "--workers", "1").exit_code == 0
    foreign = out / "runs" / "aa" / "aaaaaaaaaaaaaaaa.h5"
    foreign.parent.mkdir()
    foreign.write_bytes(b"\x89HDF\r\n\x1a\n of another program")
    shown = call("status", out)
    assert shown.exit_code == 0
    assert f"problem: {foreign}: an HDF5 file, but not one of dash-hpc; move it" in shown.stdout
    told = call("report", out)
    assert told.exit_code == 0
    assert f"problem: {foreign}: an HDF5 file" in told.stdout
    assert "aaaaaaaaaaaaaaaa.h5: an HDF5 file, but not one of dash-hpc" in (out / "report" / "index.html").read_text()
    assert foreign.read_bytes().endswith(b"of another program")


def test_a_folder_of_something_else_is_not_written_to(folder: Path) -> None:
    for words in (["run", folder / "study.toml", "--output", folder / "data"], ["status", folder / "data"]):
        result = call(*words)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert str(folder / "data") in result.stderr
    assert not (folder / "data" / "plan.jsonl").exists()
