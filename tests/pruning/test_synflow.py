"""SynFlow: conservation, the derivative by PyTorch, and no layer that vanishes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from dash_hpc.data import DataSet
from dash_hpc.models import family_named
from dash_hpc.models.layers import Layer
from dash_hpc.ops.state import TrainState
from dash_hpc.pruning import Context, Strategy, create, play
from dash_hpc.pruning.synflow import flow_scores

Start = Callable[..., tuple[Strategy, TrainState]]


def chain(rng: np.random.Generator) -> list[Layer]:
    """Four layers of one branch, 5 -> 4 -> 6 -> 3 -> 5, one with multipliers, and a branch of two."""
    sizes = (5, 4, 6, 3, 5)
    layers = [
        Layer(f"w{k}", rng.normal(size=(sizes[k + 1], sizes[k])), "long", gain=rng.random(6) if k == 1 else None)
        for k in range(4)
    ]
    short = [Layer("first", rng.normal(size=(2, 5)), "short"), Layer("second", rng.normal(size=(5, 2)), "short")]
    return [short[0], *layers, short[1]]


def test_the_flow_is_conserved() -> None:
    """What flows into a unit flows out of it, and all layers of a branch carry the same."""
    rng = np.random.default_rng(3)
    layers = chain(rng)
    masks = {layer.name: rng.random(layer.tensor.shape) < 0.8 for layer in layers}
    scores = flow_scores(layers, masks)
    assert list(scores) == [layer.name for layer in layers]
    assert all((scores[layer.name][~masks[layer.name]] == 0).all() for layer in layers)
    for one, other in (("w0", "w1"), ("w1", "w2"), ("w2", "w3"), ("first", "second")):
        np.testing.assert_allclose(scores[one].sum(axis=1), scores[other].sum(axis=0), rtol=1e-12)
    totals = [scores[f"w{k}"].sum() for k in range(4)]
    np.testing.assert_allclose(totals, totals[0], rtol=1e-12)


def test_scores_are_the_derivative_of_the_flow() -> None:
    layers = chain(np.random.default_rng(4))
    params = {layer.name: torch.from_numpy(np.abs(layer.tensor)).requires_grad_() for layer in layers}
    flow = torch.zeros((), dtype=torch.float64)
    for branch in ("long", "short"):
        signal = torch.ones(5, dtype=torch.float64)
        for layer in (one for one in layers if one.branch == branch):
            signal = params[layer.name] @ signal
            signal = signal if layer.gain is None else torch.from_numpy(layer.gain) * signal
        flow = flow + signal.sum()
    flow.backward()
    scores = flow_scores(layers, {layer.name: np.ones(layer.tensor.shape, dtype=bool) for layer in layers})
    for name, param in params.items():
        np.testing.assert_allclose(scores[name], (param * param.grad).detach(), rtol=1e-12)


def test_on_phoenix_as_published(start: Start) -> None:
    """score(W[h,i]) = |W[h,i]| Σ_j r_j |U[j,h]| and score(U[j,h]) = r_j |U[j,h]| Σ_i |W[h,i]|, weight by weight."""
    strategy, state = start({"name": "synflow"})
    state.weights["v"][:5] *= -1
    scores, records = strategy.scores(state.weights, state.masks)
    r = np.maximum(state.weights["v"].astype(np.float64), 0)
    for branch in ("sums", "prods"):
        W, U = (np.abs(state.weights[f"{side}_{branch}"].astype(np.float64)) for side in "WU")
        for h in range(W.shape[0]):
            np.testing.assert_allclose(scores[f"W_{branch}"][h], W[h] * sum(r * U[:, h]), rtol=1e-12)
            np.testing.assert_allclose(scores[f"U_{branch}"][:, h], r * U[:, h] * sum(W[h]), rtol=1e-12, atol=0)
    by_tensor = dict(zip(scores, records, strict=True))
    assert by_tensor["W_sums"]["flow"] == pytest.approx(by_tensor["U_sums"]["flow"], rel=1e-12)


def test_compressed_layers_are_those_spread_out() -> None:
    rng = np.random.default_rng(6)
    dense = [np.where(rng.random(shape) < 0.5, rng.normal(size=shape), 0) for shape in ((4, 6), (6, 4))]
    dense[0][0, 0] = dense[1][0, 0] = 1.0
    gain = rng.random(6)
    masks = [rng.random(one.shape) < 0.7 for one in dense]
    wanted = flow_scores(
        [Layer("a", dense[0], "b"), Layer("c", dense[1], "b", gain=gain)], {"a": masks[0], "c": masks[1]}
    )
    sparse = [csr_array(one) for one in dense]
    kept = [mask[one.toarray() != 0] for mask, one in zip(masks, sparse, strict=True)]
    found = flow_scores(
        [Layer("a", sparse[0], "b"), Layer("c", sparse[1], "b", gain=gain)], {"a": kept[0], "c": kept[1]}
    )
    for name, one in zip("ac", dense, strict=True):
        np.testing.assert_allclose(found[name], wanted[name][one != 0], rtol=1e-12)


def mlp(dataset: DataSet, options: dict[str, Any], scale: float = 1.0) -> tuple[Strategy, TrainState]:
    family = family_named("mlp")
    weights = family.initial({"hidden": 4, "dtype": "float32"}, 24, np.random.default_rng(2))
    for name in family.prunable:
        weights[name] *= np.float32(scale)
    masks = {name: np.ones(weights[name].shape, dtype=bool) for name in family.prunable}
    strategy = create(options, {}, dataset, 0)
    strategy.start(weights, masks, Context(dataset, dataset.train.pairs(), {}, 0))
    return strategy, TrainState.fresh(weights, masks)


@pytest.mark.parametrize("scale", [1.0, 1e25])
def test_no_layer_vanishes_before_it_must(dataset: DataSet, scale: float) -> None:
    """Two weights are left of 384, and they are a path; where flows are beyond float32 too."""
    strategy, state = mlp(dataset, {"name": "synflow", "keep": 2 / 384}, scale)
    fraction = strategy.fraction(1, 9)
    assert fraction is not None
    (records,) = play(strategy, state, [fraction])
    into, out = state.masks["mlp_in"], state.masks["mlp_out"]
    assert (into.sum(), out.sum()) == (1, 1)
    assert into.any(axis=1).tolist() == out.any(axis=0).tolist()
    assert all(np.isfinite(record["threshold"]) for record in records)
    # One round does not see what the others remove: this is what the rounds are for.
    once, alike = mlp(dataset, {"name": "synflow", "keep": 2 / 384, "iterations": 1}, scale)
    list(play(once, alike, [fraction]))
    assert any(not np.array_equal(alike.masks[name], state.masks[name]) for name in alike.masks)


@pytest.mark.parametrize("scope", ["local", "global"])
def test_rounds_are_a_geometric_schedule(start: Start, scope: str) -> None:
    """Against a plain loop: after round k of n the share ρ^(k/n) is left, each round ranked by its own flow."""
    options = {"name": "synflow", "when": "schedule", "scope": scope, "iterations": 4}
    strategy, state = start(options, {"first_fraction": 0.7, "fraction": 0.2})
    assert [strategy.fraction(epoch, 30) for epoch in (1, 2, 3, 10, 20, 30)] == [None, None, 0.7, 0.2, 0.2, None]
    masks = {name: mask.copy() for name, mask in state.masks.items()}
    r = np.maximum(state.weights["v"].astype(np.float64), 0)
    for fraction in (0.7, 0.2):
        before = {name: int(mask.sum()) for name, mask in masks.items()}
        for k in range(1, 5):
            scores = {}
            for name in ("W_prods", "W_sums", "U_sums", "U_prods"):
                branch = name[2:]
                W, U = (np.abs(state.weights[f"{side}_{branch}"] * masks[f"{side}_{branch}"]) for side in "WU")
                flow = (W.sum(axis=1, dtype=np.float64), (r[:, None] * U).sum(axis=0))
                scores[name] = W * flow[1][:, None] if name[0] == "W" else r[:, None] * U * flow[0]
            share = 1 - (1 - fraction) ** (k / 4) if k < 4 else fraction
            goal = {name: before[name] - round(share * before[name]) for name in scores}
            entries = sorted((scores[name][i, j], place, i, j, name) for place, name in enumerate(scores)
                             for i, j in zip(*np.nonzero(masks[name]), strict=True))  # fmt: skip
            surplus = {name: int(masks[name].sum()) - goal[name] for name in scores}
            left = sum(surplus.values())
            for _, _, i, j, name in entries:
                if (surplus[name] if scope == "local" else left) > 0:
                    masks[name][i, j] = False
                    surplus[name], left = surplus[name] - 1, left - 1
        list(play(strategy, state, [fraction]))
        for name in scores:
            np.testing.assert_array_equal(state.masks[name], masks[name])
