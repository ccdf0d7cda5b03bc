"""The MLP under the trainer: every strategy, resumed, in a pack, and in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.sparse import issparse

from dash_hpc.data import DataSet
from dash_hpc.evaluation import bioprune_curve, evaluate, structural_edges
from dash_hpc.models import family_named
from dash_hpc.ops.state import TrainState
from dash_hpc.pruning import Step, Strategy, create, registry
from dash_hpc.pruning.base import Context
from dash_hpc.store import RunWriter, read_run
from dash_hpc.training import Checkpoint, Pack, Trainer
from tests.small_runs import MakeSpec, same, same_model

MLP = {"family": "mlp"}
STRATEGIES = {
    "none": {"name": "none"},
    "imp": {"name": "imp"},
    "imp, rewound": {"name": "imp", "rewind": "init"},
    "bioprune": {"name": "bioprune"},
    "dash": {"name": "dash", "lambda_ppi": 0.2, "lambda_motif": 0.1},
    "structured": {"name": "structured"},
    "structured, pruned": {"name": "structured", "prune": True},
}
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)


@every_strategy
def test_it_trains_resumes_and_packs_under_every_strategy(
    dataset: DataSet, make_spec: MakeSpec, strategy: dict[str, Any], tmp_path: Path
) -> None:
    spec = make_spec(MLP, strategy)
    made: list[Checkpoint] = []
    whole = Trainer(dataset, spec).fit(checkpoint=made.append, checkpoint_seconds=0)
    assert whole.epoch == 4
    assert whole.history["train_mse"][-1] < whole.history["train_mse"][0]
    assert [checkpoint.epoch for checkpoint in made] == [1, 2, 3]
    same(whole, Trainer(dataset, spec).fit(resume=made[1]))  # after the first event, before the second

    other = {**spec, "seed": 1}
    together = Pack(threads=2).run([Trainer(dataset, run).steps() for run in (spec, other)])
    same(whole, together[0])

    kept = whole.kept
    assert kept is not None
    metrics = evaluate(kept.weights, kept.masks, dataset, solver=spec["solver"], model=spec["model"])
    prunes = strategy.get("prune", strategy["name"] not in ("none", "structured"))
    assert metrics["validation_mse"] == pytest.approx(kept.validation_mse, rel=1e-3)
    if strategy["name"] == "structured":
        assert all(issparse(kept.weights[name]) for name in kept.masks)
        assert not (structural_edges(kept.weights, kept.masks) & (dataset.prior.motif.toarray().T == 0)).any()
    elif prunes:
        assert metrics["sparsity"] == pytest.approx(0.6 if kept.epoch >= 3 else 0.5, abs=0.03)
    assert {event["tensor"] for event in whole.events} == ({"mlp_in", "mlp_out"} if prunes else set())

    writer = RunWriter(tmp_path, "0" * 16, {"strategy": strategy, "seed": 0}, {})
    writer.finish(
        history=whole.history, events=whole.events, weights=kept.weights, masks=kept.masks, epoch=kept.epoch,
        metrics=metrics, genes=dataset.genes,
    )  # fmt: skip
    network = read_run(writer.path).network
    assert network is not None
    for name, tensor in kept.weights.items():
        found = network.weights[name]
        assert issparse(found) == issparse(tensor)
        np.testing.assert_array_equal(*(side.toarray() if issparse(side) else side for side in (found, tensor)))
    assert network.masks.keys() == kept.masks.keys()


def test_the_rate_is_not_trained_and_tells_the_unit_of_time(dataset: DataSet, make_spec: MakeSpec) -> None:
    trainer = Trainer(dataset, make_spec(MLP, {"name": "none"}))
    kept = trainer.fit().kept
    assert kept is not None
    assert trainer.state.weights["mlp_rate"].tolist() == [1.0]
    assert kept.weights["mlp_rate"].item() == pytest.approx(1 / dataset.time_unit)


def test_dash_scores_are_those_of_two_layers(dataset: DataSet) -> None:
    # Ω₁ = (1−λ₁)W̃ + λ₁|PInv_L(Sᵀ) C|, Ω₂ = (1−λ₂)W̃ + λ₂|P PInv_R(Ω₁)| (methods, section 2.1), by LAPACK.
    family, rng = family_named("mlp"), np.random.default_rng(5)
    weights = family.initial({"hidden": 2, "dtype": "float64"}, 8, rng)
    options = {"name": "dash", "lambda_ppi": 0.3, "lambda_motif": 0.2, "normalise_interactions": False, "ridge": 0.0}
    strategy = create(options, {}, dataset, seed=3)
    masks = {name: np.ones(weights[name].shape, bool) for name in family.prunable}
    strategy.start(weights, masks, Context(dataset, dataset.train.pairs(), {}, 3))
    S = strategy.omega["mlp"].copy()
    C, P = dataset.prior.interactions(normalise=False).toarray(), dataset.prior.target_by_regulator().toarray()
    scores, records = strategy.scores(weights, masks)
    size = {name: np.abs(weights[name]) / np.abs(weights[name]).sum() for name in family.prunable}
    first = 0.7 * size["mlp_in"] + 0.3 * np.abs(np.linalg.pinv(S.T) @ C)
    second = 0.8 * size["mlp_out"] + 0.2 * np.abs(P @ np.linalg.pinv(first))
    np.testing.assert_allclose(scores["mlp_in"], first, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(scores["mlp_out"], second, rtol=1e-8, atol=1e-12)
    assert len(records) == 2


def test_bioprune_needs_no_training(dataset: DataSet, make_spec: MakeSpec) -> None:
    trainer = Trainer(dataset, make_spec(MLP, {"name": "bioprune"}))
    trainer.fit()
    edges = structural_edges(trainer.state.weights, trainer.state.masks)
    curve = bioprune_curve(
        dataset.prior, dataset.prior.motif, hidden=3, schedule={"first_fraction": 0.5, "fraction": 0.2}, seeds=(0,),
        events=2, family="mlp",
    )  # fmt: skip
    assert curve["out_degree"].iloc[-1] * dataset.n_genes == edges.sum() < dataset.n_genes**2
    assert curve["active_weights"].iloc[-1] == sum(int(mask.sum()) for mask in trainer.state.masks.values())


def test_dash_without_a_prior_is_magnitude_pruning(dataset: DataSet, make_spec: MakeSpec) -> None:
    runs = [
        Trainer(dataset, make_spec(MLP, strategy)).fit()
        for strategy in ({"name": "imp"}, {"name": "dash", "lambda_ppi": 0.0, "lambda_motif": 0.0})
    ]
    same_model(*runs)
    for column, entries in runs[0].history.items():
        assert column.startswith("seconds") or entries == runs[1].history[column], column


@pytest.mark.parametrize("multipliers", [False, True])
def test_the_prior_loss_pulls_the_network_towards_the_prior(
    dataset: DataSet, make_spec: MakeSpec, multipliers: bool
) -> None:
    def distance(tau: float) -> float:
        spec = make_spec(MLP, {"name": "none"}, tau=tau, epochs=8, lr=3e-2)
        spec["training"]["prior_multipliers"] = multipliers
        trainer = Trainer(dataset, spec)
        trainer.fit()
        loss = trainer.family.prior_loss(
            dataset.prior.expected_effects(), n_points=50, low=-0.5, high=0.5, rng=np.random.default_rng(0),
            dtype=np.dtype("float32"), multipliers=multipliers,
        )  # fmt: skip
        import torch

        return float(loss({name: torch.from_numpy(value) for name, value in trainer.state.weights.items()}))

    assert distance(0.05) < 0.8 * distance(1.0)


def test_a_state_of_any_family_is_trained_in_place_or_not_at_all(dataset: DataSet, make_spec: MakeSpec) -> None:
    trainer = Trainer(dataset, make_spec(MLP, {"name": "none"}))
    assert isinstance(trainer.state, TrainState)
    assert set(trainer.state.masks) == {"mlp_in", "mlp_out"}
    before = trainer.state.weights["mlp_in"]
    trainer.fit()
    assert trainer.state.weights["mlp_in"] is before


class Gated(Strategy):
    """A gate for the first matrix, whatever the family."""

    name: ClassVar[str] = "gated"

    def start(self, weights: Any, masks: Any, context: Any) -> None:
        self.first = next(iter(masks))
        self.gate = torch.ones((), dtype=torch.float32, requires_grad=True)

    def parameters(self) -> list[tuple[torch.Tensor, float | None]]:
        return [(self.gate, None)]

    def effective(self, params: dict[str, torch.Tensor], step: Step) -> dict[str, torch.Tensor]:
        return params | {self.first: params[self.first] * self.gate}


def test_gates_pull_back_through_it_and_resume(
    dataset: DataSet, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.STRATEGIES, "gated", Gated)
    spec = make_spec(MLP, {"name": "gated"})
    made: list[Checkpoint] = []
    trainer = Trainer(dataset, spec)
    whole = trainer.fit(checkpoint=made.append, checkpoint_seconds=0)
    assert whole.history["train_mse"][-1] < whole.history["train_mse"][0]
    assert trainer.strategy.gate.item() != 1.0
    same(whole, Trainer(dataset, spec).fit(resume=made[1]))
