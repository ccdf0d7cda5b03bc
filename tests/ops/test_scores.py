"""DASH scores: the algebra, the limits of λ, the fall-backs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse import random as sparse_random
from threadpoolctl import threadpool_limits

from dash_hpc.errors import RunFailed, UsageError
from dash_hpc.models.registry import family_named
from dash_hpc.ops.least_squares import normal_equations, prior_terms
from dash_hpc.ops.native import native_module
from dash_hpc.ops.scores import dash_scores, single_layer_scores
from dash_hpc.ops.select import select
from dash_hpc.pruning.imp import magnitude_scores

M, G = 6, 20


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def some_csr(rng: np.random.Generator, rows: int = G, columns: int = G, density: float = 0.2) -> csr_array:
    return csr_array(sparse_random(rows, columns, density=density, random_state=rng, format="csr"))


def some_branch(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "W": rng.normal(size=(M, G)),
        "U": rng.normal(size=(G, M)),
        "v": rng.uniform(-0.3, 1.0, size=G),
        "omega": rng.random((M, G)),
    }


def test_first_term_is_the_least_squares_solution(rng: np.random.Generator) -> None:
    S, C = rng.random((M, G)), some_csr(rng)
    X = prior_terms(S, C, None, ridge=0.0).first
    projector = S.T @ np.linalg.solve(S @ S.T, S)
    np.testing.assert_allclose(S.T @ X, projector @ C.toarray(), atol=1e-13)
    np.testing.assert_allclose(X, np.linalg.lstsq(S.T, C.toarray(), rcond=None)[0], atol=1e-12)
    best = np.linalg.norm(S.T @ X - C)
    for _ in range(5):
        assert np.linalg.norm(S.T @ (X + 1e-3 * rng.normal(size=X.shape)) - C) > best


def test_second_term_projects_the_prior_on_the_rows_of_s(rng: np.random.Generator) -> None:
    S, P = rng.random((M, G)), some_csr(rng, rows=13)
    Y = prior_terms(S, None, P, ridge=0.0).second
    assert Y.shape == (13, M)
    projector = S.T @ np.linalg.solve(S @ S.T, S)
    np.testing.assert_allclose(Y @ S, P @ projector, atol=1e-13)


def test_a_planted_factor_is_recovered(rng: np.random.Generator) -> None:
    S, U = rng.random((M, G)), rng.normal(size=(G, M))
    Y = prior_terms(S, None, csr_array(U @ S), ridge=0.0).second
    np.testing.assert_allclose(Y, U, atol=1e-11)


def test_square_recursion_has_period_two(rng: np.random.Generator) -> None:
    root = rng.normal(size=(G, G))
    C = root @ root.T + G * np.eye(G)  # symmetric and invertible
    previous = rng.normal(size=(G, G)) + 3 * np.eye(G)
    now = prior_terms(previous, csr_array(C), None, ridge=0.0).first
    after = prior_terms(now, csr_array(C), None, ridge=0.0).first
    np.testing.assert_allclose(previous.T @ now, C, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(after, previous, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("broken", ["duplicate row", "zero row", "all zero"])
def test_rank_deficient_s_equals_the_pseudo_inverse(rng: np.random.Generator, broken: str) -> None:
    S, C, P = rng.random((M, G)), some_csr(rng), some_csr(rng)
    if broken == "duplicate row":
        S[3] = S[1]
    elif broken == "zero row":
        S[2] = 0.0
    else:
        S[:] = 0.0
    terms = prior_terms(S, C, P)
    assert terms.method == "svd"
    assert terms.condition > 1e12
    assert terms.ridge == 0.0
    np.testing.assert_allclose(terms.first, np.linalg.pinv(S.T) @ C.toarray(), atol=1e-8)
    np.testing.assert_allclose(terms.second, P.toarray() @ np.linalg.pinv(S), atol=1e-8)


def test_both_methods_agree_and_say_what_they_did(rng: np.random.Generator) -> None:
    S, C, P = rng.random((M, G)), some_csr(rng), some_csr(rng)
    terms = prior_terms(S, C, P)
    M_matrix = S @ S.T
    assert terms.method == "cholesky"
    assert terms.condition == pytest.approx(np.linalg.cond(M_matrix, 1), rel=1e-8)
    assert terms.ridge == pytest.approx(1e-10 * np.trace(M_matrix) / M, rel=1e-12)
    np.testing.assert_allclose(terms.first, np.linalg.pinv(S.T) @ C.toarray(), atol=1e-7)
    np.testing.assert_allclose(terms.second, P.toarray() @ np.linalg.pinv(S), atol=1e-7)


@pytest.mark.parametrize("size", [(1, 5), (6, 20), (7, 33), (40, 350)])
def test_native_normal_equations_equal_the_twin(rng: np.random.Generator, size: tuple[int, int]) -> None:
    if native_module() is None:
        pytest.skip("the native module was not built")
    _m, genes = size
    S, C = rng.random(size), some_csr(rng, genes, genes, density=0.1)
    P = some_csr(rng, genes + 3, genes, density=0.05)
    best = native_module().build_info()["isa"]
    condition, wanted = normal_equations(S, C, P, 1e-10)
    assert wanted is not None
    for level in native_module().build_info()["runnable_isas"]:
        native_module().set_isa(level)
        found = prior_terms(S, C, P)
        assert found.method == "cholesky"
        assert found.condition == pytest.approx(condition, rel=1e-9)
        assert found.ridge == pytest.approx(wanted.ridge, rel=1e-12)
        scale = np.abs(wanted.first).max(), np.abs(wanted.second).max()
        np.testing.assert_allclose(found.first, wanted.first, rtol=0, atol=1e-13 * condition * scale[0])
        np.testing.assert_allclose(found.second, wanted.second, rtol=0, atol=1e-13 * condition * scale[1])
        assert prior_terms(S, None, P).first is None
        assert prior_terms(S, C, None).second is None
    native_module().set_isa(best)


def test_scores_too_large_to_square_take_the_singular_values(rng: np.random.Generator) -> None:
    S, P = 1e160 * rng.random((M, G)), some_csr(rng)
    condition, terms = normal_equations(S, None, P, 1e-10)
    assert (condition, terms) == (np.inf, None)
    found = prior_terms(S, None, P)
    assert (found.method, found.condition) == ("svd", np.inf)
    np.testing.assert_allclose(found.second, P.toarray() @ np.linalg.pinv(S), rtol=1e-9)


@pytest.mark.parametrize("side", ["few genes", "few outputs", "none"])
def test_native_normal_equations_with_empty_rows_and_columns(rng: np.random.Generator, side: str) -> None:
    """Solutions are made for the genes or for the outputs, whichever are fewer; what nobody names stays 0."""
    if native_module() is None:
        pytest.skip("the native module was not built")
    genes = 50
    S, dense = rng.random((M, genes)), rng.random((genes, genes))
    used = np.zeros(genes, dtype=bool)
    used[[3, 17, 18, 40]] = side != "none"
    dense[(slice(None), ~used) if side == "few genes" else ~used] = 0.0
    P, C = csr_array(dense[:-1]), csr_array(dense.T)  # P: outputs × genes, C: genes × outputs
    _, wanted = normal_equations(S, C, P, 1e-10)
    assert wanted is not None
    found = prior_terms(S, C, P)
    np.testing.assert_allclose(found.first, wanted.first, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.second, wanted.second, rtol=0, atol=1e-10)
    assert (np.abs(found.second).max(axis=1) > 0).sum() == {"few genes": genes - 1, "few outputs": 4, "none": 0}[side]


def test_bits_do_not_depend_on_the_number_of_threads(rng: np.random.Generator) -> None:
    S, C = rng.random((40, 350)), some_csr(rng, 350, 350, density=0.01)
    found = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads, user_api="blas"):
            terms = prior_terms(S, C, C)
        found.append((terms.first.tobytes(), terms.second.tobytes(), terms.condition))
    assert found[0] == found[1] == found[2]


def magnitudes(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of the family's layers, on which magnitude pruning goes: DASH mixes the same ones."""
    return {layer.name: layer.magnitude() for layer in family_named("phoenix").layers(weights)}


