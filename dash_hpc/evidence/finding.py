"""The network of a data set: evidence gathered, edges taken, and whether the data had a say at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dash_hpc.errors import RunFailed
from dash_hpc.evidence.blocks import blocks_of
from dash_hpc.evidence.decide import Decision, EvidenceOptions, Ledger, decide, ledger_of
from dash_hpc.evidence.rounds import Reading, read_network
from dash_hpc.evidence.state import PriorEdges
from dash_hpc.evidence.table import decided_share, table_of

if TYPE_CHECKING:
    from dash_hpc.data import DataSet
    from dash_hpc.store import Evidence

__all__ = ["Finding", "find_network"]

#: Share of the targets below which the data say nothing of the prior's errors.
_LEAST_DECIDED = 0.05
_FAR = 1e9  # beyond the log-odds of any edge that is possible


@dataclass(frozen=True, eq=False)
class Finding:
    """What was found in a data set.

    Attributes
    ----------
    reading, ledger, decision
        Evidence for all edges, and which are taken.
    evidence : Evidence
        The table of it, by the genes' names.
    notes : tuple of str
        Where the prior decided alone.
    """

    reading: Reading
    ledger: Ledger
    decision: Decision
    evidence: Evidence
    notes: tuple[str, ...]


def find_network(data: DataSet, options: EvidenceOptions, threads: int = 1) -> Finding:
    """Read the network out of the training data and the prior; validation data and reference are not looked at.

    Where the data put an edge beyond doubt for less than a twentieth of the targets, as one trajectory does, nothing is
    learnt of the prior's errors either: the prior's edges are then taken as they are, and a note says so. A prior of
    which surely less than a tenth is real is left out (:mod:`dash_hpc.evidence.trust`), and a note says that.

    So many ``threads`` look at targets side by side; what is found does not depend on it.

    Raises
    ------
    RunFailed
        When no gene of the training data moves.
    """
    edges = PriorEdges.none(data.n_genes)
    if data.prior is not None:
        edges = PriorEdges.from_matrix(data.prior.motif, data.prior.signed)
    reading = read_network(blocks_of(data.train, data.time_unit), edges, options, threads)
    if not any(reading.parts.values()):
        raise RunFailed(
            f"evidence: no gene of data set {data.name!r} changes within a trajectory by more than the noise, so that "
            "the data say nothing of regulators"
        )
    ledger = ledger_of(reading.state)
    share = decided_share(reading.state, ledger)
    notes: tuple[str, ...] = ()
    if len(edges) and reading.state.trusted and share < _LEAST_DECIDED:
        options = replace(options, keep=-_FAR, admit=_FAR)
        notes = (
            f"evidence: the data put a regulator beyond doubt for {share:.0%} of the genes that move; the network is "
            "the prior's, and its probabilities say little",
        )
    trusted = reading.state.trusted
    if not trusted:
        notes = (
            f"evidence: the data bear out hardly any edge of the prior ({_real(ledger):.1f} of {len(edges):,} are "
            "expected to be real), so that it was left out: the network is what the data say without a prior",
        )
    if reading.inputs is not None and len(reading.inputs.open):
        told = f"an input of unknown targets acts on {reading.inputs.share:.0%} of the genes, as far as the data tell"
        notes = (*notes, f"evidence: {told}; the model has no inputs")
    decision = decide(ledger, data.n_genes, options, trusted=trusted)
    return Finding(reading, ledger, decision, table_of(reading, ledger, decision, data.genes, options), notes)


def _real(ledger: Ledger) -> float:
    """Expected number of listed edges that are real."""
    return float(ledger.probability[ledger.listed].sum())
