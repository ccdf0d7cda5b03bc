"""Faults in the data are told once, before any run starts."""

from __future__ import annotations

import time

import pytest

from dash_hpc.data import level_lines
from dash_hpc.data.simulator import simulate, write
from dash_hpc.errors import DataError, PriorError, StudyError
from dash_hpc.execution import run_study
from dash_hpc.execution.capacity import require_memory
from dash_hpc.execution.forecast import disk_need, forecast
from dash_hpc.execution.planning import (
    MOST_LEVELS,
    data_summaries,
    gene_count,
    input_folders,
    largest_parts,
    planned_runs,
)
from dash_hpc.study import parse_study

STUDY = """
[data]
kind = "files"
train = "expression_train.csv"
genes = "gene_names.csv"
prior = "edge_prior_matrix.csv"
[model]
hidden = 4
[training]
epochs = 4
[sweep]
seeds = "0..99"
[[strategy]]
name = "dash"
lambda_ppi = 0.05
lambda_motif = 0.01
"""


@pytest.fixture
def folder(tmp_path):
    system = simulate({"genes": 8, "regulators": 3, "edges": 10, "trajectories": 4, "test_trajectories": 0,
                       "times": [0, 1, 2, 3], "seed": 0})  # fmt: skip
    write(system, tmp_path)
    return tmp_path


def _edit(folder, name, change):
    file = folder / name
    lines = file.read_text(encoding="utf-8").splitlines()
    change(lines)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _ragged(lines):
    lines[4] += ",0.5"


def _word(lines):
    lines[2] = "low" + lines[2][3:]


def _repeated_time(lines):
    lines[9] = "0,1,1,3"


def _unsorted_times(lines):
    lines[9] = "0,2,1,3"


def _gene_without_values(lines):
    for trajectory in range(4):
        lines[1 + 9 * trajectory + 5] = ",,,"


def _same_name(lines):
    lines[3] = lines[2]


def _short_matrix(lines):
    del lines[-1]


def _other_names(lines):
    lines[:] = ["regulator,target", "TP53,MDM2", "MYC,CDK4"]


FAULTS = [
    ("expression_train.csv", _ragged, DataError, ("expression_train.csv:5", "5 cells", "G004")),
    ("expression_train.csv", _word, DataError, ("expression_train.csv:3", "low", "G002")),
    ("expression_train.csv", _repeated_time, DataError, ("expression_train.csv:10", "repeats", "increase")),
    ("expression_train.csv", _unsorted_times, DataError, ("expression_train.csv:10", "comes after 2", "increase")),
    ("expression_train.csv", _gene_without_values, DataError, ("expression_train.csv", "G006", "no value")),
    ("gene_names.csv", _same_name, DataError, ("gene_names.csv:4", "G002", "distinct")),
    ("edge_prior_matrix.csv", _short_matrix, PriorError, ("edge_prior_matrix.csv", "[8, 8]", "[7, 8]")),
    ("edge_prior_matrix.csv", _other_names, PriorError, ("edge_prior_matrix.csv", "TP53", "G001")),
]


@pytest.mark.parametrize(("name", "change", "error", "parts"), FAULTS, ids=[fault[1].__name__ for fault in FAULTS])
def test_a_fault_in_a_file_is_one_line_before_any_run(folder, name, change, error, parts):
    _edit(folder, name, change)
    with pytest.raises(error) as caught:
        run_study(parse_study(STUDY, base=folder), output=folder / "out", workers=1, progress="none")
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    assert not (folder / "out").exists()


def test_a_missing_file_names_its_key(folder):
    (folder / "edge_prior_matrix.csv").unlink()
    with pytest.raises(DataError, match=r"edge_prior_matrix\.csv: file not found; correct data\.prior"):
        planned_runs(parse_study(STUDY, base=folder))


def test_good_files_give_the_plan(folder):
    assert len(planned_runs(parse_study(STUDY, base=folder))) == 100


def test_a_published_data_set_without_prior_cannot_run_strategies_that_need_one(data_root):
    study = parse_study('[data]\nkind = "catalogue"\nname = "breast_2000"\n[[strategy]]\nname = "bioprune"\n')
    with pytest.raises(StudyError, match="bioprune needs prior knowledge, and data set breast_2000 has none"):
        planned_runs(study)


