"""What a study's data are, in numbers and in words, before anything trains on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from dash_hpc.data.dataset import DataSet
from dash_hpc.data.design import design_account
from dash_hpc.data.prior import Prior
from dash_hpc.data.record import NetworkRecord
from dash_hpc.data.timecourse import TimeCourse

__all__ = ["DataSummary", "level_lines", "summarise"]

# Fewer edges than this can be balanced by chance.
_MANY_EDGES = 200


@dataclass
class DataSummary:
    """The block "data" of ``run``, ``run --dry-run`` and the report.

    Attributes
    ----------
    name : str
    genes : int
    facts : dict
        Label -> text, in the order of printing; one subject each.
    counts : dict
        The same as numbers, by name, for programs.
    remarks : list of str
        What was recognised in the files beyond their plain form.
    warnings : list of str
        What may be wrong with the data, a sentence each.
    """

    name: str
    genes: int
    facts: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int | float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the block as lines to print."""
        width = max(map(len, self.facts), default=0)
        text = [f"data: {self.name}"]
        text += [f"  {label + ':':<{width + 1}} {value}" for label, value in self.facts.items()]
        text += [f"  recognised: {remark}" for remark in self.remarks]
        return text + [f"  warning: {warning}" for warning in self.warnings]

    def say_unit(self, size: float) -> None:
        """Say in which unit of time models are trained, in the data's unit of time."""
        self.facts["unit of time"] = (
            f"models train in units of {size:.4g} (data.time_unit); rates and results are in the unit of the times"
        )
        self.counts["time_unit"] = size

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.name,
            "genes": self.genes,
            "facts": dict(self.facts),
            "counts": dict(self.counts),
            "remarks": list(self.remarks),
            "warnings": list(self.warnings),
        }


def level_lines(levels: Sequence[tuple[str, DataSummary]], further: int = 0) -> list[str]:
    """Return the block for data of several levels, (name, summary) each: what all share stands once.

    ``further`` levels are counted only.
    """
    first = levels[0][1]
    if len(levels) == 1 and not further:
        return first.lines()
    shared = DataSummary(
        first.name if all(told.name == first.name for _, told in levels) else "several data sets",
        first.genes,
        {label: text for label, text in first.facts.items() if all(t.facts.get(label) == text for _, t in levels)},
        remarks=[text for text in first.remarks if all(text in told.remarks for _, told in levels)],
        warnings=[text for text in first.warnings if all(text in told.warnings for _, told in levels)],
    )
    text = shared.lines()
    for name, told in levels:
        own = [f"{label}: {fact}" for label, fact in told.facts.items() if label not in shared.facts]
        own += [f"recognised: {remark}" for remark in told.remarks if remark not in shared.remarks]
        own += [f"warning: {warning}" for warning in told.warnings if warning not in shared.warnings]
        text += [f"  {name}", *(f"    {line}" for line in own)]
    return [*text, *([f"  … and {further:,} more data levels"] if further else [])]


def summarise(dataset: DataSet) -> DataSummary:
    """Count what a data set holds."""
    told = DataSummary(dataset.name, dataset.n_genes, remarks=list(dataset.remarks))
    told.facts["genes"] = f"{dataset.n_genes:,}"
    told.counts["genes"] = dataset.n_genes
    parts = {"training": dataset.train, "validation": dataset.validation, "test": dataset.test}
    _count_pairs(told, {part: data for part, data in parts.items() if data is not None})
    _range(told, [data for data in parts.values() if data is not None])
    told.say_unit(dataset.time_unit)
    if done := design_account(dataset.train):
        told.facts["design"] = f"{done}; strategy evidence reads it, others train as if nothing had been done"
    prior = dataset.prior
    if prior is None:
        told.facts["prior"] = "none"
    else:
        records = dict(zip(("prior", "interactions"), prior.records, strict=False))
        _network(told, "prior", prior.motif, records.get("prior"))
        _signs(told, prior)
        if prior.ppi is None:
            told.facts["interactions"] = "from common targets in the prior"
        else:
            _network(told, "interactions", prior.ppi, records.get("interactions"))
    if dataset.truth is None:
        told.facts["reference"] = "none: balanced accuracy cannot be computed"
    else:
        _network(told, "reference", dataset.truth, dataset.truth_record)
    told.warnings += [note for note in dataset.notes if "scale the data" in note]
    return told


