"""docs/extend/strategy.md, followed in a scratch copy of the package: a strategy is one file and its registration."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scratch import Scratch, blocks, follow

STUDY = """[study]
name = "gated"
[data]
kind = "simulate"
genes = 12
regulators = 4
edges = 16
trajectories = 6
test_trajectories = 2
times = [0.0, 1.0, 2.0, 4.0]
validation = 0.34
[model]
hidden = 4
[training]
epochs = 8
lr = 0.01
[schedule]
first_epoch = 2
first_fraction = 0.3
every = 2
fraction = 0.1
[sweep]
seeds = "0..1"
[[strategy]]
name = "dash"
lambda_ppi = 0.1
lambda_motif = 0.1
"""
# What a run is and how it ends, of a study file; printed as JSON.
HEAD = """
import json, sys
from pathlib import Path
import numpy as np
from dash_hpc.data import build
from dash_hpc.ops.state import values
from dash_hpc.study import load_study, plan
from dash_hpc.training import Pack, Trainer

study = load_study("study.toml")
runs = [run for run in plan(study, "") if run.spec["strategy"]["name"] == "gates"]

def trainer(run):
    return Trainer(build(run.spec["data"], seed=run.spec["seed"], base=Path(".")), run.spec)

def result(fit):
    kept = fit.kept
    parts = [values(tensor).tobytes().hex() for tensor in kept.weights.values()]
    parts += [mask.tobytes().hex() for mask in kept.masks.values()]
    history = {key: value for key, value in fit.history.items() if not key.startswith("seconds")}
    events = [{k: v for k, v in event.items() if not k.startswith("seconds")} for event in fit.events]
    return json.dumps([parts, history, events, fit.epoch, kept.epoch], default=float)
"""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    return follow(
        "strategy.md", tmp_path_factory.mktemp("tree"), "pruning/gates.py", "pruning/registry.py",
        word="Gates", after=("import Dash\n", "    Unpruned,\n"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.toml").write_text(STUDY + blocks("strategy.md")["toml"][0], encoding="utf-8")
    return folder


def test_one_file_and_its_registration(scratch: Scratch) -> None:
    assert scratch.changes() == ({"pruning/gates.py"}, {"pruning/registry.py": 2})


def test_resumed_at_every_epoch_and_in_a_pack_it_has_the_same_bits(scratch: Scratch, folder: Path) -> None:
    program = (
        HEAD
        + """
made = []
whole = trainer(runs[-1])
expected = result(whole.fit(checkpoint=made.append, checkpoint_seconds=0))
resumed = [result(trainer(runs[-1]).fit(resume=checkpoint)) == expected for checkpoint in made]
fits = Pack(threads=2).run([trainer(run).steps() for run in runs[-2:]])
packed = [result(fits[0]) == result(trainer(runs[-2]).fit()), result(fits[1]) == expected]
json.dump([resumed, packed, [run.spec["strategy"]["price"] for run in runs]], sys.stdout)
"""
    )
    resumed, packed, prices = scratch.python(folder, program)
    assert resumed == [True] * 7
    assert packed == [True] * 2
    assert sorted(prices) == [0.0, 0.0, 5.0, 5.0]


def test_it_closes_gates_for_good(scratch: Scratch, folder: Path) -> None:
    """Closed weights are not active, and the dearer the gates the fewer stay open."""
    program = (
        HEAD
        + """
found = []
for run in runs:
    fit = trainer(run).fit()
    masks = fit.kept.masks
    zero = [bool((values(fit.kept.weights[name])[mask] == 0).any()) for name, mask in masks.items()]
    outside = [bool((values(fit.kept.weights[name])[~mask] != 0).any()) for name, mask in masks.items()]
    found.append([run.spec["strategy"]["price"], zero, outside, sum(int(mask.sum()) for mask in masks.values()),
                  fit.history["phase"], fit.events[-1]["open_gates"], sorted({e["epoch"] for e in fit.events})])
json.dump(found, sys.stdout)
"""
    )
    found = scratch.python(folder, program)
    for _, zero, outside, _, phase, _, epochs in found:
        assert not any(zero)  # no zero is called active
        assert not any(outside)
        assert phase == [0] * 4 + [1] * 4
        assert epochs == [2]  # 4 is the last epoch of the gated phase; the second phase has no event
    free, dear = ([row for row in found if row[0] == price] for price in (0.0, 5.0))
    assert all(row[3] <= 4 * (48 - round(0.3 * 48)) for row in free)  # what the event has left
    assert max(row[3] for row in dear) < min(row[3] for row in free)


def test_a_study_runs_chooses_and_reports(scratch: Scratch, folder: Path) -> None:
    done = scratch.run(folder, "-m", "dash_hpc", "run", "study.toml", "--workers", "1", "--set", "sweep.seeds=0")
    assert done.returncode == 0, done.stderr
    program = """
import json, sys
import numpy as np
from dash_hpc.store import open_store
store = open_store("results/gated")
found = []
for run_id in store.runs.index:
    record = store.record(run_id)
    if record.spec["strategy"]["name"] != "gates":
        continue
    network = store.network(run_id)
    active = {name: int(mask.sum()) for name, mask in network.masks.items()}
    nonzero = {name: int(np.count_nonzero(network.weights[name])) for name in active}
    found.append([record.status, list(record.events), active == nonzero])
json.dump(found, sys.stdout)
"""
    found = scratch.python(folder, program)
    assert len(found) == 2
    for status, columns, same in found:
        assert status == "done"
        assert columns[:6] == ["epoch", "tensor", "n_before", "n_pruned", "threshold", "open_gates"]
        assert same
    chosen = scratch.run(folder, "-m", "dash_hpc", "select", "results/gated", "--strategy", "gates")
    assert chosen.returncode == 0, chosen.stderr
    assert "price" in chosen.stdout
    page = (folder / "results" / "gated" / "report" / "index.html").read_text(encoding="utf-8")
    assert "gates" in page
