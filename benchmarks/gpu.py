"""Run-epochs per second on a GPU: packs of 1 to 2,112 SIM350-sized runs, against torchdiffeq and this machine's CPU.

350 genes, 40 hidden units, float32, dopri5 at rtol 1e-5, atol 1e-7; an epoch is 140 steps of one trajectory (4 pairs)
each. Before anything is timed, ten epochs on GPU and CPU are compared: losses and the masks that the weights give.
Useful operations are counted (docs/gpu.md): 2 per active weight and evaluation forward, as many in reverse and in the
gradients. The ceiling of fp32 is measured with a matrix product (TF32 off), that of shared memory is 128 B a cycle of
each multiprocessor at the highest clock. Contenders: torchdiffeq on the same GPU, a run at a time, and batched over
runs with one step size for all.

    python benchmarks/gpu.py [--seconds 2] [--out benchmarks/results/gpu.json]
"""

from __future__ import annotations

import copy
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import parser, publish, random_problem

from dash_hpc.ops import PRUNABLE, TENSORS, SolverOptions, TrainState, select, train_epoch, train_pack
from dash_hpc.ops.cuda import Gpu, open_gpu
from dash_hpc.ops.train import EpochJob

GENES, HIDDEN, STEPS, PAIRS = 350, 40, 140, 4
SOLVER = SolverOptions(rtol=1e-5, atol=1e-7)
PACKS = (1, 16, 132, 528, 2112)
DENSITIES = (1.0, 0.14, 0.05)
#: Cycles of shared memory for one evaluation of the dense model by a block (docs/gpu.md): weights, operands, shuffles.
SHARED_CYCLES = 1760 + 440 + 480 + 310


def epoch_job(state: TrainState, data: Sequence[np.ndarray], steps: int, lr: float = 1e-4) -> EpochJob:
    """`steps` batches of one trajectory each; the state is used as it is."""
    y0, y1, dt = data
    pointer = np.arange(0, PAIRS * steps + 1, PAIRS)
    index = np.resize(np.arange(len(dt)), PAIRS * steps)
    return EpochJob(state, y0, y1, dt, pointer, index, lr=dict.fromkeys(TENSORS, lr), solver=SOLVER)


def problem(density: float) -> tuple[TrainState, tuple[np.ndarray, ...]]:
    """A state in the middle of training and 140 trajectories."""
    weights, masks, y0, y1, dt = random_problem(GENES, HIDDEN, density, PAIRS * STEPS)
    return TrainState.fresh(weights, masks), (y0, y1, dt)


def agreement(gpu: Gpu, density: float, epochs: int) -> dict[str, Any]:
    """Largest relative difference of the losses over epochs, and the overlap of the masks that both weights give."""
    start, data = problem(density)
    mine, cpu = copy.deepcopy(start), copy.deepcopy(start)
    worst = 0.0
    for _ in range(epochs):
        job = epoch_job(mine, data, STEPS)
        found = gpu.train_pack([job])[0].loss
        wanted = train_epoch(
            cpu, job.y0, job.y1, job.dt, job.batch_ptr, job.batch_index, lr=job.lr, solver=job.solver
        ).loss
        worst = max(worst, float(np.abs(found / wanted - 1).max()))
    both = either = 0
    for name in PRUNABLE:
        n = int(mine.masks[name].sum()) * 4 // 5
        masks = [
            select(np.abs(state.weights[name]).astype(np.float64), state.masks[name], n)[0] for state in (mine, cpu)
        ]
        both, either = both + int((masks[0] & masks[1]).sum()), either + int((masks[0] | masks[1]).sum())
    return {"what": f"agreement, {density:.0%}", "epochs": epochs, "loss_difference": worst, "jaccard": both / either}


