"""The block "data": what it counts, against counts by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from dash_hpc.cli import app
from dash_hpc.data import DataSet, Prior, TimeCourse, build, foresee, summarise
from dash_hpc.errors import PriorError
from dash_hpc.execution import run_study
from dash_hpc.execution.planning import planned_runs
from dash_hpc.study import load_study, parse_study

GENES = ["A", "B", "C", "D"]
PRIOR = "source,target,weight\nA,B,1\nA,C,-1\nB,D,1\na,D,1\nX,D,1\nA,B,-1\nC,Y,1\n"
STUDY = """
[data]
kind = "files"
train = "train.csv"
genes = "genes.csv"
prior = "prior.csv"
validation = [0, 1]
[model]
hidden = 4
[training]
epochs = 2
early_stop = 0
[schedule]
first_epoch = 1
[[strategy]]
name = "dash"
lambda_ppi = 0.1
lambda_motif = 0.1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    TimeCourse.from_arrays(list(rng.random((6, 5, 4))), [[0, 2, 3, 7, 9]] * 6).write_csv(tmp_path / "train.csv")
    (tmp_path / "genes.csv").write_text("gene\n" + "\n".join(GENES) + "\n")
    (tmp_path / "prior.csv").write_text(PRIOR)
    (tmp_path / "study.toml").write_text(STUDY)
    return tmp_path


def spec(**more: Any) -> dict[str, Any]:
    files = {"kind": "files", "train": "train.csv", "genes": "genes.csv", "prior": "prior.csv", "validation": [0, 1]}
    return {**files, **more}


def test_counts_are_those_of_pandas(folder: Path) -> None:
    told = summarise(build(spec(), seed=0, base=folder))
    table = pd.read_csv(folder / "prior.csv")
    inside = table[table.source.isin(GENES) & table.target.isin(GENES)]
    pairs = inside.groupby(["source", "target"]).weight.nunique()
    assert told.counts["prior_entries"] == len(table)
    assert told.counts["prior_dropped"] == len(table) - len(inside)
    assert told.counts["prior_by_case"] == 1
    assert told.counts["prior_merged"] == len(inside) - len(pairs)
    assert told.counts["prior_contradictory"] == (pairs > 1).sum()
    assert told.counts["prior_edges"] == len(pairs)
    assert told.counts["prior_regulators"] == inside.source.nunique()
    assert told.counts["prior_targets"] == inside.target.nunique()
    assert (told.counts["training_pairs"], told.counts["validation_pairs"]) == (4 * 4, 2 * 4)
    values = np.genfromtxt(folder / "train.csv", delimiter=",", skip_header=1)
    rows = [k for k in range(len(values)) if k % 5 != 4]
    assert told.counts["lowest"] == values[rows].min()
    assert told.counts["highest"] == values[rows].max()
    block = "\n".join(told.lines())
    assert "3 of 7 edges dropped, an end is not among the 4 genes (1 only by case): a, X, Y" in block
    assert "3 edges kept, from 2 regulators to 3 targets of 4 genes" in block
    assert json.loads(json.dumps(told.as_dict()))["counts"]["genes"] == 4


def test_missing_values_and_what_was_recognised(folder: Path) -> None:
    lines = (folder / "train.csv").read_text().split("\n")
    lines[11] = "n/a," + lines[11].split(",", 1)[1]
    (folder / "train.csv").write_text("\n".join(lines))
    told = summarise(build(spec(), seed=0, base=folder))
    assert (told.counts["training_values_missing"], told.counts["training_pairs_dropped"]) == (1, 0)
    assert any("with another word than NA" in remark and "line 12, cell 1" in remark for remark in told.remarks)
    assert any(line.startswith("  recognised: train.csv: 1 cell with") for line in told.lines())


def test_expression_outside_the_model_s_range_is_a_warning(folder: Path) -> None:
    assert summarise(build(spec(), seed=0, base=folder)).warnings == []
    rng = np.random.default_rng(1)
    TimeCourse.from_arrays(list(1000 * rng.random((2, 5, 4))), [[0, 2, 3, 7, 9]] * 2).write_csv(folder / "test.csv")
    (warning,) = summarise(build(spec(test="test.csv"), seed=0, base=folder)).warnings
    assert "so scale the data" in warning


