"""C-NODE: the weight of paths by brute force, and the proximal step."""

from __future__ import annotations

import numpy as np
import pytest

from dash_hpc.data import DataSet
from dash_hpc.ops.state import TrainState, values
from dash_hpc.pruning import Step
from dash_hpc.pruning.cnode import add_path_weight
from dash_hpc.training import Fit, Trainer
from tests.pruning.gated_runs import FAMILIES, active, spec_of
from tests.pruning.penalties import CHAINS, data, of_paths, pulled_back, started

every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def dataset() -> DataSet:
    return data()


def test_derivatives_are_those_of_all_paths_by_brute_force() -> None:
    """G = 3, m = 2, two branches, one of them of three layers: R is linear in every |w|."""
    rng = np.random.default_rng(4)
    shapes = {"A": (2, 3), "B": (3, 2), "C": (2, 3), "D": (4, 2), "E": (3, 4)}
    weights = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    chains = [["A", "B"], ["C", "D", "E"]]

    def total() -> float:
        return sum(of_paths([np.abs(weights[name]) for name in chain]) / 9 for chain in chains)

    found = {name: np.full(shape, 0.5) for name, shape in shapes.items()}
    add_path_weight(weights, chains, 0.3, found)
    for name, matrix in weights.items():
        for place in np.ndindex(matrix.shape):
            before, value = matrix[place], total()
            matrix[place] += 0.1 * np.sign(before)
            slope = (total() - value) / 0.1 * np.sign(before)
            matrix[place] = before
            assert found[name][place] == pytest.approx(0.5 + 0.3 * slope)


def test_without_price_it_trains_like_no_strategy(dataset: DataSet) -> None:
    free = Trainer(dataset, spec_of("phoenix", {"name": "cnode", "lambda_path_weight": 0.0}))
    plain = Trainer(dataset, spec_of("phoenix", {"name": "none"}))
    free.fit()
    plain.fit()
    for name, tensor in plain.state.weights.items():
        np.testing.assert_array_equal(values(free.state.weights[name]), values(tensor))


@every_family
def test_a_price_makes_paths_lighter(dataset: DataSet, family: str) -> None:
    def weight(price: float) -> float:
        spec = spec_of(family, {"name": "cnode", "lambda_path_weight": price}, lr=0.02, epochs=16)
        trainer = Trainer(dataset, spec)
        trainer.fit()
        return sum(of_paths([np.abs(trainer.state.weights[name]) for name in chain]) for chain in CHAINS[family])

    assert weight(10.0) < 0.5 * weight(0.0)


@every_family
def test_the_proximal_step_soft_thresholds_by_the_paths(dataset: DataSet, family: str) -> None:
    options = {"name": "cnode", "prox_threshold": 0.9}
    strategy, params = started(family, options, dataset)
    before = {name: tensor.numpy().copy() for name, tensor in params.items()}
    pulled_back(strategy, family, params, dataset)
    state = TrainState.fresh(before)
    rate = 0.5
    strategy.after_step(state, Step(1, 0, 0, rate))
    zeros = 0
    for chain in CHAINS[family]:
        for k, name in enumerate(chain):
            # What paths weigh through an entry, by brute force: R with that entry 1 and the others of its layer 0.
            through = np.empty(before[name].shape)
            for place in np.ndindex(through.shape):
                one = np.zeros(through.shape)
                one[place] = 1.0
                through[place] = of_paths([one if j == k else np.abs(before[other]) for j, other in enumerate(chain)])
            most = rate * 0.9 * through / through.mean()
            wanted = np.sign(before[name]) * np.maximum(np.abs(before[name]) - most, 0)
            np.testing.assert_allclose(state.weights[name], wanted, rtol=1e-12, atol=1e-15)
            assert ((state.weights[name] == 0) == (np.abs(before[name]) <= most)).all()
            zeros += int((state.weights[name] == 0).sum())
            before_again = state.weights[name].copy()
    assert zeros > 0
    strategy.after_step(state, Step(1, 1, 0, 0.0))  # no rate, no step
    np.testing.assert_array_equal(state.weights[name], before_again)


@every_family
def test_zeros_of_the_proximal_step_are_kept_and_not_active(dataset: DataSet, family: str) -> None:
    def trained(prox: float) -> tuple[Trainer, Fit]:
        trainer = Trainer(dataset, spec_of(family, {"name": "cnode", "prox_threshold": prox}, lr=0.02, epochs=10))
        return trainer, trainer.fit()

    trainer, fit = trained(0.5)
    kept = fit.kept
    assert kept is not None
    for name, mask in kept.masks.items():
        np.testing.assert_array_equal(mask, values(kept.weights[name]) != 0)
    total = sum(mask.size for mask in kept.masks.values())
    assert active(trainer) < 0.75 * total
    assert active(trained(0.0)[0]) > 0.95 * total
