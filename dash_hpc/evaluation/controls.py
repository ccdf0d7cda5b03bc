"""Controls that stand beside every balanced accuracy: what a predictor without any training reaches.

With fewer than one pair in a hundred being a true edge, balanced accuracy rewards naming the right
regulators. A model has shown something only where it beats these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from dash_hpc.data.variants import shuffled
from dash_hpc.errors import UsageError
from dash_hpc.evaluation.influence import active_weights, model_sparsity, structural_edges
from dash_hpc.evaluation.matrices import Product, column_counts, take
from dash_hpc.evaluation.network import Confusion, confusion, reference_coordinates
from dash_hpc.models.registry import family_named
from dash_hpc.ops.state import TrainState
from dash_hpc.rng import stream

__all__ = [
    "bioprune_curve",
    "margins_network",
    "prior_controls",
    "prior_network",
    "shuffled_accuracies",
    "shuffled_balanced_accuracy",
    "sources_network",
    "structure_controls",
]

_RATES = ("balanced_accuracy", "tpr", "tnr", "precision")


def prior_network(prior: Any, n_genes: int) -> csr_array:
    """Return the prior taken as the network: (G, G) bool, target × regulator."""
    targets, regulators = reference_coordinates(prior)
    return csr_array((np.ones(targets.size, dtype=bool), (targets, regulators)), shape=(n_genes, n_genes))


def margins_network(prior: Any, n_genes: int) -> Product:
    """Return every (source, target) pair of the prior's margins: (G, G) bool, target × regulator."""
    targets, regulators = reference_coordinates(prior)
    return _outer(targets, regulators, n_genes)


def sources_network(prior: Any, n_genes: int) -> Product:
    """Return every source of the prior joined to all genes: (G, G) bool, target × regulator."""
    _, regulators = reference_coordinates(prior)
    return _outer(np.arange(n_genes), regulators, n_genes)


def _outer(targets: np.ndarray, regulators: np.ndarray, n_genes: int) -> Product:
    is_target = np.zeros(n_genes, dtype=bool)
    is_target[targets] = True
    is_source = np.zeros(n_genes, dtype=bool)
    is_source[regulators] = True
    return Product(is_target, is_source)


def structure_controls(prior: Any, truth: Any, universe: str = "all") -> dict[str, Confusion]:
    """Compare three predictors made of the prior alone with the reference.

    Parameters
    ----------
    prior, truth : regulator × target networks, sparse or dense (G, G)
    universe : as in `confusion`

    Returns
    -------
    dict
        ``prior`` (the prior itself), ``margins`` (its sources × its targets), ``sources`` (its sources × all
        genes).
    """
    n_genes = truth.shape[0]
    makers = {"prior": prior_network, "margins": margins_network, "sources": sources_network}
    return {name: confusion(make(prior, n_genes), truth, universe) for name, make in makers.items()}


def prior_controls(prior: Any, truth: Any, *, draws: int = 20, seed: int = 0) -> dict[str, dict[str, float]]:
    """Compare what is left of a prior without its edges with the reference, over all G² pairs.

    Parameters
    ----------
    prior : Prior
    truth : (G, G), regulator × target
    draws : int, default 20
        Rewirings of the prior that are averaged.
    seed : int, default 0

    Returns
    -------
    dict
        ``shuffled_prior`` (rewired, every gene keeps its in- and out-degree; mean over draws), ``reversed_prior``
        (every edge turned round) and ``empty_prior`` (no edge at all), each with ``balanced_accuracy``, ``tpr``,
        ``tnr``, ``precision`` (NaN without an edge) and ``balanced_accuracy_reference_tfs``.
    """
    n_genes = truth.shape[0]
    rewirings = [shuffled(prior, stream(seed, "rewired-prior", draw)) for draw in range(draws)]
    empty = csr_array((n_genes, n_genes), dtype=bool)
    networks = {
        "shuffled_prior": [prior_network(one.motif, n_genes) for one in rewirings],
        "reversed_prior": [prior_network(prior.motif.T, n_genes)],
        "empty_prior": [empty],
    }
    found: dict[str, dict[str, float]] = {}
    for name, drawn in networks.items():
        counts = [confusion(one, truth) for one in drawn]
        rates = {rate: [getattr(one, rate) for one in counts] for rate in _RATES}
        inside = [confusion(one, truth, "reference_tfs").balanced_accuracy for one in drawn]
        found[name] = {rate: float(np.mean(values)) for rate, values in rates.items()}
        found[name]["balanced_accuracy_reference_tfs"] = float(np.mean(inside))
    return found


def shuffled_balanced_accuracy(
    edges: Any, truth: Any, *, draws: int = 200, seed: int = 0, universe: str = "all"
) -> float:
    """Mean balanced accuracy of the same network with its gene labels drawn anew.

    Regulators and targets are permuted independently, so the number of edges and all degrees stay; this is
    the chance level of a network of that shape (0.5 in expectation). ``edges`` (G, G) bool, target ×
    regulator; ``universe`` ("all" or "reference_tfs") as in `confusion`. NaN where a class is empty.
    """
    return shuffled_accuracies(edges, truth, draws=draws, seed=seed, universes=(universe,))[universe]


