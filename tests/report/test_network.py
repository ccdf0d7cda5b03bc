"""The network as the report shows it: names, counts and the picture, from the edge table."""

from __future__ import annotations

import itertools
from typing import Any

import dash_hpc
from dash_hpc.data import build
from dash_hpc.network import EdgeTable


def test_the_edges_of_a_run(small_store: Any) -> None:
    run_id = next(run for run in small_store.planned if small_store.status(run) == "done")
    spec = small_store.spec(run_id)
    data = build(spec["data"], seed=spec["seed"], base=small_store.folder)
    table = dash_hpc.edges_of(small_store, run_id, data)
    assert isinstance(table, EdgeTable)
    assert table.genes == small_store.network(run_id).genes == data.genes
    weights = small_store.network(run_id).weights
    reached = {
        (data.genes[i], data.genes[j])
        for i, j in itertools.product(range(data.n_genes), repeat=2)
        for h in range(weights["b_sums"].size)
        for branch in ("sums", "prods")
        if weights["v"][j] > 0 and weights[f"U_{branch}"][j, h] and weights[f"W_{branch}"][h, i]
    }
    frame = table.frame()
    assert set(zip(frame["regulator"], frame["target"], strict=True)) == reached
    true = {(data.genes[i], data.genes[j]) for i, j in zip(*data.truth.nonzero(), strict=True)}
    found = frame.loc[frame["in_truth"], ["regulator", "target"]]
    assert set(found.itertuples(index=False, name=None)) == reached & true
