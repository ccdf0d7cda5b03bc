"""``audit``: which edges of a prior the data refuse, without a model."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dash_hpc.cli import app

STUDY = """
[study]
name = "little"
[data]
kind = "simulate"
genes = 20
regulators = 6
edges = 30
trajectories = 40
prior_noise = 0.2
[sweep]
seeds = [0]
[[strategy]]
name = "dash"
lambda_ppi = 0.05
lambda_motif = 0.01
"""


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "little.toml"
    path.write_text(STUDY)
    return path


def test_a_table_a_page_and_no_model(study: Path, tmp_path: Path) -> None:
    result = call("audit", study, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "listed, left out:" in result.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["edges.csv", "index.html"]
    with (tmp_path / "out" / "edges.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    listed = [row for row in rows if row["listed"] == "1"]
    assert len(listed) == 30
    real = [float(row["probability"]) for row in listed if row["in_reference"] == "1"]
    wrong = [float(row["probability"]) for row in listed if row["in_reference"] == "0"]
    assert len(wrong) == 6  # a fifth of them was moved
    assert sum(real) / len(real) > sum(wrong) / len(wrong) + 0.3
    odds = [float(row["log_odds"]) for row in rows]
    assert odds == sorted(odds, reverse=True)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "Listed edges that are left out" in page
    assert "Are probabilities kept?" in page


def test_json_and_the_options_of_the_study(study: Path, tmp_path: Path) -> None:
    study.write_text(STUDY + '[[strategy]]\nname = "evidence"\nmode = "strict"\n')
    answer = json.loads(call("audit", study, "--output", tmp_path / "out", "--json").stdout)
    assert answer["facts"]["mode"] == "strict"
    assert answer["facts"]["listed"] == 30
    assert sum(sum(counts.values()) for name, counts in answer["counts"].items() if name.startswith("listed")) == 30


def test_a_study_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    result = call("audit", tmp_path / "none.toml")
    assert result.exit_code == 2
    assert "none.toml" in result.stderr
    assert not list(tmp_path.iterdir())
