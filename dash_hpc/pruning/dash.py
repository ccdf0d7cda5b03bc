"""DASH: prune scores that mix magnitudes with what is known about the domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.errors import UsageError
from dash_hpc.ops.events import BranchScores, ScoreJob, ScorePrior
from dash_hpc.ops.scores import BRANCHES, SCORE_NORMS
from dash_hpc.ops.state import Matrix, Tensors
from dash_hpc.pruning.base import Context, EventScores, Strategy, TakeScores
from dash_hpc.rng import stream

if TYPE_CHECKING:
    from dash_hpc.data import DataSet

__all__ = ["Dash"]

#: Tensors in the order in which the authors' program treats them.
_ORDER = ("W_prods", "W_sums", "U_sums", "U_prods")


class Dash(Strategy):
    """Domain-aware sparsity heuristic (Hossain, Fischer, Burkholz, Quackenbush, NeurIPS 2024).

    Each branch keeps a dense score matrix Ω (m×G) from event to event. Entries of pruned weights keep a score and go
    on to feed the next pseudo-inverse. Weights enter after masking; biases and multipliers are never pruned.

    Options
    -------
    lambda_ppi, lambda_motif : float in [0, 1]
        λ₁ for W (interactions among inputs) and λ₂ for U (regulator → target map). λ is not scale-free: compare
        the masses in the event records, not λ, across data sets.
    omega0 : "uniform" or "gaussian", default "uniform"
        Distribution of Ω before event 0: U[0, 1) as in the authors' program, or N(0, 1) as in the paper.
    normalise_interactions : bool, default True
        Divide C by its sum.
    score_norm, omega_damping, ridge
        See :func:`dash_hpc.ops.scores.dash_scores`.
    compat_lr_bug : bool, default False
        Read by training: after an event U_prods gets the learning rate of v and v that of U_prods, as in the authors'
        program.
    """

    name: ClassVar[str] = "dash"
    scheduled: ClassVar[bool] = True
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "lambda_ppi": 0.05,
        "lambda_motif": 0.01,
        "omega0": "uniform",
        "normalise_interactions": True,
        "score_norm": "paper",
        "omega_damping": 0.0,
        "ridge": 1e-10,
        "compat_lr_bug": False,
    }

    def __init__(self, options: Mapping[str, Any], schedule: Mapping[str, Any], dataset: DataSet, seed: int) -> None:
        super().__init__(options, schedule, dataset, seed)
        #: λ₁ and λ₂; a subclass without these options (BioPrune) has 1.
        self.lambda_ppi = float(self.options.get("lambda_ppi", 1.0))
        self.lambda_motif = float(self.options.get("lambda_motif", 1.0))
        self._check_options()
        prior = self._need_prior()
        C: csr_array | None = None
        if self.lambda_ppi > 0:  # |A||A|ᵀ of a large prior is costly; at λ₁ = 0 nobody reads it
            C = prior.interactions(normalise=bool(self.options["normalise_interactions"]))
        self._prior = ScorePrior(C, prior.target_by_regulator() if self.lambda_motif > 0 else None)
        self.omega: dict[str, np.ndarray] = {}

    def start(self, weights: dict[str, Matrix], masks: dict[str, np.ndarray], context: Context) -> None:
        """Draw Ω of both branches."""
        for branch in BRANCHES:
            rng = stream(self.seed, "omega0", branch)
            shape = weights[f"W_{branch}"].shape
            draw = rng.random(shape) if self.options["omega0"] == "uniform" else rng.standard_normal(shape)
            self.omega[branch] = draw

    def scores(self, weights: Tensors, masks: Mapping[str, np.ndarray]) -> EventScores:
        """Advance Ω of both branches by one event and return Ω for W and Ψ for U.

        Ω changes only when all four scores are usable.
        """
        job, take = self.score_job(weights, masks)
        return take(job.run())

    def score_job(self, weights: Tensors, masks: Mapping[str, np.ndarray]) -> tuple[ScoreJob, TakeScores]:
        """Describe the scores of both branches; Ω advances when they are taken."""
        options = self.options
        job = ScoreJob(
            weights,
            self.omega,
            self._prior,
            self.lambda_ppi,
            self.lambda_motif,
            options["score_norm"],
            options["omega_damping"],
            options["ridge"],
        )
        return job, self._take

    def state_arrays(self) -> dict[str, np.ndarray]:
        """Return Ω of both branches."""
        return {f"omega_{branch}": self.omega[branch].copy() for branch in self.omega}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over Ω of both branches."""
        self.omega = {branch: np.array(arrays[f"omega_{branch}"]) for branch in BRANCHES}

    def _take(self, found: BranchScores) -> EventScores:
        scores, records = {}, []
        for name in _ORDER:
            layer, branch = name.split("_")
            result = found[branch]
            scores[name] = result.omega if layer == "W" else result.psi
            records.append((result.omega_diagnostics if layer == "W" else result.psi_diagnostics).record())
        self.omega = {branch: found[branch].omega for branch in BRANCHES}
        return scores, records

    def _check_options(self) -> None:
        values = self.options
        for key, value in (("lambda_ppi", self.lambda_ppi), ("lambda_motif", self.lambda_motif)):
            if not 0.0 <= value <= 1.0:
                raise UsageError(f"strategy {self.name}: {key} must lie in [0, 1], got {value!r}")
        for key, legal in (("omega0", ("uniform", "gaussian")), ("score_norm", SCORE_NORMS)):
            if values[key] not in legal:
                raise UsageError(f"strategy {self.name}: {key} must be one of {', '.join(legal)}, got {values[key]!r}")
        if not 0.0 <= values["omega_damping"] < 1.0:
            raise UsageError(f"strategy {self.name}: omega_damping must lie in [0, 1), got {values['omega_damping']!r}")
        if values["ridge"] < 0.0:
            raise UsageError(f"strategy {self.name}: ridge must be 0 or more, got {values['ridge']!r}")
