"""Strategies: limits of λ, counts, nesting, rewinding, refusals."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dash_hpc.data import DataSet
from dash_hpc.errors import PriorError, RunFailed, UsageError
from dash_hpc.ops.phoenix import PRUNABLE, TENSORS
from dash_hpc.ops.state import TrainState
from dash_hpc.pruning import STRATEGIES, Strategy, create, n_to_prune
from dash_hpc.pruning.base import EventScores
from dash_hpc.study import STRATEGIES as IN_STUDIES
from dash_hpc.study import StrategyOptions

Start = Callable[..., tuple[Strategy, TrainState]]
FRACTIONS = (0.7, *[0.1] * 8)
DASH = {"name": "dash", "lambda_ppi": 0.3, "lambda_motif": 0.2}


def masks_of(strategy: Strategy, state: TrainState, jitter: int | None = None) -> list[dict[str, np.ndarray]]:
    """Masks after each event; ``jitter`` seeds changes of the weights between events, as training makes them."""
    rng = np.random.default_rng(jitter)
    found = []
    for event, fraction in enumerate(FRACTIONS):
        scores, records = strategy.scores(state.weights, state.masks)
        assert len(records) == len(scores)
        for name, (mask, _) in strategy.select(scores, state.masks, fraction).items():
            state.masks[name][...] = mask
            state.weights[name][~mask] = 0
        strategy.after_event(state, event + 1)
        found.append({name: mask.copy() for name, mask in state.masks.items()})
        if jitter is not None:
            for name in TENSORS:
                state.weights[name] += rng.normal(0, 0.1, size=state.weights[name].shape).astype(np.float32)
                if name in PRUNABLE:
                    state.weights[name][~state.masks[name]] = 0
    return found


def same(a: list[dict[str, np.ndarray]], b: list[dict[str, np.ndarray]]) -> bool:
    return all(np.array_equal(x[name], y[name]) for x, y in zip(a, b, strict=True) for name in PRUNABLE)


@pytest.mark.parametrize("norm", ["paper", "unit_sum", "rank"])
@pytest.mark.parametrize("damping", [0.0, 0.5])
def test_dash_at_zero_is_imp_bit_for_bit(start: Start, norm: str, damping: float) -> None:
    options = {
        "name": "dash", "lambda_ppi": 0.0, "lambda_motif": 0.0, "score_norm": norm, "omega_damping": damping,
    }  # fmt: skip
    dash, dash_state = start(options)
    imp, imp_state = start({"name": "imp"})
    if norm == "paper":
        ours, _ = dash.scores(dash_state.weights, dash_state.masks)
        theirs, _ = imp.scores(imp_state.weights, imp_state.masks)
        assert list(ours) == list(theirs) == ["W_prods", "W_sums", "U_sums", "U_prods"]
        assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
    assert same(masks_of(dash, dash_state, jitter=8), masks_of(imp, imp_state, jitter=8))


@pytest.mark.parametrize("norm", ["paper", "unit_sum", "rank"])
def test_dash_at_one_is_bioprune_and_blind_to_weights(start: Start, norm: str) -> None:
    options = {"name": "dash", "lambda_ppi": 1.0, "lambda_motif": 1.0, "score_norm": norm}
    base = masks_of(*start({"name": "bioprune", "score_norm": norm}))
    assert same(base, masks_of(*start(options)))
    assert same(base, masks_of(*start(options, weight_seed=99), jitter=1))
    strategy, state = start(options)
    for name in TENSORS:
        state.weights[name] *= -1e4
    assert same(base, masks_of(strategy, state))
    assert not same(base, masks_of(*start(options, seed=1)))  # but not to Ω(0)


@pytest.mark.parametrize("options", [{"name": "imp"}, DASH, {"name": "bioprune"}], ids=lambda o: o["name"])
def test_counts_follow_the_lattice_and_masks_are_nested(start: Start, options: dict) -> None:
    masks = masks_of(*start(options), jitter=2)
    for name in PRUNABLE:
        active = masks[0][name].size
        before = np.ones(masks[0][name].shape, dtype=bool)
        for fraction, found in zip(FRACTIONS, masks, strict=True):
            active -= n_to_prune(fraction, active)
            assert found[name].sum() == active
            assert not (found[name] & ~before).any()
            before = found[name]


def test_same_seed_same_masks(start: Start) -> None:
    assert same(masks_of(*start(DASH), jitter=4), masks_of(*start(DASH), jitter=4))


def test_omega_stays_dense_and_survives_a_checkpoint(start: Start) -> None:
    strategy, state = start(DASH)
    scores, _ = strategy.scores(state.weights, state.masks)
    state.masks["W_sums"][:, 3:] = False
    state.weights["W_sums"][:, 3:] = 0
    again, _ = start(DASH, seed=7)
    again.load_state(strategy.state_arrays())
    ours, _ = strategy.scores(state.weights, state.masks)
    theirs, _ = again.scores(state.weights, state.masks)
    assert (scores["W_sums"] > 0).all()
    assert (ours["W_sums"][:, 3:] > 0).any()
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def test_records_carry_the_diagnostics(start: Start) -> None:
    strategy, state = start(DASH)
    _, records = strategy.scores(state.weights, state.masks)
    for record, share in zip(records, (0.7, 0.7, 0.8, 0.8), strict=True):
        assert record["data_mass"] == pytest.approx(share)
        assert record["prior_mass"] > 0
        assert record["method"] in ("cholesky", "svd")
        assert record["condition"] >= 1


def test_gaussian_omega_and_raw_interactions_change_the_masks(start: Start) -> None:
    base = masks_of(*start(DASH))
    assert not same(base, masks_of(*start(DASH | {"omega0": "gaussian"})))
    assert not same(base, masks_of(*start(DASH | {"normalise_interactions": False})))
    assert not same(base, masks_of(*start(DASH | {"omega_damping": 0.5})))


def test_a_failed_event_leaves_omega_alone(start: Start) -> None:
    strategy, state = start(DASH)
    before = strategy.state_arrays()
    state.weights["U_prods"][0, 0] = np.nan
    with pytest.raises(RunFailed, match="U_prods"):
        strategy.scores(state.weights, state.masks)
    for name, value in strategy.state_arrays().items():
        np.testing.assert_array_equal(value, before[name])


def test_rewinding_to_the_start(start: Start) -> None:
    strategy, state = start({"name": "imp", "rewind": "init"})
    initial = {name: value.copy() for name, value in state.weights.items()}
    rng = np.random.default_rng(0)
    for epoch in (3, 10, 20):
        for name in TENSORS:
            state.weights[name] += rng.normal(size=state.weights[name].shape).astype(np.float32)
            state.moment1[name][...] = 1.0
        state.step = 9
        scores, _ = strategy.scores(state.weights, state.masks)
        for name, (mask, _) in strategy.select(scores, state.masks, 0.3).items():
            state.masks[name][...] = mask
        strategy.after_event(state, epoch)
        for name in TENSORS:
            expected = initial[name] * state.masks[name] if name in PRUNABLE else initial[name]
            np.testing.assert_array_equal(state.weights[name], expected)
            assert not state.moment1[name].any()
        assert state.step == 0


def test_rewinding_to_an_epoch(start: Start) -> None:
    strategy, state = start({"name": "imp", "rewind": 2})
    at_two = {}
    for epoch in (1, 2, 3):
        for value in state.weights.values():
            value[...] = epoch * np.arange(value.size).reshape(value.shape)
        at_two = at_two or {name: value.copy() for name, value in state.weights.items() if epoch == 2}
        strategy.after_epoch(state, epoch)
    state.masks["W_prods"][:, 3:] = False
    again, _ = start({"name": "imp", "rewind": 2})
    again.load_state(strategy.state_arrays())
    for one in (strategy, again):
        for value in state.weights.values():
            value[...] = 50.0
        one.after_event(state, 4)
        for name, value in state.weights.items():
            np.testing.assert_array_equal(value, at_two[name] * state.masks.get(name, True))


@pytest.mark.parametrize("options", [{"name": "imp"}, DASH, {"name": "bioprune"}], ids=lambda o: o["name"])
def test_described_events_are_those_that_are_computed(start: Start, options: dict) -> None:
    (one, state), (two, _) = start(options), start(options)
    wanted, records = one.scores(state.weights, state.masks)
    yielded: list[object] = []

    def all_of(steps: Generator[Any, Any, EventScores]) -> EventScores:
        answer = None
        while True:
            try:
                yielded.append(steps.send(answer))
            except StopIteration as end:
                return end.value
            answer = yielded[-1].run()

    found, also = all_of(two.scoring(state.weights, state.masks))
    assert len(yielded) == (0 if options["name"] == "imp" else 1)
    assert list(found) == list(wanted)
    assert all(found[name].tobytes() == wanted[name].tobytes() for name in wanted)
    np.testing.assert_equal(also, records)
    for name, value in two.state_arrays().items():
        np.testing.assert_array_equal(value, one.state_arrays()[name])
    selection = two.select_task(wanted, state.masks, 0.3)
    assert selection is not None
    chosen = one.select(wanted, state.masks, 0.3)
    for name, (mask, threshold) in selection.run().items():
        np.testing.assert_array_equal(mask, chosen[name][0])
        assert threshold == chosen[name][1]


def test_a_selection_of_its_own_is_not_described(start: Start) -> None:
    class Whole(Strategy):
        def select(self, scores: object, masks: object, fraction: float) -> dict:
            return {}

    strategy, state = start({"name": "imp"})
    own = Whole(StrategyOptions(), {}, strategy.dataset, 0)
    assert own.select_task({}, state.masks, 0.3) is None


def test_none_never_prunes(start: Start) -> None:
    strategy, state = start({"name": "none"})
    assert all(strategy.fraction(epoch, 200) is None for epoch in range(1, 201))
    kept = strategy.final(state.weights, state.masks)[0]
    for name in TENSORS:
        np.testing.assert_array_equal(kept[name], state.weights[name])
        assert kept[name] is not state.weights[name]


def test_final_weights_apply_the_masks(start: Start) -> None:
    strategy, state = start({"name": "imp"})
    state.masks["W_sums"][0] = False
    kept = strategy.final(state.weights, state.masks)[0]
    assert (kept["W_sums"][0] == 0).all()
    assert (kept["W_sums"][1:] == state.weights["W_sums"][1:]).all()
    assert kept["W_sums"].dtype == state.weights["W_sums"].dtype


@pytest.mark.parametrize("options", [DASH, {"name": "bioprune"}], ids=lambda o: o["name"])
def test_a_missing_prior_is_named(dataset: DataSet, options: dict) -> None:
    with pytest.raises(PriorError, match=f"{options['name']} needs prior knowledge but data set 'small' has none"):
        create(options, {}, replace(dataset, prior=None), 0)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"name": "dahs"}, "did you mean 'dash'"),
        ({}, "unknown strategy None"),
        (DASH | {"lambda": 0.1}, "unknown option 'lambda'.*lambda_ppi"),
        ({"name": "dash", "lambda_ppi": 0.1}, "lambda_motif is missing"),
        ({"name": "bioprune", "lambda_ppi": 0.1}, "unknown option 'lambda_ppi'"),
        ({"name": "none", "x": 1}, "it has no options"),
        (DASH | {"lambda_ppi": 1.01}, "DashOptions: lambda_ppi = 1.01 must be between 0 and 1"),
        (DASH | {"omega0": "beta"}, "omega0 = 'beta' is unknown; there is uniform, gaussian"),
        (DASH | {"score_norm": "l2"}, "score_norm = 'l2' is unknown"),
        (DASH | {"omega_damping": 1.0}, "omega_damping = 1.0 must be 0 or larger and smaller than 1"),
        (DASH | {"ridge": -1.0}, "ridge = -1.0 must be"),
        ({"name": "imp", "rewind": "back"}, "rewind = 'back' must be"),
        ({"name": "imp", "rewind": True}, "rewind = True must be"),
        ({"name": "imp", "rewind": 3}, "smaller than schedule.first_epoch"),
        ({"name": "random", "keep": 0.1}, 'keep = 0.1 has no effect with when = "schedule": leave it out'),
        ({"name": "synflow", "when": "schedule", "keep": 0.1}, "keep = 0.1 has no effect"),
        ({"name": "sparseflow", "rounds": 3}, 'rounds = 3 has no effect with retrain = "continue"'),
        ({"name": "snip", "keep": 1.0}, "keep = 1.0 must be larger than 0 and smaller than 1"),
        ({"name": "pinn", "tau": 1.0}, "tau = 1.0 must be 0 or larger and smaller than 1"),
        ({"name": "pinn_mp"}, "p is missing"),
    ],
)
def test_refuses_wrong_options(dataset: DataSet, options: dict, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        create(options, {}, dataset, 0)


def test_options_of_another_strategy_are_refused(dataset: DataSet) -> None:
    options = STRATEGIES["bioprune"].Options()
    with pytest.raises(UsageError, match="strategy dash: give its options as DashOptions, got BioPruneOptions"):
        STRATEGIES["dash"](options, {}, dataset, 0)


def test_study_files_offer_the_options_of_the_strategies() -> None:
    assert {name: IN_STUDIES[name] for name in IN_STUDIES} == {name: cls.Options for name, cls in STRATEGIES.items()}


def test_the_registry_knows_its_strategies() -> None:
    first = ["none", "imp", "dash", "bioprune", "structured", "evidence"]
    assert list(STRATEGIES)[: len(first)] == first  # whose colours stay
    assert all(cls.name == name for name, cls in STRATEGIES.items())
