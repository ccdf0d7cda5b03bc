"""Families without native operators: PyTorch and torchdiffeq do their work."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.models.family import Family
from dash_hpc.ops.prior_loss import PriorLoss
from dash_hpc.ops.solver import SolverOptions
from dash_hpc.ops.state import Tensors
from dash_hpc.ops.torch_tasks import TorchEpochTask, TorchSolveTask

if TYPE_CHECKING:
    from torch import Tensor as TorchTensor

    from dash_hpc.ops.train import EpochTask

__all__ = ["TorchFamily"]


class TorchFamily(Family):
    """A family that says how its states change, in PyTorch, and gets the rest of its work from here."""

    @abstractmethod
    def rhs(self, params: Mapping[str, TorchTensor], y: TorchTensor) -> TorchTensor:
        """Return dg/dt (B, G) at states ``y`` (B, G), per unit of time; differentiable in both."""

    @abstractmethod
    def target(self, params: Mapping[str, TorchTensor], y: TorchTensor) -> TorchTensor:
        """Return the states (B, G) that the model drives states ``y`` to: its rate of change without decay."""

    def epoch_task(self, epoch: EpochTask) -> TorchEpochTask:
        """Return the epoch as work for PyTorch."""
        return TorchEpochTask(epoch, self.loss)

    def predict_task(
        self, weights: Tensors, y0: np.ndarray, dt: np.ndarray, solver: Mapping[str, Any] | SolverOptions
    ) -> TorchSolveTask:
        """Describe a solution by torchdiffeq."""
        return TorchSolveTask(self.rhs, weights, y0, dt, solver)

    def loss(
        self,
        params: Mapping[str, TorchTensor],
        y0: TorchTensor,
        y1: TorchTensor,
        dt: TorchTensor,
        solver: Mapping[str, Any] | SolverOptions,
    ) -> TorchTensor:
        """Return the MSE; its gradient comes from torchdiffeq."""
        from dash_hpc.ops.odeint import batch_loss

        return batch_loss(self.rhs, params, y0, y1, dt, solver)

    def prior_loss(self, network: csr_array, **options: Any) -> PriorLoss:
        """Return the loss between the model's target state, or rate, and the response of the prior network."""
        return _TorchPriorLoss(self, network, **options)


class _TorchPriorLoss(PriorLoss):
    """The same loss for other models than PHOENIX; see :class:`PriorLoss`."""

    def __init__(self, family: TorchFamily, network: csr_array, **options: Any) -> None:
        super().__init__(network, **options)
        self._family = family

    def __call__(self, params: Mapping[str, TorchTensor]) -> TorchTensor:
        states, response = self.response
        if not self.multipliers:
            return (self._family.target(params, states) - response).square().mean()
        return (self._family.rhs(params, states) - (response - states)).square().mean()
