"""One training step of SIM350's size: the native operator against the authors' way and torchdiffeq.

350 genes, 40 hidden units, float32, dopri5 at the published tolerance (rtol 1e-7, atol 1e-9) for all; 4 pairs (one
trajectory) and 16. Losses are compared before time. "The authors' way" is a Python call of the adjoint method for each
pair, and the pass of 10,000 prior points that their loss multiplies by 0. Diffrax and torchode take part when they are
installed (the extra "peers").

    python benchmarks/train_step.py [--repeats 5] [--out benchmarks/results/train_step.json]
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from common import alternate, parser, publish, random_problem
from torchdiffeq import odeint, odeint_adjoint

from dash_hpc.models import Phoenix
from dash_hpc.ops import PRUNABLE, TENSORS, TrainState, train_epoch

GENES, HIDDEN = 350, 40
TOLERANCE = {"rtol": 1e-7, "atol": 1e-9}
NATIVE_STEPS = 20  # a native step is short: time several in one call
PRIOR_POINTS = 10_000


class Field(torch.nn.Module):
    """The model as torchdiffeq calls it."""

    def __init__(self, model: Phoenix, scale: torch.Tensor | float = 1.0) -> None:
        super().__init__()
        self.model, self.scale = model, scale

    def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.scale * self.model(y)


class Problem:
    """Weights, some pairs, and every contender's step on them."""

    def __init__(
        self,
        weights: dict[str, Any],
        masks: dict[str, np.ndarray] | None,
        y0: np.ndarray,
        y1: np.ndarray,
        dt: np.ndarray,
        steps: int = NATIVE_STEPS,
    ) -> None:
        self.weights, self.masks, self.y0, self.y1, self.dt, self.steps = weights, masks, y0, y1, dt, steps
        self.losses: dict[str, float] = {}

    def native(self) -> float:
        pairs, steps = len(self.dt), self.steps
        state = TrainState.fresh(self.weights, self.masks)
        pointer, index = np.arange(0, pairs * steps + 1, pairs), np.tile(np.arange(pairs), steps)
        began = time.perf_counter()
        result = train_epoch(
            state, self.y0, self.y1, self.dt, pointer, index, lr=dict.fromkeys(TENSORS, 1e-6), solver=TOLERANCE
        )
        self.losses["native"] = float(result.loss[0])
        return (time.perf_counter() - began) / steps

    def torch_step(
        self, name: str, predict: Callable[[Phoenix, torch.Tensor], torch.Tensor], prior: bool = False
    ) -> float:
        model = Phoenix(self.weights)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-6)
        y0, y1 = torch.from_numpy(self.y0), torch.from_numpy(self.y1)
        if prior:
            _ = self.points  # drawn once, before the clock starts
        began = time.perf_counter()
        optimiser.zero_grad()
        loss = (predict(model, y0) - y1).square().mean()
        if prior:
            loss = loss + 0.0 * model(self.points).square().mean()
        loss.backward()
        for tensor in PRUNABLE:
            getattr(model, tensor).grad.mul_(torch.from_numpy(self.masks[tensor]))
        optimiser.step()
        seconds = time.perf_counter() - began
        self.losses[name] = loss.item()
        return seconds

    @cached_property
    def points(self) -> torch.Tensor:
        return torch.rand(PRIOR_POINTS, self.y0.shape[1]) - 0.5

    def authors(self) -> float:
        def predict(model: Phoenix, y0: torch.Tensor) -> torch.Tensor:
            field = Field(model)
            times = [torch.tensor([0.0, dt]) for dt in self.dt]
            return torch.stack([odeint_adjoint(field, y, t, **TOLERANCE)[-1] for y, t in zip(y0, times, strict=True)])

        return self.torch_step("authors", predict, prior=True)

    def loop(self) -> float:
        def predict(model: Phoenix, y0: torch.Tensor) -> torch.Tensor:
            field = Field(model)
            times = [torch.tensor([0.0, dt]) for dt in self.dt]
            return torch.stack([odeint(field, y, t, **TOLERANCE)[-1] for y, t in zip(y0, times, strict=True)])

        return self.torch_step("loop", predict)

    def batched(self) -> float:
        scale = torch.from_numpy(self.dt.astype(np.float32))[:, None]

        def predict(model: Phoenix, y0: torch.Tensor) -> torch.Tensor:
            return odeint(Field(model, scale), y0, torch.tensor([0.0, 1.0]), **TOLERANCE)[-1]

        return self.torch_step("batched", predict)


