"""``--set key=value``: the same checks, with the option as the place."""

from __future__ import annotations

import pytest

from dash_hpc.errors import StudyError
from dash_hpc.study import parse_study

STUDY = """\
[data]
kind = "simulate"

[training]
epochs = 10

[[strategy]]
name = "none"

[[strategy]]
name = "dash"
lambda_ppi = 0.1
lambda_motif = 0.5
"""


def test_values_replace_those_of_the_file() -> None:
    study = parse_study(
        STUDY,
        [
            "training.epochs=7",
            "training.lr = 0.01",
            "sweep.seeds=0..2",
            "strategy.dash.lambda_ppi=[0.1, 0.5]",
            "strategy[1].lambda_motif=0..1 step 0.5",
            "solver.method=rk4",
            "study.description=two words",
            "training.epochs=8",
        ],
    )
    assert study.settings["training"]["epochs"] == 8
    assert study.settings["training"]["lr"] == 0.01
    assert study.sweep.seeds == (0, 1, 2)
    assert study.strategy[1].axes["lambda_ppi"] == (0.1, 0.5)
    assert study.strategy[1].axes["lambda_motif"] == (0.0, 0.5, 1.0)
    assert study.settings["solver"]["method"] == "rk4"
    assert study.study.description == "two words"


def test_one_value_reaches_all_tables_of_that_name() -> None:
    more = '\n[[strategy]]\nname = "dash"\nlambda_ppi = 0.2\nlambda_motif = 0.5\n'
    study = parse_study(STUDY + more, ["strategy.dash.ridge=0.0"])
    assert [table.axes["ridge"] for table in study.strategy[1:]] == [(0.0,), (0.0,)]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epochs=0", "--set training.epochs: training.epochs = 0 must be between 1 and 100,000"),
        ("training.epochs=ten", '--set training.epochs: training.epochs = "ten" must be a whole number'),
        ("training.epoch=3", "--set training.epoch: unknown key training.epoch; did you mean epochs?"),
        ("trainin.epochs=3", "--set trainin.epochs: unknown section [trainin]; did you mean training?"),
        ("model.hidden=0", "--set model.hidden: model.hidden = 0 must be between 1 and 100,000"),
        (
            "strategy.dash.lambda_ppi=[0.1, 2]",
            "--set strategy.dash.lambda_ppi: strategy[1].lambda_ppi = 2 must be betw",
        ),
        ("strategy.dsh.ridge=0", "--set strategy.dsh.ridge: the study has no strategy dsh; did you mean dash?"),
        ("strategy[7].ridge=0", "--set strategy[7].ridge: the study has 2 strategies, counted from 0"),
        ("strategy.dash=0", "--set strategy.dash: write strategy.<name>.<option>=value"),
        ("training.a.b=1", "--set training.a.b: unknown key"),
        ("epochs=3", '--set epochs=3: write section.key=value, for example "training.epochs=10"'),
        ("training.epochs", "--set training.epochs: write section.key=value"),
        ("sweep.seeds=0..999999999", "--set sweep.seeds: the study asks for 2,000,000,000 runs"),
    ],
)
def test_a_mistake_names_the_option(override: str, expected: str) -> None:
    with pytest.raises(StudyError) as caught:
        parse_study(STUDY, [override], source="study.toml")
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def test_an_option_cannot_smuggle_in_a_second_key() -> None:
    study = parse_study(STUDY, ["study.description=1\nname = 2"])
    assert study.study.description == "1\nname = 2"
    assert study.name == "study"
