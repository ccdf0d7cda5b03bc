"""A model that is computed, not trained: a network read out of the data and a prior, and written down as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from dash_hpc.ops.state import Matrix, values
from dash_hpc.pruning.base import Strategy
from dash_hpc.study.options import StrategyOptions
from dash_hpc.study.phases import Phase

if TYPE_CHECKING:
    from dash_hpc.evidence.decide import EvidenceOptions
    from dash_hpc.store import Evidence

__all__ = ["FromEvidence", "FromEvidenceOptions"]


def _threshold(value: Any) -> Any:
    if value == "mode" and isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1000:
        return float(value)
    raise ValueError('must be "mode" or log-odds in nats, from -1000 to 1000')


Threshold = Annotated[Literal["mode"] | float, BeforeValidator(_threshold)]


class FromEvidenceOptions(StrategyOptions):
    """A network read out of the data and a prior, a probability for every edge; a model fitted to it, none trained."""

    needs_assembly: ClassVar[bool] = True

    mode: Literal["network", "strict", "recall", "share", "balanced"] = Field(
        default="network",
        description="which edges are taken: network (new ones at even odds, listed ones unless the odds are 4 : 1 "
        "against them), strict (even odds), recall (log-odds above -3), share (listed ones that hold at most alpha of "
        "the expected wrong ones), balanced (share, and new ones wherever they raise the expected balanced accuracy)",
    )
    keep: Threshold = Field(default="mode", description="log-odds above which a listed edge is kept, in nats")
    admit: Threshold = Field(default="mode", description="log-odds above which a new edge is taken, in nats")
    alpha: float = Field(
        default=0.2, ge=0, le=1, description="share of the expected wrong listed edges that share and balanced may keep"
    )
    rounds: int = Field(
        default=3, ge=1, le=20, description="at most so many rounds of evidence, with courses smoothed in between"
    )
    candidates: int = Field(
        default=200,
        ge=1,
        le=100_000,
        description="regulators looked at per target besides the listed ones, where there are over 1,000 genes",
    )

    def evidence(self) -> EvidenceOptions:
        """Return them as those who gather evidence take them."""
        from dash_hpc.evidence.decide import EvidenceOptions

        return EvidenceOptions(
            mode=self.mode,
            keep=None if self.keep == "mode" else self.keep,
            admit=None if self.admit == "mode" else self.admit,
            alpha=self.alpha,
            rounds=self.rounds,
            candidates=self.candidates,
        )

    def phases(self, training: Mapping[str, Any]) -> tuple[Phase, ...]:
        return (Phase(1, schedule=None, trains=False),)


class FromEvidence(Strategy):
    """The network of the training data and the prior, by calibrated evidence, as a sparse model.

    Targets are regressions on the smoothed courses of possible regulators, given the rates at which genes relax; every
    edge has a Bayes factor, the prior's degrees give prior odds, its share of wrong edges is estimated. Edges are taken
    by their log-odds (``mode``), a drive is fitted to each target and written down in the tensors of the model, whose
    number of units follows (``model.hidden`` is not read). Validation data and reference network are not looked at.
    Nothing is random: the seed counts through the noise of the data alone. It works without a prior too. Where the data
    put an edge beyond doubt for less than a twentieth of the targets, as one trajectory does, nothing is learnt of the
    prior's errors either: the prior's edges are then taken as they are, and a note says so. A prior that is wrong as a
    whole, of which the data bear out surely less than a tenth, is left out, and a note says that.
    """

    name: ClassVar[str] = "evidence"
    Options: ClassVar[type[StrategyOptions]] = FromEvidenceOptions
    options: FromEvidenceOptions
    _evidence: Evidence | None = None
    _notes: tuple[str, ...] = ()

    def build(
        self, weights: dict[str, Matrix], masks: dict[str, np.ndarray]
    ) -> tuple[dict[str, Matrix], dict[str, np.ndarray]]:
        """Read the network, fit it, write it down.

        Raises
        ------
        RunFailed
            When no gene of the training data moves.
        """
        from dash_hpc.evidence.finding import find_network
        from dash_hpc.evidence.model import fit_model
        from dash_hpc.models.phoenix.assemble import assemble

        found = find_network(self.dataset, self.options.evidence())
        fitted = fit_model(found.reading, found.ledger, found.decision)
        self._evidence, self._notes = found.evidence, found.notes
        model = assemble(fitted.drives, fitted.rates, weights["v"].dtype)
        return model, {name: np.ones(values(model[name]).shape, dtype=bool) for name in masks}

    def evidence(self) -> Evidence | None:
        """Return the edges with their probabilities."""
        return self._evidence

    def notes(self) -> tuple[str, ...]:
        """Say where the prior decided alone."""
        return self._notes