def shuffled_accuracies(
    edges: Any, truth: Any, *, draws: int = 200, seed: int = 0, universes: Sequence[str] = ("all", "reference_tfs")
) -> dict[str, float]:
    """Return `shuffled_balanced_accuracy` for several universes, from the same draws."""
    targets, regulators = reference_coordinates(truth)
    n_genes, n_true = edges.shape[0], len(targets)
    columns = {"all": np.arange(edges.shape[1]), "reference_tfs": np.unique(regulators)}
    for universe in universes:
        if universe not in columns:
            raise UsageError(f"universe {universe!r} of a shuffled network is not one of {', '.join(columns)}")
    used = {name: columns[name] for name in universes if n_true not in (0, n_genes * len(columns[name]))}
    totals = dict.fromkeys(used, 0.0)
    out_degree = column_counts(edges)
    for draw in range(draws) if used else ():
        rng = stream(seed, "shuffled-network", draw)
        new_target, new_regulator = rng.permutation(n_genes), rng.permutation(edges.shape[1])
        tp = int(np.count_nonzero(take(edges, new_target[targets], new_regulator[regulators])))
        for name, own in used.items():
            n_predicted = int(out_degree[new_regulator[own]].sum())
            fpr = (n_predicted - tp) / (n_genes * len(own) - n_true)
            totals[name] += 0.5 * (tp / n_true + 1.0 - fpr)
    return {name: totals[name] / draws if name in used else float("nan") for name in universes}


def bioprune_curve(
    prior: Any,
    truth: Any,
    *,
    hidden: int,
    schedule: Mapping[str, float],
    seeds: Iterable[int],
    events: int = 20,
    universe: str = "all",
    only: Collection[int] | None = None,
    family: str = "phoenix",
) -> pd.DataFrame:
    """Prune by the prior alone, without training (DASH with λ = (1, 1); Hossain et al. 2024, "BioPrune").

    With λ = 1 the scores do not depend on the weights, so all masks follow from the prior,
    the start Ω(0) (uniform) and the schedule.

    Parameters
    ----------
    prior : Prior
        With ``interactions()`` and ``target_by_regulator()``.
    truth : regulator × target network (G, G)
    hidden : int
        ``model.hidden`` of the study.
    schedule : mapping
        ``first_fraction`` and ``fraction``: shares of the active weights removed at the first and at later
        events.
    seeds : iterable of int
        One curve per seed.
    events : int
        Number of pruning events.
    universe : as in `confusion`
    only : collection of int, optional
        Measure the network after these events alone: pruning goes through all, but comparing takes the most time.
    family : str, default "phoenix"
        ``model.family`` of the study; its layers must have a relation to the prior.

    Returns
    -------
    pandas.DataFrame
        Columns seed, event (0 = first), sparsity, active_weights, balanced_accuracy, tpr, tnr, precision,
        balanced_accuracy_reference_tfs, out_degree.

    Raises
    ------
    UsageError
        When ``hidden`` or ``events`` is not positive.
    """
    from dash_hpc.pruning import BioPrune, BioPruneOptions, Context, play

    if hidden < 1 or events < 1:
        raise UsageError(f"hidden and events must be 1 or more, got {hidden} and {events}")
    n_genes = truth.shape[0]
    pruned = family_named(family)
    known: Any = SimpleNamespace(name="the prior's", prior=prior)  # all of a data set that the scores depend on
    fractions = [schedule["first_fraction"], *[schedule["fraction"]] * (events - 1)]
    rows: list[dict[str, float]] = []
    for seed in seeds:
        strategy = BioPrune(BioPruneOptions(), {}, known, seed)
        # With λ = 1 the weights only have to be admissible.
        shapes = pruned.shapes({"hidden": hidden}, n_genes)
        state = TrainState.fresh({name: np.ones(shape, dtype=np.float32) for name, shape in shapes.items()})
        strategy.start(state.weights, state.masks, Context(known, known, {}, seed))
        for event, _ in enumerate(play(strategy, state, fractions)):
            if only is not None and event not in only:
                continue
            edges = structural_edges(state.weights)
            result = confusion(edges, truth, universe)
            rows.append(
                {
                    "seed": seed,
                    "event": event,
                    "sparsity": model_sparsity(state.weights),
                    "active_weights": float(active_weights(state.weights)),
                    "balanced_accuracy": result.balanced_accuracy,
                    "tpr": result.tpr,
                    "tnr": result.tnr,
                    "precision": result.precision,
                    "balanced_accuracy_reference_tfs": confusion(edges, truth, "reference_tfs").balanced_accuracy,
                    "out_degree": float(np.count_nonzero(edges)) / n_genes,
                }
            )
    return pd.DataFrame(rows)
