"""The work of a pruning event as jobs: scores, then selection, of one run or of many side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.errors import RunFailed, UsageError
from dash_hpc.ops.checks import as_csr, as_floats, as_number
from dash_hpc.ops.phoenix import PRUNABLE
from dash_hpc.ops.scores import BRANCHES, SCORE_NORMS, Diagnostics, Scores, check_options, dash_scores
from dash_hpc.ops.select import select
from dash_hpc.ops.state import Tensors
from dash_hpc.ops.threads import map_in_threads

__all__ = ["ScoreJob", "ScorePrior", "SelectJob", "score_pack", "select_pack"]

#: Scores of both branches by name.
BranchScores = dict[str, Scores]
#: New mask and threshold of each tensor by name, as :func:`dash_hpc.ops.select` returns them.
Selection = dict[str, tuple[np.ndarray, float]]

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class ScorePrior:
    """What the scores take from domain knowledge; one object serves all events of a run.

    Attributes
    ----------
    C : (G, G) CSR or None
        Interactions among inputs, non-negative; needed when λ₁ > 0.
    P : (G, G) CSR or None
        Prior network, output × input, non-negative; needed when λ₂ > 0.
    """

    C: csr_array | None = None
    P: csr_array | None = None

    @cached_property
    def native_form(self) -> tuple[Any, Any]:
        """C by columns and P by rows as the CUDA module takes them: (pointers, indices, values), or None."""
        C, P = (
            None if matrix is None else as_csr(matrix, (None, None), name)
            for matrix, name in ((self.C, "the interactions C"), (self.P, "the prior network P"))
        )
        return (None if C is None else _parts(C.T.tocsr().sorted_indices())), (None if P is None else _parts(P))

    @cached_property
    def digest(self) -> bytes:
        """Equal for equal matrices, so that runs of a pack share one copy on a device."""
        found = sha256()
        for parts in self.native_form:
            for array in parts or ():
                found.update(np.int64(len(array)).tobytes() + array.tobytes())
            found.update(b"|")
        return found.digest()


@dataclass(frozen=True, eq=False)
class ScoreJob:
    """DASH scores of both branches of one run: what :func:`dash_hpc.ops.dash_scores` takes for each.

    Attributes
    ----------
    weights : mapping
        The seven tensors, float32 or float64 arrays, masked entries 0. Not changed.
    omega : mapping of (m, G) float64
        Ω of the previous event by branch ("sums", "prods"). Not changed.
    prior : ScorePrior
    lambda_ppi, lambda_motif : float in [0, 1]
    score_norm, omega_damping, ridge
        See :func:`dash_hpc.ops.dash_scores`.
    """

    weights: Tensors
    omega: Mapping[str, np.ndarray]
    prior: ScorePrior
    lambda_ppi: float
    lambda_motif: float
    score_norm: str = "paper"
    omega_damping: float = 0.0
    ridge: float = 1e-10

    def check(self) -> None:
        """Raise UsageError when an option is out of range, a prior is missing or shapes do not fit."""
        check_options(self.lambda_ppi, self.lambda_motif, self.score_norm, self.omega_damping)
        as_number(self.ridge, "ridge", least=0)
        for found, needed in ((self.weights, ("v", *PRUNABLE)), (self.omega, BRANCHES)):
            missing = [name for name in needed if name not in found]
            if missing:
                raise UsageError(f"prune scores: missing: {', '.join(missing)}")
        m, G = as_floats(self.weights["W_sums"], (None, None), "prune scores: W_sums").shape
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {"v": (self.weights["v"], (G,))}
        for branch in BRANCHES:
            shapes[f"W_{branch}"] = self.weights[f"W_{branch}"], (m, G)
            shapes[f"U_{branch}"] = self.weights[f"U_{branch}"], (G, m)
            shapes[f"omega of {branch}"] = self.omega[branch], (m, G)
        for name, (array, shape) in shapes.items():
            as_floats(array, shape, f"prune scores: {name}")
        for name, lam, matrix in (
            ("the interactions C", self.lambda_ppi, self.prior.C),
            ("the prior network P", self.lambda_motif, self.prior.P),
        ):
            if lam > 0 and matrix is None:
                raise UsageError(f"prune scores: λ = {lam} needs {name}")
            if lam > 0:
                as_csr(matrix, (G, G), f"prune scores: {name}")

    def run(self) -> BranchScores:
        """Return the scores of both branches, computed on the CPU. Raises as :func:`dash_hpc.ops.dash_scores` does."""
        return {
            branch: dash_scores(
                self.weights[f"W_{branch}"],
                self.weights[f"U_{branch}"],
                self.weights["v"],
                self.omega[branch],
                self.prior.C,
                self.prior.P,
                branch=branch,
                lambda_ppi=self.lambda_ppi,
                lambda_motif=self.lambda_motif,
                score_norm=self.score_norm,
                omega_damping=self.omega_damping,
                ridge=self.ridge,
            )
            for branch in BRANCHES
        }


@dataclass(frozen=True, eq=False)
class SelectJob:
    """Which weights of a run go: what :func:`dash_hpc.ops.select` takes, for each tensor.

    Attributes
    ----------
    scores : mapping of float64 arrays
        In the order in which tensors are treated; lower is removed first.
    masks : mapping of bool arrays
        True = active; at least the tensors that have scores, in the shape of these. Not changed.
    counts : mapping of int
        How many of the active entries of each tensor to remove.
    """

    scores: Mapping[str, np.ndarray]
    masks: Mapping[str, np.ndarray]
    counts: Mapping[str, int]

    def run(self) -> Selection:
        """Return new mask and threshold of each tensor, found on the CPU. Raises as :func:`dash_hpc.ops.select`."""
        return {name: select(score, self.masks[name], self.counts[name]) for name, score in self.scores.items()}


def score_pack(jobs: Sequence[ScoreJob], *, threads: int = 1) -> list[BranchScores | RunFailed]:
    """Score many runs on the CPU, ``threads`` of them at a time; each has the bits that it has alone.

    Returns
    -------
    list
        For each job its scores by branch, or the RunFailed that it ended in; the others go on.

    Raises
    ------
    UsageError
        Before anything is computed, when a job is wrong.
    """
    for job in jobs:
        job.check()
    return _each(ScoreJob.run, jobs, threads)


def select_pack(jobs: Sequence[SelectJob], *, threads: int = 1) -> list[Selection | RunFailed]:
    """Select for many runs on the CPU, ``threads`` of them at a time.

    Returns
    -------
    list
        For each job new mask and threshold by tensor, or the RunFailed that it ended in; the others go on.

    Raises
    ------
    UsageError
        When a job is wrong.
    """
    return _each(SelectJob.run, jobs, threads)


def branch_forms(job: ScoreJob, prior: tuple[Any, Any]) -> list[dict[str, Any]]:
    """Return what the CUDA module takes for each branch; ``prior`` as :attr:`ScorePrior.native_form`."""

    def wide(tensor: Any) -> np.ndarray:
        return np.ascontiguousarray(tensor, dtype=np.float64)

    C, P = prior
    m, G = job.weights["W_sums"].shape
    known, linked = job.lambda_ppi > 0, job.lambda_motif > 0
    read_W, read_U = job.lambda_ppi < 1, job.lambda_motif < 1
    v = wide(job.weights["v"]) if read_U else None
    return [
        {
            "genes": G, "hidden": m, "prods": branch == "prods", "norm": SCORE_NORMS.index(job.score_norm),
            "lambda_ppi": float(job.lambda_ppi), "lambda_motif": float(job.lambda_motif),
            "damping": float(job.omega_damping), "ridge": float(job.ridge),
            "W": wide(job.weights[f"W_{branch}"]) if read_W else None,
            "U": wide(job.weights[f"U_{branch}"]) if read_U else None,
            "v": v,
            "omega": wide(job.omega[branch]) if known else None,
            "C": C if known else None,
            "P": P if linked else None,
        }
        for branch in BRANCHES
    ]  # fmt: skip


def branch_scores(job: ScoreJob, omega: np.ndarray, psi: np.ndarray, numbers: np.ndarray) -> Scores:
    """Return one branch's scores from what the CUDA module gives back."""

    def diagnose(four: np.ndarray, lam: float) -> Diagnostics:
        prior_mass, data_mass, condition, ridge = map(float, four)
        if lam == 0:
            return Diagnostics(prior_mass, data_mass, condition=float("nan"), method="none", ridge=0.0)
        return Diagnostics(prior_mass, data_mass, condition, "cholesky", ridge)

    return Scores(omega, psi, diagnose(numbers[:4], job.lambda_ppi), diagnose(numbers[4:8], job.lambda_motif))


def _each(run: Callable[[_Job], _Result], jobs: Sequence[_Job], threads: int) -> list[_Result | RunFailed]:
    def guarded(job: _Job) -> _Result | RunFailed:
        try:
            return run(job)
        except RunFailed as error:
            return error

    return map_in_threads(guarded, jobs, threads, "pruning event")


def _parts(matrix: csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), np.ascontiguousarray(matrix.data)
