"""Events without training, what they record, and the model that a strategy hands over."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

import numpy as np
import pytest
import torch

from dash_hpc.data import DataSet
from dash_hpc.errors import UsageError
from dash_hpc.ops.autograd import batch_loss
from dash_hpc.ops.gradients import GradientTask
from dash_hpc.ops.state import TrainState
from dash_hpc.pruning import EVENT_COLUMNS, EVENT_TIMES, Context, LatticeSchedule, Strategy, closed, play
from dash_hpc.pruning.base import EventScores
from dash_hpc.study import StrategyOptions

SOLVER = {"method": "rk4", "step": 0.25}
Start = Callable[..., tuple[Strategy, TrainState]]


class Smallest(Strategy):
    """Scores one matrix and says how it was done, in columns of its own."""

    def __init__(self, dataset: DataSet, diagnosis: dict[str, Any]) -> None:
        super().__init__(StrategyOptions(), {}, dataset, 0)
        self.diagnosis = diagnosis

    def scores(self, weights: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]) -> Any:
        return {"W_sums": np.abs(weights["W_sums"].astype(np.float64))}, [self.diagnosis]


def test_played_events_remove_the_smallest_of_what_is_left(start: Start, dataset: DataSet) -> None:
    _, state = start({"name": "none"})
    sizes = np.sort(np.abs(state.weights["W_sums"]).ravel())
    untouched = state.weights["U_sums"].copy()
    state.moment1["W_sums"][...] = 1.0
    left, found = sizes.size, []
    for records in play(Smallest(dataset, {"gain": 2.0, "how": "by hand"}), state, [0.5, 0.25]):
        (record,) = records
        assert tuple(record) == (*EVENT_COLUMNS, "gain", "how", *EVENT_TIMES)
        assert (record["epoch"], record["tensor"], record["n_before"]) == (len(found) + 1, "W_sums", left)
        assert (record["gain"], record["how"]) == (2.0, "by hand")
        left -= record["n_pruned"]
        found.append(record)
        assert np.array_equal(np.sort(np.abs(state.weights["W_sums"][state.masks["W_sums"]])), sizes[-left:])
    assert [record["n_pruned"] for record in found] == [84, 21]  # of 7 x 24
    assert not state.moment1["W_sums"][~state.masks["W_sums"]].any()
    np.testing.assert_array_equal(state.weights["U_sums"], untouched)


@pytest.mark.parametrize("column", ["n_before", "seconds_score"])
def test_a_diagnosis_leaves_the_common_columns_alone(start: Start, dataset: DataSet, column: str) -> None:
    _, state = start({"name": "none"})
    with pytest.raises(UsageError, match=f"'{column}' is a column of every event"):
        next(play(Smallest(dataset, {column: 1}), state, [0.5]))
    assert state.masks["W_sums"].all()


def test_scores_without_their_diagnosis_are_refused(start: Start, dataset: DataSet) -> None:
    class Silent(Smallest):
        def scores(self, weights: Any, masks: Any) -> Any:
            return super().scores(weights, masks)[0], []

    _, state = start({"name": "none"})
    with pytest.raises(UsageError, match="1 tensors have scores, 0 a diagnosis"):
        next(play(Silent(dataset, {}), state, [0.5]))


class Sensitivity(Strategy):
    """Scores a weight by |w · dL/dw| of one batch, whose gradients are worked out elsewhere (Lee et al. 2019)."""

    scheduled = True

    def start(self, weights: Any, masks: Any, context: Context) -> None:
        pairs = context.pairs
        self.data = (pairs.y0.astype(np.float32), pairs.y1.astype(np.float32), pairs.t1 - pairs.t0)

    def scoring(self, weights: Any, masks: Any) -> Generator[Any, Any, EventScores]:
        found = yield GradientTask(weights, masks, *self.data, np.arange(4), SOLVER)
        scores = {name: np.abs(weights[name] * found.gradients[name]).astype(np.float64) for name in masks}
        return scores, [{"loss": found.loss} for _ in scores]


def test_an_event_may_ask_for_gradients(start: Start, dataset: DataSet) -> None:
    _, state = start({"name": "none"})
    strategy = Sensitivity(StrategyOptions(), {}, dataset, 0)
    strategy.start(state.weights, state.masks, Context(dataset, dataset.train.pairs(), SOLVER, 0))
    params = {
        name: torch.tensor(tensor, dtype=torch.float64, requires_grad=True) for name, tensor in state.weights.items()
    }
    loss = batch_loss(params, *(torch.from_numpy(array[:4].astype(np.float64)) for array in strategy.data), SOLVER)
    loss.backward()
    records = next(play(strategy, state, [0.5]))
    assert records[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for name, mask in state.masks.items():
        assert params[name].grad is not None
        saliency = (params[name] * params[name].grad).abs().detach().numpy()
        assert saliency[mask].min() >= saliency[~mask].max() * (1 - 1e-4)
        assert mask.sum() == mask.size / 2


def test_a_schedule_lists_its_events() -> None:
    # The first at 3; at 10 and 20, but not at the last epoch.
    assert LatticeSchedule().events(30) == [(3, 0.7), (10, 0.1), (20, 0.1)]
    assert LatticeSchedule(first_epoch=10, every=5).events(12) == [(10, 0.7)]
    assert LatticeSchedule(first_epoch=50).events(30) == []


def test_closed_weights_are_not_active() -> None:
    weights = {"W": np.array([[1.0, -2.0, 0.0], [0.0, 3.0, 4.0]]), "v": np.array([0.0, 1.0])}
    masks = {"W": np.array([[True, False, True], [True, True, True]])}
    found, active = closed(weights, masks)
    np.testing.assert_array_equal(found["W"], [[1, 0, 0], [0, 3, 4]])
    np.testing.assert_array_equal(active["W"], [[True, False, False], [False, True, True]])
    assert list(active) == ["W"]
    assert masks["W"].sum() == 5
    np.testing.assert_array_equal(weights["W"][0], [1, -2, 0])
