"""An epoch with gates against the native one: SIM350 with 40 hidden units, one thread.

A sigmoid gate per weight of the four matrices, with the L1 norm of the gates as a penalty, pulled back by PyTorch's
autograd and by hand (`Strategy.pull_back`), whose two epochs are compared. It stands far open, so that
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
from dash_hpc.ops import PRUNABLE, TENSORS, EpochResult, EpochTask, train_epoch
from dash_hpc.pruning import Step, Strategy
from dash_hpc.training import Trainer, epoch_batches
from dash_hpc.training.autograd_epoch import AutogradEpoch

BAR = 1.5  # gated epoch over native one
OPEN = 8.0  # a gate of 0.9997


class Gated(Strategy):
    """A gate per weight and a penalty on it."""

    def __init__(self, strength: float, shapes: dict[str, tuple[int, ...]]) -> None:
        self.seed = 0
        self.strength = strength
        self.gates = {
            name: torch.full(shape, OPEN, dtype=torch.float32, requires_grad=True) for name, shape in shapes.items()
        }

    def parameters(self) -> list[tuple[Tensor, float | None]]:
        return [(gate, None) for gate in self.gates.values()]

    def effective(self, params: dict[str, Tensor], step: Step) -> dict[str, Tensor]:
        self._open = {name: torch.sigmoid(gate) for name, gate in self.gates.items()}
        self._effective = {name: params[name] * gate for name, gate in self._open.items()}
        return params | self._effective

    def penalty(self, params: dict[str, Tensor], step: Step) -> Tensor:
        return self.strength * sum((gate.sum() for gate in self._open.values()), torch.zeros(()))


class WrittenOut(Gated):
    """The same with its derivative by hand."""

    def pull_back(
        self, params: dict[str, Tensor], gradients: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        own = []
        for name, gate in self._open.items():  # in place: of the gate (g w + strength) s (1 - s), of the weight g s
            of_gate = self._effective[name].mul_(gradients[name]).add_(gate, alpha=self.strength)
            own.append(of_gate.addcmul_(of_gate, gate, value=-1))
            gradients[name].mul_(gate)
        return gradients, own


class Bare(Strategy):
    """No hooks."""

    seed = 0

    def __init__(self) -> None:
        pass


def main() -> None:
    arguments = parser(__doc__, repeats=9).parse_args()
    spec = sim350_spec(0)
    dataset = build(spec["data"], seed=0, base=Path())
    trainer = Trainer(dataset, spec)
    found = trainer.train_examples
    pointer, index = epoch_batches(found.trajectory, "trajectory", 0, np.random.default_rng(0))
    rates = dict.fromkeys(TENSORS, 1e-3)
    shapes = {name: trainer.state.weights[name].shape for name in PRUNABLE}

    def task() -> EpochTask:
        return EpochTask(
            copy.deepcopy(trainer.state), found.y0, found.y1, found.dt, pointer, index, rates, solver=trainer.solver
        )

    def native(work: EpochTask) -> EpochResult:
        fields = {name: getattr(work, name) for name in work.__dataclass_fields__}
        return train_epoch(**fields)

    native(EpochTask(trainer.state, found.y0, found.y1, found.dt, pointer, index, rates, solver=trainer.solver))
    one, two = task(), task()
    results = native(one), AutogradEpoch(Bare())(two)
    same = all(one.state.weights[name].tobytes() == two.state.weights[name].tobytes() for name in TENSORS)
    if not same or results[0].loss.tobytes() != results[1].loss.tobytes():
        raise SystemExit("the epoch batch by batch has not the bits of the native one")
    trained = []
    for kind in (Gated, WrittenOut):
        work = task()
        AutogradEpoch(kind(1e-4, shapes))(work)
        trained.append(work.state.weights)
    if any(np.abs(trained[0][name] - trained[1][name]).max() > 1e-3 for name in TENSORS):
        raise SystemExit("the gates pulled back by hand do not learn what autograd teaches them")
    evaluations: dict[str, int] = {}

    def timed(name: str, run: Callable[[EpochTask], EpochResult]) -> Callable[[], float]:
        def once() -> float:
            work = task()
            began = time.perf_counter()
            evaluations[name] = run(work).evaluations
            return time.perf_counter() - began

        return once

    times = alternate(
        {
            "native": timed("native", native),
            "batch by batch, no hooks": timed("batch by batch, no hooks", lambda work: AutogradEpoch(Bare())(work)),
            "gated, written out": timed(
                "gated, written out", lambda work: AutogradEpoch(WrittenOut(1e-4, shapes))(work)
            ),
            "gated, by autograd": timed("gated, by autograd", lambda work: AutogradEpoch(Gated(1e-4, shapes))(work)),
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
    if ratio["gated, written out"] > BAR:
        raise SystemExit(f"a gated epoch takes {ratio['gated, written out']:.2f} times a native one; the bar is {BAR}")


if __name__ == "__main__":
    main()
