"""Scalars of the sections with many values: counted, planned and refused as if each level were a study of its own."""

from __future__ import annotations

import re
import time
from itertools import product
from types import SimpleNamespace
from typing import Literal

import pytest
from pydantic import Field

from dash_hpc.errors import StudyError
from dash_hpc.models.registry import FAMILIES
from dash_hpc.study import Plan, check_spec, parse_study, plan, schema
from dash_hpc.study.count import count_runs
from dash_hpc.study.models import ModelSection

STUDY = """\
[data]
kind = "simulate"
prior_noise = [0, 0.05, 0.2]
expression_noise = [0, 0.025]
[model]
hidden = [4, 8]
[solver]
rtol = [1e-5, 1e-6]
[training]
lr = "0.001..0.003 step 0.001"
[schedule]
fraction = [0.1, 0.2]
[sweep]
seeds = "0..1"
[[strategy]]
name = "dash"
lambda_ppi = [0.1, 0.5]
lambda_motif = 0
[[strategy]]
name = "none"
"""
SINGLE = (
    STUDY.replace("[0, 0.05, 0.2]", "{prior}").replace("[0, 0.025]", "{expression}").replace("[4, 8]", "{hidden}")
    .replace("[1e-5, 1e-6]", "{rtol}").replace('"0.001..0.003 step 0.001"', "{lr}").replace("[0.1, 0.2]", "{fraction}")
)  # fmt: skip


def test_the_runs_are_those_of_all_single_studies_together() -> None:
    study = parse_study(STUDY)
    levels = 3 * 2 * 2 * 2 * 3
    # What never prunes does not see the schedule.
    assert study.n_runs == 2 * levels * (2 * 2 + 1)
    runs = list(Plan(study, lambda spec: ""))
    ids = set()
    for prior, expression, hidden, rtol, lr, fraction in product(
        (0, 0.05, 0.2), (0, 0.025), (4, 8), (1e-5, 1e-6), (0.001, 0.002, 0.003), (0.1, 0.2)
    ):
        text = SINGLE.format(prior=prior, expression=expression, hidden=hidden, rtol=rtol, lr=lr, fraction=fraction)
        ids |= {
            run.id for run in plan(parse_study(text), "") if fraction == 0.1 or run.spec["strategy"]["name"] == "dash"
        }
    assert {run.id for run in runs} == ids
    assert len(runs) == len(ids) == study.n_runs == count_runs(study.to_dict()).total
    assert Plan(study, lambda spec: "").counts() == {"none": 2 * levels, "dash": 8 * levels}
    assert [run.spec["seed"] for run in runs[:4]] == [0, 1, 0, 1]
    assert all(run.spec["strategy"]["name"] == "none" for run in runs[: 2 * levels])


def test_what_prunes_without_the_schedule_is_run_at_the_first_alone() -> None:
    study = parse_study(STUDY.replace('name = "none"', 'name = "snip"\nkeep = [0.1, 0.2]'))
    levels = 3 * 2 * 2 * 2 * 3
    assert Plan(study, lambda spec: "").counts() == {"dash": 8 * levels, "snip": 4 * levels}
    assert len(list(Plan(study, lambda spec: ""))) == study.n_runs == count_runs(study.to_dict()).total


def test_each_data_level_has_its_own_digest() -> None:
    seen = Plan(parse_study(STUDY), lambda spec: f"{spec['prior_noise']}")
    assert {(run.spec["data"]["prior_noise"], run.spec["data_digest"]) for run in seen} == {
        (0.0, "0.0"), (0.05, "0.05"), (0.2, "0.2"),
    }  # fmt: skip


def test_the_resolved_study_has_the_same_plan() -> None:
    study = parse_study(STUDY, ["data.validation={folds=3}"])
    again = parse_study(study.to_toml())
    assert again == study
    assert again.to_toml() == study.to_toml()
    assert "validation = {folds = 3}" in study.to_toml()
    assert [run.id for run in plan(again, "")] == [run.id for run in plan(study, "")]


def test_folds_are_data_of_their_own() -> None:
    runs = plan(parse_study(STUDY, ["data.validation={folds=3}", "data.prior_noise=0"]), "")
    assert len(runs) == 3 * 2 * 2 * 2 * 2 * 3 * 5
    found = {tuple(run.spec["data"]["validation"].items()) for run in runs}
    assert found == {(("folds", 3), ("fold", k)) for k in range(3)}
    one = parse_study(STUDY, ['data.validation={folds=3, fold="all"}'])
    assert one.n_runs == parse_study(STUDY).n_runs


FILES = """\
[data]
kind = "files"
train = "a.csv"
prior = ["p.csv", "q.csv"]
prior_noise = [0, 0.5]
validation = {}
[[strategy]]
name = "bioprune"
"""


