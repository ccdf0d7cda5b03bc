"""PHOENIX as a family: seven tensors, two branches, native operators for all of its work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.models.family import Family, Tensor
from dash_hpc.models.layers import Layer
from dash_hpc.models.phoenix.initial import initial_weights, structured_weights
from dash_hpc.ops.gradients import GradientTask
from dash_hpc.ops.prior_loss import PriorLoss
from dash_hpc.ops.solver import SolverOptions, SolveTask
from dash_hpc.ops.state import Matrix, Tensors, values
from dash_hpc.study.models.phoenix import PhoenixSection
from dash_hpc.study.models.section import ModelSection

if TYPE_CHECKING:
    from torch import Tensor as TorchTensor

    from dash_hpc.ops.train import EpochTask

__all__ = ["PhoenixFamily"]


class PhoenixFamily(Family):
    """``dg/dt = relu(v) * (c(g) - g)``, c the sum of a branch of sums and one of products; see :class:`Phoenix`."""

    name: ClassVar[str] = "phoenix"
    Section: ClassVar[type[ModelSection]] = PhoenixSection
    tensors: ClassVar[tuple[Tensor, ...]] = (
        Tensor("W_sums", ("hidden", "genes"), prunable=True),
        Tensor("b_sums", ("hidden",)),
        Tensor("W_prods", ("hidden", "genes"), prunable=True),
        Tensor("b_prods", ("hidden",)),
        Tensor("U_sums", ("genes", "hidden"), prunable=True),
        Tensor("U_prods", ("genes", "hidden"), prunable=True),
        Tensor("v", ("genes",), rate="fast"),
    )
    per_time: ClassVar[tuple[str, ...]] = ("v",)

    def sizes(self, model: Mapping[str, Any], n_genes: int) -> dict[str, int]:
        """Genes, and hidden units per branch."""
        return {"genes": n_genes, "hidden": int(model["hidden"])}

    def told(self, model: Mapping[str, Any]) -> str:
        """Name and size."""
        return f"PHOENIX, {model['hidden']} hidden units in each branch"

    def initial(
        self, model: Mapping[str, Any], n_genes: int, rng: np.random.Generator, structure: csr_array | None = None
    ) -> dict[str, Matrix]:
        """Draw the authors' initial weights, or those of a fixed structure (:func:`structured_weights`)."""
        dtype = np.dtype(model["dtype"])
        if structure is not None:
            return structured_weights(structure, rng, dtype=dtype)
        return initial_weights(n_genes, int(model["hidden"]), rng, init_U=model["init_U"], dtype=dtype)

    def epoch_task(self, epoch: EpochTask) -> EpochTask:
        """Return the epoch as it is: native."""
        return epoch

    def gradient_task(
        self, weights: Tensors, masks: Mapping[str, np.ndarray], epoch: EpochTask, index: np.ndarray, widest: int
    ) -> GradientTask:
        """Describe them as native work."""
        return GradientTask(
            weights, masks, epoch.y0, epoch.y1, epoch.dt, index, epoch.solver, epoch.tau, epoch.prior, widest
        )

    def predict_task(
        self, weights: Tensors, y0: np.ndarray, dt: np.ndarray, solver: Mapping[str, Any] | SolverOptions
    ) -> SolveTask:
        """Describe a native solution."""
        return SolveTask(weights, y0, dt, solver)

    def loss(
        self,
        params: Mapping[str, TorchTensor],
        y0: TorchTensor,
        y1: TorchTensor,
        dt: TorchTensor,
        solver: Mapping[str, Any] | SolverOptions,
    ) -> TorchTensor:
        """Return the MSE with the native solver's discrete adjoint as its gradient."""
        from dash_hpc.ops.autograd import batch_loss

        return batch_loss(params, y0, y1, dt, solver)

    def prior_loss(self, network: csr_array, **options: Any) -> PriorLoss:
        """Return the loss that the native epoch knows."""
        return PriorLoss(network, **options)

    def layers(self, weights: Tensors) -> tuple[Layer, ...]:
        """Both branches, in the order of the authors' program.

        W_prods lives in log space; the multiplier of a gene is a part of the magnitude of its row of U.
        """
        gain = np.maximum(values(weights["v"]).astype(np.float64).reshape(-1), 0.0)
        return (
            Layer("W_prods", weights["W_prods"], "prods", "gram", log_space=True),
            Layer("W_sums", weights["W_sums"], "sums", "gram"),
            Layer("U_sums", weights["U_sums"], "sums", "chain", gain),
            Layer("U_prods", weights["U_prods"], "prods", "chain", gain),
        )
