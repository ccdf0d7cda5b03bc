"""The prior as a soft constraint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from dash_hpc.errors import UsageError
from dash_hpc.models import Phoenix
from dash_hpc.ops.reference import rhs
from dash_hpc.rng import stream
from dash_hpc.training import PriorLoss

OPTIONS = {"low": -0.5, "high": 0.5, "dtype": np.dtype(np.float64)}


def some_params(n_genes: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in Phoenix.initial(n_genes, 5, rng, dtype=np.float64).tensors().items()}


def params_without_output(n_genes: int) -> dict[str, torch.Tensor]:
    params = some_params(n_genes, np.random.default_rng(0))
    return {name: torch.zeros_like(p) if name.startswith("U") else p for name, p in params.items()}


def test_expectation_without_output_weights() -> None:
    rng = np.random.default_rng(4)
    G = 30
    motif = (rng.random((G, G)) < 0.2) * rng.choice([-1.0, 1.0], size=(G, G))
    loss = PriorLoss(csr_array(motif), n_points=20_000, rng=stream(0, "prior-points"), **OPTIONS)
    found = float(loss(params_without_output(G)))
    assert found == pytest.approx((motif**2).sum() / (12 * G), rel=0.01)


def test_expectation_on_the_published_prior(data_root: Path) -> None:
    motif = np.loadtxt(data_root / "sim350" / "edge_prior_matrix_simu_350_noise_0.0.csv", delimiter=",")
    loss = PriorLoss(csr_array(motif), n_points=10_000, rng=stream(0, "prior-points"), **OPTIONS)
    assert float(loss(params_without_output(350))) == pytest.approx(0.1310, rel=0.01)  # 550 / (12·350)


def test_regulators_are_rows_and_targets_columns() -> None:
    motif = np.zeros((3, 3))
    motif[0, 2] = 1.0  # gene 0 regulates gene 2, nothing else
    loss = PriorLoss(csr_array(motif), n_points=4, rng=stream(0, "prior-points"), **OPTIONS)
    states = stream(0, "prior-points").uniform(-0.5, 0.5, size=(4, 3))
    expected = np.zeros((4, 3))
    expected[:, 2] = states[:, 0]
    assert float(loss(params_without_output(3))) == pytest.approx((expected**2).mean(), rel=1e-12)


@pytest.mark.parametrize("multipliers", [False, True])
def test_equals_the_model_s_own_dynamics(multipliers: bool) -> None:
    rng = np.random.default_rng(2)
    motif = rng.normal(size=(6, 6))
    params = some_params(6, rng)
    loss = PriorLoss(csr_array(motif), n_points=9, rng=stream(3, "prior-points"), multipliers=multipliers, **OPTIONS)
    states = torch.from_numpy(stream(3, "prior-points").uniform(-0.5, 0.5, size=(9, 6)))
    goal = states @ torch.from_numpy(motif)
    if multipliers:
        expected = (rhs(params, states) - (goal - states)).square().mean()
    else:
        unit = params | {"v": torch.ones(6, dtype=torch.float64)}
        expected = (rhs(unit, states) + states - goal).square().mean()
    assert float(loss(params)) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("wrong", [{"n_points": 0}, {"low": 0.5}])
def test_refusals(wrong: dict) -> None:
    options = OPTIONS | {"n_points": 5} | wrong
    with pytest.raises(UsageError, match="prior_points"):
        PriorLoss(csr_array(np.eye(2)), rng=stream(0, "x"), **options)
