"""The MLP against a plain PyTorch implementation, closed forms and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from dash_hpc.errors import SolveError
from dash_hpc.evaluation import effects, structural_edges
from dash_hpc.models import family_named, family_of
from dash_hpc.ops.state import STATUS_REASONS
from dash_hpc.rng import stream

MLP, PHOENIX = family_named("mlp"), family_named("phoenix")
G, M = 7, 3
TIGHT = {"rtol": 1e-10, "atol": 1e-12}


def weights(dtype: str = "float64", seed: int = 0) -> dict[str, Any]:
    found = MLP.initial({"family": "mlp", "hidden": M, "dtype": dtype}, G, stream(seed, "weights"))
    found["mlp_in_bias"] += found["mlp_in_bias"].dtype.type(0.1)
    return found


def tensors(arrays: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value.copy()).requires_grad_(name != "mlp_rate") for name, value in arrays.items()}


def solved(arrays: dict[str, Any], y0: np.ndarray, dt: np.ndarray, **solver: Any) -> np.ndarray:
    solution = MLP.predict_task(arrays, y0, dt, solver).run()
    assert solution.ok.all()
    return np.asarray(solution.y1)


def test_the_equations_are_those_of_a_plain_network() -> None:
    arrays = weights()
    network = torch.nn.Sequential(
        torch.nn.Linear(G, 2 * M), torch.nn.ELU(), torch.nn.Linear(2 * M, G), torch.nn.ELU()
    ).double()
    with torch.no_grad():
        for layer, name in ((network[0], "mlp_in"), (network[2], "mlp_out")):
            layer.weight.copy_(torch.from_numpy(arrays[name]))
            layer.bias.copy_(torch.from_numpy(arrays[f"{name}_bias"]))
    y = torch.rand(5, G, dtype=torch.float64) * 2 - 0.5
    params = tensors(arrays)
    wanted = network(y) - y
    found = MLP.rhs(params, y)
    torch.testing.assert_close(found, wanted, rtol=1e-14, atol=1e-14)
    pull = torch.rand_like(wanted)
    (found * pull).sum().backward()
    (wanted * pull).sum().backward()
    for layer, name in ((network[0], "mlp_in"), (network[2], "mlp_out")):
        torch.testing.assert_close(params[name].grad, layer.weight.grad, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(params[f"{name}_bias"].grad, layer.bias.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("genes", "hidden", "count"), [(350, 40, 56_430), (690, 50, 138_790), (529, 50, 106_429), (11_165, 300, 13_409_765)]
)
def test_it_has_as_many_parameters_as_phoenix(genes: int, hidden: int, count: int) -> None:
    # The counts are those of the published sizes (methods, section 1.2).
    model = {"hidden": hidden}
    trained = {tensor.name for tensor in MLP.tensors if tensor.rate != "fixed"}
    own = sum(int(np.prod(shape)) for name, shape in MLP.shapes(model, genes).items() if name in trained)
    assert own == count == sum(int(np.prod(shape)) for shape in PHOENIX.shapes(model, genes).values())
    assert MLP.prunable_count(model, genes) == PHOENIX.prunable_count(model, genes) == 4 * hidden * genes


@pytest.mark.parametrize("solver", [TIGHT, {"method": "rk4", "step": 0.01}])
def test_without_weights_states_relax_to_a_constant(solver: dict[str, Any]) -> None:
    arrays = weights()
    arrays["mlp_in"][:] = 0
    elu = lambda x: np.where(x > 0, x, np.expm1(x))  # noqa: E731
    goal = elu(arrays["mlp_out"] @ elu(arrays["mlp_in_bias"]) + arrays["mlp_out_bias"])
    y0, dt = stream(1, "test").random((4, G)), np.array([0.0, 0.5, 2.0, 7.0])
    wanted = goal + (y0 - goal) * np.exp(-dt)[:, None]
    np.testing.assert_allclose(solved(arrays, y0, dt, **solver), wanted, rtol=0, atol=1e-9)


def test_time_told_in_another_unit_is_the_same_model() -> None:
    arrays, y0, dt = weights(), stream(1, "test").random((3, G)), np.array([0.5, 1.0, 3.0])
    minutes = MLP.rescaled(arrays, 1 / 60)
    assert minutes["mlp_rate"].item() == pytest.approx(1 / 60)
    np.testing.assert_allclose(solved(minutes, y0, 60 * dt, **TIGHT), solved(arrays, y0, dt, **TIGHT), atol=1e-9)


@pytest.mark.parametrize("solver", [TIGHT, {"method": "rk4", "step": 0.05}])
def test_gradients_are_those_of_finite_differences(solver: dict[str, Any]) -> None:
    arrays, rng = weights(), stream(2, "test")
    y0, y1, dt = rng.random((3, G)), rng.random((3, G)), np.array([0.5, 1.0, 2.0])
    y1[0, 2] = np.nan

    def loss(values: dict[str, Any]) -> torch.Tensor:
        parts = (torch.from_numpy(part) for part in (y0, y1, dt))
        return MLP.loss(values, *parts, solver)

    params = tensors(arrays)
    loss(params).backward()
    for name, tensor in params.items():
        if tensor.grad is None:
            assert name == "mlp_rate"
            continue
        direction = rng.normal(size=tensor.shape)
        step = 1e-5
        sides = [{**arrays, name: arrays[name] + sign * step * direction} for sign in (1, -1)]
        with torch.no_grad():
            up, down = (float(loss({k: torch.from_numpy(v) for k, v in side.items()})) for side in sides)
        assert float((tensor.grad.numpy() * direction).sum()) == pytest.approx((up - down) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_is_right_where_steps_are_long(dtype: Any) -> None:
    # At an equilibrium nothing limits the steps of the state; one gene's goal changes its end by 1 − e^(−7).
    arrays = {name: value.astype(dtype) for name, value in weights().items()}
    for name in ("mlp_in", "mlp_in_bias", "mlp_out"):
        arrays[name][:] = 0
    arrays["mlp_out_bias"][:] = 0.3
    params = tensors(arrays)
    y0 = torch.full((1, G), 0.3, dtype=params["mlp_in"].dtype)
    MLP.loss(params, y0, y0 + 0.5, torch.tensor([7.0], dtype=torch.float64), {}).backward()
    found = params["mlp_out_bias"].grad / (-2 * 0.5 / G)
    np.testing.assert_allclose(found.numpy(), 1 - np.exp(-7.0), rtol=1e-3)


def test_a_sample_that_cannot_be_solved_is_named() -> None:
    arrays, y0 = weights(), stream(1, "test").random((3, G))
    y0[1, 0] = np.nan
    solution = MLP.predict_task(arrays, y0, np.ones(3), {}).run()
    assert solution.ok.tolist() == [True, False, True]
    np.testing.assert_allclose(solution.y1[[0, 2]], solved(arrays, y0[[0, 2]], np.ones(2)), atol=1e-5)
    for solver, status in (({"max_steps": 1}, 1), ({"method": "rk4", "step": 0.1, "max_steps": 5}, 1)):
        with pytest.raises(SolveError, match=r"pair 0 .*maximum number of steps"):
            MLP.loss(tensors(arrays), *(torch.rand(2, G, dtype=torch.float64) for _ in range(2)), torch.ones(2), solver)
        assert MLP.predict_task(arrays, y0[:1], np.ones(1), solver).run().reason(0) == STATUS_REASONS[status]


def test_edges_are_paths_through_both_layers() -> None:
    arrays = weights()
    rng = stream(3, "test")
    masks = {name: rng.random(arrays[name].shape) < 0.3 for name in MLP.prunable}
    masked = {name: arrays[name] * masks[name] if name in masks else arrays[name] for name in arrays}
    assert family_of(masked) is MLP
    product = masked["mlp_out"] @ masked["mlp_in"]
    np.testing.assert_allclose(effects(arrays, masks), product, rtol=1e-12, atol=1e-15)
    wanted = (masks["mlp_out"].astype(int) @ masks["mlp_in"].astype(int)) > 0
    np.testing.assert_array_equal(structural_edges(arrays, masks), wanted)


def test_a_structure_gives_its_edges_and_no_others() -> None:
    among = (stream(4, "test").random((G, G)) < 0.3) & (np.arange(G) < 4)  # four regulators at most
    edges = csr_array(among.astype(float))
    found = MLP.initial({"hidden": 50, "dtype": "float32"}, G, stream(0, "weights"), structure=edges)
    assert all(isinstance(found[name], csr_array) for name in MLP.prunable)
    assert found["mlp_in"].shape[0] == np.count_nonzero(np.diff(edges.tocsc().indptr))
    np.testing.assert_array_equal(structural_edges(found), edges.toarray() != 0)
    masks = {name: np.ones(found[name].data.shape, bool) for name in MLP.prunable}
    assert structural_edges(found, masks, compressed=True).nnz == edges.nnz
