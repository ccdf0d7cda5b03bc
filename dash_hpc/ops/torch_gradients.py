"""Loss and gradients of one batch by PyTorch, for models without native operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.errors import SolveError, UsageError
from dash_hpc.ops.gradients import BatchGradients
from dash_hpc.ops.solver import SolverOptions
from dash_hpc.ops.state import STATUS_REASONS, Tensors

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TorchGradientTask"]

_DIVERGED = 3


@dataclass(frozen=True, eq=False)
class TorchGradientTask:
    """One batch of one run; :meth:`run` finds its gradients.

    Attributes
    ----------
    loss : callable
        Takes the tensors by name, y0, y1, dt and the solver's options, and returns the mean squared error,
        differentiable; raises SolveError.
    weights, masks, y0, y1, dt, index, solver, tau, prior
        As in :class:`dash_hpc.ops.GradientTask`, for the tensors of any family; arrays only.
    """

    loss: Callable[..., Tensor]
    weights: Tensors
    masks: Mapping[str, np.ndarray]
    y0: np.ndarray
    y1: np.ndarray
    dt: np.ndarray
    index: np.ndarray
    solver: Mapping[str, Any] | SolverOptions = SolverOptions()  # noqa: RUF009 - frozen
    tau: float = 1.0
    prior: Callable[[Mapping[str, Tensor]], Tensor] | None = None

    @property
    def dtype(self) -> np.dtype:
        """Precision of the weights."""
        return np.dtype(next(iter(self.weights.values())).dtype)

    def run(self) -> BatchGradients:
        """Return loss and gradients; raises UsageError for compressed matrices."""
        import torch

        from dash_hpc.ops.odeint import status_of

        if any(isinstance(tensor, csr_array) for tensor in self.weights.values()):
            raise UsageError("gradients by PyTorch need matrices that are arrays, not compressed ones")
        params = {name: torch.from_numpy(tensor).requires_grad_() for name, tensor in self.weights.items()}
        y0, y1, dt = (torch.from_numpy(array[self.index]) for array in (self.y0, self.y1, self.dt))
        try:
            data = self.loss(params, y0, y1, dt, self.solver)
            total = data
            if self.prior is not None and self.tau < 1.0:
                total = self.tau * data + (1.0 - self.tau) * self.prior(params)
            parts = torch.autograd.grad(total, list(params.values()), allow_unused=True, materialize_grads=True)
        except SolveError as error:
            return self._failed(_DIVERGED, str(error))
        except AssertionError as error:  # torchdiffeq, on the way back
            if (status := status_of(error)) is None:
                raise
            return self._failed(status, f"the gradient was not found: {STATUS_REASONS[status]}")
        gradients = {name: np.array(part.numpy(), order="C") for name, part in zip(params, parts, strict=True)}
        for name, mask in self.masks.items():
            gradients[name][~mask] = 0
        return BatchGradients(data.item(), total.item(), gradients, 0)

    def _failed(self, status: int, reason: str) -> BatchGradients:
        zeros = {name: np.zeros_like(tensor) for name, tensor in self.weights.items()}
        return BatchGradients(0.0, 0.0, zeros, 0, status, reason)