def ceilings() -> dict[str, float]:
    """Measured rate of fp32 in a matrix product, and cycles per second of all multiprocessors at the highest clock."""
    torch.backends.cuda.matmul.allow_tf32 = False
    a, b = (torch.randn(8192, 8192, device="cuda") for _ in range(2))
    for _ in range(2):
        a @ b
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    rate = 3 * 2 * 8192**3 / (time.perf_counter() - began)
    query = ["nvidia-smi", "--query-gpu=clocks.max.sm", "--format=csv,noheader,nounits"]
    clock = 1e6 * float(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0])
    return {"fp32": rate, "cycles": clock * torch.cuda.get_device_properties(0).multi_processor_count}


def pack_row(gpu: Gpu, density: float, runs: int, seconds: float, ceiling: dict[str, float]) -> dict[str, Any]:
    """Time whole epochs of a pack, from the caller's arrays and back: the best of up to three."""
    start, data = problem(density)
    states = [copy.deepcopy(start) for _ in range(runs)]

    def take() -> tuple[float, int, dict[str, float]]:
        jobs = [epoch_job(state, data, STEPS) for state in states]
        gpu.take_timings()
        began = time.perf_counter()
        results = gpu.train_pack(jobs)
        took = time.perf_counter() - began
        failed = [result.reason for result in results if result.status]
        if failed:
            raise SystemExit(f"benchmark: a run failed: {failed[0]}")
        return took, sum(result.evaluations for result in results), gpu.take_timings()

    tries = [take()]
    while len(tries) < 3 and tries[0][0] < seconds:
        tries.append(take())
    took, evaluations, parts = min(tries, key=lambda one: one[0])
    steps = STEPS
    entries = sum(int(mask.sum()) for mask in start.masks.values())
    operations = 2 * entries * (3 * evaluations - 2 * 2 * runs * steps * PAIRS)
    row = {
        "what": f"GPU, {density:.0%}",
        "runs": runs,
        "steps": steps,
        "seconds": took,
        "run_epochs_per_s": runs * steps / STEPS / took,
        "tflops": operations / parts["kernel"] / 1e12,
        "kernel": parts["kernel"],
        "host": parts["host"],
        "transfer": parts["transfer"],
        "of_fp32": operations / parts["kernel"] / ceiling["fp32"],
    }
    if density == 1.0:  # forward and reverse of every evaluation of four samples; idle lanes are not counted
        row["of_shared"] = 2 * evaluations / 4 * SHARED_CYCLES / parts["kernel"] / ceiling["cycles"]
    return row


