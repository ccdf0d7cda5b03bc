"""A model whose structure is the prior network: sparse from the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.sparse import coo_array, csr_array

from dash_hpc.errors import PriorError
from dash_hpc.ops.state import Matrix, Tensors
from dash_hpc.pruning.base import Strategy
from dash_hpc.pruning.imp import magnitude_scores

if TYPE_CHECKING:
    from dash_hpc.data import DataSet

__all__ = ["Structured"]

_SD = 0.05
_ROW_NORM = 0.34  # of U in the dense start: orthonormal columns, 350 genes, 40 hidden units


class Structured(Strategy):
    """The prior as architecture: nothing outside it can be learnt, and nothing of size m·G is ever allocated.

    Unit k of the sums branch reads regulator k alone and acts on that regulator's targets; unit k of the products
    branch reads all regulators of target k and acts on it alone. m is the larger of the numbers of regulators and of
    targets in the prior; the run's ``model.hidden`` and ``model.init_U`` are not read. This is a control: its edges are
    those of the prior, right or wrong, so its balanced accuracy is at most what pruning a copy of the prior can give.

    Initial values: W ~ N(0, 0.05²) as in PHOENIX; U ~ N(0, 0.34²/n) with n the entries in its row (a larger start lets
    more genes die, v <= 0, in the first epochs); b ~ U(±1/√G); v ~ U(0, 1).

    Options
    -------
    prune : bool, default False
        Remove the smallest weights of each tensor by the run's schedule, as :class:`Imp` does.
    """

    name: ClassVar[str] = "structured"
    scheduled: ClassVar[bool] = True
    DEFAULTS: ClassVar[Mapping[str, Any]] = {"prune": False}

    def __init__(self, options: Mapping[str, Any], schedule: Mapping[str, Any], dataset: DataSet, seed: int) -> None:
        super().__init__(options, schedule, dataset, seed)
        self._edges = self._need_prior().target_by_regulator()
        if self._edges.nnz == 0:
            raise PriorError(f"strategy structured: the prior of data set {dataset.name!r} has no edge to build from")

    def initial(self, model: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Matrix]:
        """Draw the initial weights on the prior's structure, in the order of the tensors."""
        edges, dtype = self._edges, np.dtype(model["dtype"])
        G = edges.shape[0]
        target, regulator = edges.tocoo().coords
        regulators, sums_unit = np.unique(regulator, return_inverse=True)
        targets, prods_unit = np.unique(target, return_inverse=True)
        m = max(len(regulators), len(targets))

        def drawn(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> csr_array:
            values = rng.normal(0.0, _SD, size=len(rows))
            if shape == (G, m):
                values = _ROW_NORM * rng.normal(size=len(rows)) / np.sqrt(np.bincount(rows, minlength=G)[rows])
            return csr_array(coo_array((values.astype(dtype), (rows, columns)), shape=shape))

        bound = 1.0 / np.sqrt(G)
        return {
            "W_sums": drawn(np.arange(len(regulators)), regulators, (m, G)),
            "b_sums": rng.uniform(-bound, bound, size=m).astype(dtype),
            "W_prods": drawn(prods_unit, regulator, (m, G)),
            "b_prods": rng.uniform(-bound, bound, size=m).astype(dtype),
            "U_sums": drawn(target, sums_unit, (G, m)),
            "U_prods": drawn(targets, np.arange(len(targets)), (G, m)),
            "v": rng.uniform(0.0, 1.0, size=G).astype(dtype),
        }

    def fraction(self, epoch: int, last_epoch: int) -> float | None:
        """Return the schedule's share, or None throughout when nothing is to be pruned."""
        return super().fraction(epoch, last_epoch) if self.options["prune"] else None

    def scores(
        self, weights: Tensors, masks: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
        """Return normalised magnitudes; see :func:`dash_hpc.pruning.imp.magnitude_scores`."""
        return magnitude_scores(weights)
