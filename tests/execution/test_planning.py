"""Faults in the data are told once, before any run starts."""

from __future__ import annotations

import pytest

from dash_hpc.data.simulator import simulate, write
from dash_hpc.errors import DataError, PriorError, StudyError
from dash_hpc.execution import run_study
from dash_hpc.execution.planning import planned_runs
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
