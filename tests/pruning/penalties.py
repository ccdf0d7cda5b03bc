"""Losses of strategies with gates and penalties, written down a second time, path by path and in plain PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch

from dash_hpc.data import DataSet
from dash_hpc.models import family_named
from dash_hpc.ops.solver import SolverOptions
from dash_hpc.pruning import Context, Step, Strategy, create
from tests.small_runs import relaxing

#: Layers of each branch, from the input, by family.
CHAINS: dict[str, list[list[str]]] = {
    "phoenix": [["W_prods", "U_prods"], ["W_sums", "U_sums"]],
    "mlp": [["mlp_in", "mlp_out"]],
}
MODEL = {"hidden": 2, "dtype": "float64", "init_U": "orthogonal"}
SOLVER = SolverOptions(method="rk4", step=0.5)
STEP = (3, 1, 5)  # epoch, batch, seed: always the same draws
Params = Mapping[str, torch.Tensor]


def data() -> DataSet:
    """Four genes; three trajectories of two steps."""
    return relaxing(4, [0.0, 1.0, 1.5], 3, noise=0.01)


def started(family: str, options: dict[str, Any], dataset: DataSet) -> tuple[Strategy, dict[str, torch.Tensor]]:
    """A strategy after its start, and the weights of its model: none is 0."""
    kind, rng = family_named(family), np.random.default_rng(2)
    weights = kind.initial(MODEL, dataset.n_genes, rng)
    for name in kind.prunable:
        weights[name] += rng.normal(0, 0.3, size=weights[name].shape)
    masks = {name: np.ones(weights[name].shape, dtype=bool) for name in kind.prunable}
    strategy = create(options, {}, dataset, 0)
    strategy.start(weights, masks, Context(dataset, dataset.train.pairs(), {}, 0))
    return strategy, {name: torch.from_numpy(value) for name, value in weights.items()}


def mse(family: str, params: Params, dataset: DataSet) -> torch.Tensor:
    """Of all training pairs."""
    pairs = dataset.train.pairs().in_unit(dataset.time_unit)
    y0, y1, dt = (torch.from_numpy(np.array(array)) for array in (pairs.y0, pairs.y1, pairs.t1 - pairs.t0))
    return family_named(family).loss(params, y0, y1, dt, SOLVER)


def pulled_back(
    strategy: Strategy, family: str, params: Params, dataset: DataSet
) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
    """Gradients of the whole loss as an epoch has them: of the data by autograd, the rest by the strategy."""
    with torch.no_grad():
        effective = strategy.effective(dict(params), Step(*STEP))
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in effective.items()}
    mse(family, leaves, dataset).backward()
    given = {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in leaves.items()}
    with torch.no_grad():
        return strategy.pull_back(dict(params), given)


def of_paths(factors: Sequence[np.ndarray]) -> float:
    """Σ over all paths of the product of what stands on it: matrices (outputs, inputs), one after the other."""
    sizes = [factors[0].shape[1], *(matrix.shape[0] for matrix in factors)]
    return sum(
        math.prod(float(matrix[b, a]) for matrix, a, b in zip(factors, path, path[1:], strict=False))
        for path in product(*map(range, sizes))
    )


def chance(log_alpha: np.ndarray, beta: float) -> np.ndarray:
    """P(z > 0) from the distribution: z > 0 when s > 1/12, that is logit u > β·logit(1/12) − log α."""
    return 1 / (1 + np.exp(beta * math.log((1 / 12) / (11 / 12)) - log_alpha))


def gates_of(strategy: Any, family: str, log_alpha: np.ndarray, beta: float) -> dict[str, np.ndarray]:
    """P(z > 0) by layer."""
    return {name: chance(log_alpha[strategy.place[name]], beta) for chain in CHAINS[family] for name in chain}


def path_weight(family: str, params: Params) -> float:
    """R: mean over (input, output) of Σ_paths Π|w|, of all branches."""
    total = 0.0
    for chain in CHAINS[family]:
        matrices = [np.abs(params[name].detach().numpy()) for name in chain]
        total += of_paths(matrices) / (matrices[0].shape[1] * matrices[-1].shape[0])
    return total


Penalty = Callable[[Any, str, Params, Sequence[np.ndarray], DataSet], float]


def l0(strategy: Any, family: str, params: Params, own: Sequence[np.ndarray], dataset: DataSet) -> float:
    """λ₀/N · expected number of open weights, one weight after the other."""
    gates = gates_of(strategy, family, own[0], strategy.options.beta)
    count = sum(float(gate) for name, of in gates.items() for gate in of for _ in range(params[name].shape[0]))
    return strategy.options.lambda_l0 * count / len(dataset.train.pairs())


def cnode(strategy: Any, family: str, params: Params, own: Sequence[np.ndarray], dataset: DataSet) -> float:
    """λ₁ · R."""
    return strategy.options.lambda_path_weight * path_weight(family, params)


def pathreg(strategy: Any, family: str, params: Params, own: Sequence[np.ndarray], dataset: DataSet) -> float:
    """λ_path · expected number of open paths per pair of genes + λ₁ · R."""
    gates = gates_of(strategy, family, own[0], strategy.options.beta)
    paths = 0.0
    for chain in CHAINS[family]:
        ones = [np.ones(params[name].shape) * gates[name] for name in chain]
        paths += of_paths(ones) / (ones[0].shape[1] * ones[-1].shape[0])
    return strategy.options.lambda_path * paths + strategy.options.lambda_path_weight * path_weight(family, params)
