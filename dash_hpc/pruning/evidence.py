"""A model that is computed, not trained: a network read out of the data and a prior, and written down as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from dash_hpc.errors import RunFailed
from dash_hpc.ops.state import Matrix, values
from dash_hpc.pruning.base import Strategy
from dash_hpc.study.options import StrategyOptions
from dash_hpc.study.phases import Phase

if TYPE_CHECKING:
    from dash_hpc.store import Evidence

__all__ = ["FromEvidence", "FromEvidenceOptions"]

#: With a smaller share of targets that the data decide, the prior's edges are taken as they are.
_LEAST_DECIDED = 0.05
_FAR = 1e9  # beyond the log-odds of any edge that is possible


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
    prior's errors either: the prior's edges are then taken as they are, and a note says so.
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
        from dash_hpc.evidence.blocks import blocks_of
        from dash_hpc.evidence.decide import EvidenceOptions, decide, ledger_of
        from dash_hpc.evidence.model import fit_model
        from dash_hpc.evidence.rounds import read_network
        from dash_hpc.evidence.state import PriorEdges
        from dash_hpc.evidence.table import decided_share, table_of
        from dash_hpc.models.phoenix.assemble import assemble

        chosen, data = self.options, self.dataset
        options = EvidenceOptions(
            mode=chosen.mode,
            keep=None if chosen.keep == "mode" else chosen.keep,
            admit=None if chosen.admit == "mode" else chosen.admit,
            alpha=chosen.alpha,
            rounds=chosen.rounds,
            candidates=chosen.candidates,
        )
        edges = PriorEdges.none(data.n_genes)
        if data.prior is not None:
            edges = PriorEdges.from_matrix(data.prior.motif, data.prior.signed)
        reading = read_network(blocks_of(data.train, data.time_unit), edges, options)
        if not any(reading.parts.values()):
            raise RunFailed(
                f"strategy evidence: no gene of data set {data.name!r} changes within a trajectory by more than the "
                "noise, so that the data say nothing of regulators"
            )
        ledger = ledger_of(reading.state)
        share = decided_share(reading.state, ledger)
        if len(edges) and share < _LEAST_DECIDED:
            options = replace(options, keep=-_FAR, admit=_FAR)
            self._notes = (
                f"evidence: the data put a regulator beyond doubt for {share:.0%} of the genes that move; the network "
                "is the prior's, and its probabilities say little",
            )
        decision = decide(ledger, data.n_genes, options)
        fitted = fit_model(reading, ledger, decision)
        self._evidence = table_of(reading, ledger, decision, data.genes, options)
        found = assemble(fitted.drives, fitted.rates, weights["v"].dtype)
        return found, {name: np.ones(values(found[name]).shape, dtype=bool) for name in masks}

    def evidence(self) -> Evidence | None:
        """Return the edges with their probabilities."""
        return self._evidence

    def notes(self) -> tuple[str, ...]:
        """Say where the prior decided alone."""
        return self._notes
