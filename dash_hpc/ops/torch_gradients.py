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

__all__ = ["DIVERGED", "TorchGradientTask", "Undone", "differentiate"]

DIVERGED = 3


class Undone(Exception):
    """A batch whose equations could not be solved, there or back: a status of the operators, and its sentence."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def differentiate(
    loss: Callable[..., Tensor],
    params: Mapping[str, Tensor],
    batch: tuple[Tensor, Tensor, Tensor],
    solver: Mapping[str, Any] | SolverOptions,
    tau: float,
    prior: Callable[[Mapping[str, Tensor]], Tensor] | None,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Return data loss, whole loss and its gradients for those ``params`` that ask for one.

    ``loss``, ``tau`` and ``prior`` as in :class:`TorchGradientTask`; ``batch`` is y0, y1 and dt. Raises
    :class:`Undone`.
    """
    import torch

    from dash_hpc.ops.odeint import status_of

    wanted = {name: param for name, param in params.items() if param.requires_grad}
    try:
        data = loss(params, *batch, solver)
        total = data
        if prior is not None and tau < 1.0:
            total = tau * data + (1.0 - tau) * prior(params)
        parts = torch.autograd.grad(total, list(wanted.values()), allow_unused=True, materialize_grads=True)
    except SolveError as error:
        raise Undone(DIVERGED, str(error)) from error
    except AssertionError as error:  # torchdiffeq, on the way back
        if (status := status_of(error)) is None:
            raise
        raise Undone(status, f"the gradient was not found: {STATUS_REASONS[status]}") from error
    return data, total, dict(zip(wanted, parts, strict=True))


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

        if any(isinstance(tensor, csr_array) for tensor in self.weights.values()):
            raise UsageError("gradients by PyTorch need matrices that are arrays, not compressed ones")
        params = {name: torch.from_numpy(tensor).requires_grad_() for name, tensor in self.weights.items()}
        y0, y1, dt = (torch.from_numpy(array[self.index]) for array in (self.y0, self.y1, self.dt))
        try:
            data, total, parts = differentiate(self.loss, params, (y0, y1, dt), self.solver, self.tau, self.prior)
        except Undone as error:
            zeros = {name: np.zeros_like(tensor) for name, tensor in self.weights.items()}
            return BatchGradients(0.0, 0.0, zeros, 0, error.status, error.reason)
        gradients = {name: np.array(part.numpy(), order="C") for name, part in parts.items()}
        for name, mask in self.masks.items():
            gradients[name][~mask] = 0
        return BatchGradients(data.item(), total.item(), gradients, 0)
