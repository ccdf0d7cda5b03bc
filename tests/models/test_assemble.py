"""The model written down from drives computes what the drives say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.sparse import csr_array

from dash_hpc.evidence.fit import Drive
from dash_hpc.models.phoenix.assemble import assemble
from dash_hpc.models.phoenix.family import PhoenixFamily
from dash_hpc.ops.phoenix import check_weights
from dash_hpc.ops.solver import solve_arrays

GENES = 9
RATES = np.array([0.0, 0.0, 1.1, 0.8, 0.0, 1.3, 0.6, 0.9, 1.7])


def drives(seed: int = 0) -> dict[int, Drive]:
    """Sums, products, both, none; gene 8 moves but is no target, 0, 1 and 4 are constant."""
    rng = np.random.default_rng(seed)

    def drive(regulators: list[int], product: bool) -> Drive:
        k = len(regulators)
        powers = rng.normal(0, 0.8, k) if product else np.zeros(k)
        gain = 0.4 if product else 0.0
        return Drive(np.array(regulators, dtype=np.int64), 0.5, rng.normal(0, 0.4, k), gain, powers, product, 1.0)

    return {
        7: drive([], False),
        3: drive([0, 1], True),
        2: drive([1, 3, 6], False),
        6: drive([2, 4], True),
        5: drive([5, 8], True),
    }


def test_the_native_solution_is_that_of_the_drives() -> None:
    known = drives()
    weights = assemble(known, RATES)
    start = np.random.default_rng(1).uniform(0, 1, (6, GENES))

    def slope(_: float, flat: np.ndarray) -> np.ndarray:
        x = flat.reshape(6, GENES)
        moves = np.zeros_like(x)
        for gene, drive in known.items():
            moves[:, gene] = RATES[gene] * (drive(x[:, drive.regulators]) - x[:, gene])
        return moves.ravel()

    wanted = solve_ivp(slope, (0.0, 4.0), start.ravel(), rtol=1e-10, atol=1e-12).y[:, -1].reshape(6, GENES)
    found = solve_arrays(weights, start, np.full(6, 4.0), solver={"method": "dopri5", "rtol": 1e-8, "atol": 1e-10})
    assert found.ok.all()
    np.testing.assert_allclose(found.y1, wanted, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found.y1[:, [0, 1, 4, 8]], start[:, [0, 1, 4, 8]])


def edges(weights: dict[str, csr_array]) -> np.ndarray:
    """Target × regulator: whether a path of stored entries leads from one to the other."""
    stored = {name: abs(weights[name]) for name in ("W_sums", "U_sums", "W_prods", "U_prods")}
    return ((stored["U_sums"] @ stored["W_sums"] + stored["U_prods"] @ stored["W_prods"]) != 0).toarray()


def test_the_masks_have_the_accepted_edges_and_no_others() -> None:
    known = drives()
    weights = assemble(known, RATES, np.float32)
    wanted = np.zeros((GENES, GENES), dtype=bool)
    for gene, drive in known.items():
        wanted[gene, drive.regulators] = True
    np.testing.assert_array_equal(edges(weights), wanted)
    genes, m = check_weights(weights)
    assert (genes, m) == (GENES, 9)  # 8 regulators, and the unit of the levels
    assert tuple(weights) == tuple(tensor.name for tensor in PhoenixFamily.tensors)
    assert all(weights[tensor.name].dtype == np.float32 for tensor in PhoenixFamily.tensors)


@pytest.mark.parametrize("kept", [(), (7,), (3, 6)])
def test_small_models_are_models(kept: tuple[int, ...]) -> None:
    weights = assemble({gene: drive for gene, drive in drives().items() if gene in kept}, RATES)
    check_weights(weights)
    start = np.full((2, GENES), 0.3)
    found = solve_arrays(weights, start, np.ones(2), solver={"method": "dopri5", "rtol": 1e-8, "atol": 1e-10})
    moved = np.flatnonzero((found.y1 != start).any(axis=0))
    np.testing.assert_array_equal(moved, sorted(kept))


def test_permuted_genes_give_the_permuted_model() -> None:
    known = drives()
    order = np.random.default_rng(5).permutation(GENES)
    place = np.argsort(order)
    moved = {}
    for gene, drive in known.items():
        there = place[drive.regulators]
        by = np.argsort(there)
        moved[int(place[gene])] = Drive(
            there[by], drive.level, drive.slopes[by], drive.gain, drive.powers[by], drive.has_product, drive.gained
        )
    options = {"method": "dopri5", "rtol": 1e-8, "atol": 1e-10}
    start = np.random.default_rng(6).uniform(0, 1, (4, GENES))
    one = solve_arrays(assemble(known, RATES), start, np.full(4, 2.0), solver=options).y1
    other = solve_arrays(assemble(moved, RATES[order]), start[:, order], np.full(4, 2.0), solver=options).y1
    np.testing.assert_allclose(other, one[:, order], rtol=0, atol=1e-9)
