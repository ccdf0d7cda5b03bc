"""docs/extend/family.md, followed in a scratch copy of the package: a family is one file and its registration."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scratch import Scratch, follow

STUDY = """[study]
name = "linear"
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
family = "linear"
[training]
epochs = 3
lr = 0.01
[schedule]
first_epoch = 2
first_fraction = 0.5
"""
STRATEGIES = '[[strategy]]\nname = "none"\n[[strategy]]\nname = "imp"\n'


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    return follow(
        "family.md", tmp_path_factory.mktemp("tree"), "models/linear.py", "models/registry.py",
        word="Linear", after=("import Family\n", "    MlpFamily(),\n"),
    )  # fmt: skip


def test_the_page_touches_one_file_and_the_registry(scratch: Scratch) -> None:
    assert scratch.changes() == ({"models/linear.py"}, {"models/registry.py": 2})


def test_a_study_with_it_runs_prunes_and_is_reported(scratch: Scratch, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY + STRATEGIES, encoding="utf-8")
    done = scratch.run(tmp_path, "-m", "dash_hpc", "run", "study.toml", "--output", "out", "--workers", "1")
    assert done.returncode == 0, done.stderr
    program = (
        "import json, dash_hpc, numpy as np\n"
        "from dash_hpc.evaluation import effects\n"
        "store = dash_hpc.open_store('out')\n"
        "runs = store.runs\n"
        "found = {}\n"
        "for run_id, row in runs.iterrows():\n"
        "    network = store.network(run_id)\n"
        "    A = network.weights['linear_effects']\n"
        "    same = bool(np.array_equal(effects(network.weights, network.masks), A.astype(float)))\n"
        "    found[row['strategy']] = [row['status'], same, float((A == 0).mean()), float(row['sparsity'])]\n"
        "print(json.dumps(found))\n"
    )
    assert scratch.python(tmp_path, program) == {"none": ["done", True, 0.0, 0.0], "imp": ["done", True, 0.5, 0.5]}
    assert "linear, hidden = 40" in (tmp_path / "out" / "report" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ('name = "dash"\nlambda_ppi = 0.1\nlambda_motif = 0.1', "needs layers that have a relation to prior networks"),
        ('name = "structured"', "needs a model that can be built on a structure"),
    ],
)
def test_what_it_cannot_do_is_refused_at_load(scratch: Scratch, tmp_path: Path, table: str, reason: str) -> None:
    (tmp_path / "study.toml").write_text(f"{STUDY}[[strategy]]\n{table}\n", encoding="utf-8")
    done = scratch.run(tmp_path, "-m", "dash_hpc", "run", "study.toml", "--output", "out")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{reason}, which model.family = linear has not" in done.stderr
