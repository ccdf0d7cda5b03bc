"""Gradients are right wherever a sample was solved, also at rest and over long intervals: closed forms, the implicit
function theorem, RK4 in float64 with a stable step, and the twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dash_hpc import ops
from dash_hpc.errors import SolveError
from dash_hpc.models import Phoenix, initial_weights
from dash_hpc.ops import TENSORS, TrainState, reference, solve_arrays, train_epoch
from dash_hpc.ops.native import native_module
from dash_hpc.ops.state import STATUS_REASONS
from dash_hpc.ops.trust import ADJOINT_ERRORS, Trust, shorter_steps
from dash_hpc.rng import stream

native = native_module()


def one_gene(dtype, v=1.0, c=0.5, rest=1):
    """dg/dt = v (c - g) for the first of ``rest`` genes; the others rest (v = 0)."""
    zeros = {"W_sums": (1, rest), "W_prods": (1, rest), "b_sums": 1, "b_prods": 1, "U_sums": (rest, 1)}
    weights = {name: np.zeros(shape, dtype=dtype) for name, shape in zeros.items()}
    weights["U_prods"] = np.full((rest, 1), c, dtype=dtype)
    weights["v"] = np.array([v] + [0.0] * (rest - 1), dtype=dtype)
    return Phoenix.from_arrays(**weights)


def gradient(model, y0, t, target=None, **options):
    """Gradient of the end states' sum (or mean squared distance from ``target``), flat; and the solution."""
    for parameter in model.tensors().values():
        parameter.grad = None
    solution = ops.solve(model, y0, 0.0, t, **options)
    end = solution.y1
    (end.sum() if target is None else (end - torch.as_tensor(target, dtype=end.dtype)).square().mean()).backward()
    return np.concatenate([model.tensors()[n].grad.numpy().ravel() for n in TENSORS]).astype(float), solution


def random_model(kind, genes, seed, dtype=np.float64):
    rng = stream(seed, "test-trust", kind, genes)
    weights = initial_weights(genes, max(1, min(genes, 10)), rng, dtype=np.float64)
    if kind == "strong":  # couplings as they are after long training without pruning
        for name in ("W_sums", "W_prods"):
            weights[name] = rng.normal(0, 0.5, weights[name].shape)
        for name in ("U_sums", "U_prods"):
            weights[name] = rng.normal(0, 0.3, weights[name].shape) / math.sqrt(weights[name].shape[1])
    return {name: values.astype(dtype) for name, values in weights.items()}, rng


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("v", [1e-3, 1.0, 60.0])
@pytest.mark.parametrize("vt", [1e-3, 0.3, 1.0, 2.0, 3.3, 5.0, 7.0, 20.0, 300.0, 1e4])
def test_one_gene_at_its_equilibrium(isa, dtype, v, vt):
    model = one_gene(dtype, v)
    y0 = torch.full((3, 1), 0.5, dtype=model.v.dtype, requires_grad=True)
    solution = ops.solve(model, y0, 0.0, vt / v)
    solution.y1.sum().backward()
    assert bool((solution.status == 0).all())
    wanted = -math.expm1(-vt)  # dg/dc = 1 - exp(-v T), per sample
    assert model.U_prods.grad.item() == pytest.approx(3 * wanted, rel=0.01)
    assert y0.grad.numpy().ravel() == pytest.approx([math.exp(-vt)] * 3, abs=0.01)


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
@pytest.mark.parametrize("away", [1e-6, 1e-3, 0.3])
def test_one_gene_away_from_its_equilibrium(away, method):
    for vt in (0.5, 3.0, 9.0, 50.0):
        model = one_gene(np.float64)
        _, solution = gradient(model, [[0.5 + away]], vt, method=method, step=0.5)
        assert int(solution.status[0]) == 0
        # dg/dc as at the equilibrium; dg/dv = T exp(-v T) (c - g0), small beside it
        wanted = -math.expm1(-vt)
        assert model.U_prods.grad.item() == pytest.approx(wanted, rel=0.01)
        assert model.v.grad.item() == pytest.approx(-vt * math.exp(-vt) * away, abs=0.01 * wanted)


def test_the_unchecked_gradient_was_wrong():
    """The fault itself: through the accepted steps alone, one gene at rest over T = 7 gives about -11.9."""
    model = one_gene(np.float64)
    weights = {name: tensor.detach().numpy() for name, tensor in model.tensors().items()}
    y0 = np.array([[0.5]])
    steps = solve_arrays(weights, y0, np.array([7.0])).step_sizes
    _, grads, longest, *_ = native.solve_backward(weights, y0, steps, np.ones((1, 1)), "dopri5")
    assert grads["U_prods"].item() == pytest.approx(-11.86, abs=0.01)
    assert np.isfinite(longest).all()
    assert (longest < steps.max()).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["initial", "strong"])
