"""An epoch with gates against the native one: SIM350 with 40 hidden units, one thread.

A sigmoid gate per weight of the four matrices, with the L1 norm of the gates as a penalty. It stands far open, so that
both models have the same dynamics and the solver takes the same steps. Before anything is timed, an epoch by batches
without hooks is compared with the native one, bit for bit.

    DASH_HPC_DATA=… python benchmarks/gated_epoch.py [--repeats 9] [--out benchmarks/results/gated_epoch.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import alternate, parser, publish, sim350_spec
from torch import Tensor

from dash_hpc.data import build
from dash_hpc.ops import PRUNABLE, TENSORS, EpochJob, EpochResult, train_epoch
from dash_hpc.pruning import Strategy
from dash_hpc.training import Trainer, epoch_batches
from dash_hpc.training.autograd_epoch import AutogradEpoch

BAR = 1.5  # gated epoch over native one
OPEN = 8.0  # a gate of 0.9997


class Gated(Strategy):
    """A gate per weight and a penalty on it."""

    def __init__(self, strength: float, weights: dict[str, np.ndarray]) -> None:
        self.strength = strength
        self.gates = {
            name: torch.full(weights[name].shape, OPEN, dtype=torch.float32, requires_grad=True) for name in PRUNABLE
        }

    def parameters(self) -> list[Tensor]:
        return list(self.gates.values())

    def effective(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        self._open = {name: torch.sigmoid(gate) for name, gate in self.gates.items()}
        return params | {name: params[name] * gate for name, gate in self._open.items()}

    def penalty(self, params: dict[str, Tensor]) -> Tensor:
        return self.strength * sum((gate.sum() for gate in self._open.values()), torch.zeros(()))


class Bare(Strategy):
    """No hooks."""

    def __init__(self) -> None:
        pass


def main() -> None:
    arguments = parser(__doc__, repeats=9).parse_args()
    spec = sim350_spec(0)
    dataset = build(spec["data"], seed=0, base=Path())
    trainer = Trainer(dataset, spec)
    pointer, index = epoch_batches(trainer.train_pairs.trajectory, "trajectory", 0, np.random.default_rng(0))
    rates = dict.fromkeys(TENSORS, 1e-3)

    def job() -> EpochJob:
        return EpochJob(
            copy.deepcopy(trainer.state), *trainer.train_arrays, pointer, index, rates, solver=trainer.solver
        )

    def native(work: EpochJob) -> EpochResult:
        fields = {name: getattr(work, name) for name in work.__dataclass_fields__}
        return train_epoch(**fields)

    native(EpochJob(trainer.state, *trainer.train_arrays, pointer, index, rates, solver=trainer.solver))
    one, two = job(), job()
    results = native(one), AutogradEpoch(Bare())(two)
    same = all(one.state.weights[name].tobytes() == two.state.weights[name].tobytes() for name in TENSORS)
    if not same or results[0].loss.tobytes() != results[1].loss.tobytes():
        raise SystemExit("the epoch batch by batch has not the bits of the native one")
    evaluations: dict[str, int] = {}

    def timed(name: str, run: Callable[[EpochJob], EpochResult]) -> Callable[[], float]:
        def once() -> float:
            work = job()
            began = time.perf_counter()
            evaluations[name] = run(work).evaluations
            return time.perf_counter() - began

        return once

    times = alternate(
        {
            "native": timed("native", native),
            "batch by batch": timed("batch by batch", lambda work: AutogradEpoch(Bare())(work)),
            "gated": timed("gated", lambda work: AutogradEpoch(Gated(1e-4, trainer.state.weights))(work)),
        },
        arguments.repeats,
    )
    ratio = {name: float(np.median(np.divide(seconds, times["native"]))) for name, seconds in times.items()}
    rows: list[dict[str, Any]] = [
        {
            "epoch": name, "ms": 1e3 * float(np.median(seconds)), "spread_ms": 1e3 * float(np.ptp(seconds)),
            "ratio": ratio[name], "evaluations": evaluations[name], "batches": len(pointer) - 1,
        }
        for name, seconds in times.items()
    ]  # fmt: skip
    columns = {"epoch": "", "ms": ".1f", "spread_ms": ".1f", "ratio": ".2f", "evaluations": "d", "batches": "d"}
    publish("gated_epoch", rows, columns, arguments.out, arguments.repeats)
    if ratio["gated"] > BAR:
        raise SystemExit(f"a gated epoch takes {ratio['gated']:.2f} times a native one; the bar is {BAR}")


if __name__ == "__main__":
    main()
