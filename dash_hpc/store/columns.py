"""What the columns of the table of runs are called, so that no two things ever share one, and what they can hold."""

from __future__ import annotations

import re

import numpy as np

__all__ = ["is_possible", "is_reserved", "option_column"]

#: What stands in the table under its own name besides options: the run's state, timings, and all metrics.
_RESERVED = re.compile(
    r"(run_id|status|reason|strategy|seed|epochs?|stop_reason|data_digest"
    r"|file_mtime_ns|file_bytes"
    r"|seconds(_.*)?|.*_mse|control_.*|(balanced_accuracy|precision|tpr|tnr|auc)(_.*)?"
    r"|(study_)?sparsity|active_.*|n_edges|(in|out)_degree|structural_mismatches|recovered_missing|rejected_spurious)"
)

# Metrics that are shares, and those that are means of squares.
_SHARE = re.compile(r"(study_)?sparsity|(balanced_accuracy|precision|tpr|tnr|auc)(_.*)?")
_SQUARE = re.compile(r".*_mse")
_ROUNDING = 1e-9


def is_possible(metric: str, values: np.ndarray) -> bool:
    """Return whether a metric can have all of these values; NaN is not measured."""
    if _SHARE.fullmatch(metric):
        return not bool(np.any((values < 0) | (values > 1 + _ROUNDING)))
    return not (_SQUARE.fullmatch(metric) and bool(np.any(values < 0)))


def is_reserved(name: str) -> bool:
    """Return whether a column of that name is something else than a strategy's option."""
    return _RESERVED.fullmatch(name) is not None


def option_column(name: str) -> str:
    """Return the column of a strategy's option: its name, or ``option.<name>`` where that means something else."""
    return f"option.{name}" if is_reserved(name) else name
