"""Run-epochs per second on a GPU: packs of 1 to 2,112 SIM350-sized runs, against torchdiffeq and this machine's CPU.

350 genes, 40 hidden units, float32, dopri5 at rtol 1e-5, atol 1e-7; an epoch is 140 steps of one trajectory (4 pairs)
each. Before anything is timed, ten epochs on GPU and CPU are compared: losses and the masks that the weights give.
Useful operations are counted (docs/gpu.md): 2 per active weight and evaluation forward, as many in reverse and in the
gradients. The ceiling of fp32 is measured with a matrix product (TF32 off), that of shared memory is 128 B a cycle of
each multiprocessor at the highest clock. Contenders: torchdiffeq on the same GPU, a run at a time, and batched over
runs with one step size for all.

Genome scale: steps of 16 pairs of a model of 11,165 x 300, on which all multiprocessors work together, dense and with
5 % active; one step of the CPU beside it. The ceiling of memory is measured with a copy; counted are the weights, read
once for sixteen samples in each evaluation and in its reverse (idle samples do not count), and Adam's arrays.

    python benchmarks/gpu.py [--seconds 2] [--out benchmarks/results/gpu.json]
    python benchmarks/gpu.py --rehearse    (without a GPU: tiny sizes in the emulation, to see that the script runs)
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import parser, publish, random_problem

from dash_hpc.ops import PRUNABLE, TENSORS, SolverOptions, TrainState, select, train_epoch, train_many
from dash_hpc.ops.cuda import Gpu, open_gpu
from dash_hpc.ops.train import EpochTask

PAIRS, LARGE_PAIRS = 4, 16
SOLVER = SolverOptions(rtol=1e-5, atol=1e-7)
DENSITIES = (1.0, 0.14, 0.05)
#: Cycles of shared memory for one evaluation of the dense model by a block (docs/gpu.md): weights, operands, shuffles.
SHARED_CYCLES = 1760 + 440 + 480 + 310


@dataclass(frozen=True)
class Sizes:
    """What is measured, and with which device of torch."""

    genes: int = 350
    hidden: int = 40
    steps: int = 140
    packs: tuple[int, ...] = (1, 16, 132, 528, 2112)
    others: tuple[int, ...] = (1, 16, 132)
    large: tuple[int, int] = (11165, 300)
    device: str = "cuda"


FULL = Sizes()
REHEARSAL = Sizes(genes=40, hidden=6, steps=4, packs=(1, 2), others=(1,), large=(100, 12), device="cpu")


def epoch_task(
    state: TrainState, data: Sequence[np.ndarray], steps: int, lr: float = 1e-4, pairs: int = PAIRS
) -> EpochTask:
    """`steps` batches of as many pairs each; the state is used as it is."""
    y0, y1, dt = data
    pointer = np.arange(0, pairs * steps + 1, pairs)
    index = np.resize(np.arange(len(dt)), pairs * steps)
    return EpochTask(state, y0, y1, dt, pointer, index, lr=dict.fromkeys(TENSORS, lr), solver=SOLVER)


def problem(sizes: Sizes, density: float) -> tuple[TrainState, tuple[np.ndarray, ...]]:
    """A state in the middle of training and as many trajectories as there are steps."""
    weights, masks, y0, y1, dt = random_problem(sizes.genes, sizes.hidden, density, PAIRS * sizes.steps)
    return TrainState.fresh(weights, masks), (y0, y1, dt)


def agreement(gpu: Gpu, sizes: Sizes, density: float, epochs: int) -> dict[str, Any]:
    """Largest relative difference of the losses over epochs, and the overlap of the masks that both weights give."""
    start, data = problem(sizes, density)
    mine, cpu = copy.deepcopy(start), copy.deepcopy(start)
    worst = 0.0
    for _ in range(epochs):
        task = epoch_task(mine, data, sizes.steps)
        found = gpu.train_many([task])[0].loss
        wanted = train_epoch(
            cpu, task.y0, task.y1, task.dt, task.batch_ptr, task.batch_index, lr=task.lr, solver=task.solver
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


def ceilings(device: str) -> dict[str, float]:
    """Rate of fp32 in a matrix product, of a copy in memory, and cycles per second of all multiprocessors at most."""
    if device == "cpu":
        return {"fp32": 1.0, "memory": 1.0, "cycles": 1.0}
    torch.backends.cuda.matmul.allow_tf32 = False

    def rate(work: Callable[[], Any], amount: float) -> float:
        for repeats in (2, 3):
            torch.cuda.synchronize()
            began = time.perf_counter()
            for _ in range(repeats):
                work()
            torch.cuda.synchronize()
        return 3 * amount / (time.perf_counter() - began)

    a, b = (torch.randn(8192, 8192, device="cuda") for _ in range(2))
    product = rate(lambda: a @ b, 2 * 8192**3)
    copied = rate(lambda: a.copy_(b), 2 * 4 * 8192**2)
    query = ["nvidia-smi", "--query-gpu=clocks.max.sm", "--format=csv,noheader,nounits"]
    clock = 1e6 * float(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0])
    cycles = clock * torch.cuda.get_device_properties(0).multi_processor_count
    return {"fp32": product, "memory": copied, "cycles": cycles}


def pack_row(
    gpu: Gpu, sizes: Sizes, density: float, runs: int, seconds: float, ceiling: dict[str, float]
) -> dict[str, Any]:
    """Time whole epochs of a pack, from the caller's arrays and back: the best of up to three."""
    start, data = problem(sizes, density)
    states = [copy.deepcopy(start) for _ in range(runs)]

    def take() -> tuple[float, int, dict[str, float]]:
        tasks = [epoch_task(state, data, sizes.steps) for state in states]
        gpu.take_timings()
        began = time.perf_counter()
        results = gpu.train_many(tasks)
        took = time.perf_counter() - began
        failed = [result.reason for result in results if result.status]
        if failed:
            raise SystemExit(f"benchmark: a run failed: {failed[0]}")
        return took, sum(result.evaluations for result in results), gpu.take_timings()

    tries = [take()]
    while len(tries) < 3 and tries[0][0] < seconds:
        tries.append(take())
    took, evaluations, parts = min(tries, key=lambda one: one[0])
    steps = sizes.steps
    entries = sum(int(mask.sum()) for mask in start.masks.values())
    operations = 2 * entries * (3 * evaluations - 2 * 2 * runs * steps * PAIRS)
    row = {
        "what": f"GPU, {density:.0%}",
        "runs": runs,
        "steps": steps,
        "seconds": took,
        "run_epochs_per_s": runs / took,
        "tflops": operations / parts["kernel"] / 1e12,
        "kernel": parts["kernel"],
        "host": parts["host"],
        "transfer": parts["transfer"],
        "of_fp32": operations / parts["kernel"] / ceiling["fp32"],
    }
    if density == 1.0:  # forward and reverse of every evaluation of four samples; idle lanes are not counted
        row["of_shared"] = 2 * evaluations / 4 * SHARED_CYCLES / parts["kernel"] / ceiling["cycles"]
    return row