def test_signs_that_may_be_random_are_doubted(folder: Path) -> None:
    rng = np.random.default_rng(0)
    course = TimeCourse.from_arrays([rng.random((3, 40))] * 2, [[0, 1, 2]] * 2)
    dense = np.where(rng.random((40, 40)) < 0.2, 1.0, 0.0)
    drawn = dense * rng.choice([-1.0, 1.0], dense.shape)
    mostly = dense * rng.choice([-1.0, 1.0], dense.shape, p=[0.3, 0.7])
    for motif, doubted in ((drawn, True), (mostly, False), (dense, False)):
        told = summarise(DataSet("d", course, course, prior=Prior.from_arrays(motif)))
        assert any("signs were drawn at random" in warning for warning in told.warnings) is doubted
    told = summarise(DataSet("d", course, course, prior=Prior.from_arrays(drawn, signed=False)))
    assert told.warnings == []
    assert "|P|" in told.facts["signs"]


@pytest.mark.parametrize("text", ["source,target,weight\nA,B,0\nA,C,0\n", "0,0,0,0\n" * 4])
def test_a_prior_without_edges_is_refused_at_once(folder: Path, text: str) -> None:
    (folder / "prior.csv").write_text(text)
    with pytest.raises(PriorError, match=r"prior\.csv: the prior has no edges"):
        build(spec(), seed=0, base=folder)
    for more in (["--dry-run"], []):
        result = CliRunner().invoke(app, ["run", str(folder / "study.toml"), "--output", str(folder / "o"), *more])
        assert result.exit_code == 2
        assert "the prior has no edges" in result.stderr
    assert not (folder / "o").exists()
    with pytest.raises(PriorError, match="the reference network has no edges"):
        build(spec(prior=None, truth="prior.csv"), seed=0, base=folder)


def test_dry_run_and_run_print_the_block_before_anything_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = CliRunner().invoke(app, ["run", str(folder / "study.toml"), "--dry-run", "--output", str(folder / "o")])
    lines = result.stdout.splitlines()
    assert lines[1] == "data: train"
    assert lines.index(next(line for line in lines if line.startswith("disk:"))) > 5
    assert "3 of 7 edges dropped" in result.stdout
    plain = CliRunner().invoke(app, ["run", str(folder / "study.toml"), "--dry-run", "--json"])
    assert json.loads(plain.stdout)["data"]["counts"]["prior_dropped"] == 3
    run_study(load_study(folder / "study.toml"), output=folder / "o", workers=1, progress="plain")
    log = (folder / "o" / "log" / "driver.log").read_text()
    shown = capsys.readouterr().err
    for text in (log, shown):
        assert text.index("data: train") < text.index("3 of 7 edges dropped") < text.index("1 of 1 runs done")


def test_columns_and_signs_from_the_study(folder: Path) -> None:
    (folder / "prior.csv").write_text("a,b,c\nB,A,1\nC,A,-1\n")
    more = 'prior_columns = { regulator = "b", target = "a", weight = 3 }\nprior_signed = false\n'
    more += 'truth = "prior.csv"\ntruth_columns = { regulator = 1, target = 2 }\n'
    study = parse_study(STUDY.replace("validation", more + "validation"), base=folder)
    data = build(study.data_spec(), seed=0, base=folder)
    assert data.prior is not None
    assert data.truth is not None
    np.testing.assert_array_equal(data.prior.motif.toarray()[0], [0, 1, -1, 0])
    assert not data.prior.signed
    np.testing.assert_array_equal(data.truth.toarray()[:, 0], [0, 1, 1, 0])
    assert parse_study(study.to_toml()).data_spec() == study.data_spec()
    with pytest.raises(PriorError, match=r'say data\.truth_columns = \{ regulator = "…", target = "…" \} in \[data\]'):
        build({**study.data_spec(), "truth_columns": None}, seed=0, base=folder)


def test_simulated_data_are_counted_without_simulating() -> None:
    study = parse_study('[data]\nkind = "simulate"\ngenes = 20\nregulators = 6\nedges = 30\ntrajectories = 10\n'
                        'test_trajectories = 3\n[[strategy]]\nname = "none"\n')  # fmt: skip
    told, found = foresee(study.data_spec()), summarise(build(study.data_spec(), seed=0, base=Path(".")))
    assert planned_runs(study)
    for name in ("genes", "training_pairs", "validation_pairs", "test_pairs", "training_trajectories"):
        assert told.counts[name] == found.counts[name]
    assert told.counts["prior_edges"] == 30
