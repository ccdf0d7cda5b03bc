"""What a report says in words: facts, verdicts, limits and provenance of one study."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dash_hpc.data import summarise
from dash_hpc.data.variants import VARIANTS
from dash_hpc.errors import DashHpcError
from dash_hpc.evaluation import Selection, reference_coordinates, setting_label, setting_name
from dash_hpc.models.registry import family_of_spec
from dash_hpc.network import among_edges
from dash_hpc.report.alerts import mixed_makers
from dash_hpc.report.material import Material, mean_sd
from dash_hpc.report.network_tables import NetworkTables
from dash_hpc.report.published import published_rows
from dash_hpc.report.summary import format_metric, model_rows
from dash_hpc.shown import duration, python_text, shell_path, shell_word
from dash_hpc.store import MADE_WITH, Mixture

__all__ = [
    "again",
    "candidates",
    "data_facts",
    "date",
    "description",
    "facts",
    "failed_label",
    "group_label",
    "in_python",
    "limits",
    "provenance",
    "tiles",
    "verdicts",
]

_TOLD_CONTROLS = 4
_VERSIONS = {"python": "Python", "numpy": "NumPy", "scipy": "SciPy", "torch": "PyTorch", "hdf5": "HDF5"}


def description(material: Material) -> str:
    """The study's own description; empty when its file cannot be read."""
    from dash_hpc.study import load_study

    try:
        return load_study(Path(material.store.folder) / "study.toml").study.description
    except DashHpcError:
        return ""  # a store without its study file, or of another version: the text is a courtesy


def facts(material: Material) -> list[tuple[str, str]]:
    """What was run, as (label, text) pairs."""
    spec = material.spec
    if not spec:
        return []
    data, model, solver = spec["data"], spec["model"], spec["solver"]
    listed = [("Data", _data(material, data))]
    noise = []
    if data.get("expression_noise"):
        noise.append(f"s.d. {data['expression_noise']:g} on expression")
    if data.get("prior_noise"):
        noise.append(f"{100 * data['prior_noise']:g} % of the prior's edges relocated")
    for key, told in (("prior_withheld", "withheld"), ("prior_flipped", "with flipped signs")):
        if data.get(key):
            noise.append(f"{100 * data[key]:g} % of the prior's edges {told}")
    listed.append(("Noise added", ", ".join(noise) or "none"))
    if variant := data.get("prior_variant"):
        listed.append(("Prior", f"{variant}: {VARIANTS[variant][1]}" if variant in VARIANTS else str(variant)))
    listed.append(("Model", f"{family_of_spec(model).told(model)}, {model['dtype']}"))
    if solver["method"] == "dopri5":
        listed.append(("Solver", f"dopri5, rtol {solver['rtol']:g}, atol {solver['atol']:g}"))
    else:
        step = "0.125 of the unit of time" if solver["step"] == "auto" else f"{solver['step']:g}"
        listed.append(("Solver", f"{solver['method']}, steps of at most {step}"))
    listed.append(("Training", _training(spec["training"])))
    listed.append(("Pruning", _pruning(spec["schedule"])))
    seeds = {int(seed) for seed in material.runs["seed"]} if len(material.runs) else set()
    sizes: dict[str, int] = {}
    for group in material.groups:
        sizes[group.strategy] = sizes.get(group.strategy, 0) + 1
    strategies = ", ".join(f"{name} ({size} settings)" if size > 1 else name for name, size in sizes.items())
    listed.append(("Strategies", f"{strategies}; {len(seeds)} seed{'s' if len(seeds) != 1 else ''} each"))
    return listed


def data_facts(material: Material) -> list[tuple[str, str]]:
    """The block "data" that ``run`` printed, as (label, text) pairs; empty where the data cannot be read again."""
    if material.dataset is None:
        return []
    told = summarise(material.dataset)
    listed = [(f"{label[:1].upper()}{label[1:]}", text) for label, text in told.facts.items()]
    return listed + [("Warning", warning) for warning in told.warnings]


def _data(material: Material, data: Mapping[str, Any]) -> str:
    source = {"simulate": "simulated in silico", "catalogue": data.get("name", ""), "files": "own files"}
    text = str(source.get(data["kind"], data["kind"]))
    dataset = material.dataset
    if dataset is not None:
        sizes = [f"{dataset.n_genes:,} genes"]
        for part, course in (("training", dataset.train), ("validation", dataset.validation), ("test", dataset.test)):
            if course is not None:
                sizes.append(f"{len(course.pairs()):,} {part}")
        text += f": {', '.join(sizes)} steps"
    return text


