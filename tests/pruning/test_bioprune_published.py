"""BioPrune on the published SIM350 priors, without training (Hossain et al. 2024, figure 2: about 83.6 % / 87.4 %)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from dash_hpc.data import DataSet, Prior, TimeCourse
from dash_hpc.ops.phoenix import PRUNABLE
from dash_hpc.pruning import Context, create

G, M = 350, 40

# k later events -> (sparsity in percent, balanced accuracy, mean out-degree): own calculation, 8 seeds, 5 % prior noise
EXPECTED = {
    5: (82.29, 0.8745, 81.5),
    6: (84.06, 0.8776, 78.4),
    8: (87.09, 0.8841, 70.7),
    10: (89.54, 0.8841, 61.0),
    16: (94.44, 0.8600, 32.9),
    17: (95.00, 0.8520, 29.3),
}


def read(root: Path, noise: str) -> np.ndarray:
    path = root / "sim350" / f"edge_prior_matrix_simu_350_noise_{noise}.csv"
    return np.loadtxt(path, delimiter=",")


@lru_cache
def replicate(root: Path, noise: str, seeds: int, last: int) -> dict[int, tuple[float, float, float]]:
    """Mean sparsity (percent), balanced accuracy and out-degree over seeds after each later event."""
    truth = (read(root, "0.0") != 0).T  # target × regulator, as the effects
    flat = TimeCourse.from_arrays([np.ones((2, G))], [[0.0, 1.0]])
    dataset = DataSet("sim350", flat, flat, prior=Prior.from_arrays(read(root, noise), flat.genes))
    shapes = {name: (M, G) if name.startswith("W") else (G, M) for name in PRUNABLE}
    weights = {name: np.ones(shape) for name, shape in shapes.items()} | {"v": np.ones(G)}
    found: dict[int, list[tuple[float, float, float]]] = {k: [] for k in range(last + 1)}
    for seed in range(seeds):
        strategy = create({"name": "bioprune"}, {}, dataset, seed)
        masks = {name: np.ones(shape, dtype=bool) for name, shape in shapes.items()}
        strategy.start(weights, masks, Context(dataset, flat.pairs(), {}, seed))
        for k in range(last + 1):
            scores, _ = strategy.scores(weights, masks)
            chosen = strategy.select(scores, masks, 0.7 if k == 0 else 0.1)
            masks = {name: chosen[name][0] for name in PRUNABLE}
            effect = sum(csr_array(masks[f"U_{b}"].astype(float)) @ masks[f"W_{b}"] for b in ("sums", "prods"))
            edges = effect > 0
            accuracy = (edges[truth].mean() + (~edges)[~truth].mean()) / 2
            sparsity = 1 - sum(mask.sum() for mask in masks.values()) / (4 * M * G)
            found[k].append((100 * sparsity, accuracy, edges.sum() / G))
    return {k: tuple(np.mean(rows, axis=0)) for k, rows in found.items()}


@pytest.mark.parametrize("k", list(EXPECTED))
def test_published_point_at_five_percent_noise(data_root: Path, k: int) -> None:
    sparsity, accuracy, out_degree = replicate(data_root, "0.025", 8, 17)[k]
    expected = EXPECTED[k]
    assert sparsity == pytest.approx(expected[0], abs=0.01)
    assert accuracy == pytest.approx(expected[1], abs=0.02)
    assert out_degree == pytest.approx(expected[2], rel=0.1)


@pytest.mark.parametrize(("noise", "expected"), [("0.0", 0.889), ("0.05", 0.858), ("0.1", 0.825)])
def test_accuracy_falls_with_the_noise_of_the_prior(data_root: Path, noise: str, expected: float) -> None:
    _, accuracy, _ = replicate(data_root, noise, 3, 6)[6]
    assert accuracy == pytest.approx(expected, abs=0.02)
