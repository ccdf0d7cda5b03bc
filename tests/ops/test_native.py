"""The native operators against their plain-PyTorch twins, torchdiffeq, autograd and central differences."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torchdiffeq

from dash_hpc import ops
from dash_hpc.errors import UsageError
from dash_hpc.models import Phoenix, initial_weights
from dash_hpc.ops import PRUNABLE, TENSORS, SolverOptions, TrainState, reference, solve_arrays
from dash_hpc.ops import train as train_module
from dash_hpc.ops.native import native_module
from dash_hpc.rng import stream

native = native_module()
pytestmark = pytest.mark.skipif(native is None, reason="the native module was not built")
ISAS = native.build_info()["runnable_isas"] if native is not None else []


def problem(G, m, B, dtype, seed=0):
    rng = stream(seed, "test-native", G, m, B)
    weights = initial_weights(G, m, rng, dtype=dtype)
    y0 = rng.random((B, G)).astype(dtype)
    dt = rng.choice([0.3, 1.0, 2.0, 4.0], size=B)
    return weights, y0, dt, rng


def tensors(weights):
    return {name: torch.from_numpy(weights[name]) for name in TENSORS}


def relative(found, wanted):
    return np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-300)


def test_solve_agrees_with_torchdiffeq(isa):
    weights, y0, dt, _ = problem(37, 9, 6, np.float64)
    model = Phoenix(weights)
    found = ops.solve(model, y0, 0.0, dt, rtol=1e-10, atol=1e-12)
    assert bool((found.status == 0).all())
    for b in range(len(y0)):
        times = torch.tensor([0.0, dt[b]], dtype=torch.float64)
        with torch.no_grad():
            wanted = torchdiffeq.odeint(
                lambda t, y: model(y), torch.from_numpy(y0[b]), times, rtol=1e-10, atol=1e-12, method="dopri5"
            )[-1]
        assert float((found.y1[b].detach() - wanted).abs().max()) < 1e-8


# Tile edges: tiles hold 4 or 16 samples, panels 16 genes or hidden units.
SIZES = [(1, 1, 1), (2, 1, 3), (15, 7, 4), (16, 8, 5), (17, 3, 8), (30, 6, 9), (23, 5, 16), (31, 4, 17), (9, 2, 33)]


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
@pytest.mark.parametrize("size", SIZES)
def test_solve_and_gradients_equal_the_twin(isa, size, method):
    weights, y0, dt, rng = problem(*size, np.float64)
    options = SolverOptions(method=method, rtol=1e-8, atol=1e-10)
    found = solve_arrays(weights, y0, dt, solver=options)
    wanted = reference.integrate(tensors(weights), torch.from_numpy(y0), torch.from_numpy(dt), **options.as_dict())
    assert found.ok.all()
    np.testing.assert_array_equal(found.steps, wanted.steps.numpy())
    np.testing.assert_array_equal(found.rejected, wanted.rejected.numpy())
    np.testing.assert_array_equal(found.evaluations, wanted.evaluations.numpy())
    # step sizes follow a fifth root of rounding errors where the error estimate is near 0, hence not equal to 1e-12
    np.testing.assert_allclose(found.y1, wanted.y1.numpy(), rtol=0, atol=1e-12)

    bar = rng.normal(size=y0.shape)
    grad_y0, grads, _ = native.solve_backward(weights, y0, found.step_sizes, bar, method)
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in tensors(weights).items()}
    start = torch.from_numpy(y0).requires_grad_()
    end = reference.replay(leaves, start, torch.from_numpy(found.step_sizes), method)
    wanted_grads = torch.autograd.grad(end, [start, *leaves.values()], torch.from_numpy(bar))
    assert relative(grad_y0, wanted_grads[0].numpy()) < 1e-12
    for name, gradient in zip(leaves, wanted_grads[1:], strict=True):
        assert relative(grads[name], gradient.numpy()) < 1e-12, name
    twin_y0, twin, _ = reference.adjoint(
        tensors(weights), torch.from_numpy(y0), torch.from_numpy(found.step_sizes), torch.from_numpy(bar), method
    )
    assert relative(twin_y0.numpy(), wanted_grads[0].numpy()) < 1e-12
    for name, gradient in zip(leaves, wanted_grads[1:], strict=True):
        assert relative(twin[name].numpy(), gradient.numpy()) < 1e-12, name


@pytest.mark.parametrize("name", ["y0", *TENSORS])
def test_gradients_agree_with_central_differences(isa, name):
    """Along random directions, step sizes held fixed, for each of the seven tensors and the start state."""
    weights, y0, dt, rng = problem(11, 4, 3, np.float64)
    sizes = solve_arrays(weights, y0, dt, solver=SolverOptions(rtol=1e-6, atol=1e-8)).step_sizes
    bar = rng.normal(size=y0.shape)
    grad_y0, grads, _ = native.solve_backward(weights, y0, sizes, bar, "dopri5")
    gradient = grad_y0 if name == "y0" else grads[name]
    shape = gradient.shape
    for _ in range(4):
        direction = rng.normal(size=shape)

        def value(epsilon, direction=direction):
            moved = {key: value.copy() for key, value in weights.items()}
            start = y0.copy()
            if name == "y0":
                start = start + epsilon * direction
            else:
                moved[name] = moved[name] + epsilon * direction
            end = reference.replay(tensors(moved), torch.from_numpy(start), torch.from_numpy(sizes), "dopri5")
            return float((end.numpy() * bar).sum())

        h = 1e-5
        numeric = (-value(2 * h) + 8 * value(h) - 8 * value(-h) + value(-2 * h)) / (12 * h)
        assert abs(numeric - (gradient * direction).sum()) < 1e-6 * max(1.0, abs(numeric))


@pytest.mark.parametrize("density", [1.0, 0.5, 0.2, 0.0])
@pytest.mark.parametrize("size", [(17, 5, 4), (30, 6, 9), (12, 3, 21)])
def test_train_epoch_equals_the_twin(isa, size, density, monkeypatch):
    weights, y0, dt, rng = problem(*size, np.float64)
    masks = {name: rng.random(weights[name].shape) < density for name in PRUNABLE}
    masks["U_prods"][:] = True  # one tensor stays dense, so that packed and dense forms meet in one model
    B = len(y0)
    y1 = rng.random(y0.shape)
    order, ptr = rng.permutation(np.tile(np.arange(B), 3)), np.array([0, 2, B, 2 * B, 3 * B])
    options = {
        "lr": {name: 1e-3 * (5 if name == "v" else 1) for name in TENSORS},
        "solver": SolverOptions(rtol=1e-7, atol=1e-9),
    }
    first = TrainState.fresh(weights, masks)
    second = copy.deepcopy(first)
    found = ops.train_epoch(first, y0, y1, dt, ptr, order, **options)
    monkeypatch.setattr(train_module, "native_module", lambda: None)
    wanted = ops.train_epoch(second, y0, y1, dt, ptr, order, **options)
    assert found.reason is None
    assert wanted.reason is None
    assert first.step == second.step == 4
    np.testing.assert_allclose(found.loss, wanted.loss, rtol=0, atol=1e-12)
    for name in TENSORS:
        np.testing.assert_allclose(first.weights[name], second.weights[name], rtol=0, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(first.moment1[name], second.moment1[name], rtol=0, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(first.moment2[name], second.moment2[name], rtol=0, atol=1e-12, err_msg=name)
    for name in PRUNABLE:
        assert not first.weights[name][~masks[name]].any()
        assert not first.moment1[name][~masks[name]].any()


@pytest.mark.parametrize("density", [1.0, 0.18, 0.05])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("even", [True, False])
def test_a_sample_does_not_depend_on_its_company(isa, even, dtype, density):
    """Tiles of 4 and of 16 (compressed weights, equal intervals), products dense and compressed (0.18: dense for 4)."""
    weights, y0, dt, rng = problem(35, 8, 37, dtype)
    dt = np.full(37, 1.5) if even else dt
    masks = {name: rng.random(weights[name].shape) < density for name in PRUNABLE}
    weights = TrainState.fresh(weights, masks).weights
    together = solve_arrays(weights, y0, dt, masks=masks)
    for b in (0, 3, 15, 16, 36):
        alone = solve_arrays(weights, y0[b : b + 1], dt[b : b + 1], masks=masks)
        np.testing.assert_array_equal(alone.y1[0], together.y1[b])
        assert alone.steps[0] == together.steps[b]
        five = [b, 1, 2, 5, 6]
        some = solve_arrays(weights, y0[five], dt[five], masks=masks)
        np.testing.assert_array_equal(some.y1[0], together.y1[b])


def test_large_dense_models_have_the_bits_of_small_tiles(isa):
    """Weights beyond the cache: tiles of 16, one matrix after the other."""
    weights, y0, dt, _ = problem(1100, 33, 21, np.float32)
    dt = dt / 8
    together = solve_arrays(weights, y0, dt)
    for first in range(0, 21, 4):
        few = solve_arrays(weights, y0[first : first + 4], dt[first : first + 4])
        np.testing.assert_array_equal(few.y1, together.y1[first : first + 4])


@pytest.mark.parametrize("pairs", [1, 3, 4, 15, 16, 17, 33])
@pytest.mark.parametrize(("G", "m"), [(1, 1), (15, 7), (17, 41), (351, 40)])
def test_tile_edges_in_float32(isa, pairs, G, m):
    """One epoch of one batch against the twin, with empty mask rows and one matrix pruned whole."""
    weights, y0, dt, rng = problem(G, m, pairs, np.float32)
    y1 = rng.random(y0.shape).astype(np.float32)
    masks = {name: rng.random(weights[name].shape) < 0.3 for name in PRUNABLE}
    masks["W_sums"][0] = False
    masks["U_sums"][:, 0] = False
    masks["W_prods"][:] = False
    state = TrainState.fresh(weights, masks)
    sizes = solve_arrays(state.weights, y0, dt, masks=masks).step_sizes
    bar = rng.normal(size=y0.shape).astype(np.float32)
    grad_y0, grads, _ = native.solve_backward(state.weights, y0, sizes, bar, "dopri5")
    exact = {name: value.astype(np.float64) for name, value in state.weights.items()}
    wanted_y0, wanted, _ = reference.adjoint(
        tensors(exact), torch.from_numpy(y0).double(), torch.from_numpy(sizes), torch.from_numpy(bar).double(), "dopri5"
    )
    assert relative(grad_y0, wanted_y0.numpy()) < 2e-5
    for name in TENSORS:
        assert relative(grads[name], wanted[name].numpy()) < 2e-5, name
    before = copy.deepcopy(state)
    result = ops.train_epoch(state, y0, y1, dt, [0, pairs], np.arange(pairs), lr=dict.fromkeys(TENSORS, 1e-3))
    assert result.reason is None
    predicted = solve_arrays(before.weights, y0, dt, masks=masks).y1
    assert result.loss[0] == pytest.approx(np.mean(np.square(predicted.astype(float) - y1)), rel=1e-6)
    for name in PRUNABLE:
        assert not state.weights[name][~masks[name]].any()
    # Adam's first step is lr * g / (|g| + eps): it shows the sign of every gradient
    move = state.weights["v"] - before.weights["v"]
    assert np.abs(move).max() == pytest.approx(1e-3, rel=1e-3)


def test_gradients_when_the_stages_do_not_fit_into_memory():
    """310 steps in a wide tile need more than the tape keeps: states are stored and stages computed again."""
    weights, y0, _, rng = problem(351, 48, 16, np.float64)
    assert 310 * 6 * 8 * 16 * (3 * 351 + 4 * 48) > 256 << 20
    sizes = np.full((16, 310), 5e-3)
    bar = rng.normal(size=y0.shape)
    grad_y0, grads, _ = native.solve_backward(weights, y0, sizes, bar, "rk4")
    wanted_y0, wanted, _ = reference.adjoint(
        tensors(weights), torch.from_numpy(y0), torch.from_numpy(sizes), torch.from_numpy(bar), "rk4"
    )
    assert relative(grad_y0, wanted_y0.numpy()) < 1e-11
    for name in TENSORS:
        assert relative(grads[name], wanted[name].numpy()) < 1e-11, name


def test_training_when_the_stages_do_not_fit_into_memory():
    """The same, from the integration of an epoch, with steps that some samples reject."""
    weights, y0, _, rng = problem(351, 48, 16, np.float64)
    dt, solver = np.full(16, 12.0), {"rtol": 1e-12, "atol": 1e-13}
    y1 = rng.random(y0.shape)
    solved = solve_arrays(weights, y0, dt, solver=solver)
    assert solved.steps.max() > 310
    assert solved.rejected.max() > 0
    _, wanted, _ = native.solve_backward(weights, y0, solved.step_sizes, 2 * (solved.y1 - y1) / y1.size, "dopri5")
    state = TrainState.fresh(weights, None)
    ops.train_epoch(state, y0, y1, dt, [0, 16], np.arange(16), lr=dict.fromkeys(TENSORS, 1e-3), solver=solver)
    for name in TENSORS:
        assert relative(state.moment1[name] / 0.1, wanted[name]) < 1e-9, name


def test_repeated_calls_give_the_same_bits(isa):
    weights, y0, dt, rng = problem(41, 7, 6, np.float32)
    y1 = rng.random(y0.shape).astype(np.float32)
    runs = []
    for _ in range(3):
        state = TrainState.fresh(weights)
        ops.train_epoch(state, y0, y1, dt, [0, 4, 6], np.arange(6), lr=dict.fromkeys(TENSORS, 1e-3))
        runs.append(state.weights)
    for name in TENSORS:
        np.testing.assert_array_equal(runs[0][name], runs[1][name])
        np.testing.assert_array_equal(runs[0][name], runs[2][name])


def test_levels_agree_in_float32():
    weights, y0, dt, _ = problem(50, 9, 8, np.float32)
    best = native.build_info()["isa"]
    results = []
    for level in ISAS:
        native.set_isa(level)
        results.append(solve_arrays(weights, y0, dt).y1)
    native.set_isa(best)
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=0, atol=2e-6)


def test_float32_activations_are_accurate(isa):
    """exp and log of the kernels through a model whose state is their value: 1 hidden unit, 1 gene, one RK4 step."""
    x = np.linspace(-3, 4, 4001)
    one = np.ones((1, 1), np.float32)
    base = {"W_sums": 0 * one, "b_sums": np.zeros(1, np.float32), "W_prods": one, "b_prods": np.zeros(1, np.float32)}
    weights = {**base, "U_sums": 0 * one, "U_prods": one, "v": np.ones(1, np.float32)}
    found = solve_arrays(weights, x[:, None], np.full(len(x), 1e-2), solver={"method": "rk4", "step": 1e-2}).y1
    exact = {name: value.astype(np.float64) for name, value in weights.items()}
    wanted = reference.replay(
        tensors(exact),
        torch.from_numpy(x[:, None].astype(np.float32).astype(np.float64)),
        torch.full((len(x), 1), 1e-2).double(),
        "rk4",
    ).numpy()
    np.testing.assert_allclose(found, wanted, rtol=3e-7, atol=3e-7)


def test_status_of_samples_that_cannot_be_solved(isa):
    weights, y0, dt, _ = problem(12, 4, 5, np.float64)
    weights["W_prods"][:] = -1.0  # far below 0 the products grow like |y|^12: the state runs away in finite time
    weights["U_prods"][:] = -1.0
    weights["v"][:] = 50.0
    y0[2] = np.nan
    dt[3] = 0.0
    found = solve_arrays(weights, y0, dt, solver={"max_steps": 200})
    assert found.status[2] == 3
    assert "infinite or NaN" in found.reason(2)
    assert found.status[3] == 0
    np.testing.assert_array_equal(found.y1[3], y0[3])
    assert (found.status[[0, 1, 4]] != 0).all()
    assert np.isfinite(found.y1[[0, 1, 3, 4]]).all()

    few = solve_arrays(*problem(12, 4, 5, np.float64)[:3], solver={"max_steps": 2, "rtol": 1e-9, "atol": 1e-9})
    assert (few.status == 1).all()
    assert "maximum number of steps" in few.reason(0)


def test_a_diverging_batch_leaves_the_last_good_state(isa):
    weights, y0, dt, rng = problem(12, 4, 6, np.float64)
    y1 = rng.random(y0.shape)
    bad = y0.copy()
    bad[4] = np.inf
    state, wanted = TrainState.fresh(weights), TrainState.fresh(weights)
    lr = dict.fromkeys(TENSORS, 1e-3)
    result = ops.train_epoch(state, bad, y1, dt, [0, 2, 4, 6], np.arange(6), lr=lr)
    ops.train_epoch(wanted, y0, y1, dt, [0, 2, 4], np.arange(4), lr=lr)
    assert result.status == 3
    assert result.reason
    assert np.isfinite(result.loss[:2]).all()
    assert np.isnan(result.loss[2])
    assert state.step == 2
    for name in TENSORS:
        np.testing.assert_array_equal(state.weights[name], wanted.weights[name])


def test_wrong_arguments_are_refused():
    weights, y0, dt, _ = problem(6, 2, 3, np.float32)
    with pytest.raises(UsageError, match="C-contiguous"):
        native.solve(weights, {}, y0[:, ::-1], dt, method="dopri5", rtol=1e-5, atol=1e-7, step=0.1, max_steps=10)
    with pytest.raises(UsageError, match="y0 must be"):
        native.solve(weights, {}, y0[:2], dt, method="dopri5", rtol=1e-5, atol=1e-7, step=0.1, max_steps=10)
    with pytest.raises(UsageError, match="cannot run here"):
        native.set_isa("sse17")
