"""What the benchmarks share: problems, alternating timing, the machine's description, the table and the JSON file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array

from dash_hpc import __version__
from dash_hpc.models import initial_weights
from dash_hpc.ops import PRUNABLE, TrainState, native_info
from dash_hpc.rng import stream
from dash_hpc.study import load_study, plan

ROOT = Path(__file__).resolve().parents[1]


def random_problem(
    genes: int, hidden: int, density: float, pairs: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray]:
    """Weights as after some training (none is 0 unless pruned), masks, start states, targets and intervals."""
    rng = stream(0, "benchmark", genes, hidden, int(1000 * density), pairs)
    weights = initial_weights(genes, hidden, rng)
    for name in PRUNABLE:
        weights[name] += rng.normal(0, 0.02, weights[name].shape).astype(np.float32)
    masks = {name: rng.random(weights[name].shape) < density for name in PRUNABLE}
    weights = TrainState.fresh(weights, masks).weights
    y0, y1 = (rng.random((pairs, genes)).astype(np.float32) for _ in range(2))
    return weights, masks, y0, y1, np.resize([2.0, 1.0, 4.0, 2.0], pairs)


def born_sparse_problem(
    genes: int, regulators: int, active: int, pairs: int
) -> tuple[dict[str, Any], None, np.ndarray, np.ndarray, np.ndarray]:
    """Compressed weights with the structure of a random network, in place of those of :func:`random_problem`.

    One unit per regulator, which acts on its targets through the sums; one unit per gene, which reads that gene's
    regulators through the products and acts on it alone: m = regulators + genes, and edges as many as make ``active``
    entries in the four matrices.
    """
    rng = stream(0, "benchmark-born-sparse", genes, active)
    edges = (active - regulators - genes) // 2
    chosen = np.sort(rng.choice(genes * regulators, edges, replace=False))
    target, regulator = chosen // regulators, chosen % regulators
    gene_of = np.sort(rng.choice(genes, regulators, replace=False))
    unit, gene, hidden = np.arange(regulators), np.arange(genes), regulators + genes
    places = {
        "W_sums": (unit, gene_of, (hidden, genes)),
        "W_prods": (regulators + target, gene_of[regulator], (hidden, genes)),
        "U_sums": (target, regulator, (genes, hidden)),
        "U_prods": (gene, regulators + gene, (genes, hidden)),
    }
    weights: dict[str, Any] = {}
    for name, (row, column, shape) in places.items():
        matrix = csr_array((rng.normal(0, 0.1, len(row)).astype(np.float32), (row, column)), shape=shape)
        matrix.sort_indices()
        weights[name] = matrix
    for name, size in (("b_sums", hidden), ("b_prods", hidden)):
        weights[name] = rng.uniform(-0.01, 0.01, size).astype(np.float32)
    weights["v"] = rng.random(genes).astype(np.float32)
    y0, y1 = (rng.random((pairs, genes)).astype(np.float32) for _ in range(2))
    return weights, None, y0, y1, np.resize([2.0, 1.0, 4.0, 2.0], pairs)


def sim350_spec(seed: int, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The DASH run of examples/sim350.toml with this seed, with ``--set`` values on top."""
    study = load_study(ROOT / "examples" / "sim350.toml", [f"sweep.seeds=[{seed}]", *overrides])
    return next(run.spec for run in plan(study, "") if run.spec["strategy"]["name"] == "dash")


def alternate(contenders: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each contender, taken in turns so that load on the machine hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, step in contenders.items():
            times[name].append(step())
    return times


def machine() -> dict[str, Any]:
    """Date, processor, threads, load and versions: what a figure needs beside it."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "dash_hpc": __version__,
        "torch": torch.__version__,
        "isa": native_info()["isa"],
        "commit": COMMIT,
    }


def _commit() -> str:
    """Short name of the checked-out commit, with "+" when files differ from it; "" outside a checkout."""
    try:
        revision = subprocess.run(
            ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=10", "--dirty=+", "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return revision.stdout.strip()


#: Of the code that this process has loaded: a long benchmark may end on another commit.
COMMIT = _commit()


def parser(description: str | None, repeats: int) -> argparse.ArgumentParser:
    """Options that every benchmark has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--repeats", type=int, default=repeats, help=f"rounds of alternation (default {repeats})")
    made.add_argument("--out", type=Path, help="write the figures as JSON")
    return made


def publish(
    name: str, rows: list[dict[str, Any]], columns: Mapping[str, str], out: Path | None, repeats: int = 1
) -> None:
    """Print the rows as a table (columns: key -> format) under the machine's description, and write the JSON."""
    report = {"benchmark": name, **machine(), "repeats": repeats, "rows": rows}
    print(
        f"{name}: {report['processor']}, {report['isa']}, {report['threads']} thread(s), "
        f"load {report['load_average']}, {report['date']}"
    )
    cells = [
        [format(row[key], spec) if row.get(key) is not None else "-" for key, spec in columns.items()] for row in rows
    ]
    widths = [max(len(key), *(len(line[i]) for line in cells)) for i, key in enumerate(columns)]
    for line in [list(columns), *cells]:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=1) + "\n")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
