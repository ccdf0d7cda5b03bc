"""The least squares inside DASH's scores: the NumPy/SciPy meaning of the native operator ``prior_terms``.

Formulas: Hossain, Fischer, Burkholz, Quackenbush, "Pruning neural network models for gene regulatory dynamics using
data and domain knowledge", NeurIPS 2024, Algorithm 1. float64 throughout, and the G×G priors stay sparse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, svd
from scipy.sparse import csr_array

from dash_hpc.errors import RunFailed
from dash_hpc.ops.blas import one_blas_thread
from dash_hpc.ops.checks import as_csr, as_floats, as_number
from dash_hpc.ops.native import native_module
from dash_hpc.ops.threads import stop_token

__all__ = ["PriorTerms", "PriorTermsTask", "normal_equations", "prior_terms", "sparse_form", "terms_from"]

LARGEST_CONDITION = 1e12  # beyond it the normal equations keep too few digits of float64
SMALLEST_SINGULAR = 1e-6  # singular values below this share of the largest are dropped


@dataclass(frozen=True)
class PriorTerms:
    """Least-squares solutions for one score matrix S (m×G), before the absolute value is taken.

    ``first`` (m×G) is (S Sᵀ)⁻¹ S C, ``second`` (G×m) is P Sᵀ (S Sᵀ)⁻¹; None where no C or P was given.
    ``condition`` is the condition number of S Sᵀ (1-norm), ``method`` is "cholesky" or "svd", ``ridge`` the absolute ρ
    that was added to the diagonal (0 with "svd").
    """

    first: np.ndarray | None
    second: np.ndarray | None
    condition: float
    method: str
    ridge: float


@dataclass(frozen=True, eq=False)
class PriorTermsTask:
    """What :func:`prior_terms` takes."""

    S: np.ndarray
    C: csr_array | None
    P: csr_array | None
    ridge: float

    def checked(self) -> PriorTermsTask:
        """Return the arguments as native modules take them; raises as :func:`prior_terms` does."""
        S = as_floats(self.S, (None, None), "S").astype(np.float64, order="C", copy=False)
        C = None if self.C is None else as_csr(self.C, (S.shape[1], S.shape[1]), "C")
        P = None if self.P is None else as_csr(self.P, (None, S.shape[1]), "P")
        as_number(self.ridge, "ridge", least=0)
        if not np.isfinite(S).all():
            raise RunFailed("prune scores: the score matrix of the previous event holds NaN or infinity")
        return PriorTermsTask(S, C, P, self.ridge)


def prior_terms(
    S: np.ndarray, C: csr_array | None = None, P: csr_array | None = None, ridge: float = 1e-10
) -> PriorTerms:
    """Solve Sᵀ X ≈ C and Y S ≈ P in the least-squares sense, the inner part of a DASH event.

    Parameters
    ----------
    S : (m, G) float64
        Current scores of the first layer.
    C : (G, G) CSR, optional
        Interactions among inputs. Left out: ``first`` is None.
    P : (outputs, G) CSR, optional
        Prior network, output × input. Left out: ``second`` is None.
    ridge : float, default 1e-10
        ε of the ridge ρ = ε·trace(S Sᵀ)/m; 0 solves the plain normal equations.

    Returns
    -------
    PriorTerms
        By Cholesky of S Sᵀ + ρI. Where that fails or cond(S Sᵀ) > 1e12, by truncated singular value decomposition
        of S (singular values below 1e-6 of the largest are dropped), which is the Moore–Penrose limit ρ → 0.
        The inverse itself is never formed. BLAS runs on one thread here, so that masks do not depend on their number.

    Raises
    ------
    UsageError
        When S is no matrix of numbers, C or P do not fit it, or the ridge is negative or not finite.
    RunFailed
        When S holds NaN or infinity.
    """
    task = PriorTermsTask(S, C, P, ridge).checked()
    native = native_module()
    solve = normal_equations if native is None else partial(_native_normal_equations, native)
    condition, terms = solve(task.S, task.C, task.P, ridge)
    return terms if terms is not None else _truncated_svd(task.S, task.C, task.P, condition)


def terms_from(
    tasks: Sequence[PriorTermsTask], solve: Callable[[list[tuple[Any, ...]]], Sequence[tuple[Any, ...]]]
) -> list[PriorTerms | RunFailed]:
    """Let ``solve`` do many tasks with one call of a native module, and the CPU what the normal equations do not serve.

    Matrices that tasks have in common (the same objects) are the same objects in that call.
    """
    results: list[PriorTerms | RunFailed | None] = []
    forms: list[tuple[Any, ...]] = []
    known: dict[int, Any] = {}
    for task in tasks:
        try:
            checked = task.checked()
        except RunFailed as error:
            results.append(error)
            continue
        for given, matrix in ((task.C, checked.C), (task.P, checked.P)):
            if id(given) not in known:
                known[id(given)] = sparse_form(matrix)
        results.append(None)
        forms.append((checked.S, known[id(task.C)], known[id(task.P)], float(task.ridge)))
    found = iter(solve(forms))
    for k, task in enumerate(tasks):
        if results[k] is None:
            first, second, condition, rho, ok = next(found)
            results[k] = PriorTerms(first, second, condition, "cholesky", rho) if ok else _on_cpu(task)
    return [result for result in results if result is not None]


def _on_cpu(task: PriorTermsTask) -> PriorTerms | RunFailed:
    try:
        return prior_terms(task.S, task.C, task.P, task.ridge)
    except RunFailed as error:
        return error


def normal_equations(
    S: np.ndarray, C: csr_array | None, P: csr_array | None, ridge: float
) -> tuple[float, PriorTerms | None]:
    """Solve by Cholesky of S Sᵀ + ρI: the meaning of the native operator of the same name.

    Returns the condition number of S Sᵀ (1-norm), and the terms or None when it exceeds 1e12 or Cholesky breaks down.
    """
    m = S.shape[0]
    with one_blas_thread(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        M = S @ S.T
        condition = _condition(M) if np.isfinite(M).all() else float("inf")
        if not condition <= LARGEST_CONDITION:
            return condition, None
        rho = float(ridge) * float(np.trace(M)) / m
        try:
            factor = cho_factor(M + rho * np.eye(m), lower=True, check_finite=False)
        except LinAlgError:
            return condition, None
        first = None if C is None else cho_solve(factor, S @ C, check_finite=False)
        second = None if P is None else cho_solve(factor, (P @ S.T).T, check_finite=False).T
        return condition, PriorTerms(first, second, condition, "cholesky", rho)


def _native_normal_equations(
    native: ModuleType, S: np.ndarray, C: csr_array | None, P: csr_array | None, ridge: float
) -> tuple[float, PriorTerms | None]:
    forms = sparse_form(C), sparse_form(P)
    first, second, condition, rho, ok = native.prior_terms(S, *forms, float(ridge), stop=stop_token())
    return condition, PriorTerms(first, second, condition, "cholesky", rho) if ok else None


def _truncated_svd(S: np.ndarray, C: csr_array | None, P: csr_array | None, condition: float) -> PriorTerms:
    with one_blas_thread():
        try:
            left, sigma, right = svd(S, full_matrices=False, check_finite=False)
        except LinAlgError as error:
            raise RunFailed(f"prune scores: singular value decomposition did not converge ({error})") from error
        keep = sigma > SMALLEST_SINGULAR * sigma[0]  # all False for S = 0: the pseudo-inverse is 0 then
        left, sigma, right = left[:, keep], sigma[keep], right[keep]
        first = None if C is None else left @ ((right @ C) / sigma[:, None])
        second = None if P is None else ((P @ right.T) / sigma) @ left.T
    return PriorTerms(first, second, condition, "svd", 0.0)


def _condition(M: np.ndarray) -> float:
    """Condition number in the 1-norm; infinite when M is not positive definite."""
    try:
        factor = cho_factor(M, lower=True, check_finite=False)
    except LinAlgError:
        return float("inf")
    inverse = cho_solve(factor, np.eye(len(M)), check_finite=False)
    return float(np.abs(M).sum(axis=0).max() * np.abs(inverse).sum(axis=0).max())


def sparse_form(matrix: csr_array | None) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Pointers, columns and values with the native modules' types."""
    if matrix is None:
        return None
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), np.ascontiguousarray(matrix.data)
