"""The prior as a soft constraint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from dash_hpc.errors import UsageError
from dash_hpc.models import Phoenix, initial_weights
from dash_hpc.ops import train as train_module
from dash_hpc.ops.phoenix import PRUNABLE, TENSORS
from dash_hpc.ops.prior_loss import PriorLoss
from dash_hpc.ops.reference import rhs
from dash_hpc.ops.state import TrainState, values
from dash_hpc.ops.train import train_epoch
from dash_hpc.rng import stream

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


@pytest.mark.parametrize("multipliers", [False, True])
@pytest.mark.parametrize("points", [1, 16, 17, 70])
@pytest.mark.parametrize("compressed", [False, True])
def test_the_native_epoch_equals_the_twin(
    isa: str, points: int, multipliers: bool, compressed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = stream(5, "native-prior", points)
    G, m, pairs = 18, 7, 5
    motif = csr_array((rng.random((G, G)) < 0.2) * rng.choice([-1.0, 0.5], size=(G, G)))
    prior = PriorLoss(motif, n_points=points, rng=stream(0, "points"), multipliers=multipliers, **OPTIONS)
    weights: dict[str, Any] = initial_weights(G, m, rng, dtype=np.float64)
    weights["v"][:4] = -0.1  # dead genes have no gradient
    if compressed:
        weights |= {
            name: csr_array(rng.normal(0, 0.3, weights[name].shape) * (rng.random(weights[name].shape) < 0.4))
            for name in PRUNABLE
        }
    y0, y1, dt = rng.random((pairs, G)), rng.random((pairs, G)), np.full(pairs, 0.7)

    def train() -> tuple[TrainState, Any]:
        state = TrainState.fresh(weights)
        result = train_epoch(
            state, y0, y1, dt, np.array([0, 3, 5]), np.arange(5), lr=dict.fromkeys(TENSORS, 1e-3), tau=0.3, prior=prior
        )
        assert result.reason is None
        return state, result

    found, result = train()
    monkeypatch.setattr(train_module, "native_module", lambda: None)
    wanted, other = train()
    np.testing.assert_allclose(result.loss, other.loss, rtol=1e-9)
    for name in TENSORS:
        # the second moments are squares of gradients: any error in these shows
        np.testing.assert_allclose(found.moment1[name], wanted.moment1[name], rtol=0, atol=1e-12)
        np.testing.assert_allclose(found.moment2[name], wanted.moment2[name], rtol=0, atol=1e-12)
        np.testing.assert_allclose(values(found.weights[name]), values(wanted.weights[name]), rtol=0, atol=1e-9)
        if name != "v" or multipliers:
            assert np.abs(wanted.moment1[name]).max() > 1e-6


@pytest.mark.parametrize(("tau", "message"), [(0.5, "a prior loss must be given"), (1.5, "tau must lie in")])
def test_a_weight_without_a_prior_is_refused(tau: float, message: str) -> None:
    weights = initial_weights(3, 2, np.random.default_rng(0))
    state, y = TrainState.fresh(weights), np.zeros((1, 3))
    with pytest.raises(UsageError, match=message):
        train_epoch(state, y, y, np.ones(1), np.array([0, 1]), np.array([0]), lr=dict.fromkeys(TENSORS, 1e-3), tau=tau)


def test_a_prior_of_another_size_or_precision_is_refused() -> None:
    prior = PriorLoss(csr_array(np.eye(4)), n_points=2, rng=stream(0, "x"), **OPTIONS)
    for genes, dtype in ((3, np.float64), (4, np.float32)):
        state = TrainState.fresh(initial_weights(genes, 2, np.random.default_rng(0), dtype=dtype))
        y = np.zeros((1, genes))
        with pytest.raises(UsageError, match="prior loss must have states"):
            train_epoch(
                state, y, y, np.ones(1), np.array([0, 1]), np.array([0]), lr=dict.fromkeys(TENSORS, 1e-3), tau=0.5,
                prior=prior,
            )  # fmt: skip
