"""One epoch batch by batch, with a strategy's hooks: these pull back through PyTorch, all else is native."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from dash_hpc.models.registry import family_of
from dash_hpc.ops.adam import AdamTensor, adam_step
from dash_hpc.ops.gradients import BatchGradients
from dash_hpc.ops.state import EpochResult, Matrix, copy_tensor, values
from dash_hpc.ops.train import EpochTask
from dash_hpc.pruning.base import Step, Strategy, pulls_back
from dash_hpc.training.work import run_steps

__all__ = ["AutogradEpoch"]

_DIVERGED = 3


@dataclass
class _Own:
    """A tensor of the strategy's own, its learning rate (None: the base rate) and its Adam state."""

    tensor: torch.Tensor
    rate: float | None
    moment1: np.ndarray
    moment2: np.ndarray
    step: int = 0

    @classmethod
    def of(cls, tensor: torch.Tensor, rate: float | None) -> _Own:
        value = tensor.detach().numpy()
        return cls(tensor, rate, np.zeros_like(value), np.zeros_like(value))


class AutogradEpoch:
    """Does what an :class:`EpochTask` says, with the hooks of a strategy.

    The loss of a batch is τ·MSE + (1 − τ)·prior loss + the strategy's penalty. The family's work gives gradients for
    the effective weights; PyTorch takes them back through :meth:`Strategy.effective` and adds those of the penalty;
    Adam's step is the operator's again, also for tensors of the strategy's own, whose Adam state lives here. Without
    hooks an epoch has the bits of ``train_epoch``.

    Parameters
    ----------
    strategy : Strategy
    """

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self._own: list[_Own] = []

    def __call__(self, task: EpochTask, epoch: int = 1) -> EpochResult:
        """Train one epoch in place, on the CPU."""
        return run_steps(self.steps(task, epoch))

    def steps(self, task: EpochTask, epoch: int) -> Generator[Any, BatchGradients, EpochResult]:
        """Train one epoch in place: yields each batch, takes its gradients, and returns the result.

        What the task and the result are: :class:`dash_hpc.ops.EpochTask`; ``loss`` holds the data MSE alone.
        """
        state, pointer = task.state, task.batch_ptr
        family, by_hand = family_of(state.weights), pulls_back(self.strategy)
        params = {name: torch.from_numpy(values(tensor)).requires_grad_() for name, tensor in state.weights.items()}
        self._look_for_own()
        rate = family.base_rate(task.lr)
        losses = np.full(len(pointer) - 1, np.nan)
        widest, evaluations = int(np.diff(pointer).max()), 0
        for k in range(len(losses)):
            step = Step(epoch, k, self.strategy.seed, rate)
            with torch.set_grad_enabled(not by_hand):
                effective = self.strategy.effective(params, step)
                penalty = None if by_hand else self.strategy.penalty(params, step)
            weights = {name: _like(state.weights[name], effective[name], param) for name, param in params.items()}
            chosen = task.batch_index[pointer[k] : pointer[k + 1]]
            found = yield family.gradient_task(weights, state.masks, task, chosen, widest)
            evaluations += found.evaluations
            if found.reason is not None:
                return EpochResult(losses, evaluations, found.status, found.reason)
            total = found.total + (0.0 if penalty is None else penalty.item())
            own_tensors = [own.tensor for own in self._own]
            back = _by_hand if by_hand else _by_autograd
            pulled = back(self.strategy, params, own_tensors, effective, penalty, found.gradients)
            if not (np.isfinite(total) and self._step(task, rate, *pulled)):
                reason = "the loss or its gradient became infinite or NaN (lower training.lr)"
                return EpochResult(losses, evaluations, _DIVERGED, reason)
            self.strategy.after_step(state, step)
            losses[k] = found.loss
        return EpochResult(losses, evaluations)

    def own_state(self) -> dict[str, np.ndarray]:
        """Return values, steps and moments of the strategy's own tensors, in their order; empty before any step."""
        arrays: dict[str, np.ndarray] = {}
        for k, own in enumerate(self._own):
            arrays[f"{k}/value"] = own.tensor.detach().numpy().copy()
            arrays[f"{k}/moment1"], arrays[f"{k}/moment2"] = own.moment1.copy(), own.moment2.copy()
            arrays[f"{k}/step"] = np.array(own.step)
        return arrays

    def load_own_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what :meth:`own_state` returned; the strategy must have as many tensors of the same shapes."""
        if not arrays:
            return
        self._look_for_own()
        for k, own in enumerate(self._own):
            with torch.no_grad():
                own.tensor.copy_(torch.from_numpy(arrays[f"{k}/value"]))
            own.moment1[...], own.moment2[...] = arrays[f"{k}/moment1"], arrays[f"{k}/moment2"]
            own.step = int(arrays[f"{k}/step"])

    def _look_for_own(self) -> None:
        """Take over the tensors that the strategy has now; those that it had before keep their Adam state."""
        known = {id(own.tensor): own for own in self._own}
        given = self.strategy.parameters()
        self._own = [known.get(id(tensor), _Own.of(tensor, rate)) for tensor, rate in given]
        for own, (_, rate) in zip(self._own, given, strict=True):
            own.rate = rate

    def _step(
        self, task: EpochTask, rate: float, gradients: dict[str, np.ndarray], own_gradients: list[np.ndarray | None]
    ) -> bool:
        """Take Adam's step; False, and nothing changed, when a gradient is not finite."""
        state = task.state
        tensors = [
            AdamTensor(
                values(tensor), state.moment1[name], state.moment2[name], gradients[name], task.lr[name],
                state.step + 1, state.masks.get(name),
            )
            for name, tensor in state.weights.items()
        ]  # fmt: skip
        reached = [own for own, found in zip(self._own, own_gradients, strict=True) if found is not None]
        tensors += [
            AdamTensor(
                own.tensor.detach().numpy(),
                own.moment1,
                own.moment2,
                found,
                rate if own.rate is None else own.rate,
                own.step + 1,
            )
            for own, found in zip(self._own, own_gradients, strict=True)
            if found is not None
        ]
        if not adam_step(tensors, betas=task.betas, eps=task.eps):
            return False
        state.step += 1
        for own in reached:
            own.step += 1
        return True


