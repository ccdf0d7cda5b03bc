"""PHOENIX and the MLP in one study: one plan, one store, one report."""

from __future__ import annotations

from pathlib import Path

import click.testing
import pytest

from dash_hpc.cli.app import app
from dash_hpc.execution import run_study
from dash_hpc.store import open_store, verify

STUDY = """[study]
name = "both"
[data]
kind = "simulate"
genes = 8
regulators = 3
edges = 9
times = [0.0, 1.0]
trajectories = 5
test_trajectories = 1
validation = 0.4
[model]
family = ["phoenix", "mlp"]
hidden = 4
[training]
epochs = 3
[schedule]
first_epoch = 2
first_fraction = 0.5
[[strategy]]
name = "imp"
[[strategy]]
name = "structured"
"""


@pytest.mark.parametrize("pack", [1, 4])
def test_both_families_stand_in_one_report(tmp_path: Path, pack: int) -> None:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    out = tmp_path / "out"
    run_study(tmp_path / "study.toml", output=out, workers=1, pack=pack, progress="none")
    store = open_store(out)
    runs = store.runs
    assert runs["status"].tolist() == ["done"] * 4
    tensors = {run_id: set(store.network(run_id).weights) for run_id in runs.index}
    found = {(row["strategy"], "mlp_in" in tensors[run_id]): row for run_id, row in runs.iterrows()}
    assert set(found) == {(name, mlp) for name in ("imp", "structured") for mlp in (False, True)}
    for mlp in (False, True):
        # Half of as many prunable weights: 4·4·8 of either family.
        assert found["imp", mlp]["active_weights"] == pytest.approx(64, abs=4)
        # The edges of a model on the prior's structure are the prior's own, whatever the family (genes may die).
        assert found["structured", mlp]["tnr"] == 1.0
    assert not verify(out).damaged
    answer = click.testing.CliRunner().invoke(app, ["report", str(out)])
    assert answer.exit_code == 0, answer.output
    report = (out / "report" / "index.html").read_text(encoding="utf-8")
    assert "model.family mlp" in report
    assert "model.family phoenix" in report
