"""The report: one HTML page that stands alone, and its figures as PNG and SVG beside it."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dash_hpc.errors import DashHpcError
from dash_hpc.report import figures, network_figures
from dash_hpc.report.collect import Material, collect, mean_sd
from dash_hpc.report.network_tables import NetworkTables, network_tables
from dash_hpc.report.published import CITATION, published_rows
from dash_hpc.report.style import render
from dash_hpc.report.summary import control_rows, format_metric, model_rows, row_cells, used_columns
from dash_hpc.store import publish_bytes, publish_text

__all__ = ["write_report"]


@dataclass(frozen=True)
class _Picture:
    name: str
    section: str
    title: str
    caption: str
    draw: Callable[[Material], Any]


_PICTURES = (
    _Picture(
        "tradeoff",
        "result",
        "Sparsity against accuracy and error",
        "Each small dot is a run, each large one the mean of its seeds with ± 1 s.d. Dashed lines are predictors "
        "without any training. The green line is BioPrune without training along its pruning events. A model has "
        "learned something about the edges only where it stands above them.",
        figures.tradeoff,
    ),
    _Picture(
        "lambda_maps",
        "selection",
        "All candidates of λ",
        "Means over seeds; darker is larger. The framed cell is the chosen one. Only the left map decides; sparsity "
        "decides among candidates whose errors cannot be told apart.",
        figures.lambda_maps,
    ),
    _Picture(
        "effects",
        "network",
        "Effects beside what is known",
        "|D̃|, the share of a target's total effect that a regulator has (darker is stronger, each panel on its own "
        "scale), for each strategy's run with the lowest validation error. Rows and columns have the same order in all "
        "panels: busiest regulators first, their targets from the top. Large matrices are drawn in blocks of genes "
        "that show their largest effect.",
        network_figures.effects_matrices,
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
        "settle again. The dot is the epoch that was kept: the lowest validation error since the first event.",
        figures.training_curves,
    ),
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
    material = collect(store)
    pictures, problems = _pictures(material, out / "figures")
    page = _environment().get_template("report.html.j2").render(**_context(material, pictures, problems))
    path = out / "index.html"
    publish_text(path, page)
    return path


def _pictures(material: Material, folder: Path) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    sections: dict[str, list[dict[str, Any]]] = {}
    problems = []
    for picture in _PICTURES:
        try:
            figure = picture.draw(material)
        except DashHpcError as error:
            figure = None
            problems.append(f"The figure “{picture.title}” could not be drawn: {error}")
        if figure is None:
            # One from an earlier report would show other runs.
            for kind in ("png", "svg"):
                with suppress(OSError):
                    (folder / f"{picture.name}.{kind}").unlink()
            continue
        files = render(figure)
        for kind, content in files.items():
            publish_bytes(folder / f"{picture.name}.{kind}", content)
        source = "data:image/svg+xml;base64," + base64.b64encode(files["svg"]).decode()
        entry = {"name": picture.name, "title": picture.title, "caption": picture.caption, "source": Markup(source)}
        sections.setdefault(picture.section, []).append(entry)
    return sections, problems


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("dash_hpc.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _context(material: Material, pictures: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    models, controls = model_rows(material), control_rows(material)
    columns = used_columns([*models, *controls])
    network = None
    if material.main_run is not None:
        network = network_tables(material.store, material.main_run, material.dataset)
    failed = material.runs[material.runs["status"] == "failed"] if len(material.runs) else material.runs
    return {
        "name": material.store.name or Path(material.store.folder).name,
        "description": _description(material),
        "counts": material.store.counts(),
        "facts": _facts(material),
        "tiles": _tiles(material),
        "verdicts": _verdicts(material, models, controls),
        "columns": columns,
        "models": [{"cells": row_cells(row, columns), "chosen": row["chosen"]} for row in models],
        "controls": [row_cells(row, columns) for row in controls],
        "has_truth": material.has_truth,
        "selection": material.selection,
        "no_selection": material.no_selection,
        "candidates": _candidates(material),
        "pictures": pictures,
        "network": network,
        "network_group": _group_label(material, network),
        "failed": [(str(run_id), _failed_label(row), str(row["reason"])) for run_id, row in failed.iterrows()],
        "limits": _limits(material, problems),
        "data_notes": [f"{note[:1].upper()}{note[1:].rstrip('.')}." for note in material.data_notes],
        "published": published_rows(material.spec),
        "citation": CITATION,
        "provenance": _provenance(material),
        "command": f"dash-hpc run {shlex.quote(str(Path(material.store.folder) / 'study.toml'))} --output again",
    }


def _description(material: Material) -> str:
    from dash_hpc.study import load_study

    try:
        return load_study(Path(material.store.folder) / "study.toml").study.description
    except DashHpcError:
        return ""  # a store without its study file, or of another version: the text is a courtesy


def _facts(material: Material) -> list[tuple[str, str]]:
    spec = material.spec
    if not spec:
        return []
    data, model, training, solver, schedule = (spec[key] for key in ("data", "model", "training", "solver", "schedule"))
    facts = []
    source = {"simulate": "simulated in silico", "catalogue": data.get("name", ""), "files": "own files"}
    name = source.get(data["kind"], data["kind"])
    dataset = material.dataset
    if dataset is not None:
        sizes = [f"{dataset.n_genes:,} genes"]
        for part, course in (("training", dataset.train), ("validation", dataset.validation), ("test", dataset.test)):
            if course is not None:
                sizes.append(f"{len(course.pairs()):,} {part} steps")
        name += f": {', '.join(sizes)}"
    facts.append(("Data", name))
    noise = []
    if data.get("expression_noise") is not None:
        noise.append(f"expression s.d. {data['expression_noise']:g}")
    if data.get("prior_noise") is not None:
        noise.append(f"{100 * data['prior_noise']:g} % of the prior's edges relocated")
    if noise:
        facts.append(("Noise added", ", ".join(noise)))
    facts.append(("Model", f"PHOENIX, {model['hidden']} hidden units in each branch, {model['dtype']}"))
    tolerance = f"rtol {solver['rtol']:g}, atol {solver['atol']:g}" if solver["method"] == "dopri5" else ""
    facts.append(("Solver", ", ".join(part for part in (solver["method"], tolerance) if part)))
    stop = f"stop after {training['early_stop']} without a new best" if training["early_stop"] else "no early stop"
    facts.append(("Training", f"at most {training['epochs']} epochs, {stop}; the best on validation data is kept"))
    facts.append(
        (
            "Pruning",
            f"{100 * schedule['first_fraction']:g} % of the weights at epoch {schedule['first_epoch']}, then "
            f"{100 * schedule['fraction']:g} % of the rest every {schedule['every']} epochs",
        )
    )
    seeds = sorted({int(seed) for seed in material.runs["seed"]}) if len(material.runs) else []
    strategies = ", ".join(dict.fromkeys(group.strategy for group in material.groups))
    facts.append(("Strategies", f"{strategies}; {len(seeds)} seed{'s' if len(seeds) != 1 else ''} each"))
    return facts


def _tiles(material: Material) -> list[dict[str, str]]:
    group = material.chosen
    if group is None:
        run_id = material.main_run
        group = next((g for g in material.groups if run_id is not None and run_id in g.runs.index), None)
    if group is None:
        return []
    row = next(row for row in model_rows(material) if row["label"] == group.label)
    have = material.controls
    only = material.selection is not None and len(material.selection.candidates) == 1
    how = "lowest validation error" if not group.chosen else "the only λ" if only else "chosen on validation error"
    tiles = [{"value": group.label, "label": how, "beside": ""}]

    def add(metric: str, label: str, style: str, beside: str) -> None:
        if metric in row:
            mean_only = {metric: row[metric]}
            tiles.append({"value": format_metric(mean_only, metric, style), "label": label, "beside": beside})

    add("sparsity", "of the weights are 0", "percent", f"mean of {len(group.done)} runs")
    prior = f"the prior itself {have['control_prior_ba']:.3f}" if "control_prior_ba" in have else ""
    add("balanced_accuracy", "balanced accuracy", "share", prior)
    still = have.get("control_persistence_mse")
    add("test_mse", "test MSE", "error", f"no change {still:.2e}" if still is not None else "")
    return tiles


def _verdicts(material: Material, models: list[dict[str, Any]], controls: list[dict[str, Any]]) -> list[str]:
    """Compare the shown model with every control, in words; better and worse are told alike."""
    row = next((row for row in models if row["chosen"]), None)
    if row is None:
        return []
    told = []
    if "balanced_accuracy" in row:
        mine = row["balanced_accuracy"]
        above = [c for c in controls if c.get("balanced_accuracy", 2) < mine]
        below = [c for c in controls if "balanced_accuracy" in c and c["balanced_accuracy"] >= mine]
        parts = []
        for word, members in (("above", above), ("not above", below)):
            if members:
                listed = ", ".join(f"{c['label']} ({c['balanced_accuracy']:.3f})" for c in members)
                parts.append(f"{word} {listed}")
        told.append(f"Its balanced accuracy, {mine:.3f}, is {'; '.join(parts)}." if parts else "")
    if "recovered_missing" in row and "rejected_spurious" in row:
        told.append(
            f"It has {100 * row['recovered_missing']:.0f} % of the true edges that the prior lacks, and left out "
            f"{100 * row['rejected_spurious']:.0f} % of the prior's wrong edges; read both beside its TNR, because a "
            "dense network finds everything."
        )
    still = next((c["test_mse"] for c in controls if "test_mse" in c), None)
    if still and "test_mse" in row:
        share = 1 - row["test_mse"] / still
        worse = f"{1 - share:.1f} times" if share < -1 else f"{-100 * share:.0f} % above"
        comparison = f"{100 * share:.0f} % below" if share >= 0 else worse
        told.append(f"Its test error is {comparison} that of predicting no change.")
        if abs(share) < 0.05:
            told.append("Errors this close to “no change” do not tell models apart.")
    return [sentence for sentence in told if sentence]


def _candidates(material: Material) -> list[dict[str, Any]]:
    if material.selection is None:
        return []
    return [
        {
            "lambda": f"({row['lambda_ppi']:g}, {row['lambda_motif']:g})",
            "mse": f"{row['validation_mse']:.3e}",
            "se": f"{row['se']:.1e}" if row["se"] == row["se"] else "–",
            "sparsity": f"{100 * row['sparsity']:.1f} %",
            "runs": int(row["n_runs"]),
            "failed": int(row["n_failed"]),
            "eligible": bool(row["eligible"]),
            "chosen": bool(row["chosen"]),
        }
        for _, row in material.selection.candidates.head(40).iterrows()
    ]


def _group_label(material: Material, network: NetworkTables | None) -> str:
    if network is None:
        return ""
    for group in material.groups:
        if network.run_id in group.runs.index:
            return f"{group.label}, seed {int(group.runs.loc[network.run_id, 'seed'])}"
    return ""


def _failed_label(row: Any) -> str:
    values = [row.get("lambda_ppi"), row.get("lambda_motif")]
    text = f" ({values[0]:g}, {values[1]:g})" if all(v is not None and v == v for v in values) else ""
    return f"{row['strategy']}{text}, seed {int(row['seed'])}"


def _limits(material: Material, problems: list[str]) -> list[str]:
    limits = list(material.notes)
    if material.data_problem:
        limits.append(
            f"The data could not be read again, so figures that need them are missing: {material.data_problem}"
        )
    limits += problems
    if material.has_truth:
        limits.append(
            "Balanced accuracy is over all ordered gene pairs, self-pairs included. With so few true edges it rewards "
            "naming the right regulators; compare it with the controls, and read TPR and TNR apart."
        )
    counts = [mean_sd(group.done.get("validation_mse", []))[2] for group in material.groups]
    smallest = min((n for n in counts if n), default=0)
    if smallest == 1:
        limits.append("Some rows rest on one run: their spread over seeds is unknown.")
    elif 1 < smallest < 5:
        limits.append(f"Means and standard deviations rest on as few as {smallest} seeds.")
    pending = material.store.counts()
    open_runs = pending.get("pending", 0) + pending.get("running", 0)
    if open_runs:
        limits.append(f"{open_runs} planned runs are not done: the table and the choice of λ may still change.")
    if published_rows(material.spec):
        limits.append(
            "Published cells that are not listed above are n/a: they are not in the material this software was "
            "written from."
        )
    return limits


def _provenance(material: Material) -> list[tuple[str, str]]:
    if material.main_run is None:
        return []
    found = material.store.provenance(material.main_run)
    listed = [("Run shown", material.main_run)]
    labels = {
        "dash_hpc": "dash-hpc",
        "git": "Source revision",
        "python": "Python",
        "numpy": "NumPy",
        "scipy": "SciPy",
        "torch": "PyTorch",
        "native": "Native operators",
        "host": "Host",
        "cpu": "Processor",
        "platform": "System",
        "started": "Started (UTC)",
        "ended": "Ended (UTC)",
    }
    for key, label in labels.items():
        if found.get(key) not in (None, "", [], {}):
            listed.append((label, _plain(found[key])))
    digest = material.spec.get("data_digest")
    if digest:
        listed.append(("Data, SHA-256", str(digest)))
    if found.get("command"):
        listed.append(("Command", shlex.join(str(part) for part in found["command"])))
    return listed


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)