def test_a_fault_in_the_files_of_a_later_level_is_told_before_any_run(folder):
    text = STUDY.replace('prior = "edge_prior_matrix.csv"', 'prior = ["edge_prior_matrix.csv", "other.csv"]')
    study = parse_study(text, base=folder)
    with pytest.raises(DataError, match=r"other\.csv: file not found; correct data\.prior"):
        run_study(study, output=folder / "levels", workers=1, progress="none")
    assert not (folder / "levels").exists()
    (folder / "more").mkdir(exist_ok=True)
    other = parse_study(text.replace("other.csv", "more/other.csv"), base=folder)
    (folder / "more" / "other.csv").write_text("regulator,target\nG001,G002\nG002,G003\n", encoding="utf-8")
    runs = planned_runs(other)
    assert len(runs) == 200
    digests = {run.spec["data"]["prior"]: run.spec["data_digest"] for run in runs}
    assert len(set(digests.values())) == 2
    assert input_folders(other) == sorted([folder.absolute(), (folder / "more").absolute()])


def test_published_levels_of_the_prior_are_files_of_their_own(data_root):
    text = (
        '[data]\nkind = "catalogue"\nname = "sim350"\nprior_noise = [0, 0.05, 0.3]\n[[strategy]]\nname = "bioprune"\n'
    )
    digests = {run.spec["data"]["prior_noise"]: run.spec["data_digest"] for run in planned_runs(parse_study(text))}
    # 0.05 was published; 0.3 is made from the clean file.
    assert digests[0.3] == digests[0.0] != digests[0.05]


SIMULATED = """
[data]
kind = "simulate"
genes = [20, 30]
regulators = 6
edges = 30
trajectories = [8, 12]
expression_noise = [0, 0.025]
[model]
hidden = [4, 9]
[training]
epochs = [5, 7]
[[strategy]]
name = "imp"
rewind = ["none", "init"]
[[strategy]]
name = "none"
"""


def test_what_levels_share_is_told_once():
    levels, further = data_summaries(parse_study(SIMULATED))
    assert (len(levels), further) == (8, 0)
    assert levels[0][0] == "data.genes = 20, data.trajectories = 8, data.expression_noise = 0"
    lines = level_lines(levels, further)
    assert sum("times:" in line for line in lines) == 1
    assert sum("reference:" in line for line in lines) == 1
    assert sum("noise:" in line for line in lines) == 8
    assert [line for line in lines if "genes = 30, data.trajectories = 12, data.expression_noise = 0.025" in line]
    many, more = data_summaries(parse_study(SIMULATED, ["data.seed=0..9999"]))
    assert (len(many), more) == (MOST_LEVELS, 80_000 - MOST_LEVELS)
    assert level_lines(many, more)[-1] == f"  … and {80_000 - MOST_LEVELS:,} more data levels"


def test_the_forecast_is_that_of_the_largest_level():
    study = parse_study(SIMULATED)
    largest = largest_parts(study)
    assert gene_count(study) == largest["data"]["genes"] == 30
    assert (largest["data"]["trajectories"], largest["model"]["hidden"], largest["training"]["epochs"]) == (12, 9, 7)
    found = forecast(study, seconds=0)
    # 8 data levels, 2 sizes, 2 lengths; imp twice.
    assert (found.runs, found.genes) == (8 * 2 * 2 * 3, 30)
    one = disk_need(list(planned_runs(parse_study(SIMULATED.replace("[4, 9]", "9").replace("[5, 7]", "7")))), 30, 2)
    assert found.disk.bytes > one.bytes
    with pytest.raises(StudyError, match=r"4 × 90,000 × 30"):
        require_memory(study, largest | {"model": {**largest["model"], "hidden": 90_000}}, 30, limit=10**8)


def test_a_million_runs_over_all_axes_are_forecast_in_seconds():
    text = SIMULATED.replace("[4, 9]", '"4..53"').replace("[8, 12]", '"8..57"').replace("[5, 7]", "[5, 6, 7, 8, 9]")
    study = parse_study(text.replace('rewind = ["none", "init"]\n', ""), ["sweep.seeds=0..9", "data.genes=20"])
    assert study.n_runs == 50 * 50 * 5 * 2 * 10 * 2 == 500_000
    study = parse_study(study.to_toml(), ["sweep.seeds=0..19"])
    began = time.process_time()
    runs = planned_runs(study)
    found = forecast(study, seconds=0, runs=runs)
    assert (found.runs, len(runs)) == (1_000_000, 1_000_000)
    assert time.process_time() - began < 5
