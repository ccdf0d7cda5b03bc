"""A study of the MLP whose command is killed and given again: the record is that of an undisturbed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dash_hpc
from dash_hpc.errors import StoreError
from dash_hpc.store import compare_runs, open_store, run_path
from dash_hpc.store.checkpoint import read_checkpoint

STUDY = """[study]
name = "killed"
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
family = "mlp"
hidden = 4
[solver]
method = "rk4"
step = 0.5
[training]
epochs = 24
early_stop = 0
[schedule]
first_epoch = 2
first_fraction = 0.4
every = 5
[[strategy]]
name = "dash"
lambda_ppi = 0.2
lambda_motif = 0.1
"""
PATIENCE = 120.0


def start(study: Path, output: Path) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(dash_hpc.__file__).parents[1]),
        "DASH_HPC_CHECKPOINT_SECONDS": "0",
    }
    words = ["-m", "dash_hpc", "run", str(study), "--output", str(output), "--workers", "1", "--part", "1/1"]
    with output.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *words], stdout=log, stderr=log, env=environment, cwd=study.parent, start_new_session=True
        )


def checkpointed(output: Path) -> int:
    """Return the last epoch that a checkpoint holds."""
    found = [0]
    for path in output.glob("runs/??/*.ckpt.h5"):
        try:
            found.append(read_checkpoint(path).epoch)
        except (StoreError, OSError):  # the other of the two took its place
            continue
    return max(found)


def test_killed_and_resumed_it_has_the_same_bits(tmp_path: Path) -> None:
    study = tmp_path / "killed.toml"
    study.write_text(STUDY, encoding="utf-8")
    assert start(study, tmp_path / "whole").wait(PATIENCE) == 0
    whole = open_store(tmp_path / "whole")
    (run_id,) = whole.planned

    output = tmp_path / "out"
    process = start(study, output)
    until = time.monotonic() + PATIENCE
    try:
        while checkpointed(output) < 3:  # after the first event
            assert process.poll() is None, output.with_suffix(".log").read_text()
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert open_store(output).status(run_id) == "running"
    assert start(study, output).wait(PATIENCE) == 0

    store = open_store(output)
    assert store.status(run_id) == "done"
    assert compare_runs(run_path(whole.folder, run_id), run_path(output, run_id)) == []
    (resumed,) = store.provenance(run_id)["resumed"]
    assert 3 <= resumed["epoch"] < 24
    assert "mlp_in" in store.network(run_id).masks
