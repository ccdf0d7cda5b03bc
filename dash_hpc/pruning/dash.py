"""DASH: prune scores that mix magnitudes with what is known about the domain."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array

from dash_hpc.errors import UsageError
from dash_hpc.models.registry import family_of
from dash_hpc.ops.events import Branch, BranchScores, ScorePrior, ScoreTask
from dash_hpc.ops.state import Matrix, Tensors
from dash_hpc.pruning.base import Context, EventScores, Strategy
from dash_hpc.pruning.events import alone
from dash_hpc.rng import stream
from dash_hpc.study.options import StrategyOptions

if TYPE_CHECKING:
    from dash_hpc.data import DataSet

__all__ = ["Dash", "DashOptions", "ScoreOptions"]


class ScoreOptions(StrategyOptions):
    """How prior knowledge becomes pruning scores; shared by DASH and BioPrune (Hossain et al., NeurIPS 2024)."""

    needs_prior: ClassVar[bool] = True
    needs_relation: ClassVar[bool] = True

    omega0: Literal["uniform", "gaussian"] = Field(
        default="uniform",
        description="start of the first layer's score: uniform on [0, 1) or the paper's standard normal",
    )
    normalise_interactions: bool = Field(default=True, description="divide the interaction matrix by its sum")
    score_norm: Literal["paper", "unit_sum", "rank"] = Field(
        default="paper", description="scale of the prior score before it is mixed with the weights"
    )
    omega_damping: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of the previous score kept at each event; 0 is the paper, 0.5 converges",
    )
    ridge: float = Field(
        default=1e-10,
        ge=0,
        le=1,
        description="ridge of the normal equations, relative to the mean of their diagonal; 0 = none",
    )
    compat_lr_bug: bool = Field(
        default=False,
        description="repeat the released code's slip: after an event the tensor before v gets v's learning rate",
    )


class DashOptions(ScoreOptions):
    """Domain-aware pruning: weight magnitude mixed with prior knowledge (Hossain et al., NeurIPS 2024, Alg. 1)."""

    symbols: ClassVar[Mapping[str, str]] = {"lambda_ppi": "λ₁", "lambda_motif": "λ₂"}

    lambda_ppi: float = Field(
        ge=0, le=1, description="λ₁, weight of the interactions in the first layer's score; 0 = magnitude only"
    )
    lambda_motif: float = Field(
        ge=0, le=1, description="λ₂, weight of the motif map in the second layer's score; 0 = magnitude only"
    )


class Dash(Strategy):
    """Domain-aware sparsity heuristic (Hossain, Fischer, Burkholz, Quackenbush, NeurIPS 2024).

    Each branch keeps a dense score matrix Ω (m×G) from event to event. Entries of pruned weights keep a score and go
    on to feed the next pseudo-inverse. Weights enter after masking; biases and multipliers are never pruned.

    λ is not scale-free: compare the masses in the event records, not λ, across data sets. Ω before event 0 is U[0, 1)
    as in the authors' program, or N(0, 1) as in the paper. How a score is made:
    :func:`dash_hpc.ops.scores.dash_scores`.
    """

    name: ClassVar[str] = "dash"
    Options: ClassVar[type[StrategyOptions]] = DashOptions
    scheduled: ClassVar[bool] = True
    options: ScoreOptions

    def __init__(self, options: ScoreOptions, schedule: Mapping[str, Any], dataset: DataSet, seed: int) -> None:
        super().__init__(options, schedule, dataset, seed)
        self.lambda_ppi, self.lambda_motif = self.lambdas(options)
        prior = self._need_prior()
        C: csr_array | None = None
        if self.lambda_ppi > 0:  # |A||A|ᵀ of a large prior is costly; at λ₁ = 0 nobody reads it
            C = prior.interactions(normalise=self.options.normalise_interactions)
        self._prior = ScorePrior(C, prior.target_by_regulator() if self.lambda_motif > 0 else None)
        self.omega: dict[str, np.ndarray] = {}

    @staticmethod
    def lambdas(options: ScoreOptions) -> tuple[float, float]:
        """Return λ₁ and λ₂."""
        if not isinstance(options, DashOptions):
            raise UsageError(f"strategy dash: give its options as DashOptions, got {options!r}")
        return options.lambda_ppi, options.lambda_motif

    def start(self, weights: dict[str, Matrix], masks: dict[str, np.ndarray], context: Context) -> None:
        """Draw Ω of every branch."""
        for layer in family_of(weights).layers(weights):
            if layer.relation == "gram":
                rng, shape = stream(self.seed, "omega0", layer.branch), layer.tensor.shape
                draw = rng.random(shape) if self.options.omega0 == "uniform" else rng.standard_normal(shape)
                self.omega[layer.branch] = draw

    def scores(self, weights: Tensors, masks: Mapping[str, np.ndarray]) -> EventScores:
        """Advance Ω of every branch by one event; return Ω for its first layer and Ψ for its second one.

        Ω changes only when all scores are usable.
        """
        return alone(self.scoring(weights, masks))

    def scoring(
        self, weights: Tensors, masks: Mapping[str, np.ndarray]
    ) -> Generator[ScoreTask, BranchScores, EventScores]:
        """Give out the scores of all branches; Ω advances when they are taken."""
        options, layers = self.options, family_of(weights).layers(weights)
        first = {layer.branch: layer for layer in layers if layer.relation == "gram"}
        second = {layer.branch: layer for layer in layers if layer.relation == "chain"}
        found = yield ScoreTask(
            weights,
            self.omega,
            self._prior,
            self.lambda_ppi,
            self.lambda_motif,
            options.score_norm,
            options.omega_damping,
            options.ridge,
            [
                Branch(name, first[name].name, layer.name, layer.gain, first[name].log_space)
                for name, layer in second.items()
            ],
        )
        scores, records = {}, []
        for layer in layers:
            result = found[layer.branch]
            scores[layer.name] = result.omega if layer.relation == "gram" else result.psi
            diagnosis = result.omega_diagnostics if layer.relation == "gram" else result.psi_diagnostics
            records.append(diagnosis.record())
        self.omega = {name: result.omega for name, result in found.items()}
        return scores, records

    def rates(self, rates: dict[str, float], *, after_event: bool) -> dict[str, float]:
        """Return ``rates``, or with compat_lr_bug those of the authors' program after an event.

        It shifts the groups by one when it resets them: each tensor gets the rate of the next.
        """
        if not (after_event and self.options.compat_lr_bug):
            return rates
        shifted = list(rates.values())
        return dict(zip(rates, [*shifted[1:], shifted[0]], strict=True))

    def state_arrays(self) -> dict[str, np.ndarray]:
        """Return Ω of every branch."""
        return {f"omega_{branch}": self.omega[branch].copy() for branch in self.omega}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over Ω of every branch."""
        self.omega = {branch: np.array(arrays[f"omega_{branch}"]) for branch in self.omega}
