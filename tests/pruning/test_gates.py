"""Hard-concrete gates: probabilities, draws, what is kept; the penalties of L0 and PathReg."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from dash_hpc.data import DataSet
from dash_hpc.models import family_named
from dash_hpc.ops.state import TrainState
from dash_hpc.pruning import Step
from dash_hpc.pruning.hard_concrete import Gated, drawn, open_chance, resolved
from dash_hpc.pruning.pathreg import open_paths
from dash_hpc.training import Fit, Trainer
from tests.pruning.gated_runs import FAMILIES, active, spec_of
from tests.pruning.penalties import CHAINS, data, started
from tests.small_runs import same_model

BETA = 2 / 3
GRID = (np.arange(200_000) + 0.5) / 200_000  # quadrature over u
every_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def dataset() -> DataSet:
    return data()


def location(drop: float) -> np.ndarray:
    return np.array([math.log((1 - drop) / drop)])


@pytest.mark.parametrize(("drop", "shut"), [(0.2, 0.0481), (0.5, 0.1682)])
def test_probabilities_are_the_published_ones(drop: float, shut: float) -> None:
    assert 1 - open_chance(location(drop), BETA)[0] == pytest.approx(shut, abs=5e-5)


@pytest.mark.parametrize("beta", [BETA, 0.3, 1 / 50])
@pytest.mark.parametrize("log_alpha", [-1.3, 0.0, 0.9, 3.0])
def test_draws_have_the_probabilities(log_alpha: float, beta: float) -> None:
    z, _ = drawn(np.array([log_alpha]), beta, GRID)
    assert (z > 0).mean() == pytest.approx(open_chance(np.array([log_alpha]), beta)[0], abs=1e-5)
    assert z.min() >= 0
    assert z.max() <= 1
    mirrored = drawn(np.array([-log_alpha]), beta, 1 - GRID)[0]
    np.testing.assert_allclose(z + mirrored, 1, atol=1e-12)


def test_an_even_gate_is_half_open_on_average() -> None:
    z, _ = drawn(location(0.5), BETA, GRID)
    assert z.mean() == pytest.approx(0.5, abs=1e-6)
    assert (z == 1).mean() == pytest.approx(0.1682, abs=5e-5)


def test_the_slope_of_a_draw_is_its_derivative() -> None:
    uniform = np.linspace(0.01, 0.99, 99)
    _, slope = drawn(np.full(99, 0.4), BETA, uniform)
    sides = [drawn(np.full(99, 0.4 + by), BETA, uniform)[0] for by in (1e-6, -1e-6)]
    np.testing.assert_allclose(slope, (sides[0] - sides[1]) / 2e-6, rtol=1e-6, atol=1e-9)
    assert (slope == 0).any()


def test_gates_that_are_resolved_close_and_open_for_good() -> None:
    # sigmoid(log α)·1.2 − 0.1: shut up to α/(1 + α) = 1/12, that is α = 1/11; open from α = 11.
    at = np.log([1 / 11.1, 1 / 10.9, 1.0, 10.9, 11.1])
    z = resolved(at)
    assert z[0] == 0.0
    assert 0 < z[1] < 0.01
    assert z[2] == pytest.approx(0.5)
    assert 0.99 < z[3] < 1
    assert z[4] == 1.0


@every_family
def test_gates_start_at_their_drop_rates(dataset: DataSet, family: str) -> None:
    strategy, params = started(family, {"name": "l0", "drop_first": 0.1, "drop_rest": 0.7}, dataset)
    log_alpha = strategy.parameters()[0][0].detach().numpy()
    begin = 0
    for chain in CHAINS[family]:
        for name, drop in zip(chain, (0.1, 0.7), strict=True):
            inputs = params[name].shape[1]
            own = log_alpha[begin : begin + inputs]
            np.testing.assert_allclose(own, location(drop)[0], atol=0.05)  # five standard deviations
            assert np.ptp(own) > 0
            begin += inputs
    assert begin == len(log_alpha)


def test_weights_start_as_asked() -> None:
    spec = {name: spec_of("phoenix", {"name": "l0", "init": name}) for name in ("paper", "family")}
    wide = data()
    paper, family = (Trainer(wide, spec[name]).state.weights for name in ("paper", "family"))
    plain = Trainer(wide, spec_of("phoenix", {"name": "none"})).state.weights
    for name, value in plain.items():
        assert family[name].tobytes() == value.tobytes()
    assert not paper["b_sums"].any()
    assert paper["v"].tobytes() == plain["v"].tobytes()
    big = Trainer(wide, spec_of("phoenix", {"name": "l0", "init": "paper"}, hidden=4000)).state.weights
    assert big["W_prods"].std() == pytest.approx(math.sqrt(2 / 4), rel=0.02)
    assert big["U_sums"].std() == pytest.approx(math.sqrt(2 / 4000), rel=0.02)


@every_family
def test_a_closed_unit_is_kept_as_zeros_that_are_not_active(dataset: DataSet, family: str) -> None:
    strategy, params = started(family, {"name": "l0"}, dataset)
    assert isinstance(strategy, Gated)
    log_alpha = strategy.parameters()[0][0].detach().numpy()
    first, second = CHAINS[family][0]
    log_alpha[...] = 5.0
    log_alpha[strategy.place[first]][1] = -3.0
    log_alpha[strategy.place[second]][0] = -2.5
    weights = {name: tensor.numpy().copy() for name, tensor in params.items()}
    masks = {name: np.ones(weights[name].shape, dtype=bool) for name in family_named(family).prunable}
    kept, active = strategy.final(weights, masks)
    again, _ = strategy.final(weights, masks)
    for name, mask in active.items():
        closed = {first: 1, second: 0}.get(name)
        wanted = weights[name].copy()
        if closed is not None:
            wanted[:, closed] = 0
        np.testing.assert_array_equal(kept[name], wanted)
        np.testing.assert_array_equal(mask, wanted != 0)
        assert kept[name].tobytes() == again[name].tobytes()  # nothing is drawn
        assert masks[name].all()


def test_alpha_stays_between_a_hundredth_and_a_hundred(dataset: DataSet) -> None:
    strategy, params = started("mlp", {"name": "l0"}, dataset)
    log_alpha = strategy.parameters()[0][0].detach().numpy()
    log_alpha[:2] = -50.0, 50.0
    strategy.after_step(TrainState.fresh({name: tensor.numpy() for name, tensor in params.items()}), Step(1, 0, 0))
    np.testing.assert_allclose(np.exp(log_alpha[:2]), [0.01, 100.0])


@every_family
def test_the_price_closes_gates_and_no_penalty_is_no_price(dataset: DataSet, family: str) -> None:
    def trained(**options: Any) -> tuple[Fit, int]:
        trainer = Trainer(dataset, spec_of(family, {"name": "l0", **options}, lr=0.1, epochs=20))
        return trainer.fit(), active(trainer)

    (_, dear), (fit, free) = trained(lambda_l0=10.0), trained(lambda_l0=0.0)
    assert dear < 0.5 * free
    unpriced, left = trained(lambda_l0=10.0, compat_no_l0_penalty=True)
    assert left == free
    same_model(unpriced, fit)


def test_what_drawn_gates_close_is_told(dataset: DataSet) -> None:
    strategy, _ = started("phoenix", {"name": "l0", "beta": 0.02}, dataset)
    (told,) = strategy.notes()
    # Half of the weights behind each kind of gate: P(z = 0) at β = 1/50 is nearly the drop rate itself.
    assert "closes 34.0% of the weights on average, the gates as they stand close 0.0%" in told


# PathReg


def test_open_paths_of_all_gates_and_of_none() -> None:
    m, genes = 5, 7
    assert 2 * open_paths([np.ones(genes), np.ones(m)])[0] == 2 * m
    assert open_paths([np.zeros(genes), np.ones(m)])[0] == 0


def test_open_paths_of_drawn_gates_are_those_of_chances_on_average() -> None:
    rng = np.random.default_rng(0)
    log_alpha = [rng.normal(0.5, 1, size) for size in (4, 3, 2)]

    def indicators() -> list[np.ndarray]:
        return [(drawn(own, BETA, rng.random(len(own)))[0] > 0).astype(float) for own in log_alpha]

    found = [open_paths(indicators())[0] for _ in range(4_000)]
    analytic = open_paths([open_chance(own, BETA) for own in log_alpha])[0]
    assert np.mean(found) == pytest.approx(analytic, abs=4 * np.std(found) / math.sqrt(len(found)))


def test_derivatives_of_open_paths_through_three_layers() -> None:
    rng = np.random.default_rng(1)
    gates = [rng.random(size) for size in (4, 3, 5)]
    brute = sum(a * b * c for a in gates[0] for b in gates[1] for c in gates[2]) / 4
    value, of_layer = open_paths(gates)
    assert value == pytest.approx(brute)
    for k, derivative in enumerate(of_layer):
        moved = [gate.copy() for gate in gates]
        moved[k][0] += 0.25  # linear in each gate
        assert (open_paths(moved)[0] - value) / 0.25 == pytest.approx(derivative)


@every_family
def test_the_price_of_paths_closes_gates(dataset: DataSet, family: str) -> None:
    def left(price: float) -> int:
        strategy = {"name": "pathreg", "lambda_path": price, "lambda_path_weight": 0.0}
        trainer = Trainer(dataset, spec_of(family, strategy, lr=0.1, epochs=16))
        trainer.fit()
        return active(trainer)

    assert left(10.0) < 0.5 * left(0.0)
