"""The training loss as a function of the weights, for scores that need its gradients."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from dash_hpc.errors import RunFailed
from dash_hpc.models.registry import family_of
from dash_hpc.ops.gradients import BatchGradients
from dash_hpc.ops.state import Matrix, Tensors, TrainState, copy_tensor, values
from dash_hpc.ops.timeunit import TimeUnit
from dash_hpc.ops.train import EpochTask
from dash_hpc.pruning.at_init import OneShot
from dash_hpc.pruning.base import Context, EventScores
from dash_hpc.pruning.events import alone

__all__ = ["OneShotByLoss", "TrainingLoss", "wide"]

#: Pairs of one piece of work: the memory of a sweep back grows with them, the result does not depend on company.
_PAIRS = 128

Gradients = Generator[Any, BatchGradients, dict[str, np.ndarray]]


class TrainingLoss:
    """The mean squared error of one-step predictions over all training data, in float64.

    It is the loss of a strategy's one look at the data: all pairs, no order of batches, without prior loss and penalty.

    Parameters
    ----------
    weights : mapping of ndarray or csr_array
        Say which family it is.
    context : Context
    """

    def __init__(self, weights: Tensors, context: Context) -> None:
        self._family = family_of(weights)
        unit = TimeUnit(context.dataset.time_unit)
        self._examples = self._family.examples(context.dataset.train, unit, np.dtype(np.float64))
        self._solver = context.solver

    def gradient(self, weights: Tensors, masks: Mapping[str, np.ndarray]) -> Gradients:
        """Return the gradient for every tensor, in the shape of its values, 0 outside the masks.

        Yields gradient tasks of the family, each of some pairs, to be done elsewhere. ``weights`` are float64.

        Raises
        ------
        RunFailed
            When a pair cannot be solved, or the gradient is not finite.
        """
        found = self._examples
        state = TrainState(dict(weights), {}, {}, 0, dict(masks))
        everything = np.arange(len(found.dt))
        pointer = np.append(np.arange(0, len(everything), _PAIRS), len(everything))
        epoch = EpochTask(state, found.y0, found.y1, found.dt, pointer, everything, {}, solver=self._solver)
        total = {name: np.zeros_like(values(tensor)) for name, tensor in weights.items()}
        for first, end in pairwise(pointer):
            index = everything[first:end]
            batch = yield self._family.gradient_task(weights, masks, epoch, index, min(_PAIRS, len(everything)))
            if batch.reason is not None:
                raise RunFailed(f"the gradient at the initial weights: {batch.reason}")
            share = found.weight[index].sum() / found.weight.sum()
            for name, gradient in batch.gradients.items():
                total[name] += share * gradient
        if not all(np.isfinite(gradient).all() for gradient in total.values()):
            raise RunFailed("the gradient at the initial weights is not finite")
        return total


def wide(weights: Tensors) -> dict[str, Matrix]:
    """Return copies of the tensors in float64."""
    return {name: copy_tensor(tensor, values(tensor).astype(np.float64)) for name, tensor in weights.items()}


class OneShotByLoss(OneShot):
    """One event at the initial weights, by scores that ``scoring`` makes of gradients of the training loss."""

    _context: Context

    def start(self, weights: dict[str, Matrix], masks: dict[str, np.ndarray], context: Context) -> None:
        """Keep what the loss is made of."""
        self._context = context

    def scores(self, weights: Tensors, masks: Mapping[str, np.ndarray]) -> EventScores:
        """Return the scores; see ``scoring``."""
        return alone(self.scoring(weights, masks))
