"""GraSP: single-shot pruning that preserves the gradient flow."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, ClassVar

import numpy as np

from dash_hpc.models.registry import family_of
from dash_hpc.ops.gradients import BatchGradients
from dash_hpc.ops.state import Tensors, copy_tensor, values
from dash_hpc.pruning.at_init import OneShotOptions
from dash_hpc.pruning.base import EventScores
from dash_hpc.pruning.loss import Gradients, OneShotByLoss, TrainingLoss, wide
from dash_hpc.study.options import StrategyOptions

__all__ = ["Grasp", "GraspOptions", "hessian_gradient"]

#: Length of the step of the differences, relative to that of the weights.
_STEP = 1e-4


class GraspOptions(OneShotOptions):
    """Weights whose removal hurts the gradient flow least are removed at once (Wang et al., ICLR 2020)."""


class Grasp(OneShotByLoss):
    """Score θ ⊙ Hg at the initial weights, over all layers; the lowest go (Wang, Zhang, Grosse, ICLR 2020).

    g is the gradient of the error over all training pairs for the prunable weights, H its Hessian: −2 θ ⊙ Hg is, to
    first order, how much ‖g‖² changes when a weight is set to 0. Scores have signs. The paper divides the outputs by a
    temperature that belongs to class probabilities; an error of states has none.
    """

    name: ClassVar[str] = "grasp"
    Options: ClassVar[type[StrategyOptions]] = GraspOptions

    def scoring(self, weights: Tensors, masks: Mapping[str, np.ndarray]) -> Generator[Any, BatchGradients, EventScores]:
        """Return θ ⊙ Hg of all layers; give out the three gradients."""
        own = wide(weights)
        product = yield from hessian_gradient(TrainingLoss(own, self._context), own, masks)
        scores = {layer.name: values(layer.tensor) * product[layer.name] for layer in family_of(own).layers(own)}
        return scores, [{"flow": float(score.sum())} for score in scores.values()]


def hessian_gradient(loss: TrainingLoss, weights: Tensors, masks: Mapping[str, np.ndarray]) -> Gradients:
    """Return Hg for the tensors that have masks, by central differences of gradients along g, all in float64.

    The loss of PHOENIX has first derivatives alone, from the discrete adjoint of its native solver. With a step of
    1e-4 ‖θ‖ the differences are right to five digits or more, at the solvers' default tolerances too.
    """
    gradient = yield from loss.gradient(weights, masks)
    length = np.sqrt(sum(float(np.vdot(gradient[name], gradient[name])) for name in masks))
    size = np.sqrt(sum(float(np.vdot(own, own)) for own in (values(weights[name]) for name in masks)))
    if length == 0:
        return {name: np.zeros_like(gradient[name]) for name in masks}
    step = _STEP * (size or 1.0) / length
    ends = []
    for sign in (1.0, -1.0):
        moved = dict(weights)
        for name in masks:
            moved[name] = copy_tensor(weights[name], values(weights[name]) + sign * step * gradient[name])
        ends.append((yield from loss.gradient(moved, masks)))
    return {name: (ends[0][name] - ends[1][name]) / (2.0 * step) for name in masks}
