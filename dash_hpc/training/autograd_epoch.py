"""One epoch batch by batch, for gates and penalties: these pull back through PyTorch, all else is native."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dash_hpc.models.registry import family_of
from dash_hpc.ops.adam import AdamTensor, adam_step
from dash_hpc.ops.gradients import BatchGradients
from dash_hpc.ops.state import EpochResult, Matrix, copy_tensor, values
from dash_hpc.ops.train import EpochJob
from dash_hpc.pruning.base import Strategy
from dash_hpc.training.work import run_course

__all__ = ["AutogradEpoch"]

_DIVERGED = 3


@dataclass
class _Own:
    """A tensor of the strategy's own and its Adam state, which share no memory."""

    tensor: torch.Tensor
    moment1: np.ndarray
    moment2: np.ndarray
    step: int = 0

    @classmethod
    def of(cls, tensor: torch.Tensor) -> _Own:
        value = tensor.detach().numpy()
        return cls(tensor, np.zeros_like(value), np.zeros_like(value))


class AutogradEpoch:
    """Does what an :class:`EpochJob` says, with the hooks of a strategy.

    The loss of a batch is τ·MSE + (1 − τ)·prior loss + the strategy's penalty. The family's work gives gradients for
    the effective weights; PyTorch takes them back through :meth:`Strategy.effective` and adds those of the penalty;
    Adam's step is the operator's again, with the base rate for tensors of the strategy's own, whose Adam state lives as
    long as this object. Without hooks an epoch has the bits of ``train_epoch``.

    Parameters
    ----------
    strategy : Strategy
    """

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self._own: list[_Own] | None = None

    def __call__(self, job: EpochJob) -> EpochResult:
        """Train one epoch in place, on the CPU."""
        return run_course(self.steps(job))

    def steps(self, job: EpochJob) -> Generator[Any, BatchGradients, EpochResult]:
        """Train one epoch in place: yields each batch, takes its gradients, and returns the result.

        What the job and the result are: :class:`dash_hpc.ops.EpochJob`; ``loss`` holds the data MSE alone.
        """
        state, pointer = job.state, job.batch_ptr
        family = family_of(state.weights)
        params = {name: torch.from_numpy(values(state.weights[name])).requires_grad_() for name in state.weights}
        if self._own is None:
            self._own = [_Own.of(tensor) for tensor in self.strategy.parameters()]
        losses = np.full(len(pointer) - 1, np.nan)
        widest, evaluations = int(np.diff(pointer).max()), 0
        for k in range(len(losses)):
            effective = self.strategy.effective(params)
            penalty = self.strategy.penalty(params)
            weights = {name: _like(state.weights[name], effective[name], param) for name, param in params.items()}
            chosen = job.batch_index[pointer[k] : pointer[k + 1]]
            found = yield family.gradient_job(weights, state.masks, job, chosen, widest)
            evaluations += found.evaluations
            if found.reason is not None:
                return EpochResult(losses, evaluations, found.status, found.reason)
            total = found.total + (0.0 if penalty is None else penalty.item())
            if not (np.isfinite(total) and self._step(job, params, effective, penalty, found.gradients)):
                reason = "the loss or its gradient became infinite or NaN (lower training.lr)"
                return EpochResult(losses, evaluations, _DIVERGED, reason)
            losses[k] = found.loss
        return EpochResult(losses, evaluations)

    def own_state(self) -> dict[str, np.ndarray]:
        """Return values, steps and moments of the strategy's own tensors, in their order; empty before any step."""
        arrays: dict[str, np.ndarray] = {}
        for k, own in enumerate(self._own or ()):
            arrays[f"{k}/value"] = own.tensor.detach().numpy().copy()
            arrays[f"{k}/moment1"], arrays[f"{k}/moment2"] = own.moment1.copy(), own.moment2.copy()
            arrays[f"{k}/step"] = np.array(own.step)
        return arrays

    def load_own_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`own_state` returned; the strategy must have as many tensors of the same shapes."""
        if not arrays:
            return
        self._own = [_Own.of(tensor) for tensor in self.strategy.parameters()]
        for k, own in enumerate(self._own):
            with torch.no_grad():
                own.tensor.copy_(torch.from_numpy(arrays[f"{k}/value"]))
            own.moment1[...], own.moment2[...] = arrays[f"{k}/moment1"], arrays[f"{k}/moment2"]
            own.step = int(arrays[f"{k}/step"])

    def _step(
        self,
        job: EpochJob,
        params: Mapping[str, torch.Tensor],
        effective: Mapping[str, torch.Tensor],
        penalty: torch.Tensor | None,
        gradients: dict[str, np.ndarray],
    ) -> bool:
        """Take Adam's step with the gradients for ``effective``; False, and nothing changed, when one is not finite."""
        state, owns = job.state, self._own or []
        base_rate = family_of(state.weights).base_rate(job.lr)
        inputs = [*params.values(), *(own.tensor for own in owns)]
        outputs = [(effective[n], torch.from_numpy(gradients[n])) for n in params if effective[n] is not params[n]]
        if penalty is not None:
            outputs.append((penalty, torch.ones_like(penalty)))
        outputs = [(output, gradient) for output, gradient in outputs if output.requires_grad]
        pulled: list[np.ndarray | None] = [None] * len(inputs)
        if outputs:
            parts = torch.autograd.grad(
                [output for output, _ in outputs], inputs, [gradient for _, gradient in outputs], allow_unused=True
            )
            pulled = [None if part is None else np.array(part.numpy(), order="C") for part in parts]
        tensors = []
        for name, found in zip(params, pulled, strict=False):
            gradient = gradients[name] if effective[name] is params[name] else found
            if gradient is not found and found is not None:
                gradient = gradient + found
            value = values(state.weights[name])
            if gradient is None:
                gradient = np.zeros_like(value)
            moments = state.moment1[name], state.moment2[name]
            mask = state.masks.get(name)
            tensors.append(AdamTensor(value, *moments, gradient, job.lr[name], state.step + 1, mask))
        reached = [(own, found) for own, found in zip(owns, pulled[len(params) :], strict=True) if found is not None]
        for own, found in reached:
            value = own.tensor.detach().numpy()
            tensors.append(AdamTensor(value, own.moment1, own.moment2, found, base_rate, own.step + 1))
        if not adam_step(tensors, betas=job.betas, eps=job.eps):
            return False
        state.step += 1
        for own, _ in reached:
            own.step += 1
        return True


def _like(tensor: Matrix, effective: torch.Tensor, param: torch.Tensor) -> Matrix:
    """The effective weights in the form of the model's tensor, which they are where no gate acts on them."""
    return tensor if effective is param else copy_tensor(tensor, effective.detach().numpy())
