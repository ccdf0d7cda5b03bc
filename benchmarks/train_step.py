"""One training step of SIM350's size: the native operator against the authors' way and batched torchdiffeq.

A step is one trajectory of 4 pairs (dt = 2, 1, 4, 2), 350 genes, 40 hidden units, float32, dopri5 at the published
tolerance (rtol 1e-7, atol 1e-9) for all. Correctness is checked before time. The contenders alternate, so that load on
the machine hits all of them; read the ratios, not the milliseconds.

    python benchmarks/train_step.py [--repeats 7] [--out benchmarks/results/train_step.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torchdiffeq import odeint, odeint_adjoint

from dash_hpc import __version__
from dash_hpc.models import Phoenix, initial_weights
from dash_hpc.ops import PRUNABLE, TENSORS, TrainState, native_info, train_epoch
from dash_hpc.rng import stream

GENES, HIDDEN, DT = 350, 40, np.array([2.0, 1.0, 4.0, 2.0])
TOLERANCE = {"rtol": 1e-7, "atol": 1e-9}
NATIVE_STEPS = 20  # a native step is short: time several in one call


class Problem:
    """Weights at one density, four pairs, and every contender's step on them."""

    def __init__(self, density: float) -> None:
        rng = stream(0, "benchmark", int(100 * density))
        self.weights = initial_weights(GENES, HIDDEN, rng)
        for name in PRUNABLE:  # weights as after some training: none is 0 unless pruned
            self.weights[name] += rng.normal(0, 0.02, self.weights[name].shape).astype(np.float32)
        self.masks = {name: rng.random(self.weights[name].shape) < density for name in PRUNABLE}
        self.weights = TrainState.fresh(self.weights, self.masks).weights
        self.y0 = rng.random((4, GENES)).astype(np.float32)
        self.y1 = rng.random((4, GENES)).astype(np.float32)

    def model(self) -> Phoenix:
        return Phoenix(self.weights)

    def native(self, steps: int = NATIVE_STEPS) -> float:
        state = TrainState.fresh(self.weights, self.masks)
        pointer, index = np.arange(0, 4 * steps + 1, 4), np.tile(np.arange(4), steps)
        began = time.perf_counter()
        result = train_epoch(
            state, self.y0, self.y1, DT, pointer, index, lr=dict.fromkeys(TENSORS, 1e-6), solver=TOLERANCE
        )
        self.native_loss = float(result.loss[0])
        return (time.perf_counter() - began) / steps

    def _torch_step(self, predict: Callable[[Phoenix, torch.Tensor], torch.Tensor]) -> float:
        model = self.model()
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-6)
        y0, y1 = torch.from_numpy(self.y0), torch.from_numpy(self.y1)
        began = time.perf_counter()
        optimiser.zero_grad()
        loss = (predict(model, y0) - y1).square().mean()
        loss.backward()
        for name in PRUNABLE:
            getattr(model, name).grad.mul_(torch.from_numpy(self.masks[name]))
        optimiser.step()
        seconds = time.perf_counter() - began
        self.torch_loss = loss.item()
        return seconds

    def adjoint_loop(self) -> float:
        """The authors' way: a Python call of the adjoint method for each pair."""

        def predict(model: Phoenix, y0: torch.Tensor) -> torch.Tensor:
            class Field(torch.nn.Module):
                def __init__(self) -> None:
                    super().__init__()
                    self.model = model

                def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
                    return self.model(y)

            field = Field()
            ends = [odeint_adjoint(field, y0[b], torch.tensor([0.0, DT[b]]), **TOLERANCE)[-1] for b in range(4)]
            return torch.stack(ends)

        return self._torch_step(predict)

    def autograd_loop(self) -> float:
        """The same loop with plain back-propagation through the solver."""

        def predict(model: Phoenix, y0: torch.Tensor) -> torch.Tensor:
            ends = [odeint(lambda t, y: model(y), y0[b], torch.tensor([0.0, DT[b]]), **TOLERANCE)[-1] for b in range(4)]
            return torch.stack(ends)

        return self._torch_step(predict)

    def batched(self) -> float:
        """All pairs in one call, time rescaled to [0, 1]: one step size for all, another meaning, but the usual one."""
        scale = torch.from_numpy(DT.astype(np.float32))[:, None]

        def predict(model: Phoenix, y0: torch.Tensor) -> torch.Tensor:
            return odeint(lambda t, y: scale * model(y), y0, torch.tensor([0.0, 1.0]), **TOLERANCE)[-1]

        return self._torch_step(predict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for density in (1.0, 0.14, 0.05):
        problem = Problem(density)
        contenders = {
            "native train_epoch": problem.native,
            "torchdiffeq, adjoint, loop over pairs (the authors' way)": problem.adjoint_loop,
            "torchdiffeq, autograd, loop over pairs": problem.autograd_loop,
            "torchdiffeq, autograd, pairs in one batch": problem.batched,
        }
        for step in contenders.values():  # warm up, and check that all compute the same loss
            step()
            if abs(problem.native_loss - getattr(problem, "torch_loss", problem.native_loss)) > 2e-6:
                raise SystemExit(f"losses differ: native {problem.native_loss}, torchdiffeq {problem.torch_loss}")
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(options.repeats):
            for name, step in contenders.items():
                times[name].append(step())
        fastest = np.median(times["native train_epoch"])
        for name, values in times.items():
            rows.append(
                {
                    "active": density,
                    "contender": name,
                    "min_ms": 1e3 * min(values),
                    "median_ms": 1e3 * float(np.median(values)),
                    "median_over_native": float(np.median(values) / fastest),
                }
            )
    report = {
        "benchmark": "train_step",
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "dash_hpc": __version__,
        "torch": torch.__version__,
        "isa": native_info()["isa"],
        "rows": rows,
    }
    print(f"{report['processor']}, {report['isa']}, threads {report['threads']}, load {report['load_average']:.1f}")
    print(f"{'active':>7} {'min ms':>9} {'median ms':>10} {'ratio':>7}  contender")
    for row in rows:
        print(
            f"{row['active']:>7.0%} {row['min_ms']:>9.2f} {row['median_ms']:>10.2f} "
            f"{row['median_over_native']:>7.1f}  {row['contender']}"
        )
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=1) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
