"""What a report tells of single edges where a strategy gave evidence on them: what data and prior say, and how sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dash_hpc.errors import DashHpcError
from dash_hpc.evaluation import reference_coordinates
from dash_hpc.pruning.registry import tells_edges
from dash_hpc.report.material import Material

if TYPE_CHECKING:
    from dash_hpc.store import Evidence

__all__ = ["EvidenceRow", "EvidenceView", "evidence_of", "truth_of_edges", "view_of"]

#: Nats of power below which data cannot refuse an edge.
LITTLE_POWER = 2.5
#: Below this share of targets with an edge beyond doubt, the prior decides nearly everything.
_FEW_DECIDED = 0.2
_SHOWN = 15


@dataclass(frozen=True)
class EvidenceRow:
    """An edge as the page shows it; ``in_truth`` None = unknown, numbers NaN where the data say nothing."""

    regulator: str
    target: str
    arrow: str
    probability: float
    log_bf: float
    prior: float
    effect: float
    standard_error: float
    power: float
    verdict: str
    in_truth: bool | None


@dataclass(frozen=True)
class EvidenceView:
    """What a page shows of the evidence.

    Attributes
    ----------
    run_id, strategy : str
        "" for an audit, which has no run.
    facts : tuple of (label, value)
    counts : tuple of (label, supported, undecided, refused)
        Listed edges that are kept and left out, and new ones.
    new, refused : tuple of EvidenceRow
        Unlisted edges that were taken, the most probable first; listed ones that were left out, those first that the
        data speak against most.
    n_new, n_refused : int
        How many there are.
    warnings : tuple of str
        What speaks against trusting it.
    """

    run_id: str
    strategy: str
    facts: tuple[tuple[str, str], ...]
    counts: tuple[tuple[str, int, int, int], ...]
    new: tuple[EvidenceRow, ...]
    refused: tuple[EvidenceRow, ...]
    n_new: int
    n_refused: int
    warnings: tuple[str, ...]


def evidence_of(material: Material) -> tuple[str, Evidence] | None:
    """Return (run, evidence) of the run with the lowest validation error among those that have some."""
    groups = [group for group in material.groups if tells_edges(group.strategy) and not group.done.empty]
    run_id = material.best_run(groups) if groups else None
    if run_id is None:
        return None
    try:
        return run_id, material.store.evidence(run_id)
    except DashHpcError:
        return None  # a run of a version without it, or a damaged one, which the report says elsewhere


def truth_of_edges(evidence: Evidence, genes: tuple[str, ...], truth: Any) -> np.ndarray | None:
    """Return (E,) bool: whether the reference (regulator × target) has each edge; None where there is none."""
    if truth is None:
        return None
    place = {gene: number for number, gene in enumerate(genes)}
    targets, regulators = reference_coordinates(truth)
    known = set(zip(regulators.tolist(), targets.tolist(), strict=True))
    pairs = zip(evidence.edges["regulator"], evidence.edges["target"], strict=True)
    return np.array([(place.get(a), place.get(b)) in known for a, b in pairs], dtype=bool)


def view_of(
    evidence: Evidence,
    in_truth: np.ndarray | None,
    truth_edges: int | None = None,
    *,
    run_id: str = "",
    strategy: str = "",
    most: int = _SHOWN,
) -> EvidenceView:
    """Arrange evidence for a page.

    Parameters
    ----------
    evidence : Evidence
    in_truth : (E,) bool or None
        As :func:`truth_of_edges` returns it.
    truth_edges : int, optional
        Number of the reference's edges.
    run_id, strategy : str, optional
        Where the evidence comes from.
    most : int, default 15
        Rows per table.
    """
    edges, facts = evidence.edges, evidence.facts
    listed, taken, verdict = edges["listed"], edges["taken"], edges["verdict"]
    counts = []
    for label, chosen in (
        ("listed, kept", listed & taken),
        ("listed, left out", listed & ~taken),
        ("not listed, taken", ~listed & taken),
    ):
        numbers = [int((chosen & (verdict == word)).sum()) for word in ("supported", "undecided", "refused")]
        counts.append((label, numbers[0], numbers[1], numbers[2]))
    new, refused = np.flatnonzero(~listed & taken), np.flatnonzero(listed & ~taken)
    new = new[np.argsort(-edges["log_odds"][new], kind="stable")]
    refused = refused[np.argsort(edges["log_bf"][refused], kind="stable")]
    return EvidenceView(
        run_id,
        strategy,
        tuple(_facts(evidence, in_truth, truth_edges)),
        tuple(counts),
        tuple(_row(evidence, k, in_truth) for k in new[:most]),
        tuple(_row(evidence, k, in_truth) for k in refused[:most]),
        len(new),
        len(refused),
        tuple(_warnings(facts)),
    )


def _row(evidence: Evidence, k: int, in_truth: np.ndarray | None) -> EvidenceRow:
    edge = {name: column[k] for name, column in evidence.edges.items()}
    effect = float(edge["effect"])
    return EvidenceRow(
        str(edge["regulator"]),
        str(edge["target"]),
        "⊣" if effect < 0 or (not np.isfinite(effect) and edge["sign"] < 0) else "→",
        float(edge["probability"]),
        float(edge["log_bf"]),
        float(edge["prior_log_odds"]),
        effect,
        float(edge["standard_error"]),
        float(edge["power"]),
        str(edge["verdict"]),
        None if in_truth is None else bool(in_truth[k]),
    )


def _facts(evidence: Evidence, in_truth: np.ndarray | None, truth_edges: int | None) -> list[tuple[str, str]]:
    facts, edges = evidence.facts, evidence.edges
    listed, taken = edges["listed"], edges["taken"]

    def count(name: str) -> str:
        value = facts.get(name)
        return "–" if value is None else f"{value:,.1f}"

    def real(chosen: np.ndarray, value: bool) -> str:
        return "" if in_truth is None else f"; by the reference {int((chosen & (in_truth == value)).sum()):,}"

    told = [("edges taken", f"{facts['taken']:,}, of them {facts['new']:,} that the prior does not list")]
    if facts.get("expected_fdr") is not None:
        wrong = facts["expected_fdr"] * facts["taken"]
        told.append(
            (
                "expected to be wrong",
                f"{wrong:,.1f} of the edges taken ({100 * facts['expected_fdr']:.1f} %){real(taken, False)}",
            )
        )
    if facts.get("corruption") is not None:
        told.append(
            (
                "wrong edges of the prior",
                f"{count('expected_spurious')} of {facts['listed']:,} listed ones ({100 * facts['corruption']:.1f} %)"
                f"{real(listed, False)}",
            )
        )
        missing = "" if in_truth is None or truth_edges is None else truth_edges - int((listed & in_truth).sum())
        beside = f"; by the reference {missing:,}" if missing != "" else ""
        told.append(("edges that the prior lacks", f"{count('expected_missing')} expected{beside}"))
    told.append(("true edges that are not taken", f"{count('expected_missed')} expected"))
    if len(alike := np.flatnonzero(taken & (edges["alike"] != ""))):
        k = alike[np.argsort(-np.abs(edges["correlation"][alike]), kind="stable")[0]]
        told.append(
            (
                "regulators that another gene is like",
                f"of {len(alike):,} edges taken; which of the two it is, the prior decides (most alike: "
                f"{edges['regulator'][k]} and {edges['alike'][k]} on {edges['target'][k]}, correlation "
                f"{edges['correlation'][k]:.3f})",
            )
        )
    if facts.get("noise") is not None:
        told.append(("noise of one measurement", f"s.d. {facts['noise']:.3g}"))
    if facts.get("median_power") is not None:
        told.append(("median power", f"{facts['median_power']:.1f} nats"))
    told.append(("genes that do not change", f"{facts['constant_genes']:,.0f}: they have no regulators here"))
    return told


def _warnings(facts: dict[str, Any]) -> list[str]:
    told = []
    power, decided = facts.get("median_power"), facts.get("decided_targets")
    if power is not None and power < LITTLE_POWER:
        told.append(
            f"The data have little power: at most {power:.1f} nats against half of the edges, where about "
            f"{LITTLE_POWER} are needed to refuse one. Of edges that they do not support the prior decides."
        )
    if decided is not None and decided < _FEW_DECIDED:
        told.append(
            f"Only {100 * decided:.0f} % of the targets have an edge that the data put beyond doubt: the courses "
            "follow no network that this method can see, and the probabilities may not hold."
        )
    return told
