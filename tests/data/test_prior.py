"""Prior: derived matrices, corruption and withholding, what from_arrays refuses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array

from dash_hpc.data import Prior
from dash_hpc.errors import PriorError, UsageError
from dash_hpc.rng import stream

A = np.array([[0, 1, -1, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0.5, 0, 0, 0]])


def balanced_accuracy(network: csr_array, truth: csr_array) -> tuple[float, float]:
    """(BA, TPR) over all ordered pairs, self-pairs included."""
    guess, real = network.toarray() != 0, truth.toarray() != 0
    tpr, tnr = guess[real].mean(), 1 - guess[~real].mean()
    return (tpr + tnr) / 2, tpr


def random_prior(n_genes: int, n_edges: int, seed: int = 0) -> Prior:
    rng = np.random.default_rng(seed)
    places = rng.choice(n_genes * n_genes, n_edges, replace=False)
    motif = np.zeros(n_genes * n_genes)
    motif[places] = rng.choice([-1.0, 1.0], n_edges)
    return Prior.from_arrays(motif.reshape(n_genes, n_genes))


def test_derived_matrices() -> None:
    prior = Prior.from_arrays(A, genes=list("abcd"))
    np.testing.assert_array_equal(prior.target_by_regulator().toarray(), np.abs(A).T)
    c = np.abs(A) @ np.abs(A).T
    np.testing.assert_array_equal(prior.interactions(normalise=False).toarray(), c)
    np.testing.assert_allclose(prior.interactions().toarray(), c / c.sum(), rtol=1e-15)
    assert prior.interactions().sum() == pytest.approx(1, rel=1e-14)
    for matrix in (prior.motif, prior.target_by_regulator(), prior.interactions()):
        assert isinstance(matrix, csr_array)
        assert matrix.dtype == np.float64
        assert matrix.has_sorted_indices


def test_interactions_count_common_targets() -> None:
    prior = Prior.from_arrays(np.sign(A))
    common = prior.interactions(normalise=False)
    assert common[0, 0] == 2
    assert common[0, 1] == 1
    assert common[0, 3] == 0


def test_given_interactions_are_used_and_not_changed() -> None:
    ppi = np.array([[1, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0.0]])
    prior = Prior.from_arrays(A, ppi=ppi)
    np.testing.assert_array_equal(prior.interactions(normalise=False).toarray()[:2, :2], [[1, 2], [2, 1]])
    assert prior.interactions()[0, 1] == pytest.approx(2 / 6)
    assert prior.ppi is not None
    assert prior.ppi[0, 1] == 2


def test_from_arrays_takes_sparse_and_copies() -> None:
    sparse = coo_array(A)
    prior = Prior.from_arrays(sparse)
    sparse.data[:] = 9
    np.testing.assert_array_equal(prior.motif.toarray(), A)
    explicit = csr_array((np.array([1.0, 0.0]), (np.array([0, 1]), np.array([1, 0]))), shape=(2, 2))
    assert Prior.from_arrays(explicit).n_edges == 1


def test_no_interactions_at_all() -> None:
    with pytest.raises(PriorError, match="no interactions and no edges to derive them from"):
        Prior.from_arrays(np.zeros((3, 3))).interactions()
    assert Prior.from_arrays(np.zeros((3, 3))).interactions(normalise=False).nnz == 0


@pytest.mark.parametrize(
    ("motif", "kwargs", "message"),
    [
        (np.zeros((2, 3)), {}, r"motif must be \[G, G\] \(regulators × targets\), got \[2, 3\]"),
        (np.zeros(3), {}, r"motif must be \[G, G\].*got \[3\]"),
        (np.zeros((0, 0)), {}, r"motif must be \[G, G\].*got \[0, 0\]"),
        (csr_array((2, 3)), {}, r"motif must be \[G, G\].*got \[2, 3\]"),
        (np.eye(2), {"genes": ["A"]}, "prior: 1 gene names for 2 genes"),
        (np.eye(2), {"genes": ["A", "A"]}, "prior: gene names must be distinct, but A occurs"),
        ([[0, np.nan], [0, 0]], {"genes": ["A", "B"]}, "motif: the weight of A -> B is not finite"),
        ([[0, 0], [np.inf, 0]], {"genes": ["A", "B"]}, "motif: the weight of B -> A is not finite"),
        (np.eye(2), {"ppi": np.eye(3)}, r"ppi must be \[2, 2\] as motif, got \[3, 3\]"),
        (np.eye(2), {"ppi": [[0, np.nan], [0, 0]]}, "ppi: the weight of gene1 -> gene2 is not finite"),
        (np.eye(2), {"ppi": -np.eye(2)}, "ppi must be 0 or more everywhere"),
    ],
)
def test_from_arrays_refuses(motif: object, kwargs: dict, message: str) -> None:
    with pytest.raises(PriorError, match=message):
        Prior.from_arrays(motif, **kwargs)


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.2])
def test_corruption_moves_the_share_and_keeps_the_rest(fraction: float) -> None:
    clean = random_prior(200, 800)
    corrupted = clean.corrupt(fraction, stream(0, "prior-noise"))
    n_moved = round(fraction * 800)
    lost = (clean.motif != 0).toarray() & (corrupted.motif.toarray() == 0)
    # a moved edge can land on the place of an edge (800 of 40,000): then fewer places differ
    assert n_moved - 6 <= lost.sum() <= n_moved
    assert 800 - 6 <= corrupted.n_edges <= 800
    stays = (clean.motif.toarray() != 0) & (corrupted.motif.toarray() != 0)
    kept_signs = clean.motif.toarray()[stays] == corrupted.motif.toarray()[stays]
    assert (~kept_signs).sum() <= 6
    ba, tpr = balanced_accuracy(corrupted.motif, clean.motif)
    # BA = 1 - fraction / 2 up to the edges that landed on an edge and the false positives among the non-edges
    assert ba == pytest.approx(1 - fraction / 2, abs=0.006)
    assert tpr == pytest.approx(1 - fraction, abs=0.01)


def test_corruption_carries_signs_along() -> None:
    clean = random_prior(300, 500)
    corrupted = clean.corrupt(1.0, stream(3, "prior-noise"))
    # weights only disappear where two edges meet, they never change
    positive, negative = (corrupted.motif.data > 0).sum(), (corrupted.motif.data < 0).sum()
    assert set(np.unique(corrupted.motif.data)) == {-1.0, 1.0}
    assert positive <= (clean.motif.data > 0).sum()
    assert negative <= (clean.motif.data < 0).sum()
    assert positive + negative == corrupted.n_edges >= 490


def test_relocated_edges_join_distinct_uniform_genes() -> None:
    n, rounds = 5, 400
    clean = Prior.from_arrays(np.eye(n)[[0]].T @ np.eye(n)[[1]])  # one edge, 0 -> 1
    counts = sum(clean.corrupt(1.0, stream(k, "c")).motif.toarray() for k in range(rounds))
    assert np.trace(counts) == 0
    off_diagonal = counts[~np.eye(n, dtype=bool)]
    assert off_diagonal.sum() == rounds
    # chi-square with 19 degrees of freedom: 43.8 is the 0.1 % quantile; the streams are fixed
    assert ((off_diagonal - rounds / 20) ** 2 / (rounds / 20)).sum() < 43.8


def test_an_edge_that_was_not_moved_keeps_its_place_and_sign() -> None:
    # two genes: a relocated edge can only become 0 -> 1 or 1 -> 0, and meets the other edge half of the time
    clean = Prior.from_arrays([[0, 1.0], [-1.0, 0]])
    seen = set()
    for k in range(40):
        motif = clean.corrupt(0.5, stream(k, "c")).motif
        seen.add(motif.nnz)
        assert motif.nnz in (1, 2)
        assert motif[0, 1] == 1 or motif[1, 0] == -1
    assert seen == {1, 2}


def test_corruption_is_deterministic_and_leaves_the_original_alone() -> None:
    clean = random_prior(50, 100)
    before = clean.motif.toarray()
    first = clean.corrupt(0.3, stream(1, "prior-noise")).motif
    second = clean.corrupt(0.3, stream(1, "prior-noise")).motif
    np.testing.assert_array_equal(first.data, second.data)
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_array_equal(clean.motif.toarray(), before)
    assert (first != clean.corrupt(0.3, stream(2, "prior-noise")).motif).nnz > 0


def test_derived_interactions_follow_the_corrupted_map_and_given_ones_do_not() -> None:
    clean = random_prior(30, 80)
    corrupted = clean.corrupt(0.5, stream(0, "c"))
    size = np.abs(corrupted.motif.toarray())
    np.testing.assert_array_equal(corrupted.interactions(normalise=False).toarray(), size @ size.T)
    with_ppi = Prior.from_arrays(clean.motif, ppi=np.eye(30))
    assert (with_ppi.corrupt(0.5, stream(0, "c")).interactions(normalise=False) != with_ppi.ppi).nnz == 0


def test_withholding_removes_exactly_the_share() -> None:
    clean = random_prior(100, 300)
    rest = clean.withhold(0.2, stream(0, "withhold"))
    assert rest.n_edges == 240
    kept = rest.motif.toarray() != 0
    np.testing.assert_array_equal(rest.motif.toarray()[kept], clean.motif.toarray()[kept])
    assert clean.n_edges == 300
    assert clean.withhold(1.0, stream(0, "withhold")).n_edges == 0


def test_a_larger_share_takes_the_same_edges_and_more() -> None:
    clean = random_prior(100, 300)
    few = clean.withhold(0.1, stream(0, "withhold")).motif.toarray() != 0
    many = clean.withhold(0.4, stream(0, "withhold")).motif.toarray() != 0
    assert (many <= few).all()


def test_nothing_to_do_returns_the_same_prior() -> None:
    prior = random_prior(10, 20)
    assert prior.corrupt(0, stream(0, "c")) is prior
    assert prior.withhold(0.01, stream(0, "c")) is prior  # 0.2 of an edge


@pytest.mark.parametrize("fraction", [-0.1, 1.5, float("nan")])
def test_a_fraction_is_a_fraction(fraction: float) -> None:
    prior = random_prior(10, 20)
    with pytest.raises(UsageError, match=r"the fraction of prior edges must be in \[0, 1\]"):
        prior.corrupt(fraction, stream(0, "c"))
    with pytest.raises(UsageError, match=r"the fraction of prior edges must be in \[0, 1\]"):
        prior.withhold(fraction, stream(0, "c"))


def test_one_gene_cannot_be_corrupted() -> None:
    with pytest.raises(UsageError, match="two or more genes"):
        Prior.from_arrays([[1.0]]).corrupt(1.0, stream(0, "c"))
