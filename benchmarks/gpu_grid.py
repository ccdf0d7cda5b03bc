"""A λ x seed grid as a user runs it: 128 DASH runs of SIM350's size, 200 epochs, with `dash-hpc run --device cuda`.

4 x 4 values of λ and 8 seeds, all in one pack; the time is that of the whole command: reading data, training,
validation, pruning events, run files, evaluation, report. SIM350 itself where DASH_HPC_DATA has it, else a simulated
network of its size.

    python benchmarks/gpu_grid.py [--out benchmarks/results/gpu_grid.json]
    python benchmarks/gpu_grid.py --device cpu --epochs 4 --seeds 1    (without a GPU, to see that it runs)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT, parser, publish

from dash_hpc.store import open_store

STUDY = """
[study]
name = "grid"
[data]
{data}
[model]
hidden = 40
[training]
epochs = {epochs}
batch = "trajectory"
lr = 1e-3
v_lr_factor = 1.0
early_stop = 0
[schedule]
first_epoch = 3
first_fraction = 0.7
every = 10
fraction = 0.1
[sweep]
seeds = "0..{last}"
[[strategy]]
name = "dash"
lambda_ppi = [0.0, 0.05, 0.5, 0.95]
lambda_motif = [0.0, 0.05, 0.5, 0.95]
"""
SIMULATED = """kind = "simulate"
genes = 350
regulators = 40
edges = 550
trajectories = 156
test_trajectories = 10"""
PUBLISHED = """kind = "catalogue"
name = "sim350"
expression_noise = 0.025
prior_noise = 0.05"""


def main() -> None:
    """Run the study in a fresh folder, print, write."""
    options = parser(__doc__, 1)
    options.add_argument("--device", default="cuda", help="as dash-hpc run takes it (default cuda)")
    options.add_argument("--epochs", type=int, default=200)
    options.add_argument("--seeds", type=int, default=8)
    chosen = options.parse_args()
    published = (Path(os.environ.get("DASH_HPC_DATA") or "/nowhere") / "sim350").is_dir()
    data, runs = PUBLISHED if published else SIMULATED, 16 * chosen.seeds
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "grid.toml"
        study.write_text(STUDY.format(data=data, epochs=chosen.epochs, last=chosen.seeds - 1))
        command = [sys.executable, "-m", "dash_hpc", "run", study, "--device", chosen.device, "--pack", str(runs)]
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        began = time.perf_counter()
        code = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": paths}, check=False).returncode
        took = time.perf_counter() - began
        table = open_store(Path(folder) / "results" / "grid").runs
    done = int((table["status"] == "done").sum())
    row = {
        "what": "SIM350" if published else "simulated, 350 genes", "device": chosen.device, "runs": done,
        "epochs": chosen.epochs, "seconds": took, "run_epochs_per_s": done * chosen.epochs / took,
    }  # fmt: skip
    columns = {"what": "", "device": "", "runs": "", "epochs": "", "seconds": ".1f", "run_epochs_per_s": ".1f"}
    publish("gpu_grid", [row], columns, chosen.out)
    if code or done != runs:
        raise SystemExit(f"gpu_grid: {done} of {runs} runs were done, the command left with {code}")


if __name__ == "__main__":
    main()