def cpu_row(density: float) -> dict[str, Any]:
    """This machine's CPU path, a thread to a core."""
    start, data = problem(density)
    cores = len(os.sched_getaffinity(0))
    jobs = [epoch_job(copy.deepcopy(start), data, STEPS // 4) for _ in range(cores)]
    train_pack(jobs[:1])
    began = time.perf_counter()
    train_pack(jobs, threads=cores)
    took = time.perf_counter() - began
    rate = cores * (STEPS // 4) / STEPS / took
    return {"what": f"CPU, {density:.0%}", "runs": cores, "steps": STEPS // 4, "seconds": took,
            "run_epochs_per_s": rate}  # fmt: skip


class Batched(torch.nn.Module):
    """PHOENIX for R runs at once as torchdiffeq calls it: [R, B, G], time scaled to each pair's interval."""

    def __init__(self, weights: dict[str, np.ndarray], runs: int, dt: np.ndarray) -> None:
        super().__init__()
        self.parameters_by_name = torch.nn.ParameterDict(
            {name: torch.from_numpy(np.broadcast_to(weights[name], (runs, *weights[name].shape)).copy())
             for name in TENSORS}
        )  # fmt: skip
        self.register_buffer("dt", torch.from_numpy(dt.astype(np.float32))[None, :, None])

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        p = self.parameters_by_name
        u = y - 0.5
        sums = u / (1 + u.abs())
        prods = torch.log1p(sums)
        z = sums @ p["W_sums"].mT + p["b_sums"][:, None]
        q = torch.exp(prods @ p["W_prods"].mT + p["b_prods"][:, None])
        target = z @ p["U_sums"].mT + q @ p["U_prods"].mT
        return self.dt * torch.relu(p["v"])[:, None] * (target - y)


def torchdiffeq_row(runs: int, seconds: float) -> dict[str, Any]:
    """Steps of solve, back-propagation and Adam with torchdiffeq on this GPU."""
    from torchdiffeq import odeint

    start, (y0, y1, dt) = problem(1.0)
    model = Batched(start.weights, runs, dt[:PAIRS]).cuda()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    first, target = (torch.from_numpy(array[:PAIRS]).cuda().expand(runs, -1, -1) for array in (y0, y1))
    times = torch.tensor([0.0, 1.0], device="cuda")

    def step() -> None:
        optimiser.zero_grad()
        end = odeint(model, first, times, rtol=SOLVER.rtol, atol=SOLVER.atol, method="dopri5")[-1]
        (end - target).square().mean(dim=(1, 2)).sum().backward()
        optimiser.step()

    step()
    torch.cuda.synchronize()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        torch.cuda.synchronize()
        steps += 1
    took = time.perf_counter() - began
    return {"what": "torchdiffeq, GPU", "runs": runs, "steps": steps, "seconds": took,
            "run_epochs_per_s": runs * steps / STEPS / took}  # fmt: skip


def large_row(gpu: Gpu, density: float, hidden: int) -> dict[str, Any]:
    """One step of one trajectory of a genome-sized model (rk4, a step to an interval): one block works on it."""
    weights, masks, y0, y1, dt = random_problem(11165, hidden, density, PAIRS)
    job = epoch_job(TrainState.fresh(weights, masks), (y0, y1, dt), 1, 1e-6)
    rk4 = SolverOptions(method="rk4", step=100.0)
    job = EpochJob(job.state, y0, y1, dt, job.batch_ptr, job.batch_index, lr=job.lr, solver=rk4)
    began = time.perf_counter()
    [result] = gpu.train_pack([job])
    return {"what": f"11,165 x {hidden}, {density:.0%}, rk4", "runs": 1, "steps": 1,
            "seconds": time.perf_counter() - began, "status": result.status}  # fmt: skip


def rows_of(gpu: Gpu, seconds: float, say: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
    """All rows, correctness first; each is told as soon as it is there."""
    rows: list[dict[str, Any]] = []

    def add(row: dict[str, Any]) -> None:
        rows.append(row)
        say(row)

    for density in (1.0, 0.05):
        add(agreement(gpu, density, 10))
    ceiling = ceilings()
    add({"what": "ceilings", "tflops": ceiling["fp32"] / 1e12})
    for density in DENSITIES:
        for runs in PACKS:
            add(pack_row(gpu, density, runs, seconds, ceiling))
        add(cpu_row(density))
    for runs in (1, 16, 132):
        add(torchdiffeq_row(runs, seconds))
    add(large_row(gpu, 0.01, 300))
    return rows


COLUMNS = {
    "what": "", "runs": "", "steps": "", "seconds": ".3f", "kernel": ".3f", "host": ".3f", "transfer": ".3f",
    "run_epochs_per_s": ".1f", "tflops": ".2f", "of_fp32": ".1%", "of_shared": ".1%",
    "loss_difference": ".1e", "jaccard": ".4f",
}  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__, 1)
    options.add_argument("--seconds", type=float, default=2.0, help="about how long each row takes (default 2)")
    chosen = options.parse_args()
    gpu = open_gpu()
    print(gpu.facts())
    rows = rows_of(gpu, chosen.seconds, lambda row: print(row, flush=True))
    publish("gpu", rows, COLUMNS, chosen.out)
    if chosen.out:
        Path(chosen.out).with_suffix(".device.txt").write_text(f"{gpu.facts()}\n{gpu.kernels()}\n")
    wrong = [row for row in rows if row.get("loss_difference", 0) > 1e-4 or row.get("jaccard", 1) < 0.99]
    if wrong:
        raise SystemExit(f"gpu: GPU and CPU disagree: {wrong}")


if __name__ == "__main__":
    main()
