"""The work of models without native operators, as tasks: an epoch, and a solution."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dash_hpc.ops.solver import SolverOptions
from dash_hpc.ops.state import EpochResult, Solution, Tensors, values
from dash_hpc.ops.torch_gradients import DIVERGED, Undone, differentiate
from dash_hpc.ops.train import EpochTask

if TYPE_CHECKING:
    from torch import Tensor

    from dash_hpc.ops.odeint import Dynamics

__all__ = ["TorchEpochTask", "TorchSolveTask"]


@dataclass(frozen=True)
class TorchSolveTask:
    """Solve intervals ``dt`` (B,) from states ``y0`` (B, G) of a model that ``dynamics`` describes."""

    dynamics: Dynamics
    weights: Tensors
    y0: np.ndarray
    dt: np.ndarray
    solver: Mapping[str, Any] | SolverOptions

    def run(self) -> Solution:
        """Return the solution, as :func:`dash_hpc.ops.solve_arrays` does for PHOENIX."""
        from dash_hpc.ops.odeint import solve_dense

        return solve_dense(self.dynamics, self.weights, self.y0, self.dt, self.solver)


@dataclass(frozen=True)
class TorchEpochTask:
    """One epoch in PyTorch: what :func:`dash_hpc.ops.train_epoch` does, for any differentiable loss.

    Attributes
    ----------
    epoch : EpochTask
        What is to be done.
    loss : callable
        Takes tensors, start and end states, intervals and solver of a batch; returns its data loss.
    """

    epoch: EpochTask
    loss: Callable[..., Tensor]

    def run(self) -> EpochResult:
        """Train in place: Adam on the state's arrays and moments, gradients masked.

        ``evaluations`` of the result is 0: they are not counted here. Compressed matrices are spread out for the epoch
        and taken back.
        """
        import torch

        from dash_hpc.ops.dense import dense_like, dense_tensors, take_back

        task, state = self.epoch, self.epoch.state
        state.check()
        weights = dense_tensors(state.weights)
        moments = [dense_like(state.weights, moment) for moment in (state.moment1, state.moment2)]
        masks = dense_like(state.weights, state.masks)
        trained = {name: tensor.requires_grad_() for name, tensor in weights.items() if task.lr[name] > 0}
        params = {**weights, **trained}
        adam = _adam(trained, moments, state.step, task)
        starts, ends, intervals = (torch.from_numpy(np.ascontiguousarray(part)) for part in (task.y0, task.y1, task.dt))
        losses = np.full(len(task.batch_ptr) - 1, np.nan)
        status, reason = 0, None
        for k in range(len(losses)):
            chosen = torch.from_numpy(task.batch_index[task.batch_ptr[k] : task.batch_ptr[k + 1]])
            batch = (starts[chosen], ends[chosen], intervals[chosen])
            try:
                data, total, gradients = differentiate(self.loss, params, batch, task.solver, task.tau, task.prior)
            except Undone as error:
                status, reason = error.status, error.reason
                break
            pulled = {name: part * masks[name] if name in masks else part for name, part in gradients.items()}
            if not all(bool(torch.isfinite(part).all()) for part in (total, *pulled.values())):
                status, reason = DIVERGED, "the loss or its gradient became infinite or NaN (lower training.lr)"
                break
            losses[k] = float(data.detach())
            for name, tensor in trained.items():
                tensor.grad = pulled[name]
            adam.step()
            state.step += 1
        plain = {name: tensor.detach() for name, tensor in params.items()}
        take_back(state.weights, plain, {name: values(tensor) for name, tensor in state.weights.items()})
        for dense, own in zip(moments, (state.moment1, state.moment2), strict=True):
            take_back(state.weights, dense, own)
        return EpochResult(losses, 0, status, reason)


def _adam(trained: Mapping[str, Tensor], moments: list[dict[str, Tensor]], step: int, task: EpochTask) -> Any:
    """Adam whose moments share memory with the state, so that it updates them where they are."""
    import torch

    groups = [{"params": [tensor], "lr": task.lr[name]} for name, tensor in trained.items()]
    adam = torch.optim.Adam(groups, betas=(task.betas[0], task.betas[1]), eps=task.eps, foreach=False)
    for name, tensor in trained.items():
        adam.state[tensor] = {
            "step": torch.tensor(float(step)),
            "exp_avg": moments[0][name],
            "exp_avg_sq": moments[1][name],
        }
    return adam
