"""Evidence as it is stored and shown: a row per edge, and what is to be expected of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dash_hpc.evidence.alike import most_alike
from dash_hpc.evidence.decide import Decision, EvidenceOptions, Ledger
from dash_hpc.evidence.rounds import Reading
from dash_hpc.evidence.state import IntArray, State

if TYPE_CHECKING:
    from dash_hpc.store import Evidence

__all__ = ["LEAST_PROBABILITY", "decided_share", "table_of"]

#: Edges that are neither listed nor taken are in the table from this probability on.
LEAST_PROBABILITY = 0.01
#: Log-odds from which an edge is beyond doubt.
_SURE = 10.0


def table_of(
    reading: Reading, ledger: Ledger, decision: Decision, genes: Sequence[str], options: EvidenceOptions
) -> Evidence:
    """Return listed and taken edges, and others of 1 % chance and more, with what is expected of the whole ledger.

    Parameters
    ----------
    reading, ledger, decision
        Of the same data.
    genes : sequence of G str
    options : EvidenceOptions

    Returns
    -------
    dash_hpc.store.Evidence
        Facts: ``mode``; the thresholds ``keep`` and ``admit``; ``noise`` (s.d. of one measurement); ``corruption``
        (share of the listed edges that are wrong, None without a prior); ``prior_used`` (1, or 0 where the prior was
        left out because hardly any of its edges is real; None without one); numbers of edges ``listed``, ``new`` and
        ``taken``; ``expected_fdr`` (share of the taken edges that are false, None without any),
        ``expected_spurious`` (listed edges that are false), ``expected_missing`` (true ones that are not listed),
        ``expected_missed`` (true ones that are not taken); numbers of ``constant_genes`` and ``targets``;
        ``decided_targets`` (share of the targets with an edge that the data put beyond doubt, log B over 10) and
        ``median_power`` (nats, of the listed edges that the data say something of, or, without a prior, of all;
        None where they say nothing); ``rate`` (mean over the targets, geometric) and ``rate_spread`` (s.d. of its
        logarithm), per unit of time of the model; ``rounds``.
    """
    from dash_hpc.store import Evidence  # here: HDF5 takes long to load, and only whoever stores needs it

    shown = ledger.listed | decision.taken | (ledger.probability >= LEAST_PROBABILITY)
    names = np.array([*genes, ""], dtype=object)
    edges = {
        "regulator": names[ledger.regulator[shown]],
        "target": names[ledger.target[shown]],
        "listed": ledger.listed[shown],
        "taken": decision.taken[shown],
        "sign": _signs(reading.state, ledger)[shown],
        "log_bf": ledger.log_bf[shown],
        "prior_log_odds": ledger.prior[shown],
        "log_odds": ledger.log_odds[shown],
        "probability": ledger.probability[shown],
        "effect": ledger.effect[shown],
        "standard_error": ledger.error[shown],
        "power": ledger.power[shown],
        "verdict": decision.verdict[shown].astype(object),
    }
    gene, correlation = most_alike(reading, ledger, shown)
    edges |= {"alike": names[gene[shown]], "correlation": correlation[shown]}
    return Evidence(edges, _facts(reading, ledger, decision, options))


def decided_share(state: State, ledger: Ledger) -> float:
    """Return the share of the targets with an edge that the data put beyond doubt, log B over 10."""
    decided = np.unique(ledger.target[ledger.log_bf > _SURE])
    return len(decided) / max(len(state.targets), 1)


def _signs(state: State, ledger: Ledger) -> IntArray:
    """What the prior says of each edge: 1, -1 or 0."""
    known = state.edges
    keys = known.targets * state.n_genes + known.regulators
    asked = ledger.target * state.n_genes + ledger.regulator
    place = np.minimum(np.searchsorted(keys, asked), max(len(keys) - 1, 0))
    found = np.zeros(len(ledger), dtype=np.int64)
    if len(keys):
        there = keys[place] == asked
        found[there] = known.signs[place[there]]
    return found


def _facts(reading: Reading, ledger: Ledger, decision: Decision, options: EvidenceOptions) -> dict[str, Any]:
    state, last = reading.state, reading.rounds[-1]
    listed, taken = ledger.listed, decision.taken
    told = np.isfinite(ledger.power) & (listed if listed.any() else True)
    facts = {
        "keep": decision.keep,
        "admit": decision.admit,
        "noise": float(np.sqrt(state.noise)),
        "corruption": state.corruption if listed.any() else None,
        "prior_used": int(state.trusted) if listed.any() else None,
        "listed": int(listed.sum()),
        "new": int((taken & ~listed).sum()),
        "taken": int(taken.sum()),
        "expected_fdr": decision.false_discoveries,
        "expected_spurious": decision.spurious,
        "expected_missing": decision.missing,
        "expected_missed": decision.missed,
        "constant_genes": int(state.constant.sum()),
        "targets": len(state.targets),
        "decided_targets": decided_share(state, ledger),
        "median_power": float(np.median(ledger.power[told])) if told.any() else None,
        "rate": float(np.exp(last.rate_mean)),
        "rate_spread": last.rate_spread,
        "rounds": len(reading.rounds),
    }
    plain = {name: value if value is None or np.isfinite(value) else None for name, value in facts.items()}
    return {"mode": options.mode, **plain}