def test_magnitudes(rng: np.random.Generator) -> None:
    weights = {
        "W_sums": rng.normal(size=(M, G)).astype(np.float32),
        "W_prods": rng.normal(size=(M, G)).astype(np.float32),
        "U_sums": rng.normal(size=(G, M)).astype(np.float32),
        "U_prods": rng.normal(size=(G, M)).astype(np.float32),
        "v": np.linspace(-1, 1, G, dtype=np.float32),
    }
    found = magnitude_scores(weights)[0]
    for name, values in found.items():
        assert values.dtype == np.float64
        assert values.sum() == pytest.approx(1.0)
        assert values.min() >= 0
        assert values.shape == weights[name].shape
    W = weights["W_prods"].astype(np.float64)
    np.testing.assert_allclose(found["W_prods"], np.exp(W) / np.exp(W).sum(), rtol=1e-14)
    assert found["W_prods"].argmin() == W.argmin()  # a strongly negative weight is smaller than a zero one
    assert (found["U_sums"][weights["v"] <= 0] == 0).all()
    gain = weights["v"].astype(np.float64)[-1]
    row = np.abs(weights["U_prods"][-1].astype(np.float64)) * gain
    np.testing.assert_allclose(found["U_prods"][-1] / found["U_prods"][-1].sum(), row / row.sum(), rtol=1e-13)


