"""The plateau rule against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dash_hpc.training import Plateau


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("patience", "threshold", "min_lr"), [(3, 1e-6, 4e-5), (0, 0.0, 0.0), (2, 1e-2, 8e-4)])
def test_equals_pytorch(seed: int, patience: int, threshold: float, min_lr: float) -> None:
    rng = np.random.default_rng(seed)
    start = {"W_sums": 1e-3, "v": 5e-3}
    ours = Plateau(start, factor=0.7, patience=patience, threshold=threshold, min_lr=min_lr)
    tensors = {name: torch.zeros(1, requires_grad=True) for name in start}
    optimiser = torch.optim.SGD([{"params": [tensors[name]], "lr": start[name]} for name in start])
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, mode="min", threshold_mode="abs", factor=0.7, patience=patience, threshold=threshold,
        min_lr=min_lr,
    )  # fmt: skip
    metric, reduced = 1.0, 0
    for _ in range(120):
        metric = abs(metric + rng.choice([-0.1, -0.005, 0.0, 0.02, 0.1]))
        ours.step(metric)
        theirs.step(metric)
        assert list(ours.lr.values()) == [group["lr"] for group in optimiser.param_groups]
        reduced += ours.lr != start
    assert reduced > 0
    assert min(ours.lr.values()) >= min_lr
    assert start == {"W_sums": 1e-3, "v": 5e-3}


def test_a_rate_below_the_minimum_is_left_alone() -> None:
    plateau = Plateau({"v": 1e-5}, patience=0, min_lr=4e-5)
    for _ in range(5):
        plateau.step(1.0)
    assert plateau.lr == {"v": 1e-5}
