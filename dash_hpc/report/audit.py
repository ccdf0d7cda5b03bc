"""The page of an audit: a prior held against the data, edge by edge, without a model."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dash_hpc.evaluation import reference_coordinates
from dash_hpc.report import evidence_figures
from dash_hpc.report.evidence import EvidenceView, truth_of_edges, view_of
from dash_hpc.report.page import embedded, environment
from dash_hpc.report.style import render
from dash_hpc.store import publish_text

if TYPE_CHECKING:
    from dash_hpc.data import DataSet
    from dash_hpc.store import Evidence

__all__ = ["write_audit"]

_SHOWN = 100


def write_audit(
    evidence: Evidence, dataset: DataSet, out: Path, *, name: str, told: Sequence[str] = ()
) -> tuple[EvidenceView, Path, Path]:
    """Write ``edges.csv`` and ``index.html``; return what the page shows and where the two are.

    Parameters
    ----------
    evidence : Evidence
    dataset : DataSet
        Its reference, where it has one, stands beside the edges.
    out : Path
        Folder.
    name : str
        Heading of the page.
    told : sequence of str
        Sentences that come first.
    """
    known = truth_of_edges(evidence, dataset.genes, dataset.truth)
    true_edges = None if dataset.truth is None else len(reference_coordinates(dataset.truth)[0])
    view = view_of(evidence, known, true_edges, most=_SHOWN)
    figure = evidence_figures.calibration(evidence, known)
    pictures = {}
    if figure is not None:
        picture = embedded(evidence_figures.TITLE, evidence_figures.CAPTION, render(figure)["svg"])
        pictures["evidence"] = [picture]
    page = (
        environment()
        .get_template("audit.html.j2")
        .render(
            name=name, data=dataset.name, evidence=view, told=list(told), has_truth=known is not None, pictures=pictures
        )
    )
    table, index = out / "edges.csv", out / "index.html"
    publish_text(table, _table(evidence, known))
    publish_text(index, page)
    return view, table, index


def _table(evidence: Evidence, known: np.ndarray | None) -> str:
    """All edges, those the data speak for most first; plain numbers, names quoted where they need it."""
    columns = dict(evidence.edges) | ({} if known is None else {"in_reference": known})
    order = np.argsort(-np.nan_to_num(evidence.edges["log_odds"], nan=-np.inf, neginf=-np.inf), kind="stable")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for k in order:
        writer.writerow([_cell(column[k]) for column in columns.values()])
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return "" if np.isnan(value) else f"{value:.6g}"
    return value
