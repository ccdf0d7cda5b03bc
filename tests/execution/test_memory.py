"""Memory of evaluation and report: what is foreseen against what processes take."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from dash_hpc.evaluation import network_metrics
from dash_hpc.execution.forecast import forecast
from dash_hpc.execution.machine.memory import (
    REPORT_BASE_BYTES,
    evaluation_bytes,
    peak_bytes,
    report_bytes,
    resident_bytes,
)
from dash_hpc.execution.study_run import prepare
from dash_hpc.study import parse_study

STUDY = """
[data]
kind = "simulate"
genes = 900
regulators = 90
edges = 1800
trajectories = 4
test_trajectories = 2
[model]
hidden = 5
[training]
epochs = 2
early_stop = 0
[schedule]
first_epoch = 2
every = 0
[[strategy]]
name = "none"
"""
RUN = """
import sys
from dash_hpc.execution import run_one
from dash_hpc.execution.machine.memory import peak_bytes
print(run_one(sys.argv[1], sys.argv[2]), peak_bytes())
"""
REPORT = """
import sys
from dash_hpc.execution.machine.memory import peak_bytes
from dash_hpc.report import write_report
from dash_hpc.store import open_store
print(write_report(open_store(sys.argv[1])).name, peak_bytes())
"""


def measured(code: str, *arguments: str) -> int:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def test_forecast_of_evaluation_and_report_is_within_a_quarter_of_what_they_take(tmp_path: Path) -> None:
    study = parse_study(STUDY, base=tmp_path)
    found = forecast(study, output=tmp_path / "out", workers=1, seconds=3.0)
    ids = prepare(study, tmp_path / "out")
    worker, report = measured(RUN, str(tmp_path / "out"), ids[0]), measured(REPORT, str(tmp_path / "out"))
    assert found.worker_bytes == pytest.approx(worker, rel=0.25)
    assert found.evaluation_bytes == pytest.approx(worker, rel=0.25)
    assert found.report_bytes == pytest.approx(report, rel=0.25)
    lines = {line.split(":")[0]: line for line in found.lines()}
    assert "in a worker when a run ends" in lines["evaluation"]
    assert "in the driver after all runs" in lines["report"]


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize(("genes", "sources"), [(1500, 1500), (1500, 100), (2400, 300)])
def test_what_an_evaluation_allocates_is_what_is_foreseen(genes: int, sources: int, truth: bool) -> None:
    """The arrays themselves, as Python counts them: dense models, where nothing is saved."""
    rng = np.random.default_rng(1)
    weights = {name: rng.standard_normal((3, genes)).astype(np.float32) for name in ("W_sums", "W_prods")}
    weights |= {name: rng.standard_normal((genes, 3)).astype(np.float32) for name in ("U_sums", "U_prods")}
    weights["v"] = np.ones(genes, dtype=np.float32)
    edges = np.zeros((genes, genes))
    edges[:sources, :3] = 1.0
    known = sp.csr_array(edges) if truth else None
    del edges
    tracemalloc.start()
    try:
        network_metrics(weights, None, prior=known, truth=known, model={"hidden": 3})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak == pytest.approx(evaluation_bytes(genes, 1, truth=truth, sources=sources), rel=0.1)


def test_sizes_by_hand() -> None:
    # Edges 1, effects 8, effects once more with the places that are not 0: 9; 18 bytes for each pair of genes.
    assert evaluation_bytes(1000, 10, truth=True) == 18_000_000
    # Effects of all sources of the prior, three times with a mask, where these are many: 1 + 8 + 25.
    assert evaluation_bytes(1000, 10, truth=True, sources=1000) == 34_000_000
    assert evaluation_bytes(1000, 10, truth=True, sources=300) == 18_000_000
    # Without a reference no second copy, but the product's own block.
    assert evaluation_bytes(1000, 10, truth=False) == 17_000_000
    # Above 4,096 genes effects are float32, and a block of the product is 2^27 bytes.
    assert evaluation_bytes(10_000, 10, truth=True) == 10 * 10_000**2
    assert evaluation_bytes(5_000, 10, truth=False) == 5 * 5_000**2 + 2**27
    # A compressed model has only its predictions.
    assert evaluation_bytes(1000, 100, truth=True, compressed=True) == 2_800_000
    # 524,288 edges at a time, and 4 bytes for each pair of genes; of very many genes their sizes twice.
    assert report_bytes(1000) == REPORT_BASE_BYTES + 150 * 2**19 + 4_000_000
    assert report_bytes(11_165) == REPORT_BASE_BYTES + 8 * 11_165**2


def test_this_process_knows_its_own_memory() -> None:
    before = peak_bytes()
    assert 0 < resident_bytes() <= before
    block = np.ones(before // 8 + 10_000_000)
    assert peak_bytes() >= before + 80_000_000 * 0.9
    del block