def cpu_row(sizes: Sizes, density: float) -> dict[str, Any]:
    """This machine's CPU path, a thread to a core."""
    start, data = problem(sizes, density)
    cores, steps = len(os.sched_getaffinity(0)), sizes.steps // 4
    tasks = [epoch_task(copy.deepcopy(start), data, steps) for _ in range(cores)]
    train_many(tasks[:1])
    began = time.perf_counter()
    train_many(tasks, threads=cores)
    took = time.perf_counter() - began
    return {"what": f"CPU, {density:.0%}", "runs": cores, "steps": steps, "seconds": took,
            "run_epochs_per_s": cores * steps / sizes.steps / took}  # fmt: skip


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


def torchdiffeq_row(sizes: Sizes, runs: int, seconds: float) -> dict[str, Any]:
    """Steps of solve, back-propagation and Adam with torchdiffeq on this GPU."""
    from torchdiffeq import odeint

    start, (y0, y1, dt) = problem(sizes, 1.0)
    model = Batched(start.weights, runs, dt[:PAIRS]).to(sizes.device)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    first, target = (torch.from_numpy(array[:PAIRS]).to(sizes.device).expand(runs, -1, -1) for array in (y0, y1))
    times = torch.tensor([0.0, 1.0], device=sizes.device)
    wait = torch.cuda.synchronize if sizes.device == "cuda" else lambda: None

    def step() -> None:
        optimiser.zero_grad()
        end = odeint(model, first, times, rtol=SOLVER.rtol, atol=SOLVER.atol, method="dopri5")[-1]
        (end - target).square().mean(dim=(1, 2)).sum().backward()
        optimiser.step()

    step()
    wait()
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        step()
        wait()
        steps += 1
    took = time.perf_counter() - began
    return {"what": "torchdiffeq, GPU", "runs": runs, "steps": steps, "seconds": took,
            "run_epochs_per_s": runs * steps / sizes.steps / took}  # fmt: skip