@pytest.mark.parametrize("genes", [2, 20, 60])
@pytest.mark.parametrize("state", ["far", "near", "rest"])
def test_random_models_against_rk4(genes, kind, state, dtype):
    wrong = []
    for seed, t in enumerate((1e-3, 3.0, 24.0, 60.0, 120.0, 400.0)):
        weights, rng = random_model(kind, genes, seed)
        y0, target = rng.random((2, 3, genes))
        if state != "far":
            y0 = solve_arrays(weights, y0, np.full(3, 2000.0), solver={"max_steps": 10**6}).y1
            y0 = y0 + (1e-3 * rng.normal(size=y0.shape) if state == "near" else 0.0)
        y0 = y0.astype(dtype)
        model = Phoenix.from_arrays(**{name: values.astype(dtype) for name, values in weights.items()})
        found, solution = gradient(model, y0, t, target)
        if bool((solution.status != 0).any()):
            continue
        exact = Phoenix.from_arrays(**{name: a.astype(dtype).astype(np.float64) for name, a in weights.items()})
        wanted, check = gradient(exact, y0.astype(np.float64), t, target, method="rk4", step=0.05, max_steps=10**6)
        assert bool((check.status == 0).all())
        error = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
        wrong += [(seed, t, error)] if not error < 0.01 else []
    assert not wrong


def test_gradient_of_a_state_at_rest_is_that_of_the_implicit_function_theorem():
    """After a long time the end state is the equilibrium: its gradient for U_sums is -J^-T a times the hidden state."""
    weights, rng = random_model("initial", 12, 5)
    weights["v"] = 0.2 + weights["v"]
    rest = solve_arrays(weights, rng.random((1, 12)), np.array([500.0]), solver={"rtol": 1e-12, "atol": 1e-13}).y1
    model = Phoenix.from_arrays(**weights)
    a = rng.normal(size=12)
    solution = ops.solve(model, rest, 0.0, 300.0)
    (solution.y1[0] * torch.from_numpy(a)).sum().backward()
    jacobian = torch.autograd.functional.jacobian(
        lambda y: reference.rhs({n: p.detach() for n, p in model.tensors().items()}, y), torch.from_numpy(rest[0])
    ).numpy()
    adjoint = -np.linalg.solve(jacobian.T, a)
    u = rest[0] - 0.5
    hidden = weights["W_sums"] @ (u / (1 + np.abs(u))) + weights["b_sums"]
    wanted = np.outer(adjoint * np.maximum(weights["v"], 0), hidden)
    found = model.U_sums.grad.numpy()
    assert np.linalg.norm(found - wanted) < 0.01 * np.linalg.norm(wanted)


def test_a_gene_at_rest_beside_one_that_moves():
    """The error of the moving gene alone governs the steps; the other's rate is 40 times as high."""
    weights = {name: np.zeros(shape) for name, shape in (("W_sums", (1, 2)), ("W_prods", (1, 2)), ("b_sums", 1))}
    weights |= {"b_prods": np.zeros(1), "U_sums": np.zeros((2, 1)), "U_prods": np.full((2, 1), 0.5)}
    weights["v"] = np.array([0.1, 4.0])
    for t in (5.0, 20.0, 80.0):
        model = Phoenix.from_arrays(**weights)
        gradient(model, [[1.0, 0.5]], t)
        assert model.U_prods.grad.numpy().ravel() == pytest.approx(-np.expm1(-t * weights["v"]), rel=0.01)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("pairs", [1, 5, 17])
def test_training_takes_right_gradients(isa, dtype, pairs):
    """One epoch of one batch at the equilibrium; Adam's first moment is a tenth of the gradient."""
    model = one_gene(dtype)
    state = TrainState.fresh({n: p.detach().numpy().copy() for n, p in model.tensors().items()})
    y0, y1 = np.full((pairs, 1), 0.5, dtype=dtype), np.full((pairs, 1), 0.75, dtype=dtype)
    dt = np.full(pairs, 7.0)
    result = train_epoch(state, y0, y1, dt, np.array([0, pairs]), np.arange(pairs), lr=dict.fromkeys(TENSORS, 1e-3))
    assert result.status == 0
    wanted = 2 * (0.5 - 0.75) * -math.expm1(-7.0)
    assert state.moment1["U_prods"].item() == pytest.approx(0.1 * wanted, rel=0.01)


