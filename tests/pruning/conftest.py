"""A small data set with a prior, and weights to prune."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dash_hpc.data import DataSet, Prior, TimeCourse
from dash_hpc.models import initial_weights
from dash_hpc.ops.phoenix import PRUNABLE
from dash_hpc.ops.state import TrainState
from dash_hpc.pruning import Context, Strategy, create

G, M = 24, 7


@pytest.fixture(scope="session")
def dataset() -> DataSet:
    """24 genes, 5 + 2 trajectories of random values, a prior in which 8 genes regulate."""
    rng = np.random.default_rng(5)

    def course(n: int) -> TimeCourse:
        return TimeCourse.from_arrays([rng.random((4, G)) for _ in range(n)], [[0.0, 1.0, 2.5, 3.0]] * n)

    motif = np.zeros((G, G))
    motif[:8] = (rng.random((8, G)) < 0.25) * rng.choice([-1.0, 1.0], size=(8, G))
    motif[np.arange(8), np.arange(8) + 9] = 1.0
    train = course(5)
    return DataSet("small", train, course(2), prior=Prior.from_arrays(motif, train.genes))


@pytest.fixture
def start(dataset: DataSet) -> Callable[..., tuple[Strategy, TrainState]]:
    """Build a strategy and a state in which all weights differ from 0, as after some training."""

    def build(
        options: dict, schedule: dict | None = None, seed: int = 0, weight_seed: int = 3
    ) -> tuple[Strategy, TrainState]:
        strategy = create(options, schedule or {}, dataset, seed)
        rng = np.random.default_rng(weight_seed)
        weights = initial_weights(G, M, rng)
        for name in PRUNABLE:
            weights[name] += rng.normal(0, 0.05, size=weights[name].shape).astype(np.float32)
        masks = {name: np.ones(weights[name].shape, dtype=bool) for name in PRUNABLE}
        strategy.start(weights, masks, Context(dataset, dataset.train.pairs(), {}, seed))
        return strategy, TrainState.fresh(weights, masks)

    return build
