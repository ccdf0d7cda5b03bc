"""Derivatives that strategies have written out: central differences of the whole loss, and PyTorch's autograd."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from dash_hpc.data import DataSet
from dash_hpc.pruning import Step
from tests.pruning import penalties
from tests.pruning.penalties import CHAINS, STEP, Penalty, data, mse, pulled_back, started

SMOOTH: dict[str, tuple[dict[str, Any], Penalty]] = {
    "l0": ({"name": "l0", "lambda_l0": 0.3}, penalties.l0),
    "cnode": ({"name": "cnode", "lambda_path_weight": 0.2}, penalties.cnode),
    "pathreg": ({"name": "pathreg", "lambda_path": 0.1, "lambda_path_weight": 0.2}, penalties.pathreg),
}
every_family = pytest.mark.parametrize("family", CHAINS)


@pytest.fixture(scope="module")
def dataset() -> DataSet:
    return data()


@every_family
@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_the_central_differences_of_the_loss(dataset: DataSet, family: str, name: str) -> None:
    options, penalty = SMOOTH[name]
    strategy, params = started(family, options, dataset)
    own = [tensor.detach() for tensor, _ in strategy.parameters()]

    def loss() -> float:
        with torch.no_grad():
            value = mse(family, strategy.effective(dict(params), Step(*STEP)), dataset)
        return float(value) + penalty(strategy, family, params, [tensor.numpy() for tensor in own], dataset)

    gradients, of_own = pulled_back(strategy, family, params, dataset)
    places = [(params[key], gradients[key]) for key in params if key != "mlp_rate"]
    places += list(zip(own, of_own, strict=True))
    for tensor, gradient in places:
        flat, found = tensor.reshape(-1), gradient.reshape(-1)
        for k in range(0, len(flat), 3):
            before, sides = float(flat[k]), []
            for by in (1e-6, -1e-6):
                flat[k] = before + by
                sides.append(loss())
            flat[k] = before
            assert float(found[k]) == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=2e-5, abs=2e-9)


@every_family
@pytest.mark.parametrize("name", ["l0", "pathreg"])
def test_gates_pull_back_as_autograd_does(dataset: DataSet, family: str, name: str) -> None:
    """Gates that are clipped too: of these log α does not learn."""
    options = SMOOTH[name][0] | {"lambda_l0" if name == "l0" else "lambda_path": 0.0}
    strategy, params = started(family, options | ({} if name == "l0" else {"lambda_path_weight": 0.0}), dataset)
    gradients, (of_gates,) = pulled_back(strategy, family, params, dataset)

    log_alpha = strategy.parameters()[0][0].detach().clone().requires_grad_()
    uniform = 1e-6 + (1 - 2e-6) * torch.from_numpy(Step(*STEP).rng.random(len(log_alpha)))
    z = torch.nn.functional.hardtanh(1.2 * torch.sigmoid((torch.logit(uniform) + log_alpha) / (2 / 3)) - 0.1, 0.0, 1.0)
    leaves = {key: tensor.detach().clone().requires_grad_() for key, tensor in params.items()}
    effective, begin = dict(leaves), 0
    for layer in (layer for chain in CHAINS[family] for layer in chain):
        inputs = params[layer].shape[1]
        effective[layer] = leaves[layer] * z[begin : begin + inputs]
        begin += inputs
    mse(family, effective, dataset).backward()
    assert 0 < int(((z == 0) | (z == 1)).sum()) < len(z)
    assert log_alpha.grad is not None
    torch.testing.assert_close(of_gates, log_alpha.grad, rtol=1e-9, atol=1e-14)
    for key, leaf in leaves.items():
        if leaf.grad is not None:
            torch.testing.assert_close(gradients[key], leaf.grad, rtol=1e-9, atol=1e-14)


@every_family
def test_path_weights_pull_back_as_autograd_does(dataset: DataSet, family: str) -> None:
    strategy, params = started(family, {"name": "cnode", "lambda_path_weight": 0.7}, dataset)
    first = CHAINS[family][0][0]
    params[first][0, :2] = 0.0  # of |0| the derivative counts as 0
    gradients, _ = pulled_back(strategy, family, params, dataset)
    leaves = {key: tensor.detach().clone().requires_grad_() for key, tensor in params.items()}
    paths = [leaves[outer].abs() @ leaves[inner].abs() for inner, outer in CHAINS[family]]
    (mse(family, leaves, dataset) + 0.7 * sum(product.mean() for product in paths)).backward()
    for key, leaf in leaves.items():
        if leaf.grad is not None:
            torch.testing.assert_close(gradients[key], leaf.grad, rtol=1e-9, atol=1e-14)


class _Cut(torch.autograd.Function):
    """A step with the long-tailed estimator in the place of its derivative, piece by piece."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        pieces = [0.0 if abs(v) > 1 else 0.4 if abs(v) > 0.4 else 2 - 4 * abs(v) for v in x.reshape(-1).tolist()]
        return given[0] * torch.tensor(pieces, dtype=x.dtype).reshape(x.shape)


@every_family
def test_thresholds_pull_back_as_autograd_does(dataset: DataSet, family: str) -> None:
    strategy, params = started(family, {"name": "dst", "alpha": 0.01, "init": "family"}, dataset)
    own = strategy.parameters()[0][0].detach()
    own += torch.linspace(-0.2, 0.35, len(own), dtype=own.dtype)
    first = CHAINS[family][0][0]
    params[first][0] *= 8  # beyond the estimator's reach
    gradients, (of_own,) = pulled_back(strategy, family, params, dataset)

    threshold = own.clone().requires_grad_()
    leaves = {key: tensor.detach().clone().requires_grad_() for key, tensor in params.items()}
    effective = dict(leaves)
    for layer, place in strategy.place.items():  # type: ignore[attr-defined]
        cut = _Cut.apply(leaves[layer].abs() - threshold[place, None])
        assert layer == first or 0 < int(cut.sum()) <= cut.numel()
        effective[layer] = leaves[layer] * cut
    (mse(family, effective, dataset) + 0.01 * torch.exp(-threshold).sum()).backward()
    assert threshold.grad is not None
    torch.testing.assert_close(of_own, threshold.grad, rtol=1e-9, atol=1e-14)
    for key, leaf in leaves.items():
        if leaf.grad is not None:
            torch.testing.assert_close(gradients[key], leaf.grad, rtol=1e-9, atol=1e-14)
    assert math.isfinite(float(of_own.sum()))
