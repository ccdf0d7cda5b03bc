"""The chosen network as a reader wants it: its main regulators and its strongest edges, by gene name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dash_hpc.evaluation import reference_coordinates
from dash_hpc.network import edge_blocks, joined

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
    dataset_genes = () if dataset is None else dataset.genes
    prior = None if dataset is None or dataset.prior is None else dataset.prior.motif
    truth = None if dataset is None else dataset.truth
    names: tuple[str, ...] = ()
    degree: np.ndarray = np.zeros(1, dtype=np.int64)
    strength: np.ndarray = np.zeros(1)
    best = []
    blocks = edge_blocks(
        network.weights, network.masks, genes=network.genes or dataset_genes, prior=prior, truth=truth, dtype=np.float32
    )
    for block in blocks:
        names = block.genes
        degree, strength = degree + block.out_degree, strength + block.strength
        best.append(block.strongest(edges))
    prior_degree, true_degree = (None if known is None else _out_degree(known) for known in (prior, truth))
    order = [int(i) for i in np.argsort(-strength, kind="stable")[:regulators] if strength[i] > 0]
    regulator_rows = tuple(
        RegulatorRow(
            names[i],
            int(degree[i]),
            None if prior_degree is None else int(prior_degree[i]),
            None if true_degree is None else int(true_degree[i]),
            float(strength[i]),
        )
        for i in order
    )
    top = joined(best).strongest(edges)
    edge_rows = tuple(
        EdgeRow(
            names[top.regulator[k]],
            names[top.target[k]],
            float(top.effect[k]),
            float(top.share[k]),
            None if top.in_prior is None else bool(top.in_prior[k]),
            None if top.in_truth is None else bool(top.in_truth[k]),
        )
        for k in np.flatnonzero(top.effect)
    )
    n_edges, n_regulators = int(degree.sum()), int(np.count_nonzero(degree))
    return NetworkTables(run_id, n_edges, n_regulators, regulator_rows, edge_rows)


def _out_degree(network: Any) -> np.ndarray:
    """(G,) number of targets of each gene in a network, regulator × target."""
    return np.bincount(reference_coordinates(network)[1], minlength=network.shape[0])