def _training(training: Mapping[str, Any]) -> str:
    stop = f"stop after {training['early_stop']} without a new best" if training["early_stop"] else "no early stop"
    batch = "a trajectory" if training["batch"] == "trajectory" else f"{training['batch_size']} pairs"
    return (
        f"at most {training['epochs']} epochs, {stop}; Adam, {batch} per step, learning rate {training['lr']:g} "
        f"(× {training['v_lr_factor']:g} for v); the best on validation data is kept"
    )


def _pruning(schedule: Mapping[str, Any]) -> str:
    text = f"{100 * schedule['first_fraction']:g} % of the weights at epoch {schedule['first_epoch']}"
    if not schedule["every"]:
        return text
    return f"{text}, then {100 * schedule['fraction']:g} % of the rest every {schedule['every']} epochs"


def tiles(material: Material) -> list[dict[str, str]]:
    """The figures at the top: the chosen model (else the best), each beside what it is measured against."""
    group = material.chosen
    if group is None:
        run_id = material.main_run
        group = next((g for g in material.groups if run_id is not None and run_id in g.runs.index), None)
    if group is None:
        return []
    row = next(row for row in model_rows(material) if row["label"] == group.label)
    have = material.controls
    only = material.selection is not None and len(material.selection.candidates) == 1
    how = (
        "lowest validation error" if not group.chosen else "the only setting" if only else "chosen on validation error"
    )
    shown = [{"value": group.label, "label": how, "beside": ""}]

    def add(metric: str, label: str, style: str, beside: str) -> None:
        if metric in row:
            mean_only = {metric: row[metric]}
            shown.append({"value": format_metric(mean_only, metric, style), "label": label, "beside": beside})

    weights = format_metric({"n": row.get("active_weights")}, "n", "count")
    runs = f"mean of {len(group.done)} runs"
    if "study_sparsity" in row:
        base = f" of {material.base_weights:,}" if material.base_weights else ""
        add("study_sparsity", "of the weights are 0", "percent", f"{weights}{base} weights are active, {runs}")
    else:
        add("sparsity", "of the weights are 0", "percent", runs)
    prior = f"the prior itself {have['control_prior_ba']:.3f}" if "control_prior_ba" in have else ""
    add("balanced_accuracy", "balanced accuracy", "share", prior)
    prior = format_metric(have, "control_prior_precision", "percent")
    add("precision", "of its edges are in the reference", "percent", f"the prior itself {prior}")
    still = format_metric(have, "control_persistence_mse", "error")
    add("test_mse", "test MSE", "error", f"no change {still}")
    return shown


def verdicts(material: Material, models: list[dict[str, Any]], controls: list[dict[str, Any]]) -> list[str]:
    """Compare the shown model with every control, in words; better and worse are told alike."""
    shown = material.chosen
    row = None if shown is None else next((row for row in models if row["label"] == shown.label), None)
    if row is None:
        return []
    told = []
    if "balanced_accuracy" in row:
        mine = row["balanced_accuracy"]
        rated = sorted((c for c in controls if "balanced_accuracy" in c), key=lambda c: -c["balanced_accuracy"])
        above = [c for c in rated if c["balanced_accuracy"] < mine]
        below = [c for c in rated if c["balanced_accuracy"] >= mine]
        parts = []
        for word, members in (("above", above[:_TOLD_CONTROLS]), ("not above", below)):
            if members:
                listed = ", ".join(f"{c['label']} ({c['balanced_accuracy']:.3f})" for c in members)
                rest = len(above) - len(members) if word == "above" else 0
                weaker = f" and {rest} weaker control{'s' * (rest > 1)}" if rest else ""
                parts.append(f"{word} {listed}{weaker}")
        told.append(f"Its balanced accuracy, {mine:.3f}, is {'; '.join(parts)}." if parts else "")
        untrained = next((c for c in controls if c["strategy"] == "bioprune"), None)
        if untrained is not None:
            gain = mine - untrained["balanced_accuracy"]
            told.append(
                f"What training adds to the prior knowledge is its distance from BioPrune without training at about "
                f"the same sparsity: {gain:+.3f}."
            )
    if "recovered_missing" in row and "rejected_spurious" in row:
        missing, spurious = _flawed_edges(material)
        told.append(
            f"It has {100 * row['recovered_missing']:.0f} % of the {missing}true edges that the prior lacks, and left "
            f"out {100 * row['rejected_spurious']:.0f} % of the prior's {spurious}wrong edges; read both beside its "
            "TNR, because a dense network finds everything."
        )
    still = next((c["test_mse"] for c in controls if "test_mse" in c), None)
    if still and "test_mse" in row:
        share = 1 - row["test_mse"] / still
        worse = f"{1 - share:.1f} times" if share < -1 else f"{-100 * share:.0f} % above"
        comparison = f"{100 * share:.0f} % below" if share >= 0 else worse
        told.append(f"Its test error is {comparison} that of predicting no change.")
        if share < -0.05:
            told.append("Do not read the network of a model that predicts worse than no change.")
        if abs(share) < 0.05:
            told.append("Errors this close to “no change” do not tell models apart.")
    return [sentence for sentence in told if sentence]


