"""From a reading of the data to a model: a drive per target on the edges that were taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dash_hpc.evidence.decide import Decision, Ledger
from dash_hpc.evidence.fit import Drive, fit_drives
from dash_hpc.evidence.rates import update_rates
from dash_hpc.evidence.rounds import Reading
from dash_hpc.evidence.rows import Parts
from dash_hpc.evidence.state import FloatArray
from dash_hpc.ops.blas import one_blas_thread

__all__ = ["Fitted", "fit_model"]


@dataclass(frozen=True, eq=False)
class Fitted:
    """Drives by target, and rates (G,) per unit of the blocks' time, 0 for genes that are no target."""

    drives: dict[int, Drive]
    rates: FloatArray


def fit_model(reading: Reading, ledger: Ledger, decision: Decision, threads: int = 1) -> Fitted:
    """Fit every target on the regulators that were taken for it; rates follow the network that was found last.

    So many ``threads`` fit targets side by side; what is found does not depend on it.
    """
    state, blocks = reading.state, reading.blocks
    rates, parts = reading.rates, reading.parts
    if reading.inputs is None:
        rates, _, _ = update_rates(blocks, state, reading.smoothed.courses, reading.rates)
        parts = Parts(blocks, state.targets, rates)
    regulator, target = ledger.regulator[decision.taken], ledger.target[decision.taken]
    order = np.lexsort((regulator, target))
    regulator, target = regulator[order], target[order]
    first = np.searchsorted(target, np.arange(state.n_genes + 1))
    regulators = {gene: regulator[first[gene] : first[gene + 1]] for gene in state.targets}
    with one_blas_thread():
        return Fitted(fit_drives(parts, state, reading.smoothed, regulators, threads), rates)
