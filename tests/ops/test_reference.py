"""PHOENIX's right-hand side and solves with known answers (closed forms)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import dash_hpc
from dash_hpc import ops
from dash_hpc.errors import SolveError, UsageError
from dash_hpc.models import Phoenix, initial_weights
from dash_hpc.ops import SolverOptions, reference, solve_arrays
from dash_hpc.rng import stream


@pytest.fixture
def weights():
    return initial_weights(14, 5, stream(3, "reference"), dtype=np.float64)


@pytest.fixture
def start():
    return stream(4, "reference").random((6, 14))


DT = np.array([0.5, 1.0, 2.0, 4.0, 0.0, 3.0])
TIGHT = SolverOptions(rtol=1e-11, atol=1e-13)


def test_without_output_weights_the_state_decays(weights, start):
    weights["U_sums"][:] = 0
    weights["U_prods"][:] = 0
    rate = np.maximum(weights["v"], 0)
    found = solve_arrays(weights, start, DT, solver=TIGHT)
    np.testing.assert_allclose(found.y1, start * np.exp(-rate * DT[:, None]), rtol=0, atol=1e-10)


def test_without_input_weights_the_target_is_constant(weights, start):
    weights["W_sums"][:] = 0
    weights["W_prods"][:] = 0
    target = weights["U_sums"] @ weights["b_sums"] + weights["U_prods"] @ np.exp(weights["b_prods"])
    rate = np.maximum(weights["v"], 0)
    wanted = target + (start - target) * np.exp(-rate * DT[:, None])
    np.testing.assert_allclose(solve_arrays(weights, start, DT, solver=TIGHT).y1, wanted, rtol=0, atol=1e-10)


def test_at_one_half_only_biases_act(weights):
    y = torch.full((1, 14), 0.5, dtype=torch.float64)
    model = Phoenix(weights)
    target = weights["U_sums"] @ weights["b_sums"] + weights["U_prods"] @ np.exp(weights["b_prods"])
    wanted = np.maximum(weights["v"], 0) * (target - 0.5)
    np.testing.assert_allclose(model(y)[0].detach().numpy(), wanted, rtol=0, atol=1e-15)


def test_genes_with_a_dead_multiplier_stay(weights, start):
    weights["v"][[2, 7]] = [-0.3, 0.0]
    model = Phoenix(weights)
    found = ops.solve(model, start, 0.0, DT)
    np.testing.assert_array_equal(found.y1[:, [2, 7]].detach().numpy(), start[:, [2, 7]])
    found.y1.sum().backward()
    np.testing.assert_array_equal(model.v.grad[[2, 7]].numpy(), [0, 0])
    assert (model.v.grad != 0).sum() == 12


def test_permuting_genes_permutes_the_dynamics(weights, start):
    order = stream(5, "permutation").permutation(14)
    permuted = dict(weights)
    for name in ("W_sums", "W_prods"):
        permuted[name] = np.ascontiguousarray(weights[name][:, order])
    for name in ("U_sums", "U_prods", "v"):
        permuted[name] = np.ascontiguousarray(weights[name][order])
    wanted = Phoenix(weights)(torch.from_numpy(start)).detach().numpy()[:, order]
    found = Phoenix(permuted)(torch.from_numpy(start[:, order])).detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)


def test_halving_the_step_of_rk4_divides_the_error_by_sixteen(weights, start):
    weights["v"] *= 4
    exact = solve_arrays(weights, start, DT, solver=TIGHT).y1
    errors = [
        np.abs(solve_arrays(weights, start, DT, solver={"method": "rk4", "step": step}).y1 - exact).max()
        for step in (0.1, 0.05, 0.025)  # small enough for the leading error term to rule
    ]
    assert 12 < errors[0] / errors[1] < 22
    assert 12 < errors[1] / errors[2] < 22


def test_activations_match_their_closed_form():
    x = torch.linspace(-3, 4, 201, dtype=torch.float64)
    u = x - 0.5
    sums = u / (1 + u.abs())
    one = torch.ones(1, 1, dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.float64)
    params = {
        "W_sums": one,
        "b_sums": zero,
        "W_prods": one,
        "b_prods": zero,
        "U_sums": one,
        "U_prods": one,
        "v": zero + 1,
    }
    wanted = torch.where(u >= 0, (1 + 2 * u) / (1 + u), 1 / (1 - u))  # exp(log(1 + sums))
    found = reference.rhs(params, x[:, None])[:, 0]
    torch.testing.assert_close(found, sums + wanted - x, rtol=0, atol=1e-14)


def test_initial_weights_follow_the_published_laws():
    G, m = 350, 40
    found = initial_weights(G, m, stream(0, "initial"))
    zeros = math.ceil(0.95 * m)
    for name in ("W_sums", "W_prods"):
        assert ((found[name] == 0).sum(axis=0) == zeros).all()
        assert abs(found[name][found[name] != 0].std() - 0.05) < 0.005
        assert len({tuple(np.flatnonzero(column)) for column in found[name].T}) > 200
    for name in ("U_sums", "U_prods"):
        np.testing.assert_allclose(found[name].T @ found[name], np.eye(m), atol=1e-6)
    for name in ("b_sums", "b_prods"):
        assert np.abs(found[name]).max() <= 1 / math.sqrt(G)
    assert found["v"].min() >= 0
    assert found["v"].max() <= 1
    sparse = initial_weights(G, m, stream(0, "initial"), init_U="sparse")
    assert ((sparse["U_sums"] == 0).sum(axis=0) == math.ceil(0.95 * G)).all()
    with pytest.raises(UsageError, match="init_U"):
        initial_weights(G, m, stream(0, "initial"), init_U="dense")


def test_public_solve(weights, start):
    model = dash_hpc.Phoenix.from_arrays(**weights)
    found = dash_hpc.solve(model, start[0], 1.0, 3.0, rtol=1e-8, atol=1e-10)
    assert found.y1.shape == (1, 14)
    assert int(found.status[0]) == 0
    assert int(found.evaluations[0]) == 2 + 6 * int(found.steps[0] + found.rejected[0])
    np.testing.assert_allclose(float(found.step_sizes.sum()), 2.0, rtol=1e-12)
    with pytest.raises(UsageError, match="forward in time"):
        dash_hpc.solve(model, start, 2.0, 1.0)
    with pytest.raises(UsageError, match=r"y0 must be \[B, 14\]"):
        dash_hpc.solve(model, start[:, :5], 0.0, 1.0)
    with pytest.raises(SolveError, match="sample 0 was not solved: the maximum number of steps"):
        dash_hpc.solve(model, start, 0.0, 100.0, rtol=1e-10, max_steps=3, check=True)
    with pytest.raises(UsageError, match="method must be one of"):
        dash_hpc.solve(model, start, 0.0, 1.0, method="euler")


def test_model_refuses_tensors_that_do_not_fit(weights):
    with pytest.raises(UsageError, match=r"U_sums must be \[14, 5\], got \[5, 14\]"):
        Phoenix({**weights, "U_sums": weights["U_sums"].T})
    with pytest.raises(UsageError, match="missing: v"):
        Phoenix({name: value for name, value in weights.items() if name != "v"})
    with pytest.raises(UsageError, match="unknown tensor 'bias'"):
        Phoenix({**weights, "bias": weights["v"]})
    with pytest.raises(UsageError, match="must be float32 or float64"):
        Phoenix({**weights, "v": weights["v"].astype(np.float32)})
    assert Phoenix({**weights, "v": weights["v"][None]}).n_genes == 14


def test_registered_operators_pass_opcheck(weights, start):
    tensors = [torch.nn.Parameter(torch.from_numpy(weights[name])) for name in ops.TENSORS]
    y0 = torch.from_numpy(start).requires_grad_()
    args = (y0, torch.from_numpy(DT), tensors, "dopri5", 1e-6, 1e-8, 0.1, 1000)
    torch.library.opcheck(torch.ops.dash_hpc.solve.default, args)
    sizes = torch.ops.dash_hpc.solve.default(*args)[2].detach()
    plain = [tensor.detach() for tensor in tensors]
    torch.library.opcheck(
        torch.ops.dash_hpc.solve_backward.default, (torch.ones_like(y0.detach()), y0.detach(), sizes, plain, "dopri5")
    )


def test_gradients_flow_through_the_public_solve(weights, start):
    model = Phoenix(weights)
    y0 = torch.from_numpy(start).requires_grad_()
    found = dash_hpc.solve(model, y0, 0.0, DT, rtol=1e-7, atol=1e-9)
    found.y1.square().sum().backward()
    leaves = {name: torch.from_numpy(weights[name]).requires_grad_() for name in ops.TENSORS}
    again = torch.from_numpy(start).requires_grad_()
    reference.replay(leaves, again, found.step_sizes, "dopri5").square().sum().backward()
    torch.testing.assert_close(y0.grad, again.grad, rtol=1e-12, atol=1e-12)
    for name, leaf in leaves.items():
        torch.testing.assert_close(getattr(model, name).grad, leaf.grad, rtol=1e-11, atol=1e-12)