@pytest.mark.parametrize(
    ("validation", "count", "value"),
    [("[0, 3]", 4, [0, 3]), ("0.25", 4, 0.25), ('"1..2"', 4, "1..2"), ("{ folds = 2 }", 8, {"folds": 2, "fold": 0})],
)
def test_files_are_levels_and_lists_of_trajectories_are_not(validation, count, value) -> None:
    runs = plan(parse_study(FILES.format(validation)), "")
    assert len(runs) == count
    assert runs[0].spec["data"]["validation"] == value
    assert {run.spec["data"]["prior"] for run in runs} == {"p.csv", "q.csv"}
    # Younger than specs without it: left out at its default.
    assert {run.spec["data"].get("prior_noise", "absent") for run in runs} == {"absent", 0.5}


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("training.epochs=[]", "training.epochs = [] is empty: give at least one value"),
        ("training.epochs=[10, 0]", "training.epochs = 0 must be between 1 and 100,000"),
        ("training.epochs=[10, 10]", "training.epochs = [10, 10] names 10 twice, which would be the same run twice"),
        ("training.min_lr=[1e-5, 0.1]", "training.min_lr = [1e-05, 0.1] must not be larger than lr = 0.001"),
        ("data.regulators=[15, 61]", "data.regulators = [15, 61] must not be larger than genes = 60"),
        ("data.kind=[\"simulate\"]", "data.kind"),
        ("data.times=[[0, 1], [0, 2]]", "data.times"),
        ("data.validation={folds=1}", "data.validation must be { folds = K } with 2 to 1,000 folds"),
        ("data.validation={folds=41}", "data.validation must not have more folds than trajectories = 40"),
        ("data.validation={folds=5, fold=5}", "data.validation must be { folds = K }"),
        ("data.seed=0..99999", "the study asks for 72,000,000 runs = 2 seeds × "),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_level_is_said_at_its_key(key, message) -> None:
    with pytest.raises(StudyError) as caught:
        parse_study(STUDY, [key])
    assert str(caught.value).startswith(f"--set {key.split('=')[0]}: ")
    assert message in str(caught.value)


def test_a_stored_spec_has_one_value_of_everything() -> None:
    spec = plan(parse_study(STUDY), "")[0].spec
    check_spec(spec)
    for part, key, value in (("data", "prior_noise", [0, 1]), ("training", "lr", "0.1..0.2 step 0.1"),
                             ("data", "validation", {"folds": 2}), ("strategy", "x", 1)):  # fmt: skip
        with pytest.raises(StudyError, match="not the spec of a run"):
            check_spec({**spec, part: {**spec[part], key: value}})


def test_a_million_runs_are_counted_not_listed() -> None:
    text = (
        STUDY.split('[[strategy]]\nname = "none"')[0].replace('"0..1"', '"0..9999"')
        .replace("[0, 0.05, 0.2]", "[0, 0.1, 0.2, 0.3, 0.4]").replace("[0, 0.025]", "[0, 0.01, 0.02, 0.03, 0.04]")
        .replace("[0.1, 0.5]", "0.1").replace("[1e-5, 1e-6]", "1e-5").replace('"0.001..0.003 step 0.001"', "0.001")
    )  # fmt: skip
    began = time.process_time()
    runs = Plan(parse_study(text), lambda spec: "")
    assert len(runs) == 1_000_000
    samples = list(runs.samples({"model": ("hidden",), "schedule": ("fraction",)}))
    assert [count for _, count in samples] == [250_000] * 4
    assert next(iter(runs)).spec["seed"] == 0
    assert time.process_time() - began < 5


class ToySection(ModelSection):
    """``[model]`` of a family with a key of its own."""

    family: Literal["toy"] = Field(default="toy", description="kind of model")
    depth: int = Field(default=1, ge=1, description="layers")


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(FAMILIES, "toy", SimpleNamespace(Section=ToySection))
    schema.families.cache_clear()
    yield
    schema.families.cache_clear()


def test_families_stand_in_one_study_each_with_the_keys_it_knows(toy) -> None:
    text = STUDY.replace("hidden = [4, 8]", 'family = ["phoenix", "toy"]\nhidden = [4, 8]\ndepth = [1, 2, 3]\n')
    text = text.split("[solver]")[0] + '[[strategy]]\nname = "none"\n'
    study = parse_study(text)
    runs = plan(study, "")
    # Six data levels, and two sizes of one family, two sizes times three depths of the other.
    assert study.n_runs == len(runs) == count_runs(study.to_dict()).total == 6 * (2 + 2 * 3)
    phoenix = [run for run in runs if "family" not in run.spec["model"]]
    assert len(phoenix) == 12
    assert all(set(run.spec["model"]) == {"hidden", "dtype", "init_U"} for run in phoenix)
    alone = plan(parse_study(text.replace('["phoenix", "toy"]', '"phoenix"').replace("depth = [1, 2, 3]\n", "")), "")
    assert [run.id for run in phoenix] == [run.id for run in alone]
    toys = [run.spec["model"] for run in runs if run.spec["model"].get("family") == "toy"]
    assert {(model["hidden"], model["depth"]) for model in toys} == set(product((4, 8), (1, 2, 3)))
    assert parse_study(study.to_toml()) == study


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ('["phoenix", "tog"]', 'study:6: model.family = "tog" is unknown; did you mean toy?'),
        ('["toy", "toy"]', "names toy twice"),
        ('["phoenix", "toy"]\nwidth = 3', "unknown key model.width"),
    ],
)
def test_what_is_wrong_with_families_is_said(toy, family, message) -> None:
    with pytest.raises(StudyError, match=re.escape(message)):
        parse_study(STUDY.replace("hidden = [4, 8]", f"family = {family}"))
