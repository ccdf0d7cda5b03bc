"""A model whose structure is the prior network: sparse from the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from dash_hpc.errors import PriorError
from dash_hpc.models.registry import family_of_spec
from dash_hpc.ops.state import Matrix, Tensors
from dash_hpc.pruning.base import Strategy
from dash_hpc.pruning.imp import magnitude_scores
from dash_hpc.study.options import StrategyOptions

if TYPE_CHECKING:
    from dash_hpc.data import DataSet

__all__ = ["Structured", "StructuredOptions"]


class StructuredOptions(StrategyOptions):
    """The prior as architecture: a unit per regulator and a product per target, sparse from the start."""

    needs_prior: ClassVar[bool] = True
    needs_structure: ClassVar[bool] = True

    prune: bool = Field(default=False, description="remove small weights by the schedule, as imp does")


class Structured(Strategy):
    """The prior as architecture: nothing outside it can be learnt, and nothing of size m·G is ever allocated.

    How units are laid out on the prior's edges is the model family's own (``Family.initial``); the number of units
    follows, so that the run's ``model.hidden`` is not read. This is a control: its edges are those of the prior, right
    or wrong, so its balanced accuracy is at most what pruning a copy of the prior can give.
    """

    name: ClassVar[str] = "structured"
    Options: ClassVar[type[StrategyOptions]] = StructuredOptions
    scheduled: ClassVar[bool] = True
    options: StructuredOptions

    def __init__(self, options: StructuredOptions, schedule: Mapping[str, Any], dataset: DataSet, seed: int) -> None:
        super().__init__(options, schedule, dataset, seed)
        self._edges = self._need_prior().target_by_regulator()
        if self._edges.nnz == 0:
            raise PriorError(f"strategy structured: the prior of data set {dataset.name!r} has no edge to build from")

    def initial(self, model: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Matrix]:
        """Draw the initial weights on the prior's structure."""
        return family_of_spec(model).initial(model, self.dataset.train.n_genes, rng, structure=self._edges)

    def fraction(self, epoch: int, last_epoch: int) -> float | None:
        """Return the schedule's share, or None throughout when nothing is to be pruned."""
        return super().fraction(epoch, last_epoch) if self.options.prune else None

    def scores(
        self, weights: Tensors, masks: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
        """Return normalised magnitudes; see :func:`dash_hpc.pruning.imp.magnitude_scores`."""
        return magnitude_scores(weights)