def test_no_step_is_short_enough_for_a_gradient_that_is_not_finite():
    trust = Trust("dopri5", 2)
    trust.step(np.array([1.0, 1.0]), np.array([1e-9, np.nan]), np.ones(2), np.ones(2))
    np.testing.assert_array_equal(trust.longest_steps(), [np.inf, 1 / 8])


def test_steps_are_cut_into_equal_parts():
    found = shorter_steps(np.array([[1.0, 4.0, 0.0], [3.0, 0.0, 0.0]]), np.array([2.0, np.inf]))
    np.testing.assert_array_equal(found, [[1.0, 2.0, 2.0], [3.0, 0.0, 0.0]])
    with pytest.raises(SolveError, match="sample 1: its gradient needs more than 1,000,000 steps"):
        shorter_steps(np.ones((2, 1)), np.array([np.inf, 1e-9]))


@pytest.mark.parametrize("method", sorted(ADJOINT_ERRORS))
def test_error_estimate_is_its_power_of_the_jacobian(method):
    """One gene: the estimate through the stages is weight * (v h)^order times the adjoint, whatever the size."""
    seen = []

    class Look(Trust):
        def step(self, h, error, adjoint, integral):
            seen.append((error / adjoint, integral / adjoint))

    model = one_gene(np.float64)
    params = {name: tensor.detach() for name, tensor in model.tensors().items()}
    for z in (0.5, 2.0, 9.0):
        seen.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reference, "Trust", Look)
            y0, sizes = torch.tensor([[[0.5]], [[z]]], dtype=torch.float64)
            end, *_ = reference.adjoint(params, y0, sizes, torch.ones_like(y0), method)
        rule = ADJOINT_ERRORS[method]
        assert seen[0][0].item() == pytest.approx(rule.weight * z**rule.order, rel=1e-9)
        assert seen[0][1].item() == pytest.approx(abs(1 - end.item()), rel=1e-9)  # z times phi(z) = 1 - R(z)
        assert Trust(method, 1)._decay(np.array([z])).item() == pytest.approx(abs(end.item()), rel=1e-9)


def test_native_sweep_and_twin_ask_for_the_same_steps():
    asked = 0
    for seed in range(6):
        weights, rng = random_model("initial", 20, seed)
        y0 = solve_arrays(weights, rng.random((4, 20)), np.full(4, 500.0)).y1
        solved = solve_arrays(weights, y0, np.full(4, 60.0))
        bar = rng.normal(size=y0.shape)
        *_, found = native.solve_backward(weights, y0, solved.step_sizes, bar, "dopri5")
        params = {name: torch.from_numpy(values) for name, values in weights.items()}
        *_, wanted = reference.adjoint(
            params, torch.from_numpy(y0), torch.from_numpy(solved.step_sizes), torch.from_numpy(bar), "dopri5"
        )
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5)
        asked += int(np.isfinite(found).sum())
    assert asked > 5  # or the comparison says nothing


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_growth_without_bound_is_told_as_such(isa, dtype):
    """dg/dt = exp(w log(1 + s(g))) - g leaves every bound in finite time where the product grows fast enough."""
    weights = {name: np.zeros((1, 1), dtype=dtype) for name in ("W_sums", "U_sums")}
    weights |= {"b_sums": np.zeros(1, dtype=dtype), "b_prods": np.full(1, 2.0, dtype=dtype)}
    # with w < 0 a state far below 1/2 has log(1 + s) -> -log(1/2 - g + 1): the product grows like |g|^-w
    weights |= {"W_prods": np.full((1, 1), -3.0, dtype=dtype), "U_prods": np.full((1, 1), -1.0, dtype=dtype)}
    weights["v"] = np.ones(1, dtype=dtype)
    found = solve_arrays(weights, np.full((1, 1), -1.0, dtype=dtype), np.array([50.0]))
    wanted = reference.integrate(
        {name: torch.from_numpy(a) for name, a in weights.items()},
        torch.full((1, 1), -1.0, dtype=torch.float32 if dtype == np.float32 else torch.float64),
        torch.tensor([50.0], dtype=torch.float64), method="dopri5", rtol=1e-5, atol=1e-7, step=0.1, max_steps=10_000,
    )  # fmt: skip
    assert int(found.status[0]) == int(wanted.status[0])
    assert "grows without bound" in STATUS_REASONS[int(found.status[0])]
