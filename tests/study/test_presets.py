"""Named sets of settings."""

from __future__ import annotations

import pytest

from dash_hpc.errors import StudyError
from dash_hpc.study import STRATEGIES, parse_study, plan
from dash_hpc.study.count import SCALARS
from dash_hpc.study.presets import PRESETS
from dash_hpc.study.sources import DATA_KINDS

STUDY = """\
[study]
name = "published"
preset = "paper"
[data]
kind = "simulate"
genes = 20
[[strategy]]
name = "dash"
lambda_ppi = [0.1, 0.5]
lambda_motif = 0.5
[[strategy]]
name = "imp"
[[strategy]]
name = "none"
"""


def test_a_preset_fills_in_what_the_study_leaves_out() -> None:
    study = parse_study(STUDY)
    settings = study.settings
    assert (settings["data"]["time_unit"], study.data.axes["starts"]) == (1.0, ("measured",))
    assert (settings["solver"]["rtol"], settings["solver"]["atol"]) == (1e-7, 1e-9)
    assert (settings["training"]["v_lr_factor"], settings["training"]["prior_multipliers"]) == (1.0, True)
    dash, imp, _ = study.strategy
    assert [spec["omega0"] for spec in dash.specs()] == ["gaussian", "gaussian"]
    assert next(imp.specs())["rewind"] == "init"


def test_it_is_stored_key_by_key() -> None:
    study = parse_study(STUDY)
    text = study.to_toml()
    assert "preset" not in text
    assert 'omega0 = "gaussian"' in text
    assert plan(parse_study(text), "") == plan(study, "")


def test_without_a_preset_runs_are_what_they_were() -> None:
    without = STUDY.replace('preset = "paper"\n', "")
    spelt = (
        without.replace("genes = 20", 'genes = 20\nstarts = "measured"\ntime_unit = 1')
        .replace("lambda_motif = 0.5", 'lambda_motif = 0.5\nomega0 = "gaussian"\nnormalise_interactions = false')
        .replace('name = "imp"', 'name = "imp"\nrewind = "init"')
        + "[solver]\nrtol = 1e-7\natol = 1e-9\n[training]\nv_lr_factor = 1\nprior_multipliers = true\n"
    )
    ids = [[run.id for run in plan(parse_study(text), "")] for text in (without, STUDY, spelt)]
    assert ids[1] == ids[2]
    assert not set(ids[0]) & set(ids[1])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["data.starts=smoothed"], '--set data.starts: preset paper has starts = "measured": leave out starts, or the'),
        (['data.starts=["measured", "smoothed"]'], "--set data.starts: preset paper has"),
        (["solver.rtol=1e-5"], "--set solver.rtol: preset paper has rtol = 1e-07"),
        (["strategy.imp.rewind=none"], "--set strategy.imp.rewind: preset paper has rewind"),
        (["study.preset=article"], '--set study.preset: study.preset = "article" is unknown; there is paper'),
        (["study.preset=[1]"], "--set study.preset"),
        (["training.v_lr_factor=true"], "--set training.v_lr_factor: training.v_lr_factor = true must be a number"),
    ],
)
def test_what_does_not_go_with_it_is_told_in_one_line(changes: list[str], words: str) -> None:
    with pytest.raises(StudyError) as caught:
        parse_study(STUDY, changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_line_of_the_file_is_named() -> None:
    with pytest.raises(StudyError, match=r"^study:6: preset paper has starts"):
        parse_study(STUDY.replace("genes = 20", 'starts = "smoothed"\ngenes = 20'))


def test_what_goes_with_it_is_as_good_as_left_out() -> None:
    again = parse_study(STUDY, ["data.starts=measured", "solver.rtol=[1e-7]", "training.epochs=3"])
    assert [run.id for run in plan(again, "")] == [
        run.id for run in plan(parse_study(STUDY, ["training.epochs=3"]), "")
    ]


def test_all_their_keys_exist() -> None:
    for places in PRESETS.values():
        for place, keys in places.items():
            section, _, name = place.partition(".")
            models = [STRATEGIES[name]] if name else DATA_KINDS.values() if section == "data" else [SCALARS[section]]
            for model in models:
                assert keys.keys() <= model.model_fields.keys(), (place, model)
