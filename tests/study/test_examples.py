"""The studies in ``examples/`` and the starters of ``dash-hpc init``."""

from __future__ import annotations

from pathlib import Path

import pytest

from dash_hpc.errors import UsageError
from dash_hpc.study import STRATEGIES, load_study, parse_study, plan, starter, starters, templates
from dash_hpc.study.schema import SECTIONS
from dash_hpc.study.sources import CATALOGUE_NAMES, DATA_KINDS

EXAMPLES = Path(__file__).parents[2] / "examples"
TEMPLATES = Path(templates.__file__).parent


def test_every_example_is_tested() -> None:
    assert {file.stem for file in EXAMPLES.glob("*.toml")} == set(starters())


@pytest.mark.parametrize("name", starters())
def test_an_example_is_the_starter_of_its_name_and_has_a_plan(name: str) -> None:
    file = EXAMPLES / f"{name}.toml"
    assert file.is_symlink()
    assert file.samefile(TEMPLATES / f"{name}.toml")
    assert file.read_text(encoding="utf-8") == starter(name)
    study = load_study(file)
    assert study.name == name
    runs = plan(study, "")
    assert len(runs) == study.n_runs
    assert plan(parse_study(study.to_toml()), "") == runs


def test_the_first_study_compares_the_strategies_over_24_runs_or_more() -> None:
    study = load_study(EXAMPLES / "quick.toml")
    assert {table.name for table in study.strategy} == {"none", "imp", "bioprune", "dash", "structured", "evidence"}
    assert study.n_runs >= 24
    dash = next(table for table in study.strategy if table.name == "dash")
    assert len(dash.axes["lambda_ppi"]) > 1
    assert len(dash.axes["lambda_motif"]) > 1
    assert len(study.sweep.seeds) > 1


def test_sim350_is_the_published_setting() -> None:
    study = load_study(EXAMPLES / "sim350.toml")
    assert study.data_spec() == {
        "kind": "catalogue",
        "name": "sim350",
        "expression_noise": 0.025,
        "prior_noise": 0.05,
        "time_unit": "auto",
        "max_missing": 0.25,
    }
    model, training = study.settings["model"], study.settings["training"]
    assert (model["hidden"], training["epochs"], training["lr"]) == (40, 200, 1e-3)
    assert study.settings["schedule"] == {"first_epoch": 3, "first_fraction": 0.7, "every": 10, "fraction": 0.1}
    assert study.sweep.seeds == (0, 1, 2)
    dash = next(table for table in study.strategy if table.name == "dash")
    assert (dash.axes["lambda_ppi"], dash.axes["lambda_motif"]) == ((0.05,), (0.01,))


BENCHMARKS = ("benchmark_sim350", "benchmark_sim350_5")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_compares_all_strategies_with_the_settings_of_the_published_study(name: str) -> None:
    study, published = load_study(EXAMPLES / f"{name}.toml"), load_study(EXAMPLES / "sim350.toml")
    assert {table.name for table in study.strategy} == set(STRATEGIES)
    for section in ("model", "solver", "schedule"):
        assert study.settings[section] == published.settings[section], section
    # A tenth of the published points of the prior loss, which two strategies alone look at.
    assert study.settings["training"] == {**published.settings["training"], "prior_points": 1000}


def test_the_small_benchmark_is_one_level_of_the_large_one() -> None:
    large, small = (load_study(EXAMPLES / f"{name}.toml") for name in BENCHMARKS)
    noise = {(run.spec["data"]["expression_noise"], run.spec["data"]["prior_noise"]) for run in plan(large, "")}
    assert noise == {(x, p) for x in (0.0, 0.025, 0.05) for p in (0.0, 0.05, 0.2)}
    assert (large.sweep.seeds, small.sweep.seeds) == ((0, 1, 2, 3, 4), (0, 1, 2))
    known = {run.id for run in plan(large, "")}
    assert {run.id for run in plan(small, "")} <= known
    assert small.n_runs < 300


def test_the_corners_of_the_map_and_the_ablations_are_in_their_studies() -> None:
    def dash(name: str) -> dict:
        return next(table for table in load_study(EXAMPLES / f"{name}.toml").strategy if table.name == "dash").axes

    for key in ("lambda_ppi", "lambda_motif"):
        assert len(dash("lambda_map")[key]) == 12
        assert {0.0, 1.0} <= set(dash("lambda_map")[key])
        assert 0.0 in dash("ablations")[key]
    levels = {
        run.spec["data"].get("prior_variant", "given") for run in plan(load_study(EXAMPLES / "ablations.toml"), "")
    }
    assert levels == {"given", "shuffled", "permuted", "margins", "reversed"}
    worst = [run.spec["data"] for run in plan(load_study(EXAMPLES / "prior_quality.toml"), "")]
    assert max(data["prior_noise"] for data in worst) == 1.0
    assert max(data.get("prior_withheld", 0) for data in worst) == 0.8


def test_hema_b_is_the_published_setting() -> None:
    study = load_study(EXAMPLES / "hema_b.toml")
    model, training = study.settings["model"], study.settings["training"]
    assert (model["hidden"], *(training[key] for key in ("epochs", "lr", "early_stop"))) == (50, 240, 1e-2, 0)
    assert (training["plateau_threshold"], training["batch"]) == (1e-7, "trajectory")


def test_the_commented_starter_names_every_key() -> None:
    """Of its own strategies; the others are named."""
    text = starter("quick")
    used = {table.name for table in parse_study(text).strategy}
    models = [*SECTIONS.values(), DATA_KINDS["simulate"], *(STRATEGIES[name] for name in used)]
    keys = {key for model in models for key in model.model_fields} - {"base"}  # base is written by the program
    assert {key for key in keys if f"{key} = " not in text} == set()
    others = set(text.partition("# Others, with their options: docs/study.md.")[2].translate({44: 32, 46: 32}).split())
    assert set(STRATEGIES) - used <= others


def test_the_keys_that_the_starter_comments_out_are_legal_and_are_the_defaults() -> None:
    lines = starter("quick").splitlines()
    open_text = "\n".join(
        line.removeprefix("# ") if " = " in line and line.startswith("# ") else line for line in lines
    )
    assert open_text != starter("quick")
    assert plan(parse_study(open_text), "") == plan(parse_study(starter("quick")), "")


def test_every_key_is_explained() -> None:
    for model in (*SECTIONS.values(), *DATA_KINDS.values(), *STRATEGIES.values()):
        for key, info in model.model_fields.items():
            assert info.description, f"{model.__name__}.{key}"


def test_an_unknown_starter_is_refused() -> None:
    with pytest.raises(UsageError, match="there is quick, sim350, hema_b"):
        starter("nothing")


def test_the_names_of_data_sets_and_strategies_are_those_that_exist() -> None:
    from dash_hpc.data import CATALOGUE
    from dash_hpc.pruning.registry import STRATEGIES as PRUNING

    assert set(CATALOGUE_NAMES) == set(CATALOGUE)
    assert set(STRATEGIES) == set(PRUNING)
