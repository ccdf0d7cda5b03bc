"""The epoch batch by batch: the operator's bits without hooks, PyTorch's gradients with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from dash_hpc.data import DataSet
from dash_hpc.models import initial_weights
from dash_hpc.ops.autograd import batch_loss
from dash_hpc.ops.phoenix import PRUNABLE, TENSORS
from dash_hpc.ops.prior_loss import PriorLoss
from dash_hpc.ops.state import TrainState, values
from dash_hpc.ops.train import EpochTask, train_epoch
from dash_hpc.pruning import Step, Strategy, create
from dash_hpc.rng import stream
from dash_hpc.study import StrategyOptions
from dash_hpc.training import epoch_batches
from dash_hpc.training.autograd_epoch import AutogradEpoch

LR = dict.fromkeys(TENSORS, 2e-3) | {"v": 1e-2}
ADAM = {"lr": LR, "betas": (0.9, 0.999), "eps": 1e-8}
SOLVER = {"method": "dopri5", "rtol": 1e-6, "atol": 1e-8, "step": 0.25, "max_steps": 500}


def masked_state() -> TrainState:
    rng = np.random.default_rng(1)
    weights = initial_weights(10, 4, rng, dtype=np.float64)
    masks = {name: rng.random(weights[name].shape) < 0.6 for name in PRUNABLE}
    return TrainState.fresh(weights, masks)


def pairs_of(dataset: DataSet) -> tuple[np.ndarray, ...]:
    pairs = dataset.train.pairs()
    return (
        pairs.y0,
        pairs.y1,
        pairs.t1 - pairs.t0,
        *epoch_batches(pairs.trajectory, "trajectory", 0, stream(0, "batch-order", 1)),
    )


@pytest.mark.parametrize("solver", [SOLVER, SOLVER | {"method": "rk4"}], ids=["dopri5", "rk4"])
@pytest.mark.parametrize("tau", [1.0, 0.3])
def test_two_epochs_have_the_bits_of_the_operator(dataset: DataSet, solver: dict[str, Any], tau: float) -> None:
    ours, theirs = masked_state(), masked_state()
    prior = None
    if tau < 1:
        assert dataset.prior is not None
        prior = PriorLoss(
            dataset.prior.motif, n_points=20, low=-0.5, high=0.5, rng=stream(0, "points"), dtype=np.dtype(np.float64)
        )
    epoch = AutogradEpoch(create({"name": "none"}, {}, dataset, 0))
    for _ in range(2):  # the second starts from moments that are not 0
        mine = epoch(EpochTask(ours, *pairs_of(dataset), **ADAM, solver=solver, tau=tau, prior=prior))
        other = train_epoch(theirs, *pairs_of(dataset), **ADAM, solver=solver, tau=tau, prior=prior)
        assert mine.reason is other.reason is None
        assert mine.loss.tobytes() == other.loss.tobytes()
        assert mine.evaluations == other.evaluations
    assert ours.step == theirs.step == 12
    for name in TENSORS:
        assert ours.weights[name].tobytes() == theirs.weights[name].tobytes()
        assert ours.moment1[name].tobytes() == theirs.moment1[name].tobytes()
        assert ours.moment2[name].tobytes() == theirs.moment2[name].tobytes()
    for name in PRUNABLE:
        assert (ours.weights[name][~ours.masks[name]] == 0).all()
        assert (ours.weights[name][ours.masks[name]] != 0).any()


def test_ends_that_were_not_observed_count_as_little_as_in_the_operator(dataset: DataSet) -> None:
    y0, y1, *others = pairs_of(dataset)
    y1 = np.where(np.random.default_rng(0).random(y1.shape) < 0.2, np.nan, y1)
    ours, theirs = masked_state(), masked_state()
    epoch = AutogradEpoch(create({"name": "none"}, {}, dataset, 0))
    mine = epoch(EpochTask(ours, y0, y1, *others, **ADAM, solver=SOLVER))
    other = train_epoch(theirs, y0, y1, *others, **ADAM, solver=SOLVER)
    assert mine.reason is other.reason is None
    assert mine.loss.tobytes() == other.loss.tobytes()
    for name in TENSORS:
        assert ours.moment1[name].tobytes() == theirs.moment1[name].tobytes()


def test_prior_loss_pulls_towards_the_prior(dataset: DataSet) -> None:
    assert dataset.prior is not None
    loss = PriorLoss(
        dataset.prior.motif, n_points=50, low=-0.5, high=0.5, rng=stream(0, "prior-points"), dtype=np.dtype(np.float64)
    )

    fast = ADAM | {"lr": dict.fromkeys(TENSORS, 1e-2)}

    def reached(tau: float) -> float:
        state = masked_state()
        epoch = AutogradEpoch(create({"name": "none"}, {}, dataset, 0))
        solver = SOLVER | {"method": "rk4", "step": 1.0}
        for _ in range(4):
            epoch(EpochTask(state, *pairs_of(dataset), **fast, solver=solver, tau=tau, prior=loss))
        return float(loss({name: torch.from_numpy(state.weights[name]) for name in TENSORS}))

    assert reached(0.05) < 0.8 * reached(1.0)


class Gated(Strategy):
    """One trainable gate for all of W_sums, and a penalty on it."""

    name: ClassVar[str] = "gated"

    def __init__(self, dataset: DataSet, strength: float) -> None:
        super().__init__(StrategyOptions(), {}, dataset, 0)
        self.gate = torch.ones((), dtype=torch.float64, requires_grad=True)
        self.strength = strength

    def parameters(self) -> list[tuple[Tensor, float | None]]:
        return [(self.gate, None)]

    def effective(self, params: dict[str, Tensor], step: Step) -> dict[str, Tensor]:
        return params | {"W_sums": params["W_sums"] * self.gate}

    def penalty(self, params: dict[str, Tensor], step: Step) -> Tensor | None:
        return self.strength * self.gate.abs()


def test_hooks_take_part_in_the_loss(dataset: DataSet) -> None:
    def gate_after(strength: float) -> float:
        strategy = Gated(dataset, strength)
        epoch = AutogradEpoch(strategy)
        state = masked_state()
        for _ in range(3):
            result = epoch(EpochTask(state, *pairs_of(dataset), **ADAM, solver=SOLVER | {"method": "rk4"}))
            assert result.reason is None
        return float(strategy.gate.detach())

    assert gate_after(100.0) == pytest.approx(1 - 18 * 2e-3, abs=1e-6)  # Adam: one rate per step downhill
    assert gate_after(0.0) > gate_after(100.0)


class Sigmoids(Strategy):
    """A gate per weight of all four matrices, and the sum of the gates as a penalty."""

    name: ClassVar[str] = "sigmoids"

    def start(self, weights: Any, masks: Any, context: Any) -> None:
        self.gates = {
            name: torch.from_numpy(np.linspace(-1, 1, values(weights[name]).size).reshape(values(weights[name]).shape))
            .to(torch.from_numpy(weights["v"]).dtype)
            .requires_grad_()
            for name in PRUNABLE
        }

    def parameters(self) -> list[tuple[Tensor, float | None]]:
        return [(gate, None) for gate in self.gates.values()]

    def effective(self, params: dict[str, Tensor], step: Step) -> dict[str, Tensor]:
        return params | {name: params[name] * torch.sigmoid(gate) for name, gate in self.gates.items()}

    def penalty(self, params: dict[str, Tensor], step: Step) -> Tensor | None:
        return 1e-3 * sum((torch.sigmoid(gate).sum() for gate in self.gates.values()), torch.zeros(())) + (
            1e-2 * params["v"].square().sum()
        )


class ByHand(Sigmoids):
    """The same, pulled back by hand."""

    name: ClassVar[str] = "by_hand"

    def pull_back(
        self, params: dict[str, Tensor], gradients: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        assert not torch.is_grad_enabled()
        found, own = dict(gradients), []
        for name, gate in self.gates.items():
            opened = torch.sigmoid(gate)
            found[name] = gradients[name] * opened
            own.append((gradients[name] * params[name] + 1e-3) * opened * (1 - opened))
        found["v"] = gradients["v"] + 2e-2 * params["v"]
        return found, own


@pytest.mark.parametrize("kind", [Sigmoids, ByHand])
@pytest.mark.parametrize("tau", [1.0, 0.3])
def test_gradients_are_those_of_pytorch(dataset: DataSet, tau: float, kind: type[Sigmoids]) -> None:
    """Adam's first moments of the first step are (1 - beta1) times the gradients."""
    assert dataset.prior is not None
    y0, y1, dt, _, index = pairs_of(dataset)
    prior = PriorLoss(
        dataset.prior.motif, n_points=20, low=-0.5, high=0.5, rng=stream(0, "points"), dtype=np.dtype(np.float64)
    )
    state = masked_state()
    strategy = kind(StrategyOptions(), {}, dataset, 0)
    strategy.start(state.weights, state.masks, None)
    params = {name: torch.tensor(state.weights[name], requires_grad=True) for name in TENSORS}
    effective, chosen = strategy.effective(params, Step(1, 0, 0)), torch.from_numpy(index[:4])
    data = batch_loss(effective, *(torch.from_numpy(array)[chosen] for array in (y0, y1, dt)), SOLVER)
    penalty = strategy.penalty(params, Step(1, 0, 0))
    assert penalty is not None
    (tau * data + (1 - tau) * prior(effective) + penalty).backward()
    wanted = [params[name].grad for name in TENSORS] + [gate.grad for gate in strategy.gates.values()]

    epoch = AutogradEpoch(strategy)
    batch = EpochTask(state, y0, y1, dt, np.array([0, 4]), index[:4], **ADAM, solver=SOLVER, tau=tau, prior=prior)
    result = epoch(batch)
    assert result.loss[0] == pytest.approx(data.item(), rel=1e-9)
    own = epoch.own_state()
    found = [*state.moment1.values(), *(own[f"{k}/moment1"] for k in range(4))]
    masks = [state.masks.get(name) for name in TENSORS] + [None] * 4
    for moment, gradient, mask in zip(found, wanted, masks, strict=True):
        assert gradient is not None
        expected = 0.1 * gradient.numpy() * (1 if mask is None else mask)
        np.testing.assert_allclose(moment, expected, rtol=1e-6, atol=1e-9)


def test_a_loss_that_is_not_finite_stops_before_the_step(dataset: DataSet) -> None:
    class Poisoned(Gated):
        def penalty(self, params: dict[str, Tensor], step: Step) -> Tensor | None:
            return params["v"].sum() * float("nan")

    state = masked_state()
    before = {name: value.copy() for name, value in state.weights.items()}
    result = AutogradEpoch(Poisoned(dataset, 1.0))(
        EpochTask(state, *pairs_of(dataset), **ADAM, solver=SOLVER | {"method": "rk4"})
    )
    assert result.reason is not None
    assert "NaN" in result.reason
    assert state.step == 0
    for name in TENSORS:
        np.testing.assert_array_equal(state.weights[name], before[name])


def test_a_solve_that_fails_is_reported(dataset: DataSet, make_spec: Callable[..., dict[str, Any]]) -> None:
    state = masked_state()
    result = AutogradEpoch(Gated(dataset, 0.0))(
        EpochTask(state, *pairs_of(dataset), **ADAM, solver=SOLVER | {"max_steps": 1})
    )
    assert result.reason is not None
    assert "number of steps" in result.reason
    assert np.isnan(result.loss).all()
