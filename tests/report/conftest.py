"""A small store made without training: random models on a simulated data set, recorded as a study would record them."""

from __future__ import annotations

import pytest

from dash_hpc.data import build
from dash_hpc.evaluation import evaluation_notes
from dash_hpc.store import RunWriter, open_store, write_plan
from dash_hpc.study import parse_study, plan
from tests.untrained import record

STUDY = """
[study]
name = "small"
description = "random models, no training"
[data]
kind = "simulate"
genes = 20
regulators = 6
edges = 30
trajectories = 8
test_trajectories = 3
[model]
hidden = 4
[training]
epochs = 12
[sweep]
seeds = [0, 1]
[[strategy]]
name = "none"
[[strategy]]
name = "imp"
[[strategy]]
name = "bioprune"
[[strategy]]
name = "dash"
lambda_ppi = [0.05, 0.5]
lambda_motif = [0.01, 0.5]
"""
PROVENANCE = {
    "dash_hpc": "0.1.0",
    "git": "0123456789abcdef0123456789abcdef01234567+changes",
    "python": "3.11.7",
    "native": {"available": True, "isa": "avx2", "built_isas": ["baseline", "avx2"], "compiler": "12.2.0"},
    "host": "here",
    "command": ["/opt/venv/bin/dash-hpc", "run", "small.toml", "--set", "sweep.seeds=[0, 1]"],
    "started": "2026-01-02T03:04:05.678+00:00",
    "ended": "2026-01-02T03:05:06.789+00:00",
}


def fill(folder, text=STUDY, *, fail=(), made_with=None):
    """Fill ``folder`` with the runs of a study; run numbers in ``fail`` are recorded as failed.

    ``made_with`` has what is different in the provenance of some runs, by their numbers.
    """
    study = parse_study(text)
    runs = plan(study, "")
    write_plan(folder, [(run.id, run.spec) for run in runs], study=study.name, base=folder)
    (folder / "study.toml").write_text(study.to_toml(), encoding="utf-8")
    for number, run in enumerate(runs):
        if number in fail:
            writer = RunWriter(folder, run.id, run.spec, {})
            writer.begin()
            writer.fail("diverged at epoch 2 <state> & infinite")
            continue
        dataset = build(run.spec["data"], seed=run.spec["seed"], base=folder)
        sparsity = 0.0 if run.spec["strategy"]["name"] == "none" else 0.75
        record(
            folder, run.id, run.spec, dataset, sparsity=sparsity,
            provenance={**PROVENANCE, **(made_with or {}).get(number, {})}, notes=evaluation_notes(dataset),
        )  # fmt: skip
    return open_store(folder)


@pytest.fixture(scope="session")
def small_store(tmp_path_factory):
    """Fourteen runs, one of them failed."""
    return fill(tmp_path_factory.mktemp("small"), fail=(3,))


@pytest.fixture(scope="session")
def make_store():
    """The function that fills a folder with the runs of a study."""
    return fill


@pytest.fixture(scope="session")
def study_text():
    """The study behind `small_store`, as TOML."""
    return STUDY
