"""One epoch in PyTorch, for what the native epoch cannot do: forward and loss hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from dash_hpc.errors import SolveError
from dash_hpc.models.registry import family_of
from dash_hpc.ops.state import EpochResult, TrainState
from dash_hpc.ops.train import EpochJob
from dash_hpc.pruning.base import Strategy

__all__ = ["AutogradEpoch"]

_DIVERGED = 3


class AutogradEpoch:
    """Does what :func:`dash_hpc.ops.train_epoch` does, with the hooks of a strategy.

    The loss of a batch is τ·MSE + (1 − τ)·prior loss + the strategy's penalty. The tensors are stepped by
    PyTorch's Adam on the arrays and moments of the training state; tensors of the strategy's own are stepped with
    the base rate by a second Adam that lives as long as this object.

    Parameters
    ----------
    strategy : Strategy
    """

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self._own: torch.optim.Adam | None = None

    def __call__(self, job: EpochJob) -> EpochResult:
        """Train one epoch in place; what the job and the result are: :class:`dash_hpc.ops.EpochJob`.

        ``loss`` holds the data MSE alone, and ``evaluations`` is 0: they are not counted here.
        """
        state, batch_ptr, batch_index = job.state, job.batch_ptr, job.batch_index
        family = family_of(state.weights)
        params = {name: torch.from_numpy(state.weights[name]).requires_grad_() for name in state.weights}
        masks = {name: torch.from_numpy(mask) for name, mask in state.masks.items()}
        adam = self._adam(state, params, job.lr, job.betas, job.eps)
        own = self._own_adam(family.base_rate(job.lr), job.betas, job.eps)
        starts, ends, intervals = (torch.from_numpy(array) for array in (job.y0, job.y1, job.dt))

        losses = np.full(len(batch_ptr) - 1, np.nan)
        status, reason = 0, None
        for k in range(len(losses)):
            chosen = torch.from_numpy(batch_index[batch_ptr[k] : batch_ptr[k + 1]])
            effective = self.strategy.effective(params)
            try:
                data = family.loss(effective, starts[chosen], ends[chosen], intervals[chosen], job.solver)
            except SolveError as error:
                status, reason = _DIVERGED, str(error)
                break
            total = data
            if job.prior is not None and job.tau < 1.0:
                total = job.tau * data + (1.0 - job.tau) * job.prior(effective)
            penalty = self.strategy.penalty(params)
            if penalty is not None:
                total = total + penalty
            adam.zero_grad()
            if own is not None:
                own.zero_grad()
            total.backward()
            for name, tensor in params.items():
                if tensor.grad is None:
                    tensor.grad = torch.zeros_like(tensor)
                if name in masks:
                    tensor.grad.mul_(masks[name])
            if not bool(torch.isfinite(total)) or not all(
                bool(torch.isfinite(tensor.grad).all()) for tensor in params.values() if tensor.grad is not None
            ):
                status, reason = _DIVERGED, "the loss or its gradient became infinite or NaN (lower training.lr)"
                break
            losses[k] = float(data.detach())
            adam.step()
            if own is not None:
                own.step()
            state.step += 1
        return EpochResult(losses, 0, status, reason)

    def own_state(self) -> dict[str, np.ndarray]:
        """Return values, steps and moments of the strategy's own tensors, in their order; empty before any step."""
        arrays: dict[str, np.ndarray] = {}
        if self._own is None:
            return arrays
        for k, tensor in enumerate(self.strategy.parameters()):
            arrays[f"{k}/value"] = tensor.detach().numpy().copy()
            for key, value in self._own.state.get(tensor, {}).items():
                arrays[f"{k}/{key}"] = value.detach().numpy().copy()
        return arrays

    def load_own_state(self, arrays: Mapping[str, np.ndarray], betas: Sequence[float], eps: float) -> None:
        """Take over what :meth:`own_state` returned; the strategy must have as many tensors of the same shapes."""
        tensors = self.strategy.parameters()
        if not arrays or not tensors:
            return
        self._own = torch.optim.Adam(tensors, betas=(betas[0], betas[1]), eps=eps)
        for k, tensor in enumerate(tensors):
            with torch.no_grad():
                tensor.copy_(torch.from_numpy(arrays[f"{k}/value"]))
            state = {
                key: torch.from_numpy(np.array(arrays[f"{k}/{key}"]))
                for key in ("step", "exp_avg", "exp_avg_sq")
                if f"{k}/{key}" in arrays
            }
            if state:
                self._own.state[tensor] = state

    @staticmethod
    def _adam(
        state: TrainState,
        params: Mapping[str, torch.Tensor],
        lr: Mapping[str, float],
        betas: Sequence[float],
        eps: float,
    ) -> torch.optim.Adam:
        groups = [{"params": [params[name]], "lr": lr[name]} for name in params]
        adam = torch.optim.Adam(groups, betas=(betas[0], betas[1]), eps=eps, foreach=False)
        for name in params:  # the moments share memory with the state, so Adam updates them where they are
            adam.state[params[name]] = {
                "step": torch.tensor(float(state.step)),
                "exp_avg": torch.from_numpy(state.moment1[name]),
                "exp_avg_sq": torch.from_numpy(state.moment2[name]),
            }
        return adam

    def _own_adam(self, base_rate: float, betas: Sequence[float], eps: float) -> torch.optim.Adam | None:
        if self._own is None:
            tensors = self.strategy.parameters()
            if not tensors:
                return None
            self._own = torch.optim.Adam(tensors, betas=(betas[0], betas[1]), eps=eps)
        for group in self._own.param_groups:
            group["lr"] = base_rate
        return self._own
