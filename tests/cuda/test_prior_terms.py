"""Least-squares terms on the device: those of the CPU, for both matrices at once and any number of targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from dash_hpc.errors import RunFailed
from dash_hpc.ops.least_squares import PriorTermsTask, prior_terms
from dash_hpc.rng import stream


def sparse(rows: int, columns: int, seed: int) -> csr_array:
    """With empty rows and columns."""
    rng = stream(seed, "test-prior-terms", rows, columns)
    found = rng.random((rows, columns)) * (rng.random((rows, columns)) < 0.2)
    found[rng.random(rows) < 0.2] = 0
    found[:, rng.random(columns) < 0.2] = 0
    return csr_array(found)


def task(m: int, G: int, targets: int, seed: int = 0, ridge: float = 1e-10) -> PriorTermsTask:
    S = stream(seed, "test-prior-terms", m, G).random((m, G))
    return PriorTermsTask(S, sparse(G, G, seed), sparse(targets, G, seed), ridge)


def terms(found: Any) -> tuple[Any, ...]:
    return tuple(None if part is None else part.tobytes() for part in (found.first, found.second)), str(
        (found.condition, found.method, found.ridge)
    )


@pytest.mark.parametrize(("m", "G", "targets"), [(1, 1, 1), (7, 33, 1), (9, 33, 70), (40, 65, 65), (41, 64, 3)])
def test_both_terms_are_those_of_the_cpu(gpu: Any, m: int, G: int, targets: int) -> None:
    work = task(m, G, targets)
    [found] = gpu.prior_terms_many([work])
    wanted = prior_terms(work.S, work.C, work.P, work.ridge)
    rounding = 4e-14 + 1e-15 * wanted.condition
    assert found.method == wanted.method == "cholesky"
    assert found.condition == pytest.approx(wanted.condition, rel=max(1e-9, 1e-14 * wanted.condition))
    for mine, cpu in ((found.first, wanted.first), (found.second, wanted.second)):
        assert mine.shape == cpu.shape
        np.testing.assert_allclose(mine, cpu, rtol=0, atol=rounding * max(np.abs(cpu).max(), 1e-300))


def test_the_terms_solve_the_normal_equations(gpu: Any) -> None:
    """With dense algebra that shares no code with either."""
    work = task(9, 40, 50, ridge=0.0)
    [found] = gpu.prior_terms_many([work])
    gram = work.S @ work.S.T
    np.testing.assert_allclose(gram @ found.first, work.S @ work.C.toarray(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.second @ gram, work.P.toarray() @ work.S.T, rtol=0, atol=1e-10)


def test_a_task_has_the_bits_it_has_alone(gpu: Any) -> None:
    """Also where tasks share matrices, and where one has only one of them."""
    one, other = task(9, 33, 33), task(40, 65, 20, seed=1)
    tasks = [
        one,
        PriorTermsTask(2 * one.S, one.C, one.P, 0.0),
        other,
        PriorTermsTask(other.S, None, other.P, 1e-6),
        PriorTermsTask(one.S, one.C, None, 1e-10),
    ] * 3
    together = gpu.prior_terms_many(tasks)
    assert [terms(found) for found in together] == [terms(gpu.prior_terms_many([work])[0]) for work in tasks]
    assert together[3].first is None
    assert together[4].second is None
    assert together[4].first.tobytes() == together[0].first.tobytes()


def test_one_that_fails_leaves_the_others(gpu: Any) -> None:
    good, bad = task(6, 20, 20), task(6, 20, 20, seed=1)
    bad.S[2, 3] = np.nan
    failed, found = gpu.prior_terms_many([bad, good])
    assert isinstance(failed, RunFailed)
    assert "NaN or infinity" in str(failed)
    assert terms(found) == terms(gpu.prior_terms_many([good])[0])
    assert gpu.prior_terms_many([]) == []