def _flawed_edges(material: Material) -> tuple[str, str]:
    """How many true edges the prior lacks and how many it has in excess, each with a space behind; "" if unknown."""
    dataset = material.dataset
    if dataset is None or dataset.prior is None or dataset.truth is None:
        return "", ""
    motif, truth = dataset.prior.motif, dataset.truth
    missing, excess = (
        int(np.count_nonzero(~among_edges(other, *reference_coordinates(edges))))
        for edges, other in ((truth, motif), (motif, truth))
    )
    return f"{missing:,} ", f"{excess:,} "


def candidates(selection: Selection) -> list[dict[str, Any]]:
    """Rows of the table of a strategy's settings, the best 40."""
    return [
        {
            "setting": setting_name({column: row[column] for column in selection.setting}) or selection.strategy,
            "mse": f"{row['validation_mse']:.3e}",
            "se": f"{row['se']:.1e}" if row["se"] == row["se"] else "–",
            "sparsity": f"{100 * row['sparsity']:.1f} %",
            "sparsest": bool(row["sparsest"]),
            "runs": int(row["n_runs"]),
            "failed": int(row["n_failed"]),
            "eligible": bool(row["eligible"]),
            "chosen": bool(row["chosen"]),
        }
        for _, row in selection.candidates.head(40).iterrows()
    ]


def group_label(material: Material, network: NetworkTables | None) -> str:
    """Strategy, setting and seed of the network that is shown."""
    if network is None:
        return ""
    for group in material.groups:
        if network.run_id in group.runs.index:
            return f"{group.label}, seed {int(group.runs.loc[network.run_id, 'seed'])}"
    return ""


def failed_label(material: Material, run_id: str) -> str:
    """Strategy, setting and seed of a failed run."""
    group = next(group for group in material.groups if run_id in group.runs.index)
    level = f", {material.name}" if material.name else ""
    return f"{setting_label(group.strategy, group.setting)}, seed {int(group.runs.loc[run_id, 'seed'])}{level}"


def limits(material: Material, problems: list[str]) -> list[str]:
    """What a reader must not conclude, a sentence each."""
    listed = list(material.notes)
    if material.data_problem:
        listed.append(
            f"The data could not be read again, so figures that need them are missing: {material.data_problem}"
        )
    listed += problems
    if material.has_truth:
        listed.append(
            "Balanced accuracy is over all ordered gene pairs, self-pairs included. With so few true edges it rewards "
            "naming the right regulators; compare it with the controls, and read TPR and TNR apart."
        )
    counts = [mean_sd(group.done.get("validation_mse", []))[2] for group in material.groups]
    smallest = min((n for n in counts if n), default=0)
    if smallest == 1:
        listed.append("Some rows rest on one run: their spread over seeds is unknown.")
    elif 1 < smallest < 5:
        listed.append(f"Means and standard deviations rest on as few as {smallest} seeds.")
    listed += [f"Left out: {problem}." for problem in material.store.problems]
    listed += mixed_makers(material)
    pending = material.store.counts()
    open_runs = pending.get("pending", 0) + pending.get("running", 0)
    if open_runs:
        listed.append(f"{open_runs} planned runs are not done: the table and the choice of settings may still change.")
    if published_rows(material.spec):
        listed.append("Published figures that are not listed above could not be had in a form that can be quoted.")
    return listed


def date(material: Material) -> str:
    """Day on which the run that is shown ended; empty when nothing has."""
    if material.main_run is None:
        return ""
    return str(material.store.provenance(material.main_run).get("ended", ""))[:10]


