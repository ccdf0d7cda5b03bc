"""Small networks for tests: data that follow a known drive, and the state that knows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.integrate import solve_ivp

from dash_hpc.evidence.blocks import Block, grid_of
from dash_hpc.evidence.rows import Part, parts_of
from dash_hpc.evidence.state import Candidates, PriorEdges, State, Target, phi

TIMES = np.array([0.0, 2.0, 3.0, 7.0, 9.0])


def target(gene: int, members: Mapping[int, float], offset: float = 0.5, **more: object) -> Target:
    """A target whose drive is linear in its members' features."""
    nothing = np.empty(0, dtype=np.int64)
    genes = np.array(list(members), dtype=np.int64)
    coefficients = np.array(list(members.values()), dtype=np.float64)
    known = Candidates.unseen(nothing, nothing, nothing)
    options = {"drive_variance": 0.001, "other_variance": 0.0005, "excess": 0.0003, **more}
    return Target(gene, known, members=genes, coefficients=coefficients, offset=offset, **options)  # type: ignore[arg-type]


def state(n_genes: int, targets: Sequence[Target], noise: float, centre: float = 0.0) -> State:
    """All genes that are no target are constant."""
    constant = np.ones(n_genes, dtype=bool)
    constant[[found.gene for found in targets]] = False
    by_gene = {found.gene: found for found in sorted(targets, key=lambda found: found.gene)}
    return State(PriorEdges.none(n_genes), noise, constant, by_gene, np.full(n_genes, centre))


def simulate(
    known: State, rates: np.ndarray, start: np.ndarray, times: np.ndarray, feature: object = phi
) -> np.ndarray:
    """Solve x' = v (c(x) − x) from each row of ``start`` (N, G); return (N, K, G) without noise."""
    genes = known.n_genes

    def slope(_: float, flat: np.ndarray) -> np.ndarray:
        x = flat.reshape(-1, genes)
        features = feature(x) - known.centre  # type: ignore[operator]
        moves = np.zeros_like(x)
        for gene, found in known.targets.items():
            moves[:, gene] = rates[gene] * (found.drive(features) - x[:, gene])
        return moves.ravel()

    found = solve_ivp(slope, (0.0, times[-1]), start.ravel(), t_eval=times, rtol=1e-9, atol=1e-11)
    return found.y.T.reshape(len(times), -1, genes).transpose(1, 0, 2)


def block(values: np.ndarray, times: np.ndarray = TIMES) -> Block:
    """Trajectories (N, K, G) that share their times."""
    grid, at = grid_of(times)
    return Block(np.arange(len(values)), times, grid, at, values)


def parts(blocks: Sequence[Block], known: State, rates: np.ndarray) -> dict[int, tuple[Part, ...]]:
    """The rows of all targets."""
    return {gene: parts_of(blocks, gene, float(rates[gene])) for gene in known.targets}