def _count_pairs(told: DataSummary, parts: Mapping[str, TimeCourse]) -> None:
    used, missing = [], []
    for part, data in parts.items():
        losses = data.losses()
        possible, kept = losses.possible, losses.used
        told.counts[f"{part}_trajectories"] = len(data)
        told.counts[f"{part}_pairs"] = kept
        told.counts[f"{part}_pairs_dropped"] = possible - kept
        used.append(f"{kept:,} {part}" + (f" ({possible - kept:,} of {possible:,} dropped)" if kept < possible else ""))
        told.counts[f"{part}_values_missing"] = losses.values
        told.counts[f"{part}_starts_filled"] = losses.filled
        told.counts[f"{part}_ends_not_counted"] = losses.not_counted
        if losses.values:
            missing.append(f"{part}: {losses.account()}")
        told.warnings += [f"{part} data: {warning}" for warning in losses.warnings(data.max_missing)]
    told.facts["trajectories"] = ", ".join(f"{len(data):,} {part}" for part, data in parts.items())
    told.facts["pairs"] = ", ".join(used)
    told.facts["missing values"] = "; ".join(missing) or "none"


def _range(told: DataSummary, parts: Sequence[TimeCourse]) -> None:
    trajectories = [trajectory for data in parts for trajectory in data.trajectories]
    low = min(float(np.nanmin(trajectory.values)) for trajectory in trajectories)
    high = max(float(np.nanmax(trajectory.values)) for trajectory in trajectories)
    first = min(float(np.nanmin(trajectory.times)) for trajectory in trajectories)
    last = max(float(np.nanmax(trajectory.times)) for trajectory in trajectories)
    pairs = parts[0].pairs()
    steps = pairs.t1 - pairs.t0
    told.facts["times"] = f"{first:g} to {last:g}, steps of {_span(float(steps.min()), float(steps.max()))}"
    told.facts["expression"] = f"{low:.4g} to {high:.4g}"
    told.counts |= {"lowest": low, "highest": high, "first_time": first, "last_time": last}


def _span(low: float, high: float) -> str:
    return f"{low:g}" if f"{low:g}" == f"{high:g}" else f"{low:g} to {high:g}"


def _signs(told: DataSummary, prior: Prior) -> None:
    negative = int(np.count_nonzero(prior.motif.data < 0))
    positive = prior.n_edges - negative
    told.counts |= {"prior_positive": positive, "prior_negative": negative, "prior_signed": prior.signed}
    if prior.signed:
        told.facts["signs"] = f"{positive:,} activate, {negative:,} repress; a prior loss compares with them"
        if prior.n_edges >= _MANY_EDGES and abs(positive - negative) <= 3 * prior.n_edges**0.5:
            told.warnings.append(
                "the prior has about as many negative as positive edges: if its signs were drawn at random, say "
                "prior_signed = false in [data]"
            )
    else:
        drawn = " (the file's mean nothing)" if negative else ""
        told.facts["signs"] = f"none{drawn}: a prior loss compares with |P|"


def _network(told: DataSummary, role: str, network: csr_array, record: NetworkRecord | None) -> None:
    regulators = int(np.count_nonzero(np.diff(network.indptr)))
    targets = len(np.unique(network.indices))
    undirected = role == "interactions"
    edges = int(network.nnz + np.count_nonzero(network.diagonal())) // 2 if undirected else int(network.nnz)
    text = f"{edges:,} {'pairs' if undirected else 'edges'} kept"
    told.counts[f"{role}_edges"] = edges
    if not undirected:
        text += f", from {regulators:,} regulators to {targets:,} targets of {told.genes:,} genes"
        told.counts[f"{role}_regulators"], told.counts[f"{role}_targets"] = regulators, targets
    if record is not None:
        if record.loops and not undirected:
            text += f" ({record.loops:,} from a gene to itself)"
        text = f"{record.file} ({record.layout}): " + "; ".join([text, *record.losses()])
        for name in ("entries", "dropped", "by_case", "merged", "contradictory", "unsigned", "zero", "loops"):
            told.counts[f"{role}_{name}"] = getattr(record, name)
        told.remarks += [f"{record.file}: {remark}" for remark in record.remarks]
        told.warnings += [f"{record.file}: {doubt}" for doubt in record.doubts]
    told.facts[role] = text
