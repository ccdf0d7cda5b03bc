"""Domain-aware prune scores (DASH), mixed in NumPy on every device, around the least squares of `least_squares.py`.

Formulas: Hossain, Fischer, Burkholz, Quackenbush, "Pruning neural network models for gene regulatory dynamics using
data and domain knowledge", NeurIPS 2024, Algorithm 1. Everything is computed in float64, whatever the dtype of the
weights, and the G×G priors stay sparse.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.errors import RunFailed, UsageError
from dash_hpc.ops.checks import as_floats, as_number
from dash_hpc.ops.least_squares import PriorTerms, PriorTermsTask, prior_terms

__all__ = [
    "SCORE_NORMS",
    "Diagnostics",
    "Scores",
    "dash_scores",
    "dash_steps",
    "single_layer_scores",
]

SCORE_NORMS = ("paper", "unit_sum", "rank")
BRANCHES = ("sums", "prods")


@dataclass(frozen=True)
class Diagnostics:
    """How one tensor's score came about.

    ``prior_mass`` and ``data_mass`` are the sums of λ·prior term and (1−λ)·data term: the share that each side really
    has, which λ alone does not tell. ``condition`` is NaN and ``method`` "none" where the prior was not used.
    """

    prior_mass: float
    data_mass: float
    condition: float
    method: str
    ridge: float

    def record(self) -> dict[str, Any]:
        """Return the five values as a dict, ready for an event record."""
        return dict(vars(self))


@dataclass(frozen=True)
class Scores:
    """Scores of one branch: ``omega`` (m×G) for W, ``psi`` (G×m) for U, float64, lower is removed first."""

    omega: np.ndarray
    psi: np.ndarray
    omega_diagnostics: Diagnostics
    psi_diagnostics: Diagnostics


def dash_scores(
    W: np.ndarray,
    U: np.ndarray,
    v: np.ndarray,
    omega: np.ndarray,
    C: csr_array | None,
    P: csr_array | None,
    *,
    branch: str,
    lambda_ppi: float,
    lambda_motif: float,
    score_norm: str = "paper",
    omega_damping: float = 0.0,
    ridge: float = 1e-10,
    names: tuple[str, str] | None = None,
) -> Scores:
    """Score one branch of two layers for one pruning event (Hossain et al. 2024, Alg. 1).

    Ω ← λ₁|(S Sᵀ)⁻¹ S C| + (1−λ₁) W̃ with S the Ω of the event before, then, with the new Ω as S,
    Ψ ← λ₂|P Sᵀ (S Sᵀ)⁻¹| + (1−λ₂) Ũ.

    Parameters
    ----------
    W, U : (m, G), (G, m) float32 or float64
        Weights of the branch, masked entries 0.
    v : (G,)
        Gene multipliers; rows of U with v ≤ 0 have magnitude 0.
    omega : (m, G) float64
        Ω of the previous event, dense; entries of pruned weights count like all others. Not changed.
    C : (G, G) CSR or None
        Interactions among inputs, non-negative. Not read when ``lambda_ppi`` is 0.
    P : (G, G) CSR or None
        Prior network, output × input, non-negative. Not read when ``lambda_motif`` is 0.
    branch : "sums" or "prods"
        Decides the magnitude of W (absolute value or exp).
    lambda_ppi, lambda_motif : float in [0, 1]
        λ₁ and λ₂. At 0 the prior term is left out altogether (a singular S Sᵀ then does no harm); at 1 the weights
        are not read, so the scores are the same bits for any weights.
    score_norm : "paper", "unit_sum" or "rank", default "paper"
        "unit_sum" divides the prior term by its own sum before mixing, so that λ is the prior's share of the mass;
        "rank" replaces both terms by the number of strictly smaller entries, divided by its sum.
    omega_damping : float in [0, 1), default 0
        The prior term of Ω becomes d·|S| + (1−d)·|…|. With 0 (the paper) the scale of Ω flips at every event; with 0.5
        the recursion converges.
    ridge : float, default 1e-10
        See :func:`dash_hpc.ops.prior_terms`.
    names : tuple of str, optional
        What errors call W and U.

    Raises
    ------
    UsageError
        For an unknown branch or norm, a λ, damping or ridge out of range, or arrays that do not fit each other.
    RunFailed
        When a score is not finite. Nothing is to be pruned then.
    """
    steps = dash_steps(
        W, U, v, omega, C, P, branch=branch, lambda_ppi=lambda_ppi, lambda_motif=lambda_motif, score_norm=score_norm,
        omega_damping=omega_damping, ridge=ridge, names=names,
    )  # fmt: skip
    try:
        task = next(steps)
        while True:
            task = steps.send(prior_terms(task.S, task.C, task.P, task.ridge))
    except StopIteration as end:
        found: Scores = end.value
        return found


def dash_steps(
    W: np.ndarray,
    U: np.ndarray,
    v: np.ndarray,
    omega: np.ndarray,
    C: csr_array | None,
    P: csr_array | None,
    *,
    branch: str,
    lambda_ppi: float,
    lambda_motif: float,
    score_norm: str = "paper",
    omega_damping: float = 0.0,
    ridge: float = 1e-10,
    names: tuple[str, str] | None = None,
) -> Generator[PriorTermsTask, PriorTerms, Scores]:
    """Do what :func:`dash_scores` does, and let somebody else solve: yield least-squares tasks and take their terms."""
    if not isinstance(branch, str) or branch not in BRANCHES:
        raise UsageError(f"branch must be one of {', '.join(BRANCHES)}, got {branch!r}")
    check_options(lambda_ppi, lambda_motif, score_norm, omega_damping)
    S = as_floats(omega, (None, None), "omega").astype(np.float64, copy=False)
    m, G = S.shape
    W, U, v = as_floats(W, (m, G), "W"), as_floats(U, (G, m), "U"), as_floats(v, (G,), "v")

    prior, terms = None, None
    if lambda_ppi > 0:
        if C is None:
            raise UsageError("dash_scores: lambda_ppi > 0 needs the interactions C")
        terms = yield PriorTermsTask(S, C, None, ridge)
        prior = cast(np.ndarray, terms.first)
        np.abs(prior, out=prior)
        if omega_damping > 0:
            prior = omega_damping * np.abs(S) + (1.0 - omega_damping) * prior
    data = _first_layer(W, branch) if lambda_ppi < 1 else None
    new_omega, omega_masses = _mix(prior, data, lambda_ppi, score_norm)
    _check_scores(new_omega, names[0] if names else f"W_{branch}")

    prior, second_terms = None, None
    if lambda_motif > 0:
        if P is None:
            raise UsageError("dash_scores: lambda_motif > 0 needs the prior network P")
        second_terms = yield PriorTermsTask(new_omega, None, P, ridge)
        prior = cast(np.ndarray, second_terms.second)
        np.abs(prior, out=prior)
    data = _second_layer(U, v) if lambda_motif < 1 else None
    psi, psi_masses = _mix(prior, data, lambda_motif, score_norm)
    _check_scores(psi, names[1] if names else f"U_{branch}")

    return Scores(new_omega, psi, _diagnose(omega_masses, terms), _diagnose(psi_masses, second_terms))


def single_layer_scores(W: np.ndarray, P: csr_array, lam: float) -> np.ndarray:
    """Score a network of one layer, Ω = (1−λ)|W|/Σ|W| + λ|P| (Hossain et al. 2024, section 3).

    W and P have the shape outputs × inputs. Returns float64 of that shape. Raises UsageError when the shapes differ
    or λ is outside [0, 1], RunFailed when a score is not finite.
    """
    check_options(lam, lam, "paper", 0.0)
    if W.shape != P.shape:
        raise UsageError(f"single_layer_scores: W is {W.shape} but P is {P.shape}")
    prior = abs(csr_array(P, dtype=np.float64)).toarray() if lam > 0 else None
    data = _first_layer(W, "sums") if lam < 1 else None
    score, _ = _mix(prior, data, lam, "paper")
    _check_scores(score, "W")
    return score


# Arrays of m·G float64 are large at genome scale: what follows works in place on arrays that are the caller's own.


def _unit_sum(values: np.ndarray) -> np.ndarray:
    """Divide by the sum, in place."""
    total = values.sum()
    if total > 0:
        values /= total
    return values


def _first_layer(W: np.ndarray, branch: str) -> np.ndarray:
    wide = np.array(W, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return _unit_sum(np.exp(wide, out=wide) if branch == "prods" else np.abs(wide, out=wide))


def _second_layer(U: np.ndarray, v: np.ndarray) -> np.ndarray:
    multiplier = np.maximum(np.asarray(v, dtype=np.float64).reshape(-1), 0.0)
    wide = np.array(U, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        np.abs(wide, out=wide)
        return _unit_sum(np.multiply(multiplier[:, None], wide, out=wide))


def _rank_share(values: np.ndarray) -> np.ndarray:
    """Number of strictly smaller entries over its sum: zeros that are smallest stay zero, ties stay ties."""
    smaller = np.searchsorted(np.sort(values, axis=None), values)
    return _unit_sum(smaller.astype(np.float64))


def _mix(
    prior: np.ndarray | None, data: np.ndarray | None, lam: float, score_norm: str
) -> tuple[np.ndarray, tuple[float, float]]:
    """λ·prior + (1−λ)·data with the absent side left out, and the mass of either side; changes both in place."""
    for side in (prior, data):  # NaN has no rank and must not reach the sort
        if side is not None and not np.isfinite(side).all():
            return side, (float("nan"), float("nan"))
    if prior is not None and score_norm != "paper":
        prior = _unit_sum(prior) if score_norm == "unit_sum" else _rank_share(prior)
    if data is not None and score_norm == "rank":
        data = _rank_share(data)
    if prior is not None and data is not None:
        prior *= lam
        data *= 1.0 - lam
        masses = float(prior.sum()), float(data.sum())
        prior += data
        return prior, masses
    if prior is not None:
        return prior, (float(prior.sum()), 0.0)
    if data is None:
        raise UsageError("prune scores need a prior term or a data term")
    return data, (0.0, float(data.sum()))


def _diagnose(masses: tuple[float, float], terms: PriorTerms | None) -> Diagnostics:
    if terms is None:
        return Diagnostics(*masses, condition=float("nan"), method="none", ridge=0.0)
    return Diagnostics(*masses, condition=terms.condition, method=terms.method, ridge=terms.ridge)


def _check_scores(score: np.ndarray, tensor: str) -> None:
    bad = ~(np.isfinite(score) & (score >= 0))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise RunFailed(
            f"prune scores of {tensor}: {int(bad.sum())} of {bad.size} are negative or not finite "
            f"(first at row {row}, column {column}); nothing was pruned"
        )


def check_options(lambda_ppi: float, lambda_motif: float, score_norm: str, omega_damping: float) -> None:
    """Raise UsageError for an unknown norm, or a λ or damping out of range."""
    for name, value in (("lambda_ppi", lambda_ppi), ("lambda_motif", lambda_motif)):
        as_number(value, name, least=0, most=1)
    if not isinstance(score_norm, str) or score_norm not in SCORE_NORMS:
        raise UsageError(f"score_norm must be one of {', '.join(SCORE_NORMS)}, got {score_norm!r}")
    as_number(omega_damping, "omega_damping", least=0, most=1, open_at=(1,))