def large_rows(gpu: Gpu, sizes: Sizes, density: float, ceiling: dict[str, float]) -> list[dict[str, Any]]:
    """Steps of 16 pairs of a genome-sized model on the device, the first of which warms it up, and one on the CPU."""
    genes, hidden = sizes.large
    weights, masks, y0, y1, dt = random_problem(genes, hidden, density, LARGE_PAIRS)
    start, what = TrainState.fresh(weights, masks), f"{genes:,} x {hidden}, {density:.0%}"
    team = dataclasses.replace(gpu, team=True)
    steps, rows = 4, []
    for device, count in (("GPU", 1), ("GPU", steps), ("CPU", 1)):
        task = epoch_task(copy.deepcopy(start), (y0, y1, dt), count, 1e-6, LARGE_PAIRS)
        team.take_timings()
        began = time.perf_counter()
        [result] = team.train_many([task]) if device == "GPU" else train_many([task])
        took = time.perf_counter() - began
        if result.status:
            raise SystemExit(f"benchmark: {what}, {device}: {result.reason}")
        row: dict[str, Any] = {
            "what": f"{device}, {what}", "runs": 1, "steps": count, "seconds": took, "seconds_per_step": took / count,
            "first_loss": float(result.loss[0]),
        }  # fmt: skip
        if device == "GPU":
            parts = team.take_timings()
            entries = sum(int(masks[name].sum()) for name in PRUNABLE)
            size = 4 if density == 1.0 else 6  # of an entry as the products read it
            moved = 2 * size * entries * result.evaluations / LARGE_PAIRS + count * entries * 4 * 8
            row |= parts | {"seconds_per_step": parts["kernel"] / count,
                            "of_memory": moved / parts["kernel"] / ceiling["memory"]}  # fmt: skip
        rows.append(row)
    rows[-1]["loss_difference"] = abs(rows[0]["first_loss"] / rows[-1]["first_loss"] - 1)
    return rows[1:]


def rows_of(gpu: Gpu, sizes: Sizes, seconds: float, say: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
    """All rows, correctness first; each is told as soon as it is there."""
    rows: list[dict[str, Any]] = []

    def add(row: dict[str, Any]) -> None:
        rows.append(row)
        say(row)

    for density in (1.0, 0.05):
        add(agreement(gpu, sizes, density, 10))
    ceiling = ceilings(sizes.device)
    add({"what": "ceilings", "tflops": ceiling["fp32"] / 1e12, "terabytes_per_s": ceiling["memory"] / 1e12})
    for density in (1.0, 0.05):
        for row in large_rows(gpu, sizes, density, ceiling):
            add(row)
    for density in DENSITIES:
        for runs in sizes.packs:
            add(pack_row(gpu, sizes, density, runs, seconds, ceiling))
        add(cpu_row(sizes, density))
    for runs in sizes.others:
        add(torchdiffeq_row(sizes, runs, seconds))
    return rows


COLUMNS = {
    "what": "", "runs": "", "steps": "", "seconds": ".3f", "kernel": ".3f", "host": ".3f", "transfer": ".3f",
    "run_epochs_per_s": ".1f", "seconds_per_step": ".4f", "tflops": ".2f", "of_fp32": ".1%", "of_shared": ".1%",
    "terabytes_per_s": ".2f", "of_memory": ".1%",
    "loss_difference": ".1e", "jaccard": ".4f",
}  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__, 1)
    options.add_argument("--seconds", type=float, default=2.0, help="about how long each row takes (default 2)")
    options.add_argument("--rehearse", action="store_true", help="without a GPU, to see that the script runs")
    chosen = options.parse_args()
    gpu = Gpu(importlib.import_module("dash_hpc._cuda_emulation")) if chosen.rehearse else open_gpu()
    print(gpu.facts())
    sizes = REHEARSAL if chosen.rehearse else FULL
    rows = rows_of(gpu, sizes, 0.0 if chosen.rehearse else chosen.seconds, lambda row: print(row, flush=True))
    if chosen.rehearse:
        for row in rows:  # times of the emulation say nothing
            row.update((name, None) for name in COLUMNS if name not in ("what", "runs", "loss_difference", "jaccard"))
    publish("gpu", rows, COLUMNS, chosen.out)
    if chosen.out:
        Path(chosen.out).with_suffix(".device.txt").write_text(f"{gpu.facts()}\n{gpu.kernels()}\n")
    wrong = [row for row in rows if row.get("loss_difference", 0) > 1e-4 or row.get("jaccard", 1) < 0.99]
    if wrong:
        raise SystemExit(f"gpu: GPU and CPU disagree: {wrong}")


if __name__ == "__main__":
    main()
