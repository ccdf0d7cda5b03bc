"""Data of the breast cancer set's size: synthetic expression at 178 pseudotime points, sparse priors; without torch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array, csr_array

from dash_hpc.data import DataSet, Prior, TimeCourse
from dash_hpc.data.networks import read_interactions
from dash_hpc.data.readers import read_gene_names
from dash_hpc.rng import stream

POINTS, EDGES_PER_GENE = 178, 4
GENES_PER_REGULATOR = 13  # 986 of the 11,165 genes are known as regulators


def _course(genes: int) -> tuple[TimeCourse, TimeCourse]:
    """Smooth synthetic expression at the breast data's pseudotimes: 170 pairs or so train, eight validate."""
    rng = stream(0, "benchmark-overhead", genes)
    times = np.linspace(0.03, 0.97, POINTS)
    level, swing, phase = rng.uniform(0.2, 0.6, genes), rng.uniform(0.0, 0.15, genes), rng.uniform(0, 6, genes)
    values = level + swing * np.sin(3 * times[:, None] + phase)
    return (
        TimeCourse.from_arrays([values[:-8]], [times[:-8]]),
        TimeCourse.from_arrays([values[-9:]], [times[-9:]]),
    )


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


def pseudotime_data(genes: int) -> tuple[DataSet, str]:
    """The data set, and a word on where its interactions are from."""
    train, validation = _course(genes)
    prior, words = _prior(genes)
    prior = Prior(train.genes, prior.motif, prior.ppi)
    return DataSet(f"pseudotime_{genes}", train, validation, prior=prior), words
