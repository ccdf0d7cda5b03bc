"""Put the figures of benchmarks/results/*.json into the tables of the documents named below.

A table stands between the lines `<!-- NAME -->` and `<!-- end -->`; whatever is between them is replaced by that of
results/NAME.json, under a line that says when, where and on which commit it was measured. Without a JSON file it stays.

    python benchmarks/tables.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("docs/performance.md", "docs/numerics.md", "docs/evidence.md")
Report = Mapping[str, Any]
Row = Mapping[str, Any]
Columns = Mapping[str, Callable[[Row], str]]  # head -> what a row has there
ISA = {"avx512": "AVX-512", "avx2": "AVX2", "baseline": "SSE2"}


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def table(columns: Columns, rows: Iterable[Row]) -> str:
    return markdown(list(columns), [[cell(row) for cell in columns.values()] for row in rows])


def origin(report: Report) -> str:
    """Date, processor, threads, load, commit."""
    level = ISA.get(report["isa"], report["isa"])
    words = [
        report["date"],
        f"{report['processor']} ({level})",
        f"{report['threads']} thread{'s' * (report['threads'] != 1)}",
        f"load {report['load_average']:.1f} on {report['cores']} cores",
        f"commit {report.get('commit') or 'not known'}",
    ]
    if report.get("repeats", 0) > 1:
        words.append(f"medians of {report['repeats']}")
    return ", ".join(words) + "."


def number(value: Any, spec: str, unit: str = "", scale: float = 1.0) -> str:
    return "-" if value is None else format(scale * value, spec) + unit


def percent(value: Any, digits: int = 0) -> str:
    return number(value, f".{digits}f", " %", 100)


def train_step(report: Report) -> str:
    contenders = {
        "authors": "authors' way",
        "loop": "torchdiffeq, loop",
        "batched": "torchdiffeq, one batch",
        "torchode": "torchode",
        "diffrax": "Diffrax, jit and vmap",
    }
    found = {(row["pairs"], row["active"], row["contender"]): row for row in report["rows"]}
    present = [name for name in contenders if any(key[2] == name for key in found)]
    rows = []
    for pairs, active in dict.fromkeys((row["pairs"], row["active"]) for row in report["rows"]):
        ours = found[pairs, active, "native"]
        ratios = [number(found.get((pairs, active, name), {}).get("over_native"), ".0f", " ×") for name in present]
        rows.append([str(pairs), percent(active), number(ours["median_ms"], ".2f", " ms"), *ratios])
    return markdown(["pairs", "active weights", "dash-hpc", *(contenders[name] for name in present)], rows)


def whole_run(report: Report) -> str:
    words = {
        "authors' step": "authors, one step (the fastest)",
        "run, default": "dash-hpc, one run, default tolerance",
        "run, published": "dash-hpc, one run, published tolerance",
        "dash-hpc run": "the command `dash-hpc run`, default tolerance",
    }
    rows = []
    whole = report["rows"][0]
    for row in report["rows"]:
        rows.append(
            [
                words[row["what"]],
                f"{row['rtol']:.0e}",
                number(row["min_s" if row is whole else "median_s"], ".2f", " s"),
                number(row["authors_over"], ".0f", " ×"),
                number(row.get("balanced_accuracy"), ".3f"),
                number(row.get("sparsity"), ".1f", " %", 100),
                number(row.get("test_mse"), ".2e"),
            ]
        )
        if row is whole:
            epochs = f"authors, step × {row['steps_per_epoch']} × {row['epochs']} epochs"
            rows.append([epochs, f"{row['rtol']:.0e}", number(row["whole_s"], ",.0f", " s"), "1 ×", "-", "-", "-"])
    head = ["what", "rtol", "time", "authors take", "balanced accuracy", "sparsity", "test MSE"]
    return markdown(head, rows)


def genome_scale(report: Report) -> str:
    steps = [row for row in report["rows"] if "median_ms" in row]
    runs = [row for row in report["rows"] if "peak_gb" in row]
    of_steps: Columns = {
        "step": lambda row: row["what"],
        "pairs": lambda row: str(row["pairs"]),
        "time": lambda row: number(row["median_ms"], ",.2f", " ms"),
        "adjoint loop takes": lambda row: number(row.get("adjoint_over"), ".0f", " ×"),
        "one batch takes": lambda row: number(row.get("batched_over"), ".1f", " ×"),
        "dense takes": lambda row: number(row.get("dense_over"), ".1f", " ×"),
        "350 × 40 at 14 % takes": lambda row: number(row.get("times_14") and 1 / row["times_14"], ".2f", " ×"),
    }
    of_runs: Columns = {
        "training run": lambda row: row["what"].removeprefix("run, "),
        "peak memory": lambda row: number(row["peak_gb"], ".2f", " GB"),
        "with evaluation": lambda row: number(row["with_evaluation_gb"], ".2f", " GB"),
    }
    return f"{table(of_steps, steps)}\n\n{table(of_runs, runs)}"


def roofline(report: Report) -> str:
    columns: Columns = {
        "what": lambda row: row["what"],
        "median": lambda row: number(row["median"], ".1f", f" {row['unit']}"),
        "of the multiply-add peak": lambda row: percent(row["of_peak"]),
        "of the bandwidth roof": lambda row: percent(row.get("of_roof")),
    }
    return table(columns, report["rows"])


def overhead(report: Report) -> str:
    columns: Columns = {
        "genes × hidden": lambda row: f"{row['genes']:,} × {row['hidden']}",
        "data": lambda row: row["data"],
        "interactions": lambda row: row["prior"],
        "training and validation": lambda row: number(row["train"] + row["validation"], ".1f", " s"),
        "scores, per event": lambda row: number(row["score_ms"], ".1f", " ms"),
        "selection": lambda row: number(row["select_ms"], ".1f", " ms"),
        "share": lambda row: percent(row["share_median"], 2),
    }
    return table(columns, report["rows"])


def gated_epoch(report: Report) -> str:
    columns: Columns = {
        "epoch": lambda row: row["epoch"],
        "median": lambda row: number(row["ms"], ".0f", " ms"),
        "of the native one": lambda row: number(row["ratio"], ".2f"),
    }
    return table(columns, report["rows"])


def tolerance(report: Report) -> str:
    def p(value: float | None) -> str:
        return "-" if value is None else f"{value:.2g}"

    rows = [
        [
            f"{row['rtol']:.0e}" + (" (repeated)" if row["runs"] == "all" else ""),
            f"{row['balanced_accuracy']:.3f} ± {row['balanced_accuracy_sd']:.3f}",
            f"{1e4 * row['test_mse']:.2f} ± {1e4 * row['test_mse_sd']:.2f}",
            percent(row["sparsity"], 1),
            number(row.get("jaccard_kept"), ".3f"),
            number(row.get("jaccard_last"), ".3f"),
            p(row.get("smallest_p")),
            f"{row['solver_rms_error']:.0e}",
            number(row["cpu_seconds"], ".1f", " s"),
        ]
        for row in report["rows"]
    ]
    noise = [number(report["rows"][0][f"jaccard_{which}_noise"], ".3f") for which in ("kept", "last")]
    rows.append(["last bits moved", "-", "-", "-", *noise, "-", "-", "-"])
    head = ["rtol", "balanced accuracy", "test MSE × 10⁴", "sparsity", "Jaccard, kept", "Jaccard, last"]
    return markdown([*head, "smallest p", "solver's error", "processor time"], rows)


def gradient(report: Report) -> str:
    def error(value: float) -> str:
        return f"{value:.0e}" if value < 1e6 else "> 1e6"

    found = {(row["model"], row["state"], row["dtype"], row["reach"]): row for row in report["rows"]}
    times = list(dict.fromkeys(key[3] for key in found))
    rows = []
    for model, state, dtype in dict.fromkeys(key[:3] for key in found):
        cells = [found.get((model, state, dtype, t)) for t in times]
        rows.append(
            [model, state, dtype, *("-" if c is None else f"{error(c['before'])} → {error(c['after'])}" for c in cells)]
        )
    return markdown(["model", "state", "precision", *(f"T = {t:g}" for t in times)], rows)


def gradient_cost(report: Report) -> str:
    columns: Columns = {
        "200 epochs of": lambda row: row["model"],
        "evaluations before": lambda row: f"{row['evaluations_before']:,}",
        "after": lambda row: f"{row['evaluations_after']:,}",
        "epoch before": lambda row: number(row["ms_before"], ".1f", " ms"),
        "epoch after": lambda row: number(row["ms_after"], ".1f", " ms"),
    }
    return table(columns, report["rows"])


def evidence(report: Report) -> str:
    priors = {row["case"]: row for row in report["rows"] if row["mode"] == "prior itself"}
    others = [row for row in report["rows"] if row["group"] == "predictors"]
    models = [row for row in report["rows"] if row["mode"] != "prior itself" and row not in others]

    def case(row: Row) -> str:
        return f"{row['case'].replace('%', ' %')} ({len(row['seeds'])})"

    def spread(row: Row, name: str, digits: int, scale: float = 1) -> str:
        told = number(row.get(name), f".{digits}f", scale=scale)
        return told + (f" ± {scale * row[f'{name}_sd']:.{digits}f}" if f"{name}_sd" in row else "")

    def realised(level: float) -> Callable[[Row], str]:
        return lambda row: percent(row.get(f"realised_at_{level:g}"), 1)

    def prior(row: Row) -> str:
        own = priors.get(row["case"], {})
        return f"{own['balanced_accuracy']:.3f}, {own['precision']:.3f}" if own else "-"

    of_networks: Columns = {
        "case (draws)": case,
        "prior itself: BA, precision": prior,
        "mode": lambda row: row["mode"],
        "edges": lambda row: number(row["edges"], ",.0f"),
        "balanced accuracy (BA)": lambda row: spread(row, "balanced_accuracy", 4),
        "precision": lambda row: spread(row, "precision", 3),
        "withheld found": lambda row: spread(row, "found" if "found" in row else "tpr", 3),
        "spurious kept": lambda row: spread(row, "spurious_kept", 3),
        "new edges, false ones": lambda row: f"{row['new']:,.0f}, {row['false_new']:.1f}",
        "test MSE × 10⁵": lambda row: spread(row, "test_mse", 2, 1e5),
        "sparsity": lambda row: percent(row["sparsity"], 2),
        "weights": lambda row: number(row["active_weights"], ",.0f"),
    }
    of_rates: Columns = {
        "case (draws)": case,
        "expected FDR": lambda row: percent(row["expected_fdr"], 1),
        "realised": lambda row: percent(row["realised_fdr"], 1),
        "… at nominal 5 %": realised(0.05),
        "… at 10 %": realised(0.1),
        "… at 20 %": realised(0.2),
        "prior's wrong share, estimated": lambda row: percent(row.get("corruption"), 1),
        "targets decided": lambda row: percent(row["decided_targets"]),
        "median power": lambda row: number(row["median_power"], ".1f"),
    }
    usual = [row for row in models if row["mode"] == "network"]
    of_others: Columns = {
        name: of_networks[name]
        for name in ("case (draws)", "edges", "balanced accuracy (BA)", "precision", "withheld found", "spurious kept",
                     "test MSE × 10⁵")
    }  # fmt: skip
    of_others = {"case (draws)": case, "from": lambda row: row["mode"], **of_others}
    told = [
        table(of_networks, models),
        "Expected and realised false discovery rates (FDR), mode `network`:",
        table(of_rates, usual),
    ]
    if others:
        told += [
            "What others make of the same start-free rows, and the same fit on other edges (benchmarks/predictors.py). "
            "Strongest: as many edges as there are true ones.",
            table(of_others, others),
        ]
    return "\n\n".join(told)


def evidence_genome(report: Report) -> str:
    layouts = {"simulated": "simulated network", "pseudotime": "pseudotime", "breast_500": "breast cancer, published"}
    rows = [row for row in report["rows"] if "total" in row]
    once = {
        tuple(row[key] for key in ("layout", "genes", "trajectories", "listed", "regulators", "asked")): row
        for row in rows
    }

    def stage(name: str) -> Callable[[Row], str]:
        return lambda row: number(row["seconds"].get(name, 0.0), ",.1f")

    columns: Columns = {
        "data": lambda row: layouts[row["layout"]],
        "genes, moving": lambda row: f"{row['genes']:,}, {row['moving']:,}",
        "listed edges, from": lambda row: f"{row['listed']:,}, {row['regulators']:,}",
        "trajectories × points": lambda row: f"{row['trajectories']} × {row['points']}",
        "candidates per gene": lambda row: number(row["looked_at"], ",.0f"),
        "first courses, s": stage("first courses"),
        "candidates": stage("candidates"),
        "evidence": stage("evidence"),
        "rates": stage("rates"),
        "smoothing": stage("smoothing"),
        "fit": stage("fit"),
        "all, s": lambda row: number(row["total"], ",.0f"),
        "peak memory, GB": lambda row: number(row["peak_gb"], ".2f"),
    }
    told = {"looked_at": "candidates"}
    slopes = [
        f"{told.get(row['exponent_of'], row['exponent_of'])} {row['exponent']:.2f} ({row['group']})"
        for row in report["rows"]
        if "exponent" in row
    ]
    return f"{table(columns, once.values())}\n\nExponents of all seconds: {', '.join(slopes)}."


def evidence_real(report: Report) -> str:
    def precision(row: Row) -> str:
        told = number(row["average_precision"], ".3f")
        return told + (f" ± {row['average_precision_sd']:.3f}" if "average_precision_sd" in row else "")

    columns: Columns = {
        "case (draws)": lambda row: f"{row['case'].replace('%', ' %')} ({row['draws']})",
        "ranked by": lambda row: row["method"],
        "average precision": precision,
        "balanced accuracy": lambda row: number(row.get("balanced_accuracy"), ".3f"),
        "edges taken": lambda row: number(row.get("asked_edges"), ",.0f"),
        "their precision": lambda row: number(row.get("precision"), ".2f"),
        "expected": lambda row: number(1 - row["expected_fdr"] if "expected_fdr" in row else None, ".2f"),
        "median power": lambda row: number(row.get("median_power"), ".2f"),
    }
    return table(columns, report["rows"])


def evidence_cost(report: Report) -> str:
    rows = [row for row in report["rows"] if "total" in row]
    once = {(row["group"] == "SIM350", *(row.get(key) for key in ("genes", "trajectories", "regulators", "prior"))): row
            for row in rows}  # fmt: skip

    def seconds(name: str) -> Callable[[Row], str]:
        return lambda row: number(row.get(name), ".2f")

    columns: Columns = {
        "data": lambda row: "SIM350" if row["group"] == "SIM350" else "simulated",
        "prior": lambda row: f"{row['prior']:.0%}",
        "genes": lambda row: f"{row['genes']:,}",
        "regulators": lambda row: str(row.get("regulators", 97)),
        "trajectories": lambda row: str(row["trajectories"]),
        "all, s": seconds("total"),
        "structure": seconds("structure"),
        "evidence": seconds("evidence"),
        "smoothing": seconds("smoothing"),
        "rates": seconds("rates"),
        "fit": seconds("fit"),
        "wall, one thread": seconds("wall"),
        "two": seconds("two_threads"),
    }
    slopes = [f"{row['group']} {row['exponent']:.2f}" for row in report["rows"] if "exponent" in row]
    return f"{table(columns, once.values())}\n\nExponents of all seconds: {', '.join(slopes)}."


TABLES: dict[str, Callable[[Report], str]] = {
    made.__name__: made
    for made in (
        train_step,
        whole_run,
        genome_scale,
        roofline,
        overhead,
        gated_epoch,
        tolerance,
        gradient,
        gradient_cost,
        evidence,
        evidence_cost,
        evidence_genome,
        evidence_real,
    )
}


def renewed(text: str, folder: Path) -> str:
    """The text with each table made anew."""

    def one(match: re.Match[str]) -> str:
        name = match["name"]
        file = folder / f"{name}.json"
        if name not in TABLES or not file.is_file():
            return match[0]
        report = json.loads(file.read_text())
        return f"<!-- {name} -->\n{origin(report)}\n\n{TABLES[name](report)}\n<!-- end -->"

    return re.sub(r"<!-- (?P<name>\w+) -->\n.*?<!-- end -->", one, text, flags=re.DOTALL)


def main() -> None:
    for name in DOCUMENTS:
        path = ROOT / name
        text = path.read_text()
        new = renewed(text, ROOT / "benchmarks" / "results")
        if new != text:
            path.write_text(new)
            print(f"{name}: tables renewed")


if __name__ == "__main__":
    main()
