"""A study small enough to run inside a test."""

from __future__ import annotations

import pytest

_TINY = """\
[data]
kind = "simulate"
genes = 12
regulators = 4
edges = 16
trajectories = 6
test_trajectories = 2
validation = 0.34

[model]
hidden = 4

[training]
epochs = 4

[schedule]
first_epoch = 2

[sweep]
seeds = "0..1"

[[strategy]]
name = "dash"
lambda_ppi = [0.1, 0.5]
lambda_motif = 0.1

[[strategy]]
name = "none"
"""


@pytest.fixture(scope="session")
def tiny() -> str:
    """Text of a study of six runs: two λ and no pruning, two seeds each."""
    return _TINY