def provenance(material: Material) -> list[tuple[str, str]]:
    """With what, where and when the run that is shown was made, as (label, text) pairs."""
    if material.main_run is None:
        return []
    found = material.store.provenance(material.main_run)
    seconds = material.runs["seconds_total"].dropna().sum() if "seconds_total" in material.runs else 0.0
    software = f"dash-hpc {found.get('dash_hpc', '?')}"
    if found.get("git"):
        revision, plus, _ = str(found["git"]).partition("+")
        software += f", source revision {revision[:12]}{' with uncommitted changes' if plus else ''}"
    # Runs side by side share the clock: their seconds are those of the pack.
    shared = found.get("device", "cpu") != "cpu" or int(found.get("side_by_side", 1)) > 1
    how = "each by its own clock, many at a time" if shared else "one core each"
    listed = [
        ("Run shown", material.main_run),
        ("Started", _moment(found.get("started"))),
        ("Ended", _moment(found.get("ended"))),
        ("All runs together", f"{duration(float(seconds))}, {how}" if seconds else ""),
        ("Software", software),
        *((f"{MADE_WITH[m.column][:1].upper()}{MADE_WITH[m.column][1:]}", _counts(m)) for m in material.mixtures),
        ("With", ", ".join(f"{label} {found[key]}" for key, label in _VERSIONS.items() if found.get(key))),
        ("Native operators", _native(found.get("native"))),
        ("Container", _image(found.get("container"))),
        ("Machine", ", ".join(str(found[key]) for key in ("host", "cpu", "platform") if found.get(key))),
        ("Device", _device(found)),
        ("Data, SHA-256", str(material.spec.get("data_digest") or "")),
        ("Command", _command(found.get("command") or [])),
    ]
    return [(label, text) for label, text in listed if text]


def _counts(mixture: Mixture) -> str:
    return "; ".join(f"{name}: {count} run{'s' * (count != 1)}" for name, count in mixture.counts.items())


def _device(found: Mapping[str, Any]) -> str:
    """Where the run was worked on; records of the time when there was only the CPU do not say so."""
    device = str(found.get("device", "cpu"))
    beside = int(found.get("side_by_side", 1))
    reasons = [str(step.get("reason", "")) for step in found.get("moved", [])]
    text = ("CPU" if device == "cpu" else f"GPU, {device}") + (f", {beside} runs side by side" if beside > 1 else "")
    return text + (f"; moved there: {'; '.join(reasons)}" if reasons else "")


def _moment(stamp: Any) -> str:
    """``2026-11-20T22:15:00.742+00:00`` as people read it; all stamps are UTC."""
    return f"{str(stamp)[:19].replace('T', ' ')} UTC" if stamp else ""


def _native(info: Any) -> str:
    if not isinstance(info, Mapping) or not info.get("available"):
        return "missing: the slow twins in Python were used"
    built = ", ".join(map(str, info.get("built_isas", ())))
    return f"{info.get('isa')} (built for {built}; compiler {info.get('compiler')})"


def _image(facts: Any) -> str:
    if not isinstance(facts, Mapping):
        return ""
    digest = f"SHA-256 {facts['sha256']}" if facts.get("sha256") else str(facts.get("content", ""))
    return ", ".join(part for part in (Path(str(facts.get("path", ""))).name, digest) if part)


def _command(words: Any) -> str:
    """The command as typed: without the folder that dash-hpc is installed in."""
    first, *rest = (str(word) for word in words) if words else ("",)
    name = Path(first).name
    if name in ("dash-hpc", "__main__.py", "-c"):
        name = "dash-hpc" if rest else ""
    return " ".join(map(shell_word, [name, *rest])) if name else ""


def again(material: Material) -> str:
    """Lines to type that run the same study into another folder."""
    folder = Path(material.store.folder).resolve().name
    lines = [f"cd {shell_path(folder)}    # the folder of this study, which holds study.toml"]
    if material.spec.get("data", {}).get("kind") == "catalogue":
        lines.append("export DASH_HPC_DATA=…    # the folder of the published data")
    return "\n".join([*lines, f"dash-hpc run study.toml --output {shell_word(f'../{folder}-again')}"])


def in_python(material: Material) -> str:
    """Lines that read the network that is shown; empty when there is none."""
    if material.main_run is None:
        return ""
    return "\n".join(
        [
            "import dash_hpc",
            "from dash_hpc.evaluation import effects",
            "",
            f"store = dash_hpc.open_store({python_text(Path(material.store.folder).resolve().name)})",
            f"network = store.network({python_text(material.main_run)})",
            "D = effects(network.weights, network.masks, normalise=True)   # target × regulator, 0 = no edge",
        ]
    )
