"""The report: one HTML page that stands alone, and its figures as PNG and SVG beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dash_hpc.errors import DashHpcError
from dash_hpc.evaluation import ERRORS, reference_coordinates
from dash_hpc.report import (
    comparison_figures,
    evidence_figures,
    facets,
    figures,
    maps,
    network_figures,
    stability_figures,
    words,
)
from dash_hpc.report.alerts import alerts
from dash_hpc.report.collect import collect_levels, first_level
from dash_hpc.report.comparison import compared_cells, comparison, winner
from dash_hpc.report.controls import about_controls, control_rows
from dash_hpc.report.evidence import EvidenceView, evidence_of, truth_of_edges, view_of
from dash_hpc.report.material import Material
from dash_hpc.report.network_tables import network_tables
from dash_hpc.report.overview import choice_rows, level_rows, varied
from dash_hpc.report.page import embedded, environment
from dash_hpc.report.published import citation, published_rows
from dash_hpc.report.stability import stability_view
from dash_hpc.report.style import render
from dash_hpc.report.summary import (
    REFERENCE_TFS,
    column_units,
    label_heading,
    model_rows,
    on_one_base,
    row_cells,
    shorten,
    used_columns,
)
from dash_hpc.store import publish_bytes, publish_text

__all__ = ["write_report"]


_SHOWN_CANDIDATES = 30
_SHOWN_LEVELS = 60
_UNFOLDED = 20  # settings up to which all stand in the table of results at once


@dataclass(frozen=True)
class _Picture:
    name: str
    section: str
    title: str
    caption: str | Callable[[Material], str]
    draw: Callable[[Material], Any]


def _tradeoff_caption(material: Material) -> str:
    text = "Each small dot is a run, each large one the mean of its seeds with ± 1 s.d. "
    if not material.has_truth:
        return f"{text}The dashed line is the error of predicting no change at all."
    text += "Dashed lines are predictors without any training. "
    if material.bioprune is not None:
        few, many = int(material.bioprune["n"].min()), int(material.bioprune["n"].max())
        text += (
            f"The green line is BioPrune without training along its pruning events, mean of {few} draws ({many} at the "
            "event that stands in the table). "
        )
    return f"{text}A model has learned something about the edges only where it stands above them."


def _effects_caption(material: Material) -> str:
    text = (
        "|D̃|, the share of a target's total effect that a regulator has (darker is stronger, each panel on its own "
        "scale), for each strategy's run with the lowest validation error. Rows and columns have the same order in all "
        "panels: busiest regulators first, their targets from the top. "
    )
    if material.dataset is not None and (material.dataset.truth is not None or material.dataset.prior is not None):
        name = "reference" if material.dataset.truth is not None else "prior"
        text += f"Left of the upright line stand the genes that regulate others in the {name}. "
    return f"{text}Large matrices are drawn in blocks of genes that show their largest effect."


_PICTURES = (
    _Picture(
        "comparison",
        "comparison",
        "Every strategy, by measure",
        "The chosen setting of each strategy, or else the one with the lowest validation error; best on top. Large "
        "points are means over seeds ± s.d., small ones single runs.",
        comparison_figures.ranking,
    ),
    _Picture(
        "curves",
        "curves",
        "Accuracy against sparsity",
        "A panel per strategy, best first: means over seeds ± s.d. of all its settings, the chosen one as a diamond. "
        "Weights drawn at random name edges and other pairs alike, so their balanced accuracy is 0.5 at any sparsity.",
        comparison_figures.curves,
    ),
    _Picture(
        "tradeoff",
        "result",
        "Sparsity against accuracy and error",
        _tradeoff_caption,
        figures.tradeoff,
    ),
    _Picture(
        "effects",
        "network",
        "Effects beside what is known",
        _effects_caption,
        network_figures.effects_matrices,
    ),
    _Picture(
        "reliability",
        "stability",
        stability_figures.TITLE,
        stability_figures.CAPTION,
        stability_figures.reliability_curves,
    ),
    _Picture(
        "calibration",
        "evidence",
        evidence_figures.TITLE,
        evidence_figures.CAPTION,
        lambda material: _calibration(material),
    ),
    _Picture(
        "trajectories",
        "prediction",
        "Predicted against measured",
        "Genes are picked from the measurements alone: large changes, and courses unlike one another. Each solid line "
        "(in long courses: each coloured dot) starts at a measured state; the dashed line never looks at the data "
        "after the first. Right: all genes and steps; colour is the number of points on a log scale, and the "
        "horizontal line is the prediction of no change.",
        network_figures.trajectories,
    ),
    _Picture(
        "training",
        "training",
        "Training and pruning",
        "One line per seed (the first one strong). Vertical lines are pruning events, after which weights have to "
        "settle again. The dot is the epoch that was kept: the lowest validation error since the first event, or of "
        "all epochs where nothing is pruned.",
        figures.training_curves,
    ),
)


_MAP_CAPTION = (
    "Means over seeds; darker is larger. The framed cell is the chosen one, and what stands on no axis is as in it. "
    "Only the validation error decides; sparsity decides among settings whose errors cannot be told apart."
)


def _facets(levels: Sequence[Material]) -> _Picture:
    def caption(_: Material) -> str:
        found = facets.facet_points(levels)
        panels = len(found.panels) if found is not None else 0
        text = (
            "Means over seeds ± 1 s.d. of each strategy's chosen setting; where that lies elsewhere on an axis, of the "
            "setting with the lowest validation error there. Dashed: what needs no training, on the same data."
        )
        few = f" The first {facets.MOST_FACETS} of {panels} combinations are drawn; the table has all data levels."
        return text + (few if panels > facets.MOST_FACETS else "")

    return _Picture("facets", "levels", "Along what the study varies", caption, lambda _: facets.facets(levels))


def _maps(material: Material) -> tuple[_Picture, ...]:
    """One picture per strategy with settings to choose from."""
    return tuple(
        _Picture(
            f"settings_{re.sub('[^A-Za-z0-9_-]', '-', strategy)}",
            f"selection {strategy}",
            "All settings" if len(material.selections) == 1 else f"All settings of {strategy}",
            _MAP_CAPTION,
            partial(maps.setting_maps, strategy=strategy),
        )
        for strategy in material.selections
    )


def write_report(store: Any, out: Path | str | None = None) -> Path:
    """Write ``index.html`` and ``figures/*.png``, ``figures/*.svg``; each file is published as a whole.

    Parameters
    ----------
    store : Store
        As returned by ``open_store``. Runs that are not done are counted, not shown.
    out : path, optional
        Folder to write to. Left out: ``report`` in the store.

    Returns
    -------
    Path
        Of ``index.html``. The page holds its figures and needs no network.

    Raises
    ------
    StoreError
        When a file cannot be written or a run cannot be read.
    """
    out = Path(out) if out is not None else Path(store.folder) / "report"
    levels = collect_levels(store)
    pictures, problems = _pictures(levels, out / "figures")
    page = environment().get_template("report.html.j2").render(**_context(levels, pictures, problems))
    path = out / "index.html"
    publish_text(path, page)
    return path


def _pictures(levels: Sequence[Material], folder: Path) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    material = first_level(levels)
    sections: dict[str, list[dict[str, Any]]] = {}
    problems = []
    pictures = (_facets(levels), *_PICTURES, *_maps(material))
    _remove_others(folder, {picture.name for picture in pictures})
    for picture in pictures:
        try:
            figure = picture.draw(material)
        except DashHpcError as error:
            figure = None
            problems.append(f"The figure “{picture.title}” could not be drawn: {error}")
        if figure is None:
            _remove_others(folder, {other.name for other in pictures} - {picture.name})
            continue
        files = render(figure)
        for kind, content in files.items():
            publish_bytes(folder / f"{picture.name}.{kind}", content)
        caption = picture.caption if isinstance(picture.caption, str) else picture.caption(material)
        sections.setdefault(picture.section, []).append(embedded(picture.title, caption, files["svg"]))
    return sections, problems


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove figures of earlier reports, which would show other runs."""
    for kind in ("png", "svg"):
        for path in folder.glob(f"*.{kind}"):
            if path.stem not in names:
                with suppress(OSError):
                    path.unlink()


def _context(levels: Sequence[Material], pictures: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    material = first_level(levels)
    models, controls = model_rows(material), control_rows(material)
    compared, leading = comparison(material), {group.label for group in material.shown_groups()}
    shown, left_out = shorten(models, _SHOWN_CANDIDATES)
    rows = [*shown, *controls]
    columns = used_columns(rows)
    cells = row_cells(rows, columns)
    names = [name for name, _, _ in columns]
    network = None
    if material.main_run is not None:
        network = network_tables(material.store, material.main_run, material.dataset)
    return {
        "name": material.store.name or Path(material.store.folder).name,
        "description": words.description(material),
        "date": words.date(material),
        "counts": material.store.counts(),
        "facts": [*words.facts(material), *((f"Varied: {key}", values) for key, values in varied(levels))],
        "level": material.name,
        "over": material.over,
        "comparison": compared_cells(compared) if compared is not None else None,
        "winner": winner(material, compared, controls) if compared is not None else "",
        "folded": len(models) > _UNFOLDED,
        "overview": _overview(levels),
        "level_choices": choice_rows(levels) if len(levels) > 1 else [],
        "tiles": words.tiles(material),
        "alerts": alerts(levels),
        "verdicts": words.verdicts(material, models, controls),
        "columns": list(zip((heading for _, heading, _ in columns), column_units(rows, columns), strict=True)),
        "models": [
            {"cells": line, "chosen": row["chosen"], "leading": row["label"] in leading}
            for row, line in zip(shown, cells, strict=False)
        ],
        "left_out": left_out,
        "base": on_one_base(material) if "study_sparsity" in names else "",
        "own_base": "study_sparsity" in names and "sparsity" in names,
        "reference_tfs": REFERENCE_TFS if "balanced_accuracy_reference_tfs" in names else "",
        "controls": cells[len(shown) :],
        "about_controls": about_controls(material),
        "has_truth": material.has_truth,
        "heading": label_heading(shown),
        "choices": [
            {
                "strategy": strategy,
                "reason": choice.reason,
                "rule": choice.rule,
                "error": ERRORS[choice.error],
                "candidates": words.candidates(choice),
                "several": len(choice.candidates) > 1,
            }
            for strategy, choice in material.selections.items()
        ],
        "no_choices": list(material.no_selection.values()),
        "pictures": pictures,
        "network": network,
        "network_group": words.group_label(material, network),
        "evidence": _evidence(material),
        "stability": stability_view(material),
        "failed": [
            (str(run_id), words.failed_label(level, str(run_id)), str(row["reason"]))
            for level in levels
            for run_id, row in level.runs[level.runs["status"] == "failed"].iterrows()
        ],
        "limits": words.limits(material, problems),
        "data_facts": words.data_facts(material),
        "data_notes": [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in material.data_notes],
        "published": published_rows(material.spec),
        "citation": citation(),
        "provenance": words.provenance(material),
        "again": words.again(material),
        "in_python": words.in_python(material),
    }


def _evidence(material: Material) -> EvidenceView | None:
    found = evidence_of(material)
    if found is None:
        return None
    run_id, evidence = found
    dataset = material.dataset
    truth = None if dataset is None else dataset.truth
    known = None if dataset is None else truth_of_edges(evidence, dataset.genes, truth)
    true_edges = None if truth is None else len(reference_coordinates(truth)[0])
    strategy = str(material.runs.loc[run_id, "strategy"])
    return view_of(evidence, known, true_edges, run_id=run_id, strategy=strategy)


def _calibration(material: Material) -> Any:
    found = evidence_of(material)
    if found is None or material.dataset is None:
        return None
    known = truth_of_edges(found[1], material.dataset.genes, material.dataset.truth)
    return evidence_figures.calibration(found[1], known)


def _overview(levels: Sequence[Material]) -> dict[str, Any] | None:
    """The table over data levels; None where there is one."""
    if len(levels) == 1:
        return None
    blocks = [(level, level_rows(level)) for level in levels[:_SHOWN_LEVELS]]
    rows = [row for _, own in blocks for row in own]
    columns = used_columns(rows)
    cells = iter(row_cells(rows, columns))
    return {
        "columns": list(zip((heading for _, heading, _ in columns), column_units(rows, columns), strict=True)),
        "heading": label_heading(rows),
        "levels": [
            (level.name, [{"cells": next(cells), "control": row["kind"] == "control"} for row in own])
            for level, own in blocks
        ],
        "left_out": len(levels) - len(blocks),
    }
