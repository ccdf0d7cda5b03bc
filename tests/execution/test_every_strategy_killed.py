"""Every strategy in one study: killed under two workers and resumed, it has the bits of an undisturbed pack."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dash_hpc
from dash_hpc.execution import run_study
from dash_hpc.store import compare_runs, open_store, run_path
from dash_hpc.study import STRATEGIES

STUDY = """[study]
name = "every"
[data]
kind = "simulate"
genes = 8
regulators = 3
edges = 9
times = [0.0, 1.0, 2.0, 4.0]
trajectories = 5
test_trajectories = 1
validation = 0.4
starts = "smoothed"
[model]
hidden = 4
[solver]
method = "rk4"
step = 0.5
[training]
epochs = 8
prior_points = 20
[schedule]
first_epoch = 2
first_fraction = 0.4
every = 3
"""
# What has to be given, and what makes a run longer than one event.
OPTIONS = {
    "dash": "lambda_ppi = 0.2\nlambda_motif = 0.1",
    "pinn_mp": "p = 0.5",
    "sparseflow": 'scope = "global"\nretrain = "full"\nrounds = 2',
    "synflow": 'when = "schedule"\niterations = 3',
    "structured": "prune = true",
}
PATIENCE = 120.0


def start(study: Path, output: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(dash_hpc.__file__).parents[1]),
        "DASH_HPC_CHECKPOINT_SECONDS": "0",
    }
    words = ["-m", "dash_hpc", "run", str(study), "--output", str(output), "--workers", "2", "--part", "1/1"]
    with output.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *words], stdout=log, stderr=log, env=environment, cwd=study.parent, start_new_session=True
        )


def checkpoints(output: Path) -> list[Path]:
    return list(output.glob("runs/??/*.ckpt.h5"))


def test_killed_under_two_workers_they_have_the_bits_of_a_pack(tmp_path: Path) -> None:
    study = tmp_path / "every.toml"
    tables = [f'[[strategy]]\nname = "{name}"\n{OPTIONS.get(name, "")}\n' for name in STRATEGIES]
    study.write_text(STUDY + "".join(tables), encoding="utf-8")
    run_study(study, output=tmp_path / "pack", workers=1, pack=len(STRATEGIES), progress="none")
    whole = open_store(tmp_path / "pack")
    assert whole.runs["status"].tolist() == ["done"] * len(STRATEGIES)

    output, until = tmp_path / "out", time.monotonic() + PATIENCE
    while not checkpoints(output):  # none is left where a run has just ended
        process = start(study, output)
        try:
            while len(list(output.glob("runs/??/*.h5"))) < len(STRATEGIES) / 2 or not checkpoints(output):
                assert process.poll() is None, output.with_suffix(".log").read_text()
                assert time.monotonic() < until
                time.sleep(0.005)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert start(study, output).wait(PATIENCE) == 0, output.with_suffix(".log").read_text()

    store = open_store(output)
    assert any(store.provenance(run_id).get("resumed") for run_id in store.planned)
    for run_id in whole.planned:
        assert compare_runs(run_path(whole.folder, run_id), run_path(output, run_id)) == [], run_id
