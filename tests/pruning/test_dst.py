"""Dynamic sparse training: masks, the gradient of a threshold, regrowth, and the way back from an empty layer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dash_hpc.data import DataSet
from dash_hpc.ops.state import TrainState, values
from dash_hpc.pruning import Step
from dash_hpc.pruning.dst import Dst, surrogate
from dash_hpc.training import Trainer
from tests.pruning.gated_runs import FAMILIES, active, spec_of
from tests.pruning.penalties import CHAINS, STEP, data, started

every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def dataset() -> DataSet:
    return data()


def thresholds(strategy: Dst) -> np.ndarray:
    return strategy.parameters()[0][0].detach().numpy()


def test_the_surrogate_at_points() -> None:
    x = np.array([0.0, 0.1, -0.1, 0.4, -0.4, 0.41, 1.0, -1.0, 1.01, -3.0], dtype=np.float32)
    np.testing.assert_allclose(surrogate(x), [2.0, 1.6, 1.6, 0.4, 0.4, 0.4, 0.4, 0.4, 0.0, 0.0], rtol=1e-6)
    assert surrogate(x).dtype == np.float32


@every_family
def test_negative_thresholds_keep_everything(dataset: DataSet, family: str) -> None:
    strategy, params = started(family, {"name": "dst", "alpha": 0.0}, dataset)
    assert isinstance(strategy, Dst)
    thresholds(strategy)[...] = -0.1
    effective = strategy.effective(dict(params), Step(*STEP))
    for name, tensor in params.items():
        torch.testing.assert_close(effective[name], tensor, rtol=0, atol=0)
    masks = {name: np.ones(params[name].shape, dtype=bool) for chain in CHAINS[family] for name in chain}
    _, active = strategy.final({name: tensor.numpy() for name, tensor in params.items()}, masks)
    assert all(mask.all() for mask in active.values())


@every_family
@pytest.mark.parametrize("weight", [0.3, -0.3, 0.05, -0.9])
def test_gradients_of_one_weight_and_its_threshold(dataset: DataSet, family: str, weight: float) -> None:
    """∂L/∂t = −s·w·∂L/∂w_eff − α·exp(−t), ∂L/∂w = (1[|w| > t] + s·|w|)·∂L/∂w_eff."""
    alpha, t, given = 0.25, 0.2, 1.7
    strategy, params = started(family, {"name": "dst", "alpha": alpha}, dataset)
    assert isinstance(strategy, Dst)
    name = CHAINS[family][0][1]
    params[name][2, 1] = weight
    thresholds(strategy)[strategy.place[name]][2] = t
    with torch.no_grad():
        strategy.effective(dict(params), Step(*STEP))
        gradients = {key: torch.zeros_like(tensor) for key, tensor in params.items()}
        gradients[name][2, 1] = given
        of_weights, (of_thresholds,) = strategy.pull_back(dict(params), gradients)
    x = abs(weight) - t
    s = 2 - 4 * abs(x) if abs(x) <= 0.4 else 0.4
    wanted = np.full(len(of_thresholds), -alpha)  # at t = 0
    wanted[strategy.place[name].start + 2] = -s * weight * given - alpha * math.exp(-t)
    np.testing.assert_allclose(of_thresholds.numpy(), wanted, rtol=1e-12)
    assert float(of_weights[name][2, 1]) == pytest.approx(((x > 0) + s * abs(weight)) * given)


@every_family
def test_a_weight_that_was_cut_may_come_back(dataset: DataSet, family: str) -> None:
    strategy, params = started(family, {"name": "dst"}, dataset)
    assert isinstance(strategy, Dst)
    name = CHAINS[family][0][0]
    params[name][0, 0] = 0.1
    thresholds(strategy)[strategy.place[name]][0] = 0.12
    with torch.no_grad():
        assert strategy.effective(dict(params), Step(*STEP))[name][0, 0] == 0
        gradients = {key: torch.zeros_like(tensor) for key, tensor in params.items()}
        gradients[name][0, 0] = -1.0
        found, _ = strategy.pull_back(dict(params), gradients)
        assert found[name][0, 0] < 0
        params[name] -= 0.2 * found[name]  # downhill: larger
        assert strategy.effective(dict(params), Step(*STEP))[name][0, 0] == params[name][0, 0] > 0.12


@every_family
def test_an_almost_empty_layer_gets_its_weights_back(dataset: DataSet, family: str) -> None:
    strategy, params = started(family, {"name": "dst"}, dataset)
    assert isinstance(strategy, Dst)
    first, second = CHAINS[family][0]
    state = TrainState.fresh({name: tensor.numpy() for name, tensor in params.items()})
    thresholds(strategy)[strategy.place[first]] = 100.0
    thresholds(strategy)[strategy.place[second]] = 100.0
    size = state.weights[second].size
    state.weights[second][0, 0] = 200.0  # one of them is left, which is more than 1 % here
    assert 0.01 * size < 1
    strategy.after_step(state, Step(1, 0, 0))
    assert not thresholds(strategy)[strategy.place[first]].any()
    assert (thresholds(strategy)[strategy.place[second]] == 100.0).all()


@every_family
def test_alpha_decides_how_much_is_cut(dataset: DataSet, family: str) -> None:
    def trained(alpha: float) -> Trainer:
        trainer = Trainer(dataset, spec_of(family, {"name": "dst", "alpha": alpha}, lr=0.02, epochs=6))
        fit = trainer.fit()
        assert fit.kept is not None
        for name, mask in fit.kept.masks.items():
            np.testing.assert_array_equal(mask, values(fit.kept.weights[name]) != 0)
        return trainer

    dear, free = trained(0.1), trained(0.0)
    assert active(dear) < active(free)
    # What is cut in the model that is kept is still there for training.
    assert all((dear.state.weights[name] != 0).all() for chain in CHAINS[family] for name in chain)


def test_zeros_of_a_sparse_start_stay(dataset: DataSet) -> None:
    trainer = Trainer(dataset, spec_of("phoenix", {"name": "dst", "init": "family"}))
    zero = trainer.state.weights["W_sums"] == 0
    trainer.fit()
    assert zero.any()
    assert not trainer.state.weights["W_sums"][zero].any()
