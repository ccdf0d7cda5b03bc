"""The chosen network as a reader wants it: its main regulators and its strongest edges, by gene name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dash_hpc.evaluation import effects, prior_network, structural_edges
from dash_hpc.models import family_of

__all__ = ["EdgeRow", "NetworkTables", "RegulatorRow", "network_tables"]


@dataclass(frozen=True)
class RegulatorRow:
    """A regulator: number of targets in the model, in the prior and in the reference (None = unknown), and
    strength.

    ``strength`` is the sum over targets of |D̃|, the share of each target's total effect that this regulator
    has.
    """

    gene: str
    targets: int
    prior_targets: int | None
    true_targets: int | None
    strength: float


@dataclass(frozen=True)
class EdgeRow:
    """An edge: its effect D, D as a share of the target's total |D|, and whether prior and reference have it.

    None is unknown.
    """

    regulator: str
    target: str
    effect: float
    share: float
    in_prior: bool | None
    in_truth: bool | None


@dataclass(frozen=True)
class NetworkTables:
    """Main regulators and strongest edges of one run's kept network; ``n_edges`` and ``n_regulators`` of all of it."""

    run_id: str
    n_edges: int
    n_regulators: int
    regulators: tuple[RegulatorRow, ...]
    edges: tuple[EdgeRow, ...]


def network_tables(store: Any, run_id: str, dataset: Any, *, regulators: int = 12, edges: int = 15) -> NetworkTables:
    """Rank the regulators and edges of a run's kept network.

    Parameters
    ----------
    store : Store
    run_id : str
    dataset : DataSet or None
        For gene names (else the run's own, else numbers), prior and reference.
    regulators, edges : int
        How many rows.

    Returns
    -------
    NetworkTables
        Regulators by strength, edges by |D|.

    Raises
    ------
    StoreError
        When the run has no network.
    """
    network = store.network(run_id)
    n_genes = family_of(network.weights).n_genes(network.weights)
    names = _names(network, dataset, n_genes)
    exists = structural_edges(network.weights, network.masks)
    raw = effects(network.weights, network.masks, dtype=np.float32)
    total = np.abs(raw).sum(axis=1, keepdims=True)
    share = np.divide(raw, total, out=np.zeros_like(raw), where=total > 0)
    prior = truth = None
    if dataset is not None and dataset.prior is not None:
        prior = prior_network(dataset.prior.motif, n_genes)
    if dataset is not None and dataset.truth is not None:
        truth = prior_network(dataset.truth, n_genes)

    strength = np.abs(share).sum(axis=0, dtype=np.float64)
    order = [int(i) for i in np.argsort(-strength, kind="stable")[:regulators] if strength[i] > 0]
    regulator_rows = tuple(
        RegulatorRow(
            names[i],
            int(exists[:, i].sum()),
            None if prior is None else int(prior[:, i].sum()),
            None if truth is None else int(truth[:, i].sum()),
            float(strength[i]),
        )
        for i in order
    )
    magnitude = np.abs(raw).ravel()
    top = np.argpartition(-magnitude, min(edges, magnitude.size - 1))[:edges]
    top = top[np.lexsort((top, -magnitude[top]))]
    edge_rows = []
    for flat in top:
        target, regulator = divmod(int(flat), n_genes)
        if raw[target, regulator] != 0:
            edge_rows.append(
                EdgeRow(
                    names[regulator],
                    names[target],
                    float(raw[target, regulator]),
                    float(share[target, regulator]),
                    None if prior is None else bool(prior[target, regulator]),
                    None if truth is None else bool(truth[target, regulator]),
                )
            )
    n_regulators = int(exists.any(axis=0).sum())
    return NetworkTables(run_id, int(exists.sum()), n_regulators, regulator_rows, tuple(edge_rows))


def _names(network: Any, dataset: Any, n_genes: int) -> tuple[str, ...]:
    if network.genes:
        return tuple(network.genes)
    return tuple(dataset.genes) if dataset is not None else tuple(f"gene {k}" for k in range(n_genes))
