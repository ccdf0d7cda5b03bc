"""The work of a pruning event as tasks: scores, then selection, of one run or of many side by side."""

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

__all__ = ["Branch", "ScorePrior", "ScoreTask", "SelectTask", "score_many", "select_many"]

#: Scores of both branches by name.
BranchScores = dict[str, Scores]
#: New mask and threshold of each tensor by name, as :func:`dash_hpc.ops.select` returns them.
Selection = dict[str, tuple[np.ndarray, float]]

_Task = TypeVar("_Task")
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
class Branch:
    """Two layers of a model, one after the other, that are scored together.

    Attributes
    ----------
    name : str
    first, second : str
        Tensors (m, G) and (G, m) of the model.
    gain : (G,) array or None
        Multipliers of the rows of the second one, below 0 as 0; None: 1.
    log_space : bool
        Whether the first one's magnitudes are exp(w), not abs(w).
    """

    name: str
    first: str
    second: str
    gain: np.ndarray | None
    log_space: bool = False


@dataclass(frozen=True, eq=False)
class ScoreTask:
    """DASH scores of all branches of one run: what :func:`dash_hpc.ops.dash_scores` takes for each.

    Attributes
    ----------
    weights : mapping
        The model's tensors, float32 or float64 arrays, masked entries 0. Not changed.
    omega : mapping of (m, G) float64
        Ω of the previous event by branch. Not changed.
    prior : ScorePrior
    lambda_ppi, lambda_motif : float in [0, 1]
    score_norm, omega_damping, ridge
        See :func:`dash_hpc.ops.dash_scores`.
    branches : sequence of Branch, optional
        Left out: "sums" and "prods" of PHOENIX's seven tensors.
    """

    weights: Tensors
    omega: Mapping[str, np.ndarray]
    prior: ScorePrior
    lambda_ppi: float
    lambda_motif: float
    score_norm: str = "paper"
    omega_damping: float = 0.0
    ridge: float = 1e-10
    branches: Sequence[Branch] | None = None

    @cached_property
    def parts(self) -> tuple[Branch, ...]:
        """The branches, in the order of results; UsageError when a tensor is missing."""
        if self.branches is not None:
            return tuple(self.branches)
        missing = [name for name in ("v", *PRUNABLE) if name not in self.weights]
        if missing:
            raise UsageError(f"prune scores: missing: {', '.join(missing)}")
        v = self.weights["v"]
        return tuple(Branch(name, f"W_{name}", f"U_{name}", v, name == "prods") for name in BRANCHES)

    def gain(self, branch: Branch) -> np.ndarray:
        """Return the multipliers of a branch, 1 where it has none."""
        return np.ones(self.weights[branch.first].shape[1]) if branch.gain is None else branch.gain

    def check(self) -> None:
        """Raise UsageError when an option is out of range, a prior is missing or shapes do not fit."""
        check_options(self.lambda_ppi, self.lambda_motif, self.score_norm, self.omega_damping)
        as_number(self.ridge, "ridge", least=0)
        for part in self.parts:
            if part.name not in self.omega:
                raise UsageError(f"prune scores: missing: {part.name}")
        head = self.parts[0].first
        m, G = as_floats(self.weights[head], (None, None), f"prune scores: {head}").shape
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {}
        for part in self.parts:
            shapes[f"multipliers of {part.second}"] = self.gain(part), (G,)
            shapes[part.first] = self.weights[part.first], (m, G)
            shapes[part.second] = self.weights[part.second], (G, m)
            shapes[f"omega of {part.name}"] = self.omega[part.name], (m, G)
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
        """Return the scores of all branches, computed on the CPU. Raises as :func:`dash_hpc.ops.dash_scores` does."""
        return {
            part.name: dash_scores(
                self.weights[part.first],
                self.weights[part.second],
                self.gain(part),
                self.omega[part.name],
                self.prior.C,
                self.prior.P,
                branch="prods" if part.log_space else "sums",
                names=(part.first, part.second),
                lambda_ppi=self.lambda_ppi,
                lambda_motif=self.lambda_motif,
                score_norm=self.score_norm,
                omega_damping=self.omega_damping,
                ridge=self.ridge,
            )
            for part in self.parts
        }


@dataclass(frozen=True, eq=False)
class SelectTask:
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


def score_many(tasks: Sequence[ScoreTask], *, threads: int = 1) -> list[BranchScores | RunFailed]:
    """Score many runs on the CPU, ``threads`` of them at a time; each has the bits that it has alone.

    Returns
    -------
    list
        For each task its scores by branch, or the RunFailed that it ended in; the others go on.

    Raises
    ------
    UsageError
        Before anything is computed, when a task is wrong.
    """
    for task in tasks:
        task.check()
    return _each(ScoreTask.run, tasks, threads)


def select_many(tasks: Sequence[SelectTask], *, threads: int = 1) -> list[Selection | RunFailed]:
    """Select for many runs on the CPU, ``threads`` of them at a time.

    Returns
    -------
    list
        For each task new mask and threshold by tensor, or the RunFailed that it ended in; the others go on.

    Raises
    ------
    UsageError
        When a task is wrong.
    """
    return _each(SelectTask.run, tasks, threads)


def branch_forms(task: ScoreTask, prior: tuple[Any, Any]) -> list[dict[str, Any]]:
    """Return what the CUDA module takes for each branch; ``prior`` as :attr:`ScorePrior.native_form`."""

    def wide(tensor: Any) -> np.ndarray:
        return np.ascontiguousarray(tensor, dtype=np.float64)

    C, P = prior
    m, G = task.weights[task.parts[0].first].shape
    known, linked = task.lambda_ppi > 0, task.lambda_motif > 0
    read_W, read_U = task.lambda_ppi < 1, task.lambda_motif < 1
    return [
        {
            "genes": G, "hidden": m, "prods": part.log_space, "norm": SCORE_NORMS.index(task.score_norm),
            "lambda_ppi": float(task.lambda_ppi), "lambda_motif": float(task.lambda_motif),
            "damping": float(task.omega_damping), "ridge": float(task.ridge),
            "W": wide(task.weights[part.first]) if read_W else None,
            "U": wide(task.weights[part.second]) if read_U else None,
            "v": wide(task.gain(part)) if read_U else None,
            "omega": wide(task.omega[part.name]) if known else None,
            "C": C if known else None,
            "P": P if linked else None,
        }
        for part in task.parts
    ]  # fmt: skip


def branch_scores(task: ScoreTask, omega: np.ndarray, psi: np.ndarray, numbers: np.ndarray) -> Scores:
    """Return one branch's scores from what the CUDA module gives back."""

    def diagnose(four: np.ndarray, lam: float) -> Diagnostics:
        prior_mass, data_mass, condition, ridge = map(float, four)
        if lam == 0:
            return Diagnostics(prior_mass, data_mass, condition=float("nan"), method="none", ridge=0.0)
        return Diagnostics(prior_mass, data_mass, condition, "cholesky", ridge)

    return Scores(omega, psi, diagnose(numbers[:4], task.lambda_ppi), diagnose(numbers[4:8], task.lambda_motif))


def _each(run: Callable[[_Task], _Result], tasks: Sequence[_Task], threads: int) -> list[_Result | RunFailed]:
    def guarded(task: _Task) -> _Result | RunFailed:
        try:
            return run(task)
        except RunFailed as error:
            return error

    return map_in_threads(guarded, tasks, threads, "pruning event")


def _parts(matrix: csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), np.ascontiguousarray(matrix.data)