_Pulled = tuple[dict[str, np.ndarray], list[np.ndarray | None]]


def _by_autograd(
    strategy: Strategy,
    params: Mapping[str, torch.Tensor],
    own: Sequence[torch.Tensor],
    effective: Mapping[str, torch.Tensor],
    penalty: torch.Tensor | None,
    gradients: dict[str, np.ndarray],
) -> _Pulled:
    """Gradients for params and own tensors, through what PyTorch has recorded of ``effective`` and ``penalty``."""
    changed = [name for name, param in params.items() if effective[name] is not param]
    outputs = [(effective[name], torch.from_numpy(gradients[name])) for name in changed]
    if penalty is not None:
        outputs.append((penalty, torch.ones_like(penalty)))
    outputs = [(output, gradient) for output, gradient in outputs if output.requires_grad]
    if not outputs:
        zeros = {name: np.zeros_like(gradients[name]) for name in changed}
        return gradients | zeros, [None] * len(own)
    parts = torch.autograd.grad(
        [output for output, _ in outputs], [*params.values(), *own], [gradient for _, gradient in outputs],
        allow_unused=True,
    )  # fmt: skip
    found = _apart(parts)
    for name, part in zip(params, found, strict=False):
        if name in changed:
            gradients[name] = np.zeros_like(gradients[name]) if part is None else part
        elif part is not None:
            gradients[name] += part
    return gradients, found[len(params) :]


def _by_hand(
    strategy: Strategy,
    params: Mapping[str, torch.Tensor],
    own: Sequence[torch.Tensor],
    effective: Mapping[str, torch.Tensor],
    penalty: torch.Tensor | None,
    gradients: dict[str, np.ndarray],
) -> _Pulled:
    """The same, as the strategy works them out."""
    given = {name: torch.from_numpy(gradient) for name, gradient in gradients.items()}
    with torch.no_grad():
        pulled, of_own = strategy.pull_back(dict(params), given)
    for name, tensor in given.items():
        if pulled[name] is not tensor:
            gradients[name] = pulled[name].contiguous().numpy()
    return gradients, [tensor.contiguous().numpy() for tensor in of_own]


def _apart(tensors: Sequence[torch.Tensor | None]) -> list[np.ndarray | None]:
    """As arrays that share no memory: Adam's step writes to them."""
    found: list[np.ndarray | None] = []
    known: set[int] = set()
    for tensor in tensors:
        if tensor is None:
            found.append(None)
            continue
        array = tensor.contiguous().numpy()
        address = tensor.data_ptr()
        found.append(array.copy() if address in known else array)
        known.add(address)
    return found


def _like(tensor: Matrix, effective: torch.Tensor, param: torch.Tensor) -> Matrix:
    """The effective weights in the form of the model's tensor, which they are where no gate acts on them."""
    if effective is param:
        return tensor
    array = effective.detach().contiguous().numpy()
    return copy_tensor(tensor, array) if isinstance(tensor, csr_array) else array