def test_magnitudes_of_zeros_are_zero() -> None:
    zero = np.zeros((2, 3))
    found = magnitude_scores({"W_sums": zero, "W_prods": zero, "U_sums": zero.T, "U_prods": zero.T, "v": np.ones(3)})[0]
    assert (found["W_sums"] == 0).all()
    assert (found["U_prods"] == 0).all()
    np.testing.assert_allclose(found["W_prods"], 1 / 6)


@pytest.mark.parametrize("branch", ["sums", "prods"])
def test_event_follows_the_formulas(rng: np.random.Generator, branch: str) -> None:
    given = some_branch(rng)
    C, P = some_csr(rng), some_csr(rng)
    result = dash_scores(**given, C=C, P=P, branch=branch, lambda_ppi=0.3, lambda_motif=0.6, ridge=0.0)
    W, U, v, S = given["W"], given["U"], given["v"], given["omega"]
    data = np.abs(W) if branch == "sums" else np.exp(W)
    omega = 0.3 * np.abs(np.linalg.inv(S @ S.T) @ S @ C.toarray()) + 0.7 * data / data.sum()
    np.testing.assert_allclose(result.omega, omega, rtol=1e-9)
    data = np.maximum(v, 0)[:, None] * np.abs(U)
    prior = np.abs(P.toarray() @ omega.T @ np.linalg.inv(omega @ omega.T))
    np.testing.assert_allclose(result.psi, 0.6 * prior + 0.4 * data / data.sum(), rtol=1e-7, atol=1e-12)
    assert result.omega_diagnostics.data_mass == pytest.approx(0.7)
    assert result.omega_diagnostics.prior_mass == pytest.approx(result.omega.sum() - 0.7)
    assert result.psi_diagnostics.prior_mass == pytest.approx(0.6 * prior.sum(), rel=1e-6)


