"""The edge table: values by hand, dense and compressed alike, and no memory of size G·G."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from dash_hpc.errors import UsageError
from dash_hpc.evaluation import effects, matrices, structural_edges
from dash_hpc.network import edge_blocks, edge_table

GENES = ("A", "B", "C")
# Regulator × target: A acts on B and C on A; C represses B (the other entry is stored and 0, so no edge).
PRIOR = sp.csr_array(np.array([[0, 1, 0], [0, 0, 0], [1, 0, 0]]))
TRUTH = sp.csr_array(([-1.0, 0.0], ([2, 1], [1, 2])), shape=(3, 3))


def model() -> dict[str, Any]:
    """Three genes, two units. A has a multiplier below 0, so nothing acts on it.

    A on B: 2 · (3 · 1 − 3 · 1) = 0, an edge that cancels. C on B: 2 · 4 · 1 = 8.
    B on C: 0.5 · (−1) · 2 = −1. C on C: 0.5 · 6 · 1 = 3.
    """
    return {
        "W_sums": np.array([[1.0, 0, 0], [0, 2, 0]]),
        "W_prods": np.array([[0.0, 0, 1], [1, 0, 0]]),
        "U_sums": np.array([[5.0, 0], [3, 0], [0, -1]]),
        "U_prods": np.array([[0.0, 0], [4, -3], [6, 0]]),
        "b_sums": np.zeros(2),
        "b_prods": np.zeros(2),
        "v": np.array([-1.0, 2, 0.5]),
    }


def compressed(weights: dict[str, Any]) -> dict[str, Any]:
    return {name: sp.csr_array(value) if value.ndim == 2 else value for name, value in weights.items()}


FORMS = pytest.mark.parametrize("form", [dict, compressed])


@FORMS
def test_edges_by_hand(form: Any) -> None:
    table = edge_table(form(model()), genes=GENES, prior=PRIOR, truth=TRUTH)
    named = list(zip(*([GENES[k] for k in places] for places in (table.regulator, table.target)), strict=True))
    assert named == [("A", "B"), ("C", "B"), ("B", "C"), ("C", "C")]
    assert table.effect.tolist() == [0, 8, -1, 3]
    assert table.share.tolist() == [0, 1, -0.25, 0.75]
    assert table.sign.tolist() == [0, 1, -1, 1]
    assert table.in_prior is not None
    assert table.in_truth is not None
    assert table.in_prior.tolist() == [True, False, False, False]
    assert table.in_truth.tolist() == [False, True, False, False]
    assert table.out_degree.tolist() == [1, 1, 2]
    assert table.strength.tolist() == [0, 0.25, 1.75]
    assert len(table) == 4


def test_the_frame_is_named_and_strongest_first() -> None:
    frame = edge_table(model(), genes=GENES, prior=PRIOR).frame()
    assert list(frame) == ["regulator", "target", "effect", "share", "sign", "in_prior"]
    rows = frame[["regulator", "target", "effect", "in_prior"]].values.tolist()
    assert rows == [["C", "B", 8, False], ["C", "C", 3, False], ["B", "C", -1, False], ["A", "B", 0, True]]
    assert edge_table(model()).frame()["regulator"][0] == "gene 2"


def test_masked_weights_make_no_edge() -> None:
    masks = {name: np.ones_like(value, dtype=bool) for name, value in model().items() if value.ndim == 2}
    masks["U_prods"][1, 0] = False  # C on B
    table = edge_table(model(), masks, genes=GENES)
    assert [(GENES[r], GENES[t]) for r, t in zip(table.regulator, table.target, strict=True)] == [
        ("A", "B"), ("B", "C"), ("C", "C"),
    ]  # fmt: skip
    assert table.in_prior is table.in_truth is None


def random_model(seed: int, genes: int = 30, hidden: int = 4, dtype: Any = np.float32) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shapes = {"W_sums": (hidden, genes), "W_prods": (hidden, genes)}
    shapes |= {"U_sums": (genes, hidden), "U_prods": (genes, hidden)}
    weights = {n: (rng.normal(size=s) * (rng.random(s) < 0.3)).astype(dtype) for n, s in shapes.items()}
    return weights | {
        "b_sums": np.zeros(hidden, dtype),
        "b_prods": np.zeros(hidden, dtype),
        "v": rng.normal(size=genes).astype(dtype),
    }


@FORMS
@pytest.mark.parametrize("seed", range(3))
def test_it_says_what_the_matrices_say(form: Any, seed: int) -> None:
    weights = form(random_model(seed))
    table = edge_table(weights)
    rebuilt = np.zeros((3, 30, 30))
    for layer, column in zip(rebuilt, (np.ones(len(table)), table.effect, table.share), strict=True):
        layer[table.target, table.regulator] = column
    np.testing.assert_array_equal(rebuilt[0] > 0, structural_edges(weights))
    np.testing.assert_array_equal(rebuilt[1], effects(weights))
    np.testing.assert_array_equal(rebuilt[2], effects(weights, normalise=True))
    assert len(set(zip(table.target, table.regulator, strict=True))) == len(table)


def test_blocks_together_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = random_model(1)
    prior = sp.random_array((30, 30), density=0.2, rng=np.random.default_rng(0), format="csr")
    whole = edge_table(weights, prior=prior, truth=prior.toarray())
    monkeypatch.setattr(matrices, "BLOCK_ENTRIES", 32 * 7 * 30)
    parts = list(edge_blocks(weights, prior=prior, truth=prior.toarray()))
    assert len(parts) == 5  # of seven targets
    again = edge_table(weights, prior=prior, truth=prior.toarray())
    for name in ("regulator", "target", "in_prior", "in_truth"):
        column = getattr(whole, name)
        np.testing.assert_array_equal(column, np.concatenate([getattr(part, name) for part in parts]))
        np.testing.assert_array_equal(column, getattr(again, name))
    for name in ("effect", "share"):
        np.testing.assert_allclose(getattr(whole, name), getattr(again, name), rtol=1e-15)


def test_a_model_without_edges_has_an_empty_table() -> None:
    weights = {name: np.zeros_like(value) for name, value in model().items()}
    for form in (weights, compressed(weights)):
        table = edge_table(form, genes=GENES, prior=PRIOR, truth=sp.csr_array((3, 3)))
        assert len(table) == 0
        assert table.frame().empty
        assert table.strength.tolist() == [0, 0, 0]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="2 gene names for a model of 3 genes"):
        edge_table(model(), genes=("A", "B"))
    with pytest.raises(UsageError, match=r"prior must be \[3, 3\], got \[2, 2\]"):
        edge_table(model(), prior=np.eye(2))


def peak_bytes(function: Any) -> tuple[Any, int]:
    tracemalloc.start()
    try:
        result = function()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_whole_genome_takes_memory_by_its_edges() -> None:
    genes, each = 11_165, 12
    rng = np.random.default_rng(0)

    # One unit per gene: it reads three genes and writes to four, as the sparse models of priors do.
    def matrix(count: int) -> sp.csr_array:
        rows = np.repeat(np.arange(genes), count)
        columns = rng.integers(0, genes, genes * count)
        return sp.csr_array((rng.normal(size=len(rows)).astype(np.float32), (rows, columns)), shape=(genes, genes))

    weights = {"W_sums": matrix(3), "W_prods": matrix(3), "U_sums": matrix(4), "U_prods": matrix(4)}
    weights |= {"b_sums": np.zeros(genes, np.float32), "b_prods": np.zeros(genes, np.float32)}
    weights["v"] = np.ones(genes, np.float32)
    truth = matrix(2)
    table, peak = peak_bytes(lambda: edge_table(weights, truth=truth))
    assert genes * each * 1.9 < len(table) < genes * each * 2.01  # both branches; few coincide
    assert peak < 200 * len(table) < genes * genes / 2  # one byte per pair would be 125 MB


def test_a_dense_model_is_gone_through_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    genes = 2_000
    weights = random_model(0, genes, 2)
    for name in ("U_sums", "U_prods"):
        weights[name][20:] = 0  # most targets have no edge
    monkeypatch.setattr(matrices, "BLOCK_ENTRIES", 32 * 50 * genes)
    table, peak = peak_bytes(lambda: edge_table(weights, dtype=np.float32))
    assert 0 < len(table) < 40 * genes
    assert peak < genes * genes * 4 / 2


def test_the_strongest_of_equal_edges_are_the_first() -> None:
    weights = {**model(), "v": np.array([0.0, 1, 1])}
    weights["U_prods"] = np.array([[0.0, 0], [1, 0], [-1, 0]])  # C on B: 1, C on C: −1
    weights["U_sums"] = np.array([[0.0, 0], [2, 0], [0, 0.5]])  # A on B: 2, B on C: 1
    table = edge_table(weights, genes=GENES)
    assert table.effect.tolist() == [2, 1, 1, -1]
    assert [table.strongest(n).effect.tolist() for n in range(5)] == [[], [2], [2, 1], [2, 1, 1], [2, 1, 1, -1]]
    assert [GENES[k] for k in table.strongest(2).target] == ["B", "B"]
    assert table.strongest(9).effect.tolist() == table.strongest().effect.tolist() == [2, 1, 1, -1]
