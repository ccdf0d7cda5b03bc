"""The MLP: two ELU layers in the place of PHOENIX's two branches, with as many parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.sparse import coo_array, csr_array

from dash_hpc.models.family import Tensor
from dash_hpc.models.layers import Layer
from dash_hpc.models.torch_family import TorchFamily
from dash_hpc.ops.state import Matrix, Tensors
from dash_hpc.study.models.mlp import MlpSection
from dash_hpc.study.models.section import ModelSection

if TYPE_CHECKING:
    from torch import Tensor as TorchTensor

__all__ = ["MlpFamily"]


class MlpFamily(TorchFamily):
    """``dg/dt = rate · (MLP(g) − g)``, ``MLP(g) = ELU(B · ELU(A·g + a) + b)`` (Hossain et al., NeurIPS 2024, B.12).

    A is [2m, G] and B is [G, 2m] where PHOENIX has m hidden units per branch: 4mG + 2m + G parameters, as many as
    PHOENIX. ``rate`` is not one of them: it is 1 in the unit of time that models train in, is not trained, and says in
    a stored model how long that unit is. ELU is above −1, so that the MLP cannot hold a gene at or below −1.
    """

    name: ClassVar[str] = "mlp"
    Section: ClassVar[type[ModelSection]] = MlpSection
    tensors: ClassVar[tuple[Tensor, ...]] = (
        Tensor("mlp_in", ("hidden", "genes"), prunable=True),
        Tensor("mlp_in_bias", ("hidden",)),
        Tensor("mlp_out", ("genes", "hidden"), prunable=True),
        Tensor("mlp_out_bias", ("genes",)),
        Tensor("mlp_rate", ("one",), rate="fixed"),
    )
    per_time: ClassVar[tuple[str, ...]] = ("mlp_rate",)

    def sizes(self, model: Mapping[str, Any], n_genes: int) -> dict[str, int]:
        """Genes, and twice PHOENIX's hidden units per branch."""
        return {"genes": n_genes, "hidden": 2 * int(model["hidden"]), "one": 1}

    def told(self, model: Mapping[str, Any]) -> str:
        """Name and size."""
        units = 2 * int(model["hidden"])
        return f"MLP, {units} hidden units: as many parameters as PHOENIX with {model['hidden']} in each branch"

    def initial(
        self, model: Mapping[str, Any], n_genes: int, rng: np.random.Generator, structure: csr_array | None = None
    ) -> dict[str, Matrix]:
        """Draw every layer from U(±1/√n), n the number of its inputs: PyTorch's start of a linear layer.

        On a structure, unit k reads regulator k alone and acts on its targets, so that the rows of the second layer
        have as many inputs as the gene has regulators.
        """
        dtype = np.dtype(model["dtype"])
        drawn = self._dense(self.sizes(model, n_genes), rng) if structure is None else self._structured(structure, rng)
        drawn["mlp_rate"] = np.ones(1)
        return {
            name: csr_array(value, dtype=dtype) if isinstance(value, csr_array) else value.astype(dtype)
            for name, value in drawn.items()
        }

    def rhs(self, params: Mapping[str, TorchTensor], y: TorchTensor) -> TorchTensor:
        """Return dg/dt."""
        rate: TorchTensor = params["mlp_rate"] * (self.target(params, y) - y)
        return rate

    def target(self, params: Mapping[str, TorchTensor], y: TorchTensor) -> TorchTensor:
        """Return MLP(g)."""
        from torch.nn.functional import elu, linear

        hidden = elu(linear(y, params["mlp_in"], params["mlp_in_bias"]))
        return elu(linear(hidden, params["mlp_out"], params["mlp_out_bias"]))

    def layers(self, weights: Tensors) -> tuple[Layer, ...]:
        """The two layers: one branch, magnitudes |w|. ELU rises, so that signs of paths are those of the products."""
        return (
            Layer("mlp_in", weights["mlp_in"], "mlp", "gram"),
            Layer("mlp_out", weights["mlp_out"], "mlp", "chain"),
        )

    @staticmethod
    def _dense(sizes: Mapping[str, int], rng: np.random.Generator) -> dict[str, Matrix]:
        drawn: dict[str, Matrix] = {}
        for name, outputs, inputs in (
            ("mlp_in", sizes["hidden"], sizes["genes"]),
            ("mlp_out", sizes["genes"], sizes["hidden"]),
        ):
            bound = 1.0 / np.sqrt(inputs)
            drawn[name] = rng.uniform(-bound, bound, size=(outputs, inputs))
            drawn[f"{name}_bias"] = rng.uniform(-bound, bound, size=outputs)
        return drawn

    @staticmethod
    def _structured(structure: csr_array, rng: np.random.Generator) -> dict[str, Matrix]:
        n_genes = structure.shape[0]
        target, regulator = structure.tocoo().coords
        regulators, unit = np.unique(regulator, return_inverse=True)
        n_units = len(regulators)
        fan_in = np.maximum(np.bincount(target, minlength=n_genes), 1)
        to_targets = rng.uniform(-1.0, 1.0, size=len(target)) / np.sqrt(fan_in[target])
        return {
            "mlp_in": csr_array(
                coo_array((rng.uniform(-1.0, 1.0, n_units), (np.arange(n_units), regulators)), (n_units, n_genes))
            ),
            "mlp_in_bias": rng.uniform(-1.0, 1.0, n_units),
            "mlp_out": csr_array(coo_array((to_targets, (target, unit)), (n_genes, n_units))),
            "mlp_out_bias": rng.uniform(-1.0, 1.0, n_genes) / np.sqrt(fan_in),
        }
