"""What several runs of a strategy agree on, edge by edge, and what their agreement is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dash_hpc.evaluation import (
    NOMINAL,
    ClassShare,
    Discovery,
    Reliability,
    class_share,
    realised_fdr,
    reference_coordinates,
    reliability,
)
from dash_hpc.network import Consensus, among_edges, consensus_of
from dash_hpc.report.material import Group, Material

__all__ = ["StabilityRow", "agreed_edges", "stability", "stability_cells", "stability_view"]

_MOST_GENES = 3000  # of networks that are held side by side
_MOST_RUNS = 40  # of all settings of a strategy
_SHOWN = 12


@dataclass(frozen=True, eq=False)
class StabilityRow:
    """A strategy over several runs: what they agree on, and where a reference is known, how good that is.

    ``missing`` is of the true edges that the prior lacks, ``spurious`` of its wrong ones, ``listed`` of its right ones;
    None where there is no such edge. ``calibration`` and ``fdr`` read the share of runs as a probability.
    """

    strategy: str
    consensus: Consensus
    missing: ClassShare | None = None
    spurious: ClassShare | None = None
    listed: float = math.nan
    calibration: Reliability | None = None
    fdr: tuple[Discovery, ...] = ()


def stability(material: Material, *, every_setting: bool = False) -> tuple[StabilityRow, ...]:
    """Compare the runs of each strategy, over the seeds of its shown setting or over all settings and seeds.

    Strategies with one finished run are left out; of all settings the first 40 runs are taken. Empty where networks are
    not shown, or too large to be held side by side.
    """
    if material.unshown or (material.dataset is not None and material.dataset.n_genes > _MOST_GENES):
        return ()
    groups = material.shown_groups()
    runs = {group.strategy: _runs(material, group, every_setting) for group in groups}
    return tuple(_row(material, name, ids) for name, ids in runs.items() if len(ids) > 1)


def _runs(material: Material, shown: Group, every_setting: bool) -> list[str]:
    own = [group for group in material.groups if group.strategy == shown.strategy] if every_setting else [shown]
    ids = [str(run_id) for group in own for run_id in group.done.index]
    return ids[:_MOST_RUNS] if not every_setting or len(own) > 1 else []


def _row(material: Material, strategy: str, ids: Sequence[str]) -> StabilityRow:
    dataset = material.dataset
    found = consensus_of(material.store, ids, dataset)
    if dataset is None or dataset.truth is None or found.in_truth is None:
        return StabilityRow(strategy, found)
    n = dataset.n_genes
    n_real = len(reference_coordinates(dataset.truth)[0])
    calibration = reliability(found.frequency, found.in_truth, n_real=n_real, n_pairs=n * n)
    fdr = realised_fdr(found.frequency, found.in_truth)
    if dataset.prior is None:
        return StabilityRow(strategy, found, calibration=calibration, fdr=fdr)
    table = (found.flat, found.frequency)
    missing = _without(dataset.truth, dataset.prior.motif)
    spurious = _without(dataset.prior.motif, dataset.truth)
    targets, regulators = reference_coordinates(dataset.prior.motif)
    right = among_edges(dataset.truth, targets, regulators)
    listed = class_share(regulators[right], targets[right], table, n, draws=2)
    return StabilityRow(
        strategy,
        found,
        class_share(*missing, table, n),
        class_share(*spurious, table, n),
        math.nan if listed is None else listed.share,
        calibration,
        fdr,
    )


def _without(edges: Any, others: Any) -> tuple[np.ndarray, np.ndarray]:
    """(regulators, targets) of the edges of one network that another one has not."""
    targets, regulators = reference_coordinates(edges)
    alone = ~among_edges(others, targets, regulators)
    return regulators[alone], targets[alone]


def stability_cells(rows: Sequence[StabilityRow]) -> dict[str, Any]:
    """Write the rows as a table: ``columns`` (heading, unit) and ``rows`` of (told, small below)."""
    judged = any(row.calibration is not None for row in rows)
    columns = [("strategy", ""), ("runs", ""), ("edges", "all runs / any"), ("Jaccard", ""), ("effects r", ""),
               ("sign agrees", "")]  # fmt: skip
    classes = any(row.missing is not None or row.spurious is not None for row in rows)
    if classes:
        columns += [("missing found", "chance, p"), ("spurious cut", "chance"), ("right ones kept", "")]
    if judged:
        columns += [(f"FDR at {level:g}", "edges") for level in NOMINAL]
        columns += [("calibration error", "listed / all"), ("Brier", "constant")]
    return {"columns": columns, "rows": [_cells(row, classes, judged) for row in rows]}


def _cells(row: StabilityRow, classes: bool, judged: bool) -> list[tuple[str, str]]:
    found = row.consensus
    every = int(np.count_nonzero(found.frequency >= 1 - 1e-9))
    shared = found.frequency * found.n_runs >= 1.5
    signs = found.sign_agreement[shared]
    signs = signs[np.isfinite(signs)]
    cells = [
        (row.strategy, ""),
        (str(found.n_runs), ""),
        (f"{every:,}", f"{len(found):,}"),
        (_share(found.likeness.jaccard), ""),
        (_share(found.likeness.correlation), ""),
        (_share(float(signs.mean()) if len(signs) else math.nan), ""),
    ]
    if classes:
        cells.append(
            ("–", "")
            if row.missing is None
            else (_share(row.missing.share), f"{_share(row.missing.null)}, p {row.missing.p:.2f}")
        )
        cells.append(
            ("–", "") if row.spurious is None else (_share(1 - row.spurious.share), _share(1 - row.spurious.null))
        )
        cells.append((_share(row.listed), ""))
    if judged:
        cells += [(_share(one.realised), f"{one.n_taken:,}") for one in row.fdr]
        kept = row.calibration
        cells += (
            [("–", ""), ("–", "")]
            if kept is None
            else [(_share(kept.ece_listed), f"{kept.ece:.4f}"), (f"{kept.brier:.4f}", f"{kept.brier_base:.4f}")]
        )
    return cells


def _share(value: float) -> str:
    return f"{value:.3f}".replace("-", "−") if math.isfinite(value) else "–"


def agreed_edges(row: StabilityRow, most: int = _SHOWN) -> list[dict[str, Any]]:
    """The edges that most runs have although the prior does not list them: of those the steadiest effects first."""
    frame: pd.DataFrame = row.consensus.frame()
    if "in_prior" not in frame:
        return []
    return frame[~frame["in_prior"] & (frame["frequency"] >= 0.5)].head(most).to_dict("records")


def stability_view(material: Material) -> dict[str, Any] | None:
    """What the page shows: over seeds, over all settings, and the leading strategy's agreed edges; None for nothing."""
    seeds = stability(material)
    if not seeds:
        return None
    settings = stability(material, every_setting=True)
    leading = next((row for row in seeds if row.strategy == material.leading), seeds[0])
    return {
        "seeds": stability_cells(seeds),
        "settings": stability_cells(settings) if settings else None,
        "strategy": leading.strategy,
        "edges": agreed_edges(leading),
        "n_runs": leading.consensus.n_runs,
    }
