"""The plan: complete specs, ids from content, longest first."""

from __future__ import annotations

import json

import pytest

from dash_hpc.ids import spec_id
from dash_hpc.study import STRATEGIES, parse_study, plan

STUDY = """\
[study]
name = "example"

[data]
kind = "simulate"

[training]
epochs = 10
lr = 1e-3

[sweep]
seeds = [5, 0]

[[strategy]]
name = "dash"
lambda_ppi = [0.1, 0.5]
lambda_motif = [0, 1]

[[strategy]]
name = "none"

[[strategy]]
name = "imp"
"""

SPEC = {
    "data": {
        "kind": "simulate",
        "genes": 60,
        "regulators": 15,
        "edges": 90,
        "trajectories": 40,
        "test_trajectories": 10,
        "times": [0.0, 2.0, 3.0, 7.0, 9.0],
        "seed": 0,
        "expression_noise": 0.025,
        "prior_noise": 0.05,
        "validation": 0.1,
        "time_unit": "auto",
    },
    "data_digest": "",
    "model": {"hidden": 40, "init_U": "orthogonal", "dtype": "float32"},
    "solver": {"method": "dopri5", "rtol": 1e-5, "atol": 1e-7, "step": "auto", "max_steps": 10000},
    "training": {
        "epochs": 10,
        "batch": "trajectory",
        "batch_size": 16,
        "lr": 1e-3,
        "v_lr_factor": 5.0,
        "betas": [0.9, 0.999],
        "eps": 1e-8,
        "plateau_factor": 0.9,
        "plateau_patience": 3,
        "plateau_threshold": 1e-6,
        "min_lr": 4e-5,
        "early_stop": 40,
        "reset_lr_at_events": True,
        "tau": 1.0,
        "prior_points": 10000,
        "prior_low": -0.5,
        "prior_high": 0.5,
        "prior_multipliers": False,
    },
    "schedule": {"first_epoch": 3, "first_fraction": 0.7, "every": 10, "fraction": 0.1},
    "strategy": {"name": "none"},
    "seed": 5,
}


def test_a_spec_is_complete_and_its_id_does_not_move() -> None:
    first = plan(parse_study(STUDY), "")[0]
    assert first.spec == SPEC
    assert first.id == spec_id(SPEC)
    # A change of this value gives every run of every existing study another id: results would not be found again.
    assert first.id == "53548e6ce14cd3f1"


def test_younger_keys_are_in_a_spec_only_where_they_are_not_at_their_default() -> None:
    usual = plan(parse_study(STUDY), "")
    said = plan(parse_study(STUDY, ["data.starts=measured", "training.criterion=pairs"]), "")
    assert [run.id for run in said] == [run.id for run in usual]
    other = plan(parse_study(STUDY, ['data.starts=["measured","smoothed"]', 'training.criterion=["pairs","rows"]']), "")
    assert len({run.id for run in other}) == len(other) == 4 * len(usual)
    found = {(run.spec["data"].get("starts"), run.spec["training"].get("criterion")) for run in other}
    assert found == {(None, None), (None, "rows"), ("smoothed", None), ("smoothed", "rows")}
    assert {run.id for run in usual} < {run.id for run in other}


def test_unpruned_runs_come_first_then_the_order_of_the_file() -> None:
    order = [
        (run.spec["strategy"]["name"], run.spec["strategy"].get("lambda_ppi"), run.spec["seed"])
        for run in plan(parse_study(STUDY), "")
        if run.spec["strategy"].get("lambda_motif") != 1
    ]
    assert order == [
        ("none", None, 5),
        ("none", None, 0),
        ("dash", 0.1, 5),
        ("dash", 0.1, 0),
        ("dash", 0.5, 5),
        ("dash", 0.5, 0),
        ("imp", None, 5),
        ("imp", None, 0),
    ]


def test_ids_are_different_and_stay_when_the_file_is_written_another_way() -> None:
    runs = plan(parse_study(STUDY), "")
    assert len({run.id for run in runs}) == len(runs) == 12
    rearranged = """
    sweep.seeds = "0..5 step 5"
    strategy = [
      {name = "imp", rewind = "none"},
      {name = "none"},
      {lambda_motif = "0..1", lambda_ppi = [0.5, 0.10], name = "dash"},
    ]
    training = {lr = 0.001, epochs = 10}
    study.name = "renamed"
    data = {genes = 60, kind = "simulate", times = [0, 2, 3.0, 7, 9]}
    """
    assert {run.id for run in plan(parse_study(rearranged), "")} == {run.id for run in runs}


@pytest.mark.parametrize(
    "override", ["training.lr=0.002", "data.seed=1", "solver.rtol=1e-6", "strategy.none.x=1", "model.dtype=float64"]
)
def test_what_changes_a_result_changes_every_id(override: str) -> None:
    ids = {run.id for run in plan(parse_study(STUDY), "")}
    if override.startswith("strategy"):
        assert ids.isdisjoint(run.id for run in plan(parse_study(STUDY), "another digest"))
    else:
        assert ids.isdisjoint(run.id for run in plan(parse_study(STUDY, [override]), ""))


def test_the_name_and_place_of_a_study_do_not_change_an_id() -> None:
    ids = [run.id for run in plan(parse_study(STUDY), "")]
    assert ids == [run.id for run in plan(parse_study(STUDY, ["study.name=x", "study.output=/somewhere"]), "")]


def test_the_resolved_study_gives_the_same_plan() -> None:
    study = parse_study(STUDY, ['study.description=a "quoted" λ\\ \t text', "training.lr=1e-7", "training.min_lr=0"])
    again = parse_study(study.to_toml())
    assert again == study
    assert plan(again, "d") == plan(study, "d")
    assert again.to_toml() == study.to_toml()


def test_specs_are_plain() -> None:
    for run in plan(parse_study(STUDY), "d"):
        assert json.loads(json.dumps(run.spec)) == run.spec
        assert set(run.spec["strategy"]) == {"name", *STRATEGIES[run.spec["strategy"]["name"]].model_fields}


def test_a_study_cannot_be_changed() -> None:
    study = parse_study(STUDY)
    with pytest.raises(ValueError, match="frozen"):
        study.training.epochs = 3
