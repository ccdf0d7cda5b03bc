"""What the check of gradients costs SIM350 (docs/numerics.md): evaluations of a run's epochs and the time of the median
one, beside a checkout of an earlier version whose native module is built, both versions in turns.

    DASH_HPC_DATA=… python benchmarks/gradient_cost.py --before CHECKOUT [--out benchmarks/results/gradient_cost.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import torch
from common import ROOT, parser, publish

# SIM350 with one of the strategies: evaluations of all epochs, milliseconds of the median one. Run by either version.
EPOCHS = """
import sys, time
from dash_hpc.data import build
from dash_hpc.study import load_study, plan
from dash_hpc.training import Trainer
from dash_hpc.training.work import do_alone
study = load_study(sys.argv[1], ["sweep.seeds=[0]", "training.epochs=" + sys.argv[3]])
spec = next(run.spec for run in plan(study, "") if run.spec["strategy"]["name"] == sys.argv[2])
trainer = Trainer(build(spec["data"], seed=0, base="."), spec)
steps = (trainer.steps if hasattr(trainer, "steps") else trainer.course)()  # whichever the version calls it
task, evaluations, times = next(steps), 0, []
try:
    while True:
        start = time.perf_counter()
        result = do_alone(task)
        if type(task).__name__ in ("EpochTask", "EpochJob"):
            times.append(1000 * (time.perf_counter() - start))
            evaluations += result.evaluations
        task = steps.send(result)
except StopIteration:
    print(evaluations, sorted(times)[len(times) // 2])
"""


def epochs(before: Path, repeats: int) -> list[dict[str, Any]]:
    """Both versions in turns."""
    rows = []
    for strategy in ("dash", "none"):
        evaluations, times = {}, {"before": [], "after": []}
        for _ in range(repeats):
            for version, checkout in (("before", before), ("after", ROOT)):
                command = [sys.executable, "-c", EPOCHS, str(ROOT / "examples" / "sim350.toml"), strategy, "200"]
                environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
                done = subprocess.run(
                    command, env=environment, cwd=checkout, check=True, capture_output=True, text=True
                )
                count, milliseconds = done.stdout.split()
                evaluations[version] = int(count)
                times[version].append(float(milliseconds))
        rows.append({"model": f"SIM350, {strategy}", "evaluations_before": evaluations["before"],
                     "evaluations_after": evaluations["after"], "ms_before": median(times["before"]),
                     "ms_after": median(times["after"])})  # fmt: skip
    return rows


def main() -> None:
    options = parser(__doc__, 5)
    options.add_argument(
        "--before", type=Path, required=True, help="a checkout of an earlier version, its native module built"
    )
    arguments = options.parse_args()
    torch.set_num_threads(1)
    columns = {
        "model": "", "evaluations_before": ",", "evaluations_after": ",", "ms_before": ".1f", "ms_after": ".1f"
    }  # fmt: skip
    publish("gradient_cost", epochs(arguments.before, arguments.repeats), columns, arguments.out, arguments.repeats)


if __name__ == "__main__":
    main()
