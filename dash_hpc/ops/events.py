"""The work of a pruning event as tasks: scores, then selection, of one run or of many side by side."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.errors import RunFailed, UsageError
from dash_hpc.ops.checks import as_csr, as_floats, as_number
from dash_hpc.ops.least_squares import PriorTerms, PriorTermsTask, sparse_form
from dash_hpc.ops.phoenix import PRUNABLE
from dash_hpc.ops.scores import BRANCHES, Scores, check_options, dash_scores, dash_steps
from dash_hpc.ops.select import select
from dash_hpc.ops.state import Tensors
from dash_hpc.ops.threads import map_in_threads

__all__ = ["Branch", "ScorePrior", "ScoreTask", "SelectTask", "score_many", "select_many"]

#: Scores of both branches by name.
BranchScores = dict[str, Scores]
#: Scores of one branch under way.
ScoreSteps = Generator[PriorTermsTask, PriorTerms, Scores]
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
    def digest(self) -> bytes:
        """Equal for equal matrices, so that runs of a pack share one copy on a device."""
        found = sha256()
        for matrix, name in ((self.C, "the interactions C"), (self.P, "the prior network P")):
            checked = None if matrix is None else as_csr(matrix, (None, None), name)
            for array in sparse_form(checked) or ():
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
        return {part.name: dash_scores(**self._arguments(part, self.prior)) for part in self.parts}

    def steps(self, prior: ScorePrior) -> dict[str, ScoreSteps]:
        """Return the scores of each branch in steps (:func:`dash_hpc.ops.scores.dash_steps`), with an equal prior."""
        return {part.name: dash_steps(**self._arguments(part, prior)) for part in self.parts}

    def _arguments(self, part: Branch, prior: ScorePrior) -> dict[str, Any]:
        return {
            "W": self.weights[part.first], "U": self.weights[part.second], "v": self.gain(part),
            "omega": self.omega[part.name], "C": prior.C, "P": prior.P,
            "branch": "prods" if part.log_space else "sums", "names": (part.first, part.second),
            "lambda_ppi": self.lambda_ppi, "lambda_motif": self.lambda_motif, "score_norm": self.score_norm,
            "omega_damping": self.omega_damping, "ridge": self.ridge,
        }  # fmt: skip


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


def score_together(
    tasks: Sequence[ScoreTask],
    solve: Callable[[Sequence[PriorTermsTask]], Sequence[PriorTerms | RunFailed]],
    threads: int,
) -> list[BranchScores | RunFailed]:
    """Do what :func:`score_many` does with the least-squares tasks of all runs solved at once by ``solve``.

    Runs with equal priors give it the same matrices.
    """
    for task in tasks:
        task.check()
    priors: dict[bytes, ScorePrior] = {}
    steps: dict[tuple[int, str], ScoreSteps] = {}
    for number, task in enumerate(tasks):
        for branch, scores in task.steps(priors.setdefault(task.prior.digest, task.prior)).items():
            steps[number, branch] = scores
    answers: dict[tuple[int, str], Any] = dict.fromkeys(steps)
    found: dict[tuple[int, str], Scores | RunFailed] = {}

    def advance(key: tuple[int, str]) -> PriorTermsTask | Scores | RunFailed:
        answer = answers[key]
        try:
            return steps[key].throw(answer) if isinstance(answer, RunFailed) else steps[key].send(answer)
        except StopIteration as end:
            done: Scores = end.value
            return done
        except RunFailed as error:
            return error

    while answers:
        asked: dict[tuple[int, str], PriorTermsTask] = {}
        for key, outcome in zip(answers, map_in_threads(advance, answers, threads, "pruning event"), strict=True):
            if isinstance(outcome, PriorTermsTask):
                asked[key] = outcome
            else:
                found[key] = outcome
        answers = dict(zip(asked, solve(list(asked.values())), strict=True)) if asked else {}
    return [_branches({part.name: found[k, part.name] for part in task.parts}) for k, task in enumerate(tasks)]


def _branches(found: Mapping[str, Scores | RunFailed]) -> BranchScores | RunFailed:
    """The scores of a run, or the first branch's error."""
    scores: BranchScores = {}
    for branch, outcome in found.items():
        if isinstance(outcome, RunFailed):
            return outcome
        scores[branch] = outcome
    return scores


def _each(run: Callable[[_Task], _Result], tasks: Sequence[_Task], threads: int) -> list[_Result | RunFailed]:
    def guarded(task: _Task) -> _Result | RunFailed:
        try:
            return run(task)
        except RunFailed as error:
            return error

    return map_in_threads(guarded, tasks, threads, "pruning event")