@pytest.mark.parametrize("norm", ["paper", "unit_sum", "rank"])
@pytest.mark.parametrize("damping", [0.0, 0.5])
@pytest.mark.parametrize("branch", ["sums", "prods"])
def test_lambda_one_does_not_depend_on_the_weights(
    rng: np.random.Generator, norm: str, damping: float, branch: str
) -> None:
    given = some_branch(rng)
    C, P = some_csr(rng), some_csr(rng)

    def run(W: np.ndarray, U: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        result = dash_scores(
            W, U, v, given["omega"], C, P, branch=branch, lambda_ppi=1.0, lambda_motif=1.0,
            score_norm=norm, omega_damping=damping,
        )  # fmt: skip
        return result.omega, result.psi

    W, U, v = given["W"], given["U"], given["v"]
    base = run(W, U, v)
    others = [
        (1e6 * W, -3.0 * U, 2 * v),
        (rng.permutation(W.ravel()).reshape(W.shape), U[::-1], v[::-1]),
        (np.full_like(W, np.nan), np.full_like(U, np.inf), np.full_like(v, np.nan)),
    ]
    for other in others:
        for ours, theirs in zip(base, run(*other), strict=True):
            assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("branch", ["sums", "prods"])
def test_lambda_zero_is_the_plain_magnitude_whatever_the_prior(rng: np.random.Generator, branch: str) -> None:
    given = some_branch(rng)
    given["omega"] = np.ones((M, G))  # S Sᵀ has rank one: a plain inverse would not exist
    bad = csr_array(np.full((G, G), np.nan))
    result = dash_scores(**given, C=bad, P=None, branch=branch, lambda_ppi=0.0, lambda_motif=0.0, omega_damping=0.5)
    weights = {f"{layer}_{b}": given[layer] for layer in "WU" for b in ("sums", "prods")} | {"v": given["v"]}
    plain = magnitude_scores(weights)[0]
    assert result.omega.tobytes() == plain[f"W_{branch}"].tobytes()
    assert result.psi.tobytes() == plain[f"U_{branch}"].tobytes()
    assert result.omega_diagnostics.method == "none"
    assert np.isnan(result.omega_diagnostics.condition)


def test_rank_norm_keeps_the_order_and_the_ties_of_magnitudes(rng: np.random.Generator) -> None:
    given = some_branch(rng)
    given["W"] = np.round(given["W"], 1)
    options = {"branch": "sums", "lambda_ppi": 0.0, "lambda_motif": 0.0}
    paper = dash_scores(**given, C=None, P=None, **options)
    rank = dash_scores(**given, C=None, P=None, score_norm="rank", **options)
    mask = np.ones((M, G), dtype=bool)
    for n in (1, 17, 60, M * G - 1):
        np.testing.assert_array_equal(select(paper.omega, mask, n)[0], select(rank.omega, mask, n)[0])


def test_unit_sum_makes_lambda_the_share_of_the_prior(rng: np.random.Generator) -> None:
    result = dash_scores(
        **some_branch(rng), C=some_csr(rng), P=some_csr(rng), branch="sums", lambda_ppi=0.2, lambda_motif=0.7,
        score_norm="unit_sum",
    )  # fmt: skip
    assert result.omega_diagnostics.prior_mass == pytest.approx(0.2)
    assert result.omega_diagnostics.data_mass == pytest.approx(0.8)
    assert result.psi_diagnostics.prior_mass == pytest.approx(0.7)
    assert result.omega.sum() == pytest.approx(1.0)


def test_damping_makes_the_recursion_converge(rng: np.random.Generator) -> None:
    prior_map = rng.random((G, G)) * (rng.random((G, G)) < 0.3)
    C = csr_array(prior_map @ prior_map.T)
    given = some_branch(rng)

    def change(damping: float) -> float:
        omega = given["omega"]
        for _ in range(300):
            before = omega
            omega = dash_scores(
                given["W"], given["U"], given["v"], omega, C, None, branch="sums", lambda_ppi=1.0,
                lambda_motif=0.0, omega_damping=damping,
            ).omega  # fmt: skip
        return float(np.linalg.norm(omega - before) / np.linalg.norm(before))

    assert change(0.0) > 0.1
    assert change(0.5) < 1e-3


def test_zero_columns_of_c_score_zero_at_lambda_one(rng: np.random.Generator) -> None:
    C = some_csr(rng, density=0.5).toarray()
    C[:, [2, 7]] = 0
    result = dash_scores(
        **some_branch(rng), C=csr_array(C), P=some_csr(rng), branch="sums", lambda_ppi=1.0, lambda_motif=1.0
    )
    assert (result.omega[:, [2, 7]] == 0).all()
    assert (np.delete(result.omega, [2, 7], axis=1) > 0).any(axis=0).all()


@pytest.mark.parametrize("n_kept", [5, 30])
def test_single_layer_at_lambda_one_keeps_the_prior_edges(rng: np.random.Generator, n_kept: int) -> None:
    P = csr_array((rng.random((8, 9)) < 0.2).astype(float))
    score = single_layer_scores(rng.normal(size=(8, 9)), P, 1.0)
    kept, _ = select(score, np.ones((8, 9), dtype=bool), 72 - n_kept)
    edges = P.toarray() != 0
    assert 5 < edges.sum() < 30
    if n_kept >= edges.sum():
        assert kept[edges].all()
    else:
        assert not kept[~edges].any()


def test_single_layer_mixes(rng: np.random.Generator) -> None:
    W, P = rng.normal(size=(4, 5)), csr_array(-np.eye(4, 5))
    expected = 0.75 * np.abs(W) / np.abs(W).sum() + 0.25 * np.eye(4, 5)
    np.testing.assert_allclose(single_layer_scores(W, P, 0.25), expected, rtol=1e-14)


def test_scores_that_are_not_finite_fail_the_event(rng: np.random.Generator) -> None:
    given = some_branch(rng)
    given["W"][2, 3] = np.nan
    with pytest.raises(RunFailed, match=r"W_sums.*nothing was pruned"):
        dash_scores(**given, C=some_csr(rng), P=some_csr(rng), branch="sums", lambda_ppi=0.5, lambda_motif=0.5)
    given = some_branch(rng)
    given["W"][0, 0] = 800.0  # exp overflows
    with pytest.raises(RunFailed, match="W_prods"):
        dash_scores(**given, C=None, P=None, branch="prods", lambda_ppi=0.0, lambda_motif=0.0)
    given = some_branch(rng)
    given["omega"][0, 0] = np.inf
    with pytest.raises(RunFailed, match="previous event"):
        dash_scores(**given, C=some_csr(rng), P=None, branch="sums", lambda_ppi=0.5, lambda_motif=0.0)
    nan = csr_array(np.full((G, G), np.nan))
    with pytest.raises(RunFailed, match="W_sums"):
        dash_scores(**some_branch(rng), C=nan, P=None, branch="sums", lambda_ppi=0.5, lambda_motif=0.0,
                    score_norm="rank")  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"branch": "both"},
        {"lambda_ppi": 1.5},
        {"lambda_motif": -0.1},
        {"lambda_ppi": float("nan")},
        {"score_norm": "max"},
        {"omega_damping": 1.0},
    ],
)
def test_refuses_options_out_of_range(rng: np.random.Generator, wrong: dict) -> None:
    options = {"branch": "sums", "lambda_ppi": 0.5, "lambda_motif": 0.5} | wrong
    with pytest.raises(UsageError, match=next(iter(wrong))):
        dash_scores(**some_branch(rng), C=some_csr(rng), P=some_csr(rng), **options)


def test_refuses_a_missing_prior(rng: np.random.Generator) -> None:
    with pytest.raises(UsageError, match="needs the interactions"):
        dash_scores(**some_branch(rng), C=None, P=None, branch="sums", lambda_ppi=0.5, lambda_motif=0.0)
    with pytest.raises(UsageError, match="needs the prior network"):
        dash_scores(**some_branch(rng), C=None, P=None, branch="sums", lambda_ppi=0.0, lambda_motif=0.5)
