"""Models without native operators: PyTorch for the dynamics, torchdiffeq for their solution.

The gradient of an adaptive solution comes from torchdiffeq's adjoint equation, solved backwards with its own error
control: it is as good as the state, also where the steps of the way there were too long for a gradient through them
(docs/numerics.md). A fixed-step solution is differentiated step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchdiffeq import odeint, odeint_adjoint

from dash_hpc.errors import SolveError
from dash_hpc.ops.dense import dense_tensors
from dash_hpc.ops.mse import masked_mean_square
from dash_hpc.ops.solver import SolverOptions
from dash_hpc.ops.state import STATUS_REASONS, Solution, Tensors

__all__ = ["Dynamics", "batch_loss", "solve_dense", "status_of"]

#: Rate of change (B, G) of states (B, G) under a model's tensors, per unit of time.
Dynamics = Callable[[Mapping[str, Tensor], Tensor], Tensor]

#: What torchdiffeq says when it gives up, and the status of our own solver that means the same.
_ENDINGS = (("max_num_steps", 1), ("underflow", 2), ("non-finite", 3))
_NOT_FINITE = 3


def batch_loss(
    dynamics: Dynamics,
    params: Mapping[str, Tensor],
    y0: Tensor,
    y1: Tensor,
    dt: Tensor,
    solver: Mapping[str, Any] | SolverOptions,
) -> Tensor:
    """Mean squared error of one-step predictions, differentiable in ``params``.

    Parameters and errors as for :func:`dash_hpc.ops.batch_loss`, for any dynamics.
    """
    options = SolverOptions.of(solver)
    run = _Run(dynamics, params, dt)
    status = 0
    try:
        predicted = run.solve(y0, options)
        status = 0 if bool(torch.isfinite(predicted).all()) else _NOT_FINITE
    except _GaveUp as reason:
        status = reason.status
    if status:
        found = _each_alone(dynamics, params, y0, dt, options, status)
        worst = int(np.flatnonzero(found)[0])
        raise SolveError(f"pair {worst} of the batch was not solved: {STATUS_REASONS[int(found[worst])]}")
    return masked_mean_square(predicted, y1)


def solve_dense(
    dynamics: Dynamics,
    weights: Tensors,
    y0: np.ndarray,
    dt: np.ndarray,
    solver: Mapping[str, Any] | SolverOptions,
) -> Solution:
    """Integrate ``dynamics`` from ``y0`` (B, G) over ``dt`` (B,); compressed matrices are spread out.

    All samples take the same steps, as shares of their intervals: as many as the one needs that needs most. The error
    of every single sample meets the tolerance (RMS over genes).

    Returns
    -------
    Solution
        As from :func:`dash_hpc.ops.solve_arrays`: a sample that fails has a status other than 0.
    """
    options = SolverOptions.of(solver)
    params = dense_tensors(weights)
    dtype = next(iter(weights.values())).dtype
    start = torch.from_numpy(np.array(y0, dtype=dtype, order="C"))
    intervals = torch.from_numpy(np.array(dt, dtype=np.float64))
    run = _Run(dynamics, params, intervals)
    status = np.zeros(len(y0), dtype=np.int64)
    with torch.no_grad():
        try:
            y1 = run.solve(start, options)
            status[~torch.isfinite(y1).all(dim=1).numpy()] = _NOT_FINITE
        except _GaveUp as reason:
            y1 = start.clone()
            status[:] = _each_alone(dynamics, params, start, intervals, options, reason.status, y1)
    count = np.ones(len(y0), dtype=np.int64)
    sizes = np.outer(np.asarray(dt, dtype=np.float64), np.array(run.accepted, dtype=np.float64))
    return Solution(y1.numpy(), status, len(run.accepted) * count, run.rejected * count, run.evaluations * count, sizes)


def status_of(error: AssertionError) -> int | None:
    """Return the solver's status that torchdiffeq means when it gives up; None when the error is not of that kind."""
    return next((status for words, status in _ENDINGS if words in str(error)), None)


class _GaveUp(Exception):
    """torchdiffeq ended before the interval did."""

    def __init__(self, status: int) -> None:
        super().__init__(STATUS_REASONS[status])
        self.status = status


class _Run:
    """One solution of a batch, in shares of each sample's interval: s from 0 to 1, dg/ds = dt·f(g)."""

    def __init__(self, dynamics: Dynamics, params: Mapping[str, Tensor], dt: Tensor) -> None:
        self._dynamics, self._params, self._dt = dynamics, params, dt
        self.evaluations = self.rejected = 0
        self.accepted: list[float] = []

    def __call__(self, s: Tensor, y: Tensor) -> Tensor:
        self.evaluations += 1
        return self._dt.to(y.dtype)[:, None] * self._dynamics(self._params, y)

    def callback_accept_step(self, s: Tensor, y: Tensor, size: Tensor) -> None:
        self.accepted.append(float(size))

    def callback_reject_step(self, s: Tensor, y: Tensor, size: Tensor) -> None:
        self.rejected += 1

    def solve(self, y0: Tensor, options: SolverOptions) -> Tensor:
        ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
        if options.method == "rk4":
            longest = float(self._dt.max()) if len(self._dt) else 0.0
            count = max(1, int(np.ceil(longest / options.step - 1e-9)))
            if count > options.max_steps:
                raise _GaveUp(1)
            self.accepted = [1.0 / count] * count
            grid = torch.linspace(0.0, 1.0, count + 1, dtype=torch.float64)
            # Without callbacks, which this method does not know.
            found: Tensor = odeint(
                self.__call__, y0, ends, method="rk4", options={"grid_constructor": lambda f, y, t: grid}
            )[1]
            return found
        trained = tuple(value for value in self._params.values() if value.requires_grad)
        ways: dict[str, Any] = {
            "rtol": options.rtol,
            "atol": options.atol,
            "method": "dopri5",
            "options": {"norm": _worst_sample, "max_num_steps": options.max_steps, "step_t": ends[1:]},
        }
        try:
            if trained and torch.is_grad_enabled():
                back = {"max_num_steps": options.max_steps}
                found = odeint_adjoint(self, y0, ends, **ways, adjoint_params=trained, adjoint_options=back)[1]
            else:
                found = odeint(self, y0, ends, **ways)[1]
        except AssertionError as error:
            if (status := status_of(error)) is None:
                raise
            raise _GaveUp(status) from error
        return found


def _worst_sample(values: Tensor) -> Tensor:
    """The largest RMS over genes of any sample."""
    return values.square().mean(dim=-1).sqrt().max()


def _each_alone(
    dynamics: Dynamics,
    params: Mapping[str, Tensor],
    y0: Tensor,
    dt: Tensor,
    options: SolverOptions,
    together: int,
    y1: Tensor | None = None,
) -> np.ndarray:
    """Status of every sample (B,) when it is solved alone, and its end state in ``y1`` where there is one.

    Where each alone is solved, the status that they had ``together``.
    """
    status = np.zeros(len(y0), dtype=np.int64)
    with torch.no_grad():
        for k in range(len(y0)):
            try:
                found = _Run(dynamics, params, dt[k : k + 1]).solve(y0[k : k + 1], options)
            except _GaveUp as reason:
                status[k] = reason.status
                continue
            status[k] = 0 if bool(torch.isfinite(found).all()) else _NOT_FINITE
            if y1 is not None:
                y1[k] = found[0]
    return status if status.any() or y1 is not None else np.full(len(y0), together)