def torchode_step(problem: Problem) -> Callable[[], float] | None:
    """A step of torchode (adaptive per pair as ours, autograd through the steps), if it is installed."""
    try:
        import torchode
    except ImportError:
        return None

    def predict(model: Phoenix, y0: torch.Tensor) -> torch.Tensor:
        term = torchode.ODETerm(lambda t, y: model(y))
        controller = torchode.IntegralController(**TOLERANCE, term=term)
        solver = torchode.AutoDiffAdjoint(torchode.Dopri5(term=term), controller)
        ends = torch.from_numpy(problem.dt.astype(np.float32))
        interval = torchode.InitialValueProblem(y0=y0, t_start=torch.zeros(len(ends)), t_end=ends)
        return solver.solve(interval).ys[:, -1]

    return lambda: problem.torch_step("torchode", predict)


def diffrax_step(problem: Problem) -> Callable[[], float] | None:
    """A jitted, vmapped step of Diffrax (adaptive per pair, direct adjoint through the steps), if it is installed."""
    try:
        import diffrax
        import jax
        import jax.numpy as jnp
    except ImportError:
        return None

    def rhs(t: Any, y: Any, w: dict[str, Any]) -> Any:
        u = y - 0.5
        sums = u / (1 + jnp.abs(u))
        prods = jnp.log1p(sums)
        first = w["W_sums"] @ sums + w["b_sums"]
        second = jnp.exp(w["W_prods"] @ prods + w["b_prods"])
        return jax.nn.relu(w["v"]) * (w["U_sums"] @ first + w["U_prods"] @ second - y)

    def end(w: dict[str, Any], y: Any, dt: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(rhs), diffrax.Dopri5(), 0.0, dt, None, y, args=w,
            stepsize_controller=diffrax.PIDController(**TOLERANCE), saveat=diffrax.SaveAt(t1=True), max_steps=256,
        ).ys[-1]  # fmt: skip

    def loss(w: dict[str, Any], y0: Any, y1: Any, dt: Any) -> Any:
        return jnp.mean((jax.vmap(end, (None, 0, 0))(w, y0, dt) - y1) ** 2)

    def adam(w: Any, m1: Any, m2: Any, y0: Any, y1: Any, dt: Any, masks: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(w, y0, y1, dt)
        grads = {k: g * masks[k] if k in masks else g for k, g in grads.items()}
        m1 = {k: 0.9 * m1[k] + 0.1 * g for k, g in grads.items()}
        m2 = {k: 0.999 * m2[k] + 0.001 * g * g for k, g in grads.items()}
        w = {k: w[k] - 1e-6 * m1[k] / (jnp.sqrt(m2[k]) + 1e-8) for k in w}
        return value, w, m1, m2

    step = jax.jit(adam)
    weights = {k: jnp.asarray(problem.weights[k]) for k in TENSORS}
    zeros = {k: jnp.zeros_like(v) for k, v in weights.items()}
    data = [jnp.asarray(a) for a in (problem.y0, problem.y1, problem.dt.astype(np.float32))]
    masks = {k: jnp.asarray(v) for k, v in problem.masks.items()}

    def timed() -> float:
        began = time.perf_counter()
        value, *_ = jax.block_until_ready(step(weights, zeros, zeros, *data, masks))
        seconds = time.perf_counter() - began
        problem.losses["diffrax"] = float(value)
        return seconds

    return timed


def main() -> None:
    options = parser(__doc__, repeats=5).parse_args()
    torch.set_num_threads(1)
    rows = []
    for pairs in (4, 16):
        for density in (1.0, 0.14, 0.05):
            problem = Problem(*random_problem(GENES, HIDDEN, density, pairs))
            contenders: dict[str, Callable[[], float]] = {
                "native": problem.native,
                "authors": problem.authors,
                "loop": problem.loop,
                "batched": problem.batched,
            }
            if pairs == 16:  # the loops cost four times those of 4 pairs and show nothing new
                del contenders["authors"], contenders["loop"]
            for name, made in (("torchode", torchode_step(problem)), ("diffrax", diffrax_step(problem))):
                if made is not None:
                    contenders[name] = made
            for step in contenders.values():
                step()  # warm-up, and the loss
            for name, loss in problem.losses.items():
                if not abs(loss - problem.losses["native"]) < 2e-6:
                    raise SystemExit(f"losses differ: native {problem.losses['native']}, {name} {loss}")
            times = alternate(contenders, options.repeats)
            base = float(np.median(times["native"]))
            rows += [
                {
                    "pairs": pairs,
                    "active": density,
                    "contender": name,
                    "min_ms": 1e3 * min(values),
                    "median_ms": 1e3 * float(np.median(values)),
                    "over_native": float(np.median(values)) / base,
                }
                for name, values in times.items()
            ]
    columns = {
        "pairs": "d",
        "active": ".0%",
        "contender": "s",
        "min_ms": ".2f",
        "median_ms": ".2f",
        "over_native": ".1f",
    }
    publish("train_step", rows, columns, options.out, options.repeats)


if __name__ == "__main__":
    main()
