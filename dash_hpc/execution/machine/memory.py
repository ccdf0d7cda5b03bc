"""How much memory the evaluation of a run and the report of a study take, and how much this process has taken.

Both hold matrices of genes × genes for a moment: from a few thousand genes on that is more than training needs.
Counted are the arrays that are there at the same time; docs/performance.md has forecasts beside measurements.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

__all__ = ["REPORT_BASE_BYTES", "evaluation_bytes", "peak_bytes", "report_bytes", "resident_bytes"]

#: What a report of a few genes takes: the libraries that draw and tabulate, and the canvas of one figure.
REPORT_BASE_BYTES = 217_000_000
#: Products of matrices are made in blocks of so many entries, in float64 (evaluation/matrices.py).
_BLOCK_BYTES = 8 << 24
#: Above so many genes effects are float32 (evaluation/influence.py).
_FLOAT64_GENES = 4096
#: Edges of a dense model that are in work at a time, and what each takes (evaluation/influence.py, network/edges.py).
_EDGE_BLOCK, _EDGE_BYTES = (1 << 24) // 32, 150


def evaluation_bytes(genes: int, pairs: int, *, truth: bool, sources: int = 0, compressed: bool = False) -> int:
    """Return the most that `dash_hpc.evaluation.evaluate` allocates at a time.

    Parameters
    ----------
    genes, pairs : int
        G, and the largest number of pairs to predict at once.
    truth : bool
        Whether there is a reference network to compare with.
    sources : int
        Genes that regulate others in the prior.
    compressed : bool
        A model that is sparse from the start is compared without anything of size G·G.
    """
    area = genes * genes
    predicted = 28 * pairs * genes  # states in float32; predicted, their difference and its square in float64
    if compressed:
        return predicted
    entry = 8 if genes <= _FLOAT64_GENES else 4
    # Beside edges (bool) and effects: a block of the product; and with a reference the effects once more (normalised,
    # or ranked with the places that are not 0), and those of the prior's sources three times.
    further = min(8 * area, _BLOCK_BYTES)
    if truth:
        further = max(further, (entry + 1) * area, (3 * entry + 1) * genes * sources)
    return max(predicted, area + entry * area + further)


def report_bytes(genes: int) -> int:
    """Return the peak of a process that writes the report of a study with dense models."""
    area = genes * genes
    # A block of edges as they are named and placed; beside it the size of every edge of one model, or these twice.
    drawn = _EDGE_BYTES * min(area, _EDGE_BLOCK) + 4 * area
    return REPORT_BASE_BYTES + max(drawn, 8 * area)


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far."""
    found = _status("VmHWM")
    # The other count begins with what the parent had when it started this process.
    return found or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def resident_bytes() -> int:
    """Return the resident memory of this process now; where that is not told, its peak."""
    return _status("VmRSS") or peak_bytes()


def _status(key: str) -> int:
    try:
        found = re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return 1024 * int(found[1]) if found else 0
