"""Which candidates are looked at, against the columns themselves."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.data import TimeCourse
from dash_hpc.evidence.blocks import Block, blocks_of
from dash_hpc.evidence.columns import Features, given_rows
from dash_hpc.evidence.rows import parts_of
from dash_hpc.evidence.screen import ALL_UNTIL, candidates_of
from dash_hpc.evidence.state import PriorEdges
from dash_hpc.ops.drive_search import columns_of, data_of


def courses(genes: int, trajectories: int) -> tuple[tuple[Block, ...], list[np.ndarray]]:
    rng = np.random.default_rng(2)
    values = rng.random((trajectories, 4, genes))
    blocks = blocks_of(TimeCourse.from_arrays(values, [np.array([0.0, 1, 3, 9])] * trajectories))
    return blocks, [rng.random((trajectories, len(block.grid), genes)) for block in blocks]


def test_all_genes_of_a_small_network() -> None:
    blocks, inputs = courses(8, 5)
    edges = PriorEdges.none(8)
    found = dict(candidates_of(edges, blocks, {3: parts_of(blocks, 3, 1.0)}, np.ones(8), inputs, 2))
    assert list(found[3].genes) == [0, 1, 2, 4, 5, 6, 7]


@pytest.mark.parametrize("trajectories", [4, 12])
@pytest.mark.parametrize("apart", [0.0, 0.1])
def test_the_best_and_the_listed_of_a_large_one(trajectories: int, apart: float) -> None:
    """Exactly at a rate whose norms are known, nearly between two; rows are centred from 10 trajectories on."""
    genes = ALL_UNTIL + 100
    rate = float(np.exp(0.5 + apart))
    blocks, inputs = courses(genes, trajectories)
    motif = np.zeros((genes, genes))
    motif[[5, 800, 801], 7] = [1, -1, 1]
    edges = PriorEdges.from_matrix(motif, signed=True)
    parts = parts_of(blocks, 7, rate)
    found = dict(candidates_of(edges, blocks, {7: parts}, np.full(genes, rate), inputs, 50))[7]
    assert len(found) == 53
    assert {5, 800, 801} <= set(found.genes[found.listed])
    assert list(found.sign[found.listed]) == [1, -1, 1]
    given = given_rows(parts, Features.of_courses(inputs))
    rows, others_of_data = data_of(given)
    drive, others = columns_of(given, np.arange(genes))
    drive, data = drive - drive.mean(axis=0), rows - rows.mean()
    explained = (data @ drive + others_of_data @ others) ** 2 / ((drive**2).sum(axis=0) + (others**2).sum(axis=0))
    explained[[5, 7, 800, 801]] = -1
    best = set(np.argsort(-explained)[:50])
    missed = best - set(found.genes.tolist())
    assert len(missed) <= (1 if apart else 0)


def test_few_explain_anything() -> None:
    """A target whose rows are all the same has its listed regulators alone."""
    genes = ALL_UNTIL + 1
    blocks, inputs = courses(genes, 12)
    blocks[0].values[:, :, 7] = 0.5
    parts = parts_of(blocks, 7, 1.0)
    found = dict(candidates_of(PriorEdges.none(genes), blocks, {7: parts}, np.ones(genes), inputs, 50))[7]
    assert 7 not in found.genes
    assert len(found) <= 50
