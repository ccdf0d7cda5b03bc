"""Synthetic expression with sparse priors, for any number of genes; without torch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array, csr_array

from dash_hpc.data import DataSet, Prior, TimeCourse
from dash_hpc.data.genefile import read_gene_names
from dash_hpc.data.networks import read_interactions
from dash_hpc.rng import stream

POINTS, PAIRS, EDGES_PER_GENE = 178, 169, 4
GENES_PER_REGULATOR = 13  # 986 of the 11,165 genes are known as regulators


def _values(genes: int, phase: np.ndarray) -> np.ndarray:
    """Smooth expression [len(phase), genes] between 0 and 1."""
    rng = stream(0, "benchmark-overhead", genes)
    level, swing, start = rng.uniform(0.2, 0.6, genes), rng.uniform(0.0, 0.15, genes), rng.uniform(0, 6, genes)
    return level + swing * np.sin(3 * phase[:, None] + start)


def _prior(genes: int) -> tuple[Prior, str]:
    """A random motif map, and the published interactions among the published genes where they are here."""
    rng = stream(0, "benchmark-overhead-prior", genes)
    count = EDGES_PER_GENE * genes
    regulator = rng.choice(genes, genes // GENES_PER_REGULATOR, replace=False)[
        rng.integers(0, genes // GENES_PER_REGULATOR, count)
    ]
    edges = np.unique(np.stack([regulator, rng.integers(0, genes, count)]), axis=1)
    motif = csr_array(coo_array((np.ones(edges.shape[1]), tuple(edges)), shape=(genes, genes)))
    folder = Path(os.environ.get("DASH_HPC_DATA", "")) / "breast"
    files = folder / "PPI_matrix_desmedt_11165.csv", folder / "desmedt_gene_names_11165.csv"
    names = folder / f"desmedt_gene_names_{genes}.csv"
    if not os.environ.get("DASH_HPC_DATA") or not all(file.is_file() for file in (*files, names)):
        return Prior.from_arrays(motif), "interactions from the random map"
    ppi, _ = read_interactions(files[0], read_gene_names(names), read_gene_names(files[1]))
    return Prior.from_arrays(motif, ppi=ppi), f"{ppi.nnz} STRING interactions"


def pseudotime_data(genes: int, pairs: int = PAIRS) -> tuple[DataSet, str]:
    """One course of 178 pseudotime points as in the breast cancer data, eight pairs validate; a word on the prior.

    With fewer than all 169 training ``pairs`` the course ends earlier.
    """
    times = np.linspace(0.03, 0.97, POINTS)
    values = _values(genes, times)
    train = TimeCourse.from_arrays([values[: pairs + 1]], [times[: pairs + 1]])
    validation = TimeCourse.from_arrays([values[-9:]], [times[-9:]])
    return _with_prior(f"pseudotime_{genes}", train, validation)


def trajectory_data(genes: int, count: int) -> tuple[DataSet, str]:
    """Trajectories at the times of SIM350, ten more validate; a word on the prior."""
    times = np.array([0.0, 2.0, 3.0, 7.0, 9.0])
    courses = [_values(genes, times / 9 + k) for k in range(count + 10)]
    train = TimeCourse.from_arrays(courses[:count], [times] * count)
    validation = TimeCourse.from_arrays(courses[count:], [times] * 10)
    return _with_prior(f"trajectories_{genes}", train, validation)


def _with_prior(name: str, train: TimeCourse, validation: TimeCourse) -> tuple[DataSet, str]:
    prior, words = _prior(train.n_genes)
    prior = Prior(train.genes, prior.motif, prior.ppi)
    return DataSet(name, train, validation, prior=prior), words
