"""The loss over observed end values: a closed form, all back ends, and batches in which nothing was observed."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from dash_hpc.models import initial_weights
from dash_hpc.ops import PRUNABLE, TENSORS, SolverOptions, TrainState, train_epoch
from dash_hpc.ops import train as train_module
from dash_hpc.ops.mse import mean_squared_error
from dash_hpc.rng import stream

NAN = np.nan
TIGHT = SolverOptions(rtol=1e-11, atol=1e-13)
LR = dict.fromkeys(TENSORS, 1e-3)


def decaying(genes: int) -> TrainState:
    """A model whose U is zero: gene g falls as exp(-v_g·t), whatever the others do."""
    weights = initial_weights(genes, 3, stream(0, "decaying"), dtype=np.float64)
    weights["U_sums"][:], weights["U_prods"][:] = 0.0, 0.0
    return TrainState.fresh(weights)


def with_holes(genes: int, n: int, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = stream(0, "holes", genes, n)
    y0, y1 = rng.random((n, genes)), rng.random((n, genes))
    y1[rng.random(y1.shape) < share] = NAN
    return y0, y1, rng.choice([0.5, 1.0, 2.0], size=n)


@pytest.mark.parametrize("n", [1, 3, 20])
def test_loss_and_gradient_of_a_model_with_a_known_solution(isa: str, n: int) -> None:
    state = decaying(7)
    y0, y1, dt = with_holes(7, n, 0.3)
    v = state.weights["v"].copy()
    result = train_epoch(state, y0, y1, dt, np.array([0, n]), np.arange(n), lr=LR, solver=TIGHT)
    end = y0 * np.exp(-v * dt[:, None])
    count = np.count_nonzero(~np.isnan(y1))
    assert 0 < count < y1.size
    assert result.loss[0] == pytest.approx(np.nansum((end - y1) ** 2) / count, rel=1e-9)
    gradient = np.nansum(2 / count * (end - y1) * -dt[:, None] * end, axis=0)
    np.testing.assert_allclose(state.moment1["v"] / (1 - 0.9), gradient, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_with_holes_equals_the_twin(monkeypatch: pytest.MonkeyPatch, dtype: type[np.floating]) -> None:
    rng = stream(0, "twin")
    weights = initial_weights(33, 9, rng, dtype=dtype)
    masks = {name: rng.random(weights[name].shape) < 0.6 for name in PRUNABLE}
    state = TrainState.fresh(weights, masks)
    twin = copy.deepcopy(state)
    y0, y1, dt = (array.astype(dtype) for array in with_holes(33, 11, 0.2))
    y1[4] = NAN
    batches = np.array([0, 5, 6, 11]), np.array([0, 1, 2, 3, 5, 4, 6, 7, 8, 9, 10])  # the second has pair 4 alone
    options = SolverOptions(rtol=1e-6, atol=1e-8)
    found = train_epoch(state, y0, y1, dt, *batches, lr=LR, solver=options)
    monkeypatch.setattr(train_module, "native_module", lambda: None)
    wanted = train_epoch(twin, y0, y1, dt, *batches, lr=LR, solver=options)
    exact = dtype is np.float64
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=1e-10 if exact else 1e-5)
    assert found.loss[1] == wanted.loss[1] == 0
    assert state.step == twin.step == 3
    for name in TENSORS:
        np.testing.assert_allclose(state.moment1[name], twin.moment1[name], rtol=0, atol=1e-12 if exact else 1e-6)


def test_a_batch_without_any_observed_value_has_loss_0_and_moves_nothing(isa: str) -> None:
    state = decaying(4)
    before = copy.deepcopy(state)
    y0, _, dt = with_holes(4, 5, 0.0)
    result = train_epoch(state, y0, np.full((5, 4), NAN), dt, np.array([0, 5]), np.arange(5), lr=LR, solver=TIGHT)
    assert (result.loss[0], result.status, result.reason) == (0.0, 0, None)
    for name in TENSORS:
        np.testing.assert_array_equal(state.weights[name], before.weights[name])
        assert not state.moment1[name].any()


def test_values_that_are_not_observed_do_not_matter(isa: str) -> None:
    """A gene that is never observed gets no gradient of its own; the others get that of a batch which is smaller."""
    y0, y1, dt = with_holes(6, 4, 0.0)
    y1[:, 2] = NAN
    state = decaying(6)
    train_epoch(state, y0, y1, dt, np.array([0, 4]), np.arange(4), lr=LR, solver=TIGHT)
    assert state.moment1["v"][2] == 0
    assert np.count_nonzero(state.moment1["v"]) == 5


def test_mean_squared_error_counts_observed_values() -> None:
    observed = np.array([[1.0, NAN], [2.0, 4.0]])
    assert mean_squared_error(np.array([[0.0, 9.0], [4.0, 1.0]]), observed) == pytest.approx((1 + 4 + 9) / 3)
    assert mean_squared_error(np.zeros((1, 2)), np.full((1, 2), NAN)) == 0.0
    assert np.isnan(mean_squared_error(np.array([[NAN, 0.0], [0.0, 0.0]]), observed))  # a prediction is never left out
