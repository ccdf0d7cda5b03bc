"""Dynamic sparse training: a threshold per output unit, trained with the weights that it cuts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from dash_hpc.models.registry import family_of
from dash_hpc.ops.state import Matrix, Tensors, TrainState, copy_tensor, values
from dash_hpc.pruning.base import Context, Step, Strategy, closed
from dash_hpc.pruning.start_weights import draw_weights, kaiming_uniform
from dash_hpc.study.options import StrategyOptions

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Dst", "DstOptions", "surrogate"]

#: A layer that keeps no larger share of its weights gets its thresholds back to 0.
_LEAST_KEPT = 0.01


def surrogate(x: np.ndarray) -> np.ndarray:
    """Return what stands for the derivative of the step 1[x > 0]: 2 − 4|x| up to |x| = 0.4, 0.4 up to 1, 0 beyond."""
    size = np.abs(x)
    found = size * size.dtype.type(-4.0)
    found += 2.0
    np.maximum(found, size.dtype.type(0.4), out=found)
    if size.size and size.max() > 1.0:
        found[size > 1.0] = 0.0
    return found


class DstOptions(StrategyOptions):
    """Trainable thresholds per row; weights below them are cut and may come back (Liu et al. 2020).

    For SIM350 ``alpha = [1e-6, 1e-5, 1e-4, 1e-3]``.
    """

    prunes: ClassVar[bool] = False
    by_schedule: ClassVar[bool] = False
    symbols: ClassVar[Mapping[str, str]] = {"alpha": "α"}

    alpha: float = Field(default=5e-4, ge=0, le=1e3, description="α: the loss has α · Σ_rows exp(−threshold)")
    init: Literal["paper", "family"] = Field(
        default="paper",
        description="initial weights: the authors' U(±1/√inputs), or the model family's, whose zeros never come back",
    )


class Dst(Strategy):
    """Trainable masks (Liu, Xu, Shi, Cheung, So: Dynamic sparse training, ICLR 2020).

    The model runs with ``w · 1[|w| > t_row]``; t starts at 0 and learns at the weights' rate, with a surrogate in the
    place of the step's derivative, for t as for w, so that a weight below its threshold still learns and may come back.
    A weight of exactly 0 has no derivative there: a sparse start stays sparse.
    """

    name: ClassVar[str] = "dst"
    Options: ClassVar[type[StrategyOptions]] = DstOptions
    options: DstOptions

    def start(self, weights: dict[str, Matrix], masks: dict[str, np.ndarray], context: Context) -> None:
        """Draw the weights; thresholds are 0."""
        import torch  # here: the command line reads options without it

        if self.options.init == "paper":
            draw_weights(weights, self.seed, kaiming_uniform)
        #: Where the thresholds of each layer are.
        self.place: dict[str, slice] = {}
        total = 0
        for layer in family_of(weights).layers(weights):
            rows = layer.tensor.shape[0]
            self.place[layer.name] = slice(total, total + rows)
            total += rows
        self.threshold = torch.from_numpy(np.zeros(total, dtype=layer.tensor.dtype)).requires_grad_()

    def parameters(self) -> list[tuple[Tensor, float | None]]:
        """All thresholds, at the weights' rate."""
        return [(self.threshold, None)]

    def effective(self, params: dict[str, Tensor], step: Step) -> dict[str, Tensor]:
        """Cut what lies below the thresholds. The derivative is in :meth:`pull_back` alone."""
        import torch

        found, self._above, self._kept = dict(params), {}, {}
        for name, place in self.place.items():
            own = params[name].detach().numpy()
            above = self._above[name] = np.abs(own)
            above -= self._thresholds(place)[:, None]
            kept = self._kept[name] = above > 0
            found[name] = torch.from_numpy(own * kept)
        return found

    def pull_back(
        self, params: dict[str, Tensor], gradients: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Through both factors of w · step, and the derivative of the penalty."""
        import torch

        threshold = self.threshold.detach().numpy()
        own = np.exp(-threshold) * -self.options.alpha
        for name, place in self.place.items():
            given = gradients[name].numpy()
            slope = surrogate(self._above[name])
            slope *= params[name].detach().numpy()
            own[place] -= np.einsum("ij,ij->i", given, slope)  # for the threshold: minus w · surrogate
            np.abs(slope, out=slope)
            slope += self._kept[name]  # for the weight: the step, and |w| · surrogate
            given *= slope
        return gradients, [torch.from_numpy(own)]

    def after_step(self, state: TrainState, step: Step) -> None:
        """Set the thresholds of a layer that has lost nearly all weights back to 0."""
        for name, place in self.place.items():
            kept = np.abs(values(state.weights[name])) > self._thresholds(place)[:, None]
            if np.count_nonzero(kept) <= _LEAST_KEPT * kept.size:
                self._thresholds(place)[...] = 0

    def final(
        self, weights: Tensors, masks: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, Matrix], dict[str, np.ndarray]]:
        """Cut for good what lies below the thresholds."""
        found = dict(weights)
        for name, place in self.place.items():
            own = values(weights[name])
            found[name] = copy_tensor(weights[name], own * (np.abs(own) > self._thresholds(place)[:, None]))
        return closed(found, masks)

    def _thresholds(self, place: slice) -> np.ndarray:
        """Those of one layer: (rows,), to be written to."""
        found: np.ndarray = self.threshold.detach().numpy()[place]
        return found
